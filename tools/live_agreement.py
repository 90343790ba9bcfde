"""Does a live run take what the same work takes under `profile`, and a simulation what was live?

Two of the bars of `make bench-live`, as functions over a cluster that is up, and a program for
them alone: `python tools/live_agreement.py`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from jetsched.cluster.client import Client
from jetsched.cluster.past import past_job
from jetsched.cluster.replaying import ReplayReport, replay
from jetsched.cluster.state import read_state
from jetsched.cluster.store import JOURNAL
from jetsched.files import to_json
from jetsched.profiler.emulation import EmulatedBoard, parse
from jetsched.profiler.profiling import profile
from jetsched.profiler.store import MeasurementStore
from jetsched.profiler.suites import Benchmark
from jetsched.records import Measurement

#: The bars.
SAME_AS_PROFILE = 0.03
SAME_MAKESPAN = 0.10
#: Against hanging only.
SOON_S = 600.0
#: Long enough that the start of an interpreter does not decide: some six seconds on a desktop CPU.
WORK: dict[str, Any] = {
    "kind": "train",
    "model": "tiny-gpt2",
    "dataset": "squad[:1024]",
    "epochs": 3,
    "batch_size": 8,
    "seq_len": 128,
    "head": "qa",
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Agreement:
    """The same job, live and under `profile`, in turns. Seconds; the quickest of each counts.

    On a machine that does something else as well the quickest run is the one that was least
    disturbed; the medians stand beside it.
    """

    device: str
    live_s: tuple[float, ...]
    profile_s: tuple[float, ...]
    live_rate_s: tuple[float, ...]  # per unit of work, loading apart
    profile_rate_s: tuple[float, ...]

    @property
    def off(self) -> float:
        """By what part the live run takes longer."""
        return min(self.live_s) / min(self.profile_s) - 1

    @property
    def rate_off(self) -> float:
        """The same of the work alone."""
        return min(self.live_rate_s) / min(self.profile_rate_s) - 1

    @property
    def median_off(self) -> float:
        """The same of the medians."""
        return median(self.live_s) / median(self.profile_s) - 1

    def to_json(self) -> dict[str, Any]:
        """As JSON values, with the bar."""
        return {
            **to_json(self),
            "off": self.off,
            "rate_off": self.rate_off,
            "median_off": self.median_off,
            "bar": SAME_AS_PROFILE,
            "met": abs(self.off) <= SAME_AS_PROFILE,
        }


def run_live(client: Client, home: Path, spec: dict[str, Any]) -> tuple[Any, Measurement]:
    """Submit a job, wait for its end; returns the job as the journal has it, and its measurement.

    Raises RuntimeError where it does not end *done*.
    """
    job_id = str(client.submit_specs([spec])[0]["id"])
    wait_for(client, [job_id])
    past = past_job(job_id, home / JOURNAL).jobs[0]
    last = past.attempts[-1]
    if last.outcome != "done" or last.measurement is None:
        raise RuntimeError(f"job {job_id} ended {last.outcome}: {last.text}")
    return past.job, last.measurement


def wait_for(client: Client, job_ids: Sequence[str]) -> None:
    """Until all of them have ended. Raises TimeoutError."""
    end = time.monotonic() + SOON_S
    left = list(job_ids)
    while left:
        if client.job(left[0])["state"] in ("done", "failed", "killed", "lost", "cancelled"):
            left.pop(0)
            continue
        if time.monotonic() > end:
            raise TimeoutError(f"job {left[0]} does not end")
        time.sleep(0.1)


def run_profiled(board: EmulatedBoard, job: Any, folder: Path) -> Measurement:
    """The same job as a benchmark of `jetsched profile` on the same board."""
    shutil.rmtree(folder, ignore_errors=True)
    rows = profile(
        board.device,
        [Benchmark("same", job)],
        folder,
        limits=board.limits,
        store=MeasurementStore(folder / "measurements.jsonl"),
        fresh=True,
    )
    (row,) = list(rows)
    if row.measurement.outcome != "done":
        raise RuntimeError(f"under profile it ended {row.measurement.outcome}")
    return row.measurement


def same_as_profile(
    home: Path,
    emulate: str,
    *,
    device: str,
    repeat: int = 5,
    work: dict[str, Any] | None = None,
    say: Say = lambda text: None,
) -> Agreement:
    """Run one job live and under `profile` in turns, on an emulated board of a cluster that is up.

    ``emulate`` is what the cluster was started with: the board's limits follow from it.
    """
    state = read_state(home)
    assert state is not None
    board = next(board for board in parse(emulate) if board.id == device)
    spec = {"name": "same", "work": work or WORK, "needs": {"device": [device]}}
    live: list[Measurement] = []
    profiled: list[Measurement] = []
    folder = Path(tempfile.mkdtemp(prefix="jetsched-same-"))
    try:
        with Client.to(state) as client:
            for number in range(repeat + 1):
                job, measured = run_live(client, home, spec)
                again = run_profiled(board, job, folder / "session")
                if number == 0:
                    continue  # files come into the page cache
                live.append(measured)
                profiled.append(again)
                say(
                    f"{device} {number}: live {measured.time_s:.2f} s, profile {again.time_s:.2f} s"
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Agreement(
        device,
        tuple(m.time_s or 0.0 for m in live),
        tuple(m.time_s or 0.0 for m in profiled),
        tuple(m.rate_s or 0.0 for m in live),
        tuple(m.rate_s or 0.0 for m in profiled),
    )


def twenty_jobs(
    home: Path,
    *,
    count: int = 20,
    seed: int = 0,
    trains: float = 0.67,
    gap_s: float = 1.5,
    say: Say = lambda text: None,
) -> ReplayReport:
    """Run a trace of jobs of three kinds live, then simulate it; the report of the replay.

    They arrive at random, every ``gap_s`` on average; this part of them ``trains``, the others
    sleep for some seconds.
    """
    state = read_state(home)
    assert state is not None
    draw = Random(seed)
    ids = []
    since_s = time.time()
    with Client.to(state) as client:
        for number in range(count):
            ids.append(str(client.submit_specs([_a_job(draw, number, trains)])[0]["id"]))
            time.sleep(draw.expovariate(1 / gap_s))
        wait_for(client, ids)
    report = replay(home / JOURNAL, since=datetime.fromtimestamp(since_s).isoformat())
    free = report.free
    assert free is not None
    say(
        f"{free.jobs} jobs: live {free.live_makespan_s:.1f} s, simulated"
        f" {free.simulated_makespan_s:.1f} s ({free.off:+.1%})"
    )
    return report


def _a_job(draw: Random, number: int, trains: float) -> dict[str, Any]:
    kind = draw.random()
    if kind < trains / 2:
        work = {**WORK, "epochs": 1, "dataset": f"squad[:{draw.choice((16, 32, 64))}]"}
    elif kind < trains:
        work = {**WORK, "epochs": 1, "dataset": "squad[:64]", "seq_len": 32, "head": "lm"}
    else:
        like = {"kind": "infer", "model": "tiny-gpt2", "prompt_tokens": 8, "max_new_tokens": 8}
        work = {"kind": "command", "run": f"sleep {draw.uniform(1, 3):.1f}", "like": like}
    return {"name": f"trace-{number}", "work": work, "priority": draw.choice((40, 50, 60))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emulate", default="xavier-nx:0.2,orin-nano:0.2")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--policy", default="auto")
    parser.add_argument("--device", default="orin-1")
    options = parser.parse_args()
    from jetsched.cluster.asked import Asked
    from jetsched.cluster.up import down, up

    home = Path(tempfile.mkdtemp(prefix="jetsched-agree-"))
    found: dict[str, Any] = {}

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        up(Asked(options.emulate, policy=options.policy), home=home)
        if options.repeat:
            agreed = same_as_profile(
                home, options.emulate, device=options.device, repeat=options.repeat, say=say
            )
            found["live = profile"] = agreed.to_json()
        if options.jobs:
            report = twenty_jobs(home, count=options.jobs, say=say)
            found["simulated = live"] = report.to_json()
            off = report.free.off if report.free is not None else 1.0
            found["simulated = live"]["met"] = report.same and abs(off) <= SAME_MAKESPAN
    finally:
        down(home=home)
        shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(found, indent=2))
    return 0 if all(part["met"] for part in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
