"""The live part of the demo: two emulated boards, real jobs through Ray, a real memory kill.

The boards' memory is scaled down so that training GPT-2 Small stands where it stands on real boards
of 8 GB: its live bytes fit both, its likely peak neither. It is *tight*, and only running it tells.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jetsched.cluster.asked import Asked
from jetsched.cluster.client import Client
from jetsched.cluster.desk_jobs import canonical_model
from jetsched.cluster.up import down, up
from jetsched.errors import InputError, JetschedError
from jetsched.files import write_atomically
from jetsched.jobfile import load_jobs
from jetsched.profiler.costs import CostModel
from jetsched.profiler.emulation import EmulatedBoard, parse
from jetsched.profiler.runner import Progress
from jetsched.profiler.session import emulated_board
from jetsched.profiler.store import MeasurementStore
from jetsched.profiler.suites import Benchmark, load_suite
from jetsched.records import FINAL_STATES, Estimate, Measurement

Say = Callable[[str], None]

#: The first keeps the Orin busy for so long that, by any estimate, the second one is tried on the
#: NX rather than held for the Orin.
JOBS = (
    "train-distilgpt2.yaml",
    "train-gpt2.yaml",
    "infer-small.yaml",
    "train-tiny.yaml",
)
MODELS = ("xavier-nx", "orin-nano")
#: The job whose peak nobody knows yet.
UNKNOWN = "train-gpt2.yaml"
POLICY = "earliest_finish"
#: The longest that the jobs may take together before the demo gives up.
PATIENCE_S = 300.0
#: Both boards' memory after scaling, and Ray.
NEEDS_MIB = 7.5 * 1024
#: The file that tells a folder which a demo made.
_MARK = "made-by-jetsched-demo"


@dataclass
class LiveResult:
    """What the live part showed; all of it was measured on emulated boards."""

    emulate: str
    boards: list[str]
    profiles: list[Measurement] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    #: Why the job that was killed is never placed there again, by device.
    learnt: dict[str, str] = field(default_factory=dict)
    up_s: float = 0.0


def examples_folder() -> Path:
    """The example jobs that come with the package."""
    import jetsched

    return Path(jetsched.__file__).parent / "examples"


def scaled_boards(file: Path, measured: Sequence[Measurement]) -> str:
    """``xavier-nx:0.41,orin-nano:0.48``: memory scales that make the job *tight* on both boards.

    Between what it must hold and the likely peak, as estimated after these measurements, the NX
    gets the first tenth, the Orin all but a hundredth: it must not be killed there as well.
    """
    job = load_jobs([file])[0].to_job("scale", 0.0, canonical=canonical_model)
    costs = CostModel(measured)
    words = []
    for board in parse(",".join(MODELS)):
        kind = replace(board.device.device_class, memory_mib=1e6)
        verdict = costs.verdict(job, kind)
        if not isinstance(verdict, Estimate):
            raise JetschedError(f"{job.name} cannot run on an emulated board: {verdict.text}")
        needed_mib = verdict.peak_memory_mib + verdict.runtime_mib
        spread_mib = verdict.admitted_mib - needed_mib
        if board.device.model == MODELS[0]:
            has_mib = needed_mib + 0.1 * spread_mib
        else:
            has_mib = verdict.admitted_mib - 0.01 * spread_mib
        usable_mib = board.device.device_class.memory_mib
        words.append(f"{board.device.model}:{has_mib / usable_mib:.3f}")
    return ",".join(words)


def run_live(home: Path, say: Say) -> LiveResult:
    """Profile two emulated boards, start the cluster, run the jobs, stop everything.

    ``home`` is a data home of its own; what an earlier demo left in it is removed. Raises
    JetschedError where the machine has too little memory, InputError where the folder is somebody
    else's.
    """
    files = [examples_folder() / name for name in JOBS]
    _check_memory()
    _empty(home)
    say("Profiling both boards at once (suite demo):")
    profiles = _profile(parse(",".join(MODELS)), home, say)
    emulate = scaled_boards(examples_folder() / UNKNOWN, profiles)
    boards = [board.title for board in parse(emulate)]
    result = LiveResult(emulate, boards, profiles)
    say(f"Starting Ray with two emulated nodes (--emulate {emulate}):")
    for title in boards:
        say(f"  {title}")
    try:
        began = up(Asked(emulate, policy=POLICY), home=home)
        result.up_s = began.seconds
        say(f"  ready after {began.seconds:.0f} s; {len(files)} jobs are submitted together:")
        with Client.to(began.state) as client:
            client.submit(files, user="demo")
            result.jobs = _watch(client, say)
            rows = client.plan(examples_folder() / UNKNOWN)["rows"]
            result.learnt = {r["device"]: r["reason"] for r in rows if r["verdict"] == "never"}
    finally:
        down(home=home)
    return result


def _empty(home: Path) -> None:
    """Make the folder anew. Only one that a demo made is removed, whatever ``--out`` names."""
    if home.exists():
        if not (home / _MARK).is_file():
            raise InputError(f"{home} is there, and no demo made it", hint="name another --out")
        down(home=home)  # of a demo that was interrupted
        shutil.rmtree(home)
    home.mkdir(parents=True, mode=0o700)
    write_atomically(home / _MARK, b"jetsched demo may remove this folder\n")


def _check_memory() -> None:
    import psutil

    has_mib = psutil.virtual_memory().available / 2**20
    if has_mib < NEEDS_MIB:
        raise JetschedError(
            f"the live part needs {NEEDS_MIB / 1024:.0f} GiB of free memory,"
            f" this machine has {has_mib / 1024:.1f}",
            hint="without it: jetsched demo --simulate-only",
        )


def _profile(boards: Sequence[EmulatedBoard], home: Path, say: Say) -> list[Measurement]:
    """Both boards at once where each has a CPU of its own, else one after the other."""
    store = MeasurementStore(home / "measurements.jsonl")
    suite = load_suite("demo")
    stop = threading.Event()  # Ctrl-C reaches the main thread only

    def go_on(benchmark: Benchmark, progress: Progress) -> None:
        if stop.is_set():
            raise JetschedError(f"{benchmark.name} was stopped")

    def one(board: EmulatedBoard) -> list[Measurement]:
        folder = home / "profiling" / board.id
        rows = emulated_board(board).profile(
            suite, "demo", folder=folder, store=store, say=say, on_progress=go_on
        )
        return [row.measurement for row in rows]

    workers = len(boards) if all(board.limits.cpus for board in boards) else 1
    with ThreadPoolExecutor(workers) as pool:
        try:
            return [m for found in pool.map(one, boards) for m in found]
        except BaseException:
            stop.set()
            raise


def _watch(client: Client, say: Say) -> list[dict[str, Any]]:
    """Tell what happens until all jobs have ended."""
    told: set[str] = set()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        jobs = client.jobs()
        for line in (line for job in jobs for line in _lines(job)):
            if line not in told:
                told.add(line)
                say(line)
        if all(job["state"] in FINAL_STATES for job in jobs):
            return jobs
        if time.monotonic() > deadline:
            raise JetschedError(f"the jobs did not end within {PATIENCE_S:.0f} s")
        time.sleep(0.5)


def _lines(job: dict[str, Any]) -> list[str]:
    """What has happened to a job so far, a line for each step."""
    lines = []
    name = f"  {job['id']} {job['name']:<16}"
    for attempt in job["attempts"]:
        where = f"{name} {attempt['device']:<7}"
        estimated = attempt["estimate"]
        lines.append(
            f"{where} started: {estimated['fit']}, {estimated['time_s']:.0f} s"
            f" {estimated['source']}"
        )
        if attempt["outcome"] is not None:
            took_s = attempt["end_s"] - attempt["start_s"]
            word = attempt["outcome"].replace("killed_memory", "KILLED(memory)")
            text = f": {attempt['text']}" if attempt["outcome"] != "done" else ""
            lines.append(f"{where} {word} after {took_s:.0f} s{text}")
    return lines


def summary_of(jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The jobs as ``summary.json`` has them."""
    rows = []
    for job in jobs:
        last = job["attempts"][-1] if job["attempts"] else None
        rows.append(
            {
                "name": job["name"],
                "work": job["work"],
                "device": last["device"] if last else None,
                "state": job["state"],
                "attempts": [
                    {
                        "device": a["device"],
                        "outcome": a["outcome"],
                        "start_s": a["start_s"],
                        "seconds": a["end_s"] - a["start_s"],
                        "text": a["text"],
                    }
                    for a in job["attempts"]
                ],
                "estimated_s": last["estimate"]["time_s"] if last else None,
                "estimated_p90_s": last["estimate"]["time_p90_s"] if last else None,
                "source": last["estimate"]["source"] if last else None,
                "measured_s": last["end_s"] - last["start_s"] if last else None,
            }
        )
    return rows
