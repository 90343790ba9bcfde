"""Memory, counted against measured: live bytes of training and inference, and decisions under caps.

Without arguments it prints both tables from what was measured for this project and is kept in
`tests/data`. ``--measure live`` and ``--measure fit`` run everything anew on this machine (some ten
minutes each) and write the record; ``fit`` needs a cgroup for its caps. ``--measure edge`` adds to
it the caps where an error would show first, as the model has them now.

Live bytes are counted by torch's own allocator (live_bytes.py). A decision is asked for first; then
the same job runs through the profiler's runner under that cap. Caps were not chosen by looking at
decisions: of each job one is drawn log-uniformly between 0.6 and 1.6 times what we expect it to
hold, and one is the nearest round size below or above that, by turns. At the *edges* the caps are
by half a per cent what just fits and what just never does: those are no sample of anything.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

from memory_cases import FIT_CASES, LIVE_CASES, Case, configs

from jetsched.files import from_json, to_json
from jetsched.profiler.costs import CostModel
from jetsched.profiler.limits import Limits, cap_kind
from jetsched.profiler.runner import Run, RunOrder, child_spec
from jetsched.profiler.suites import load_suite
from jetsched.records import Device, DeviceClass, Job, Measurement, Never

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "tests/data"
LIVE_RECORD, FIT_RECORD = DATA / "live_bytes.jsonl", DATA / "fit_cases.jsonl"
SEED = 20261124
LEAST, MOST = 0.6, 1.6  # caps, as a part of what is expected to be held
ROUND_MIB = (512.0, 768.0, 1024.0, 1536.0, 2048.0, 3072.0, 4096.0, 6144.0, 8192.0)
ENDLESS = DeviceClass("cpu", memory_mib=1e6)


# -- measuring -------------------------------------------------------------------------------------


def measure_live(models: Path, scratch: Path) -> Iterator[dict[str, Any]]:
    """Each case once, in a process of its own."""
    for number, case in enumerate(LIVE_CASES):
        folder = scratch / str(number)
        folder.mkdir()
        order = RunOrder(case.job(models), Device("here", ENDLESS), folder)
        spec = folder / "spec.json"
        spec.write_text(json.dumps(child_spec(order)))
        done = subprocess.run(
            [sys.executable, HERE / "live_bytes.py", spec],
            capture_output=True,
            text=True,
            check=False,
        )
        shutil.rmtree(folder)
        if done.returncode:
            print(f"{case}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        yield {"case": to_json(case), "live_mib": float(done.stdout)}


def caps(models: Path) -> Iterator[tuple[Case, float]]:
    """Every fit case with its two caps, MiB."""
    random, costs = Random(SEED), CostModel()
    for number, case in enumerate(FIT_CASES):
        verdict = costs.verdict(case.job(models), ENDLESS)
        if isinstance(verdict, Never):
            raise SystemExit(f"{case}: {verdict.text}")
        needed_mib = verdict.peak_memory_mib + verdict.runtime_mib
        expected_mib = (needed_mib + verdict.admitted_mib) / 2
        drawn = LEAST * (MOST / LEAST) ** random.random()
        yield case, round(drawn * expected_mib)
        below = [size for size in ROUND_MIB if size <= expected_mib]
        above = [size for size in ROUND_MIB if size > expected_mib]
        yield case, below[-1] if number % 2 and below else above[0]


def measure_fit(models: Path, scratch: Path) -> Iterator[dict[str, Any]]:
    """The quick suite without a cap first, then every case under each of its caps."""
    everything = DeviceClass("cpu", memory_mib=_memory_mib())
    for benchmark in load_suite("quick"):
        job = benchmark.on(everything).job
        measurement = run(job, everything, None, scratch / "run", benchmark.max_steps)
        yield {"quick": to_json(measurement)}
    for case, cap_mib in caps(models):
        yield _under_cap(case, cap_mib, models, scratch)


def measure_edge(models: Path, scratch: Path) -> Iterator[dict[str, Any]]:
    """Of every other case what just fits, and of the others what just never does."""
    costs = CostModel()
    for number, case in enumerate(FIT_CASES):
        verdict = costs.verdict(case.job(models), ENDLESS)
        assert not isinstance(verdict, Never)
        needed_mib = verdict.peak_memory_mib + verdict.runtime_mib
        cap_mib = round(verdict.admitted_mib / 0.995 if number % 2 else needed_mib * 0.995)
        yield {**_under_cap(case, cap_mib, models, scratch), "edge": True}


def _under_cap(case: Case, cap_mib: float, models: Path, scratch: Path) -> dict[str, Any]:
    where = DeviceClass("cpu", memory_mib=cap_mib)
    found = run(case.job(models), where, cap_mib, scratch / "run")
    return {
        "case": to_json(case),
        "cap_mib": cap_mib,
        "outcome": found.outcome,
        "peak_mib": found.peak_memory_mib,
        "time_s": found.time_s,
        "text": found.text,
    }


def run(
    job: Job, where: DeviceClass, cap_mib: float | None, folder: Path, max_steps: int | None = None
) -> Measurement:
    """The job in the profiler's own runner."""
    limits = Limits(memory_mib=cap_mib)
    order = RunOrder(job, Device("here", where), folder, limits=limits, max_steps=max_steps)
    measurement = Run.start(order).wait(900)
    shutil.rmtree(folder)
    return measurement


def _memory_mib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    from importlib import metadata

    versions = {name: metadata.version(name) for name in ("torch", "transformers")}
    libc = " ".join(platform.libc_ver())
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "memory_mib": round(_memory_mib()),
        "cap": cap_kind(),
        "libc": libc,
        **versions,
    }


# -- what comes of it ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Live:
    """Live bytes of a case, measured and counted; MiB."""

    case: Case
    measured_mib: float
    counted_mib: float

    @property
    def error(self) -> float:
        """Relative; below 0 where too little was counted."""
        return self.counted_mib / self.measured_mib - 1

    @property
    def in_bar(self) -> bool:
        """Whether the bar of 3 % is for it: training of GPT-2 shapes, everything in fp32."""
        plain = self.case.kind == "train" and not self.case.more
        return plain and not self.case.model.startswith(("llama", "qwen", "phi"))


def live_results(rows: Iterable[Mapping[str, Any]], models: Path) -> list[Live]:
    """The record's live bytes beside what is counted now."""
    found = []
    for row in rows:
        if "live_mib" in row:
            case: Case = from_json(Case, row["case"])
            counted = CostModel().memory(case.job(models).workload, ENDLESS)
            assert counted is not None
            found.append(Live(case, row["live_mib"], counted.live_mib))
    return found


@dataclass(frozen=True)
class Decision:
    """What was said of a job under a cap, and what came of it."""

    case: Case
    cap_mib: float
    verdict: str  # fits | tight | never
    ran: bool
    needed_mib: float
    admitted_mib: float

    @property
    def wrong(self) -> bool:
        """Said to fit and killed, or said never to and ran."""
        return self.verdict == ("never" if self.ran else "fits")


def decisions(
    rows: Iterable[Mapping[str, Any]], models: Path, costs: CostModel, *, edges: bool = False
) -> list[Decision]:
    """The record's cases, or those at the edges, judged by a model that has learnt none of them."""
    found = []
    for row in rows:
        if row.get("outcome") not in ("done", "killed_memory") or row.get("edge", False) != edges:
            continue
        case: Case = from_json(Case, row["case"])
        job, cap_mib = case.job(models), row["cap_mib"]
        verdict = costs.verdict(job, DeviceClass("cpu", memory_mib=cap_mib))
        word = "never" if isinstance(verdict, Never) else verdict.fit
        free = costs.verdict(job, ENDLESS)
        assert not isinstance(free, Never)
        needed_mib = free.peak_memory_mib + free.runtime_mib
        ran = row["outcome"] == "done"
        found.append(Decision(case, cap_mib, word, ran, needed_mib, free.admitted_mib))
    return found


def quick_rows(rows: Iterable[Mapping[str, Any]]) -> list[Measurement]:
    """What the quick suite measured on the same machine."""
    return [from_json(Measurement, row["quick"]) for row in rows if "quick" in row]


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a record."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def print_live(found: Sequence[Live]) -> None:
    print(f"{'live bytes, MiB':44} {'measured':>9} {'counted':>9} {'error':>7}")
    for each in found:
        figures = f"{each.measured_mib:9.1f} {each.counted_mib:9.1f} {each.error:+7.1%}"
        print(f"{each.case!s:44} {figures}")
    for title, some in (("training, GPT-2 shapes", [e for e in found if e.in_bar]), ("all", found)):
        errors = [each.error for each in some]
        print(
            f"{title}: {len(errors)} cases, MAPE {mean(map(abs, errors)):.1%}"
            f" (bar 3 %), {min(errors):+.1%} (bar -6 %) to {max(errors):+.1%}"
        )


def print_decisions(found: Sequence[Decision]) -> None:
    print(f"{'decisions under caps, MiB':44} {'cap':>6} {'needs':>6} {'admits':>6}")
    for d in found:
        figures = f"{d.cap_mib:6.0f} {d.needed_mib:6.0f} {d.admitted_mib:6.0f}"
        end = "ran" if d.ran else "killed"
        print(f"{d.case!s:44} {figures}  {d.verdict:6} {end}{'  WRONG' if d.wrong else ''}")


def print_sums(title: str, found: Sequence[Decision]) -> None:
    if not found:
        return
    killed = sum(d.wrong for d in found if d.verdict == "fits")
    would = sum(d.wrong for d in found if d.verdict == "never")
    tight = sum(d.verdict == "tight" for d in found) / len(found)
    ran = sum(d.ran for d in found)
    print(
        f"{title}: {len(found)} cases ({ran} ran): fits and killed {killed}, never and would run"
        f" {would} = {would / len(found):.1%}, tight {tight:.0%}"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--measure", choices=["live", "fit", "edge"], help="run anew, write the record"
    )
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "models").mkdir()
        models = configs(folder / "models")
        if given.measure:
            record = LIVE_RECORD if given.measure == "live" else FIT_RECORD
            ways = {"live": measure_live, "fit": measure_fit, "edge": measure_edge}
            with record.open("a" if given.measure == "edge" else "w", encoding="utf-8") as file:
                if given.measure != "edge":
                    file.write(json.dumps(machine()) + "\n")
                for row in ways[given.measure](models, folder):
                    print(json.dumps(row)[:150], flush=True)
                    file.write(json.dumps(row) + "\n")
                    file.flush()
        print_live(live_results(read(LIVE_RECORD), models))
        rows = read(FIT_RECORD)
        print_decisions(decisions(rows, models, CostModel()))
        for title, costs in (
            ("nothing measured", CostModel()),
            ("after the quick suite", CostModel(quick_rows(rows))),
        ):
            print_sums(title, decisions(rows, models, costs))
            print_sums(f"{title}, at the edges", decisions(rows, models, costs, edges=True))
        print(
            "bars: fits and killed 0, never and would run 5 %, tight under 20 % (not at the edges)"
        )


if __name__ == "__main__":
    main()
