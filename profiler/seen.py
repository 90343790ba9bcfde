"""What runs say beside what they cost: how many there were, how they ended, what is odd about them.

Filled one measurement at a time and small whatever their number, so that a scheduler's process can
keep it for as long as it lives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from jetsched.profiler.evidence import SWAPPED_MIB, TIMED, SpeedClass, cost_key, speed_class
from jetsched.profiler.judged import believed, useless, warnings
from jetsched.profiler.quality import CONTRADICTS
from jetsched.records import DeviceClass, Measurement, Outcome, Workload
from jetsched.units import format_duration

#: So many of the last runs of a workload on a kind of device are kept one by one.
LAST = 12
#: How the ids of a profile's own runs begin; those of jobs are numbers.
PROFILE = "profile-"


@dataclass(frozen=True, slots=True)
class Run:
    """One run as it is listed; None: not measured."""

    at: str  # when it began, ISO 8601, UTC
    device: str
    job_id: str
    outcome: Outcome
    amount: float
    time_s: float | None
    load_s: float | None
    rate_s: float | None
    peak_memory_mib: float | None
    live_memory_mib: float | None
    timed: bool  # its rate tells how long the work takes
    believed: bool  # estimates make use of it


@dataclass(slots=True)
class Seen:
    """What the runs of a workload on a kind of device say beside its cost."""

    runs: int = 0
    kills: int = 0  # by memory
    peak_mib: float | None = None  # the most that a process held
    live_mib: float | None = None  # the most in tensors, where an allocator counted them
    last_at: str = ""
    fastest_s: float = inf
    slowest_s: float = 0.0
    #: By what is odd: in how many runs, and in words of the last one.
    flaws: dict[str, tuple[int, str]] = field(default_factory=dict)
    last: deque[Run] = field(default_factory=lambda: deque(maxlen=LAST))  # as they became known

    def add(self, m: Measurement, row: int, *, useless: bool) -> None:
        """Take a run in; ``useless``: estimates leave it out."""
        self.runs += 1
        self.kills += m.outcome == "killed_memory"
        self.last_at = max(self.last_at, m.at)
        timed = not useless and _has_rate(m)
        if timed and m.rate_s is not None:
            self.fastest_s = min(self.fastest_s, m.rate_s)
            self.slowest_s = max(self.slowest_s, m.rate_s)
        sound = believed(m)
        peak_mib = sound.peak_memory_mib if sound is not None else None
        live_mib = sound.live_memory_mib if sound is not None else None
        self.peak_mib = _most(self.peak_mib, peak_mib)
        self.live_mib = _most(self.live_mib, live_mib)
        for flaw in warnings(m, row):
            self.flaws[flaw.code] = self.flaws.get(flaw.code, (0, ""))[0] + 1, flaw.text
        run = Run(
            m.at,
            m.device,
            m.job_id,
            m.outcome,
            m.amount,
            m.time_s,
            m.load_s,
            m.rate_s,
            peak_mib,
            live_mib,
            timed,
            sound is not None,
        )
        self.last.append(run)

    def warnings(self) -> tuple[str, ...]:
        """One line for all runs with the same flaw."""
        found = [
            text + (f" ({many:,} runs)" if many > 1 else "") for many, text in self.flaws.values()
        ]
        if self.slowest_s > CONTRADICTS * self.fastest_s:
            least, most = format_duration(self.fastest_s), format_duration(self.slowest_s)
            factor = self.slowest_s / self.fastest_s
            found.append(f"repeats differ {factor:,.1f}-fold: {least} to {most}")
        return tuple(found)


@dataclass(slots=True)
class Source:
    """What was learnt from a kind of device, in all."""

    device_class: DeviceClass  # as it was the last time
    runs: int = 0
    of_jobs: int = 0  # the others are a profile's
    kills: int = 0  # by memory
    left_out: int = 0  # that estimates make no use of
    workloads: set[Workload] = field(default_factory=set)
    boards: set[str] = field(default_factory=set)  # ids, where the fleet had some
    last_at: str = ""


class Sightings:
    """All runs that were measured, by workload (a cost key) and kind of device."""

    def __init__(self, measurements: Iterable[Measurement] = ()) -> None:
        self.seen: dict[tuple[Workload, SpeedClass], Seen] = {}
        self.sources: dict[SpeedClass, Source] = {}
        self._workloads: dict[Workload, str] = {}  # when each was measured last
        self._devices: dict[SpeedClass, tuple[str, DeviceClass]] = {}
        self._named: dict[str, set[SpeedClass]] = {}
        self._counted: set[int] = set()
        self._rows = 0
        for measurement in measurements:
            self.add(measurement)

    def add(self, m: Measurement) -> None:
        """Take a measurement in; one that is here already, or was only assumed, is no run."""
        self._rows += 1
        work, speed = cost_key(m.workload), speed_class(m.device_class)
        self._workloads[work] = max(m.at, self._workloads.get(work, ""))
        known = self._devices.get(speed)
        if known is None or m.at >= known[0]:
            self._devices[speed] = m.at, m.device_class
        self._named.setdefault(m.device, set()).add(speed)
        mark = hash((m.at, m.device, m.job_id, m.outcome, m.time_s))
        if m.source != "measured" or (m.at and mark in self._counted):
            return  # the head may tell what the board's own store has as well
        self._counted.add(mark)
        left_out = any(useless(m))
        self.seen.setdefault((work, speed), Seen()).add(m, self._rows, useless=left_out)
        self._count(m, work, speed, left_out and m.outcome != "killed_memory")

    def _count(self, m: Measurement, work: Workload, speed: SpeedClass, left_out: bool) -> None:
        source = self.sources.setdefault(speed, Source(m.device_class))
        source.device_class = self._devices[speed][1]
        source.runs += 1
        source.of_jobs += bool(m.job_id) and not m.job_id.startswith(PROFILE)
        source.kills += m.outcome == "killed_memory"
        source.left_out += left_out
        source.workloads.add(work)
        source.boards |= {m.device} - {""}
        source.last_at = max(source.last_at, m.at)

    @property
    def workloads(self) -> list[Workload]:
        """The cost keys of all that was measured, the last one first."""
        return sorted(self._workloads, key=lambda workload: self._workloads[workload], reverse=True)

    def devices(self, also: Iterable[DeviceClass] = ()) -> list[DeviceClass]:
        """The kinds of device that something was measured on, one each: as it was the last time.

        Two that differ in memory only are one kind. ``also``: those of calibrations.
        """
        last = dict(self._devices)
        for device in also:
            last.setdefault(speed_class(device), ("", device))
        found = [device for _, device in last.values()]
        return sorted(found, key=lambda d: (d.emulated, d.model, d.power_mode, d.software))

    def of_device(self, device_id: str) -> set[SpeedClass]:
        """What a board of this id was when something was measured on it."""
        return self._named.get(device_id, set())

    @property
    def device_ids(self) -> set[str]:
        """The ids of boards that something was measured on."""
        return self._named.keys() - {""}

    def of(self, workload: Workload, device_class: DeviceClass) -> Seen:
        """The runs of a workload on a kind of device; none at all where there were none."""
        return self.seen.get((cost_key(workload), speed_class(device_class))) or Seen()


def is_timed(m: Measurement) -> bool:
    """Whether its rate is one that tells how long the work takes."""
    return _has_rate(m) and not any(useless(m))


def _has_rate(m: Measurement) -> bool:
    timed = m.source == "measured" and m.outcome in TIMED
    return timed and (m.swap_delta_mib or 0.0) <= SWAPPED_MIB and bool(m.rate_s)


def _most(a: float | None, b: float | None) -> float | None:
    return max((x for x in (a, b) if x is not None), default=None)
