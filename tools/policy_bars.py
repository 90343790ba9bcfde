"""One line of `make bench-policies`, and what its parts have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from jetsched import policies
from jetsched.cluster.simulating import Scenario, SimulationRun, simulate
from jetsched.records import Device, DeviceClass

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"

#: Policies that look at the whole queue each time, or exist for a batch: no greedy ones.
PLANNERS = frozenset({"matching", "min_min", "max_min", "sufferage", "makespan"})
NX, ORIN = "xavier-nx", "orin-nano"


@dataclass(frozen=True)
class Row:
    """A bar, what was measured, and beside what; ``met`` is None where there is no bar."""

    test: str
    measured: str
    bar: str = ""
    peer: str = ""
    met: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        missed = "MISSED" if self.met is False else ""
        return self.test, self.measured, self.bar, missed, self.peer

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


TITLES = ("TEST", "MEASURED", "BAR", "", "PEERS, OR THE BOUND")


@dataclass(frozen=True)
class Asked:
    """What a bench is to do: in full, or in smaller steps; where the data are; over which seeds."""

    full: bool = False
    data: Path = DATA
    seeds: int = 3


def has(name: str) -> bool:
    return name in policies.BUILT_IN


def left_out(test: str, why: str) -> Row:
    return Row(test, f"left out: {why}")


def missing(test: str, *names: str) -> Iterator[Row]:
    """A row for each policy that is not there (yet)."""
    for name in names:
        if not has(name):
            yield left_out(test, f"there is no policy {name}")


def a_fleet(**counts: int) -> list[Device]:
    """Devices of classes that only a table knows; more memory than any of its jobs asks for."""
    return [
        Device(f"{model}-{number}", DeviceClass(model, memory_mib=1e6))
        for model, count in counts.items()
        for number in range(1, count + 1)
    ]


def mean_s(runs: Sequence[SimulationRun]) -> float:
    return fmean(run.metrics.mean_completion_s or 0.0 for run in runs)


def p99_s(runs: Sequence[SimulationRun]) -> float:
    return fmean(run.metrics.p99_completion_s or 0.0 for run in runs)


def all_done(spec: str, world: Scenario) -> SimulationRun:
    """A run of which every job must come to its end, by the policy's own decisions."""
    run = simulate(spec, world)
    if run.metrics.unfinished:
        raise RuntimeError(f"{spec} left {run.metrics.unfinished} jobs undone")
    if run.scheduler.policy_errors:
        raise RuntimeError(f"{spec}: {run.scheduler.policy_errors[0]}")
    return run
