"""What was measured, kept in the form that estimates are made from: by workload and kind of device.

Nothing here depends on the order in which measurements arrive, and one that arrives twice counts
once. What was *measured* and what is only *assumed* (the paper's profile, a simulated run) are kept
apart: the former wins.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import exp, inf, isfinite, log
from statistics import median
from typing import Any, Literal, NamedTuple

from jetsched.profiler.devices import power_mode_of
from jetsched.profiler.flaws import flaws_of
from jetsched.profiler.memory import DEFAULT_LORA_RANK
from jetsched.profiler.models import find
from jetsched.records import DeviceClass, Measurement, Outcome, Workload

#: A run that pushed more than this out to swap tells nothing about time.
SWAPPED_MIB = 64.0
#: Attempts that were cut short still tell how fast they were.
TIMED: frozenset[Outcome] = frozenset(
    {"done", "killed_time", "killed_heat", "preempted", "cancelled", "lost"}
)
#: One that failed by itself tells its rate where its child counted it. One that was killed for
#: memory does not: it may have been at its limit for long.
RATED = TIMED | {"failed"}
#: In nine of ten cases a normal value is below its mean plus so many sigma.
Z90 = 1.2816
#: So many of the latest runs of a workload on a speed class tell its time: the median of fewer
#: varies, that of more is late to follow a board that has changed.
RECENT = 20
#: Two boards of a kind do not have the same memory to the megabyte.
SAME_MEMORY = 1.02
#: With less than this part of its memory available a device was not a job's alone.
ALONE = 0.9

_MARKED = [f.name for f in fields(Measurement) if f.name not in ("phases_s", "identity")]


#: What computes.
Engine = Literal["cpu", "board"]


@dataclass(frozen=True, slots=True)
class SpeedClass:
    """Devices that take the same time: a device class without its memory."""

    model: str
    power_mode: str
    software: str
    emulated: bool

    @property
    def engine(self) -> Engine:
        """What computes. An emulated board is this machine's CPU: it says nothing of a real one."""
        return "cpu" if self.emulated or self.model == "cpu" else "board"

    @property
    def allocator(self) -> tuple[str, str]:
        """Devices whose processes hold the same memory for the same work."""
        return ("cpu" if self.engine == "cpu" else self.model, self.software)


def speed_class(device_class: DeviceClass) -> SpeedClass:
    """The speed class of a device class, its power mode under one name."""
    return SpeedClass(
        device_class.model,
        power_mode_of(device_class),
        device_class.software,
        device_class.emulated,
    )


def cost_key(workload: Workload) -> Workload:
    """The same workload under one name for all that cost the same.

    Aliases of a known model are one; the data set does not matter, because samples are padded.
    """
    known = find(workload.model)
    rank = workload.lora_rank or DEFAULT_LORA_RANK if workload.method == "lora" else 0
    return replace(
        workload, model=known.name if known else workload.model, dataset="", lora_rank=rank
    )


def needs_as_much(larger: Workload, smaller: Workload) -> bool:
    """Whether the first provably needs at least the memory of the second. Both are cost keys."""
    return (
        larger.kind == smaller.kind
        and larger.like == smaller.like
        and larger.command == smaller.command
        and larger.model == smaller.model
        and larger.method == smaller.method
        and larger.head == smaller.head
        and larger.precision == smaller.precision
        and larger.batch_size >= smaller.batch_size
        and larger.seq_len >= smaller.seq_len
        and larger.prompt_tokens >= smaller.prompt_tokens
        and larger.max_new_tokens >= smaller.max_new_tokens
        and larger.lora_rank >= smaller.lora_rank
        and larger.gradient_checkpointing <= smaller.gradient_checkpointing
        and (larger.accumulation_steps > 1) >= (smaller.accumulation_steps > 1)
    )


@dataclass(slots=True)
class Runs:
    """All runs of one workload on one speed class. Lists are sorted.

    Of runs whose time is known the latest RECENT tell how long it takes: boards change.
    """

    rates_s: list[float] = field(default_factory=list)
    loads_s: list[float] = field(default_factory=list)  # everything outside the work itself
    phases_s: dict[str, list[float]] = field(default_factory=dict)  # per unit of work
    peak_mib: float | None = None  # the largest
    live_mib: float | None = None  # the largest; tensors only
    done_with_mib: float = inf  # the smallest memory in which a run came to its end
    _timed: list[_Took] = field(default_factory=list)  # by when they were

    def add(self, measurement: Measurement) -> None:
        took = _took(measurement)
        if took is not None:
            for values, value in self._places_of(took):
                insort(values, value)
            if took.at:
                insort(self._timed, took)
            if len(self._timed) > RECENT:
                for values, value in self._places_of(self._timed.pop(0)):
                    del values[bisect_left(values, value)]
        if measurement.outcome == "done":
            self.peak_mib = _most(self.peak_mib, measurement.peak_memory_mib)
            self.live_mib = _most(self.live_mib, measurement.live_memory_mib)
            has_mib = _had_mib(measurement) or inf  # unknown proves nothing
            self.done_with_mib = min(has_mib, self.done_with_mib)

    def _places_of(self, took: _Took) -> Iterator[tuple[list[float], float]]:
        yield self.rates_s, took.rate_s
        for load_s in took.load_s:
            yield self.loads_s, load_s
        for name, phase_s in took.phases_s:
            yield self.phases_s.setdefault(name, []), phase_s


class _Took(NamedTuple):
    """How long a run took, per unit of work; ``load_s`` is empty where that is not known."""

    at: str
    rate_s: float
    load_s: tuple[float, ...]
    phases_s: tuple[tuple[str, float], ...]


def _took(m: Measurement) -> _Took | None:
    rate_s, load_s = rate_of(m), _load_s(m)
    if rate_s is None:
        return None
    phases_s = sorted(
        (name, phase_s / m.amount)
        for name, phase_s in m.phases_s.items()
        if phase_s > 0 and isfinite(phase_s) and m.amount > 0
    )
    return _Took(m.at, rate_s, () if load_s is None else (load_s,), tuple(phases_s))


@dataclass(frozen=True, slots=True)
class Kill:
    """A run that the device's memory did not suffice for."""

    workload: Workload
    has_mib: float
    at: str
    measured: bool


class Evidence:
    """Everything that was learnt, looked up by speed class and workload (a cost key)."""

    def __init__(self) -> None:
        self.measured: dict[SpeedClass, dict[Workload, Runs]] = {}
        self.assumed: dict[SpeedClass, dict[Workload, Runs]] = {}
        self._kills: dict[tuple[str, bool], list[Kill]] = {}
        self._seen: set[int] = set()

    def add(self, measurement: Measurement) -> bool:
        """Take it in; False if it tells nothing, or is here already."""
        if not self._tells(measurement):
            return False
        if measurement.at:  # one without a time cannot be told from its repetition
            mark = _mark(measurement)
            if mark in self._seen:
                return False
            self._seen.add(mark)
        workload, where = cost_key(measurement.workload), measurement.device_class
        real = measurement.source == "measured"
        if measurement.outcome == "killed_memory":
            has_mib = _had_mib(measurement) or _most(0.0, measurement.peak_memory_mib) or 0.0
            kill = Kill(workload, has_mib, measurement.at, real)
            insort(
                self._kills.setdefault((where.model, where.emulated), []),
                kill,
                key=lambda kill: (-kill.has_mib, kill.at, repr(kill)),
            )
            return True
        table = self.measured if real else self.assumed
        table.setdefault(speed_class(where), {}).setdefault(workload, Runs()).add(measurement)
        return True

    @staticmethod
    def _tells(measurement: Measurement) -> bool:
        if measurement.outcome == "killed_memory":
            return True  # whatever its sensors said
        if any(flaws_of(measurement)):
            return False
        if measurement.outcome == "done" and measurement.peak_memory_mib is not None:
            return True
        return rate_of(measurement) is not None

    def workloads(self) -> set[Workload]:
        """All of which a run is known, on whatever device."""
        tables = [*self.measured.values(), *self.assumed.values()]
        return {workload for table in tables for workload in table}

    def kills_on(self, device_class: DeviceClass) -> Sequence[Kill]:
        """All memory kills on devices of its model."""
        return self._kills.get((device_class.model, device_class.emulated), ())

    def kill_of(self, workload: Workload, device_class: DeviceClass) -> Kill | None:
        """A kill which proves that the workload cannot run there; the one with most memory.

        One that is only assumed proves nothing where a run was measured to its end.
        """
        for kill in self.kills_on(device_class):
            if device_class.memory_mib > kill.has_mib * SAME_MEMORY:
                return None  # the others had even less
            if needs_as_much(workload, kill.workload) and (
                kill.measured or not self._has_run(workload, device_class)
            ):
                return kill
        return None

    def _has_run(self, workload: Workload, device_class: DeviceClass) -> bool:
        return any(
            runs.done_with_mib <= device_class.memory_mib * SAME_MEMORY
            for where, runs in self.runs_of(workload)
            if (where.model, where.emulated) == (device_class.model, device_class.emulated)
        )

    def tables(self, *, measured: bool) -> Iterable[tuple[SpeedClass, Mapping[Workload, Runs]]]:
        """All runs by speed class."""
        return (self.measured if measured else self.assumed).items()

    def table(self, where: SpeedClass, *, measured: bool) -> Mapping[Workload, Runs]:
        """All runs on a speed class, by workload."""
        return (self.measured if measured else self.assumed).get(where, {})

    def runs(self, workload: Workload, where: SpeedClass, *, measured: bool) -> Runs | None:
        """The runs of a workload on a speed class."""
        return self.table(where, measured=measured).get(workload)

    def runs_of(
        self, workload: Workload, *, measured: bool = True
    ) -> Iterator[tuple[SpeedClass, Runs]]:
        """The workload's runs on every speed class."""
        for where, table in (self.measured if measured else self.assumed).items():
            if workload in table:
                yield where, table[workload]


def middle(values: list[float]) -> float | None:
    """The median, or None of nothing."""
    return median(values) if values else None


def p90_factor(values: list[float], *, sigma: float, weight: float = 3.0) -> float:
    """By how much a further value may exceed their median, in nine of ten cases.

    Values are taken as log-normal; ``sigma`` is what is expected before there are any, and counts
    as much as ``weight`` values: one measurement alone is not certain.
    """
    logs = [log(value) for value in values]
    mean = sum(logs) / len(logs) if logs else 0.0
    squares = weight * sigma**2 + sum((x - mean) ** 2 for x in logs)
    spread = (squares / (weight + max(len(logs) - 1, 0))) ** 0.5
    return exp(Z90 * spread * (1 + 1 / max(len(logs), 1)) ** 0.5)


def _had_mib(m: Measurement) -> float:
    """What the run could have of the device's memory; 0 where nobody knows.

    A cap may have left it less, and before a kill other processes may have held a part: such a run
    does not prove that the whole device is too small.
    """
    found = m.identity.get("run")
    run: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    has_mib, cap_mib = m.device_class.memory_mib, run.get("cap_mib")
    if cap_mib:
        has_mib = min(has_mib or inf, cap_mib)
    available_mib = run.get("memory_available_before_mib")
    if m.outcome == "killed_memory" and available_mib and available_mib < ALONE * has_mib:
        return float(available_mib)
    return float(has_mib)


def _mark(measurement: Measurement) -> int:
    """The same for the same measurement; its mappings say nothing that the rest does not."""
    return hash(tuple(getattr(measurement, name) for name in _MARKED))


def rate_of(m: Measurement) -> float | None:
    """Seconds for a unit of work, where the run tells how long that takes."""
    if m.outcome not in RATED or (m.swap_delta_mib or 0.0) > SWAPPED_MIB:
        return None
    rate_s = m.rate_s
    if rate_s is None and m.outcome == "done" and m.time_s and m.amount:
        rate_s = (m.time_s - (m.load_s or 0.0)) / m.amount
    return rate_s if rate_s is not None and isfinite(rate_s) and rate_s > 0 else None


def _load_s(m: Measurement) -> float | None:
    """Loading, and what else is not work: start and end of the process, writing the artefacts."""
    load_s = m.load_s
    if m.outcome == "done" and m.time_s is not None and m.work_s is not None:
        load_s = max(load_s or 0.0, m.time_s - m.work_s - (m.warmup_s or 0.0))
    return load_s if load_s is not None and isfinite(load_s) and load_s >= 0 else None


def _most(a: float | None, b: float | None) -> float | None:
    return max((x for x in (a, b) if x is not None and isfinite(x)), default=None)
