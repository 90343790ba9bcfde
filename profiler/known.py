"""What the cost model knows: for each workload and kind of device, what it costs and says who.

The answers are those of :class:`~jetsched.profiler.costs.CostModel`, as the scheduler gets them;
what they rest on (runs, kills, warnings) is counted beside them. Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from jetsched.errors import InputError
from jetsched.profiler.bundled import paper_workload
from jetsched.profiler.costs import Cost, CostModel
from jetsched.profiler.devices import DEVICE_MODELS, device_model
from jetsched.profiler.evidence import SpeedClass, cost_key, speed_class
from jetsched.profiler.heldout import is_timed
from jetsched.profiler.judged import believed, warnings
from jetsched.profiler.paper import NX, ORIN, TABLE_2
from jetsched.profiler.quality import CONTRADICTS
from jetsched.records import Code, DeviceClass, Measurement, Method, Never, Source, Workload
from jetsched.units import format_duration

Fits = Literal["fits", "tight", "never", "unknown"]
Unit = Literal["sample", "prompt", "run"]

#: Of more workloads than this, those that were measured last are shown.
MOST = 40
#: Boards that are shown before anything was measured on one.
PAPER_BOARDS = (NX, ORIN)
_UNITS: Mapping[str, Unit] = {"train": "sample", "infer": "prompt", "command": "run"}
_KINDS = tuple(_UNITS)


@dataclass(frozen=True, slots=True)
class Known:
    """What a workload costs on a kind of device. None: not known, or it never runs there."""

    workload: Workload  # a cost key
    device_class: DeviceClass
    fits: Fits
    code: Code | None = None  # of *never* and *unknown*
    reason: str = ""
    note: str = ""  # what the time was extrapolated over
    source: Source | None = None
    method: Method | None = None
    measurements: int = 0  # that the time rests on
    rate_s: float | None = None  # seconds for a unit of work, p50
    rate_p90_s: float | None = None
    load_s: float | None = None
    live_memory_mib: float | None = None  # as counted, or as measured
    admitted_mib: float | None = None
    peak_memory_mib: float | None = None  # the most that a process held here
    gpu_util_pct: float | None = None
    power_w: float | None = None
    runs: int = 0  # of this workload here, however they ended
    kills: int = 0  # of those, by memory
    last_seen: str = ""  # when the last of them was, ISO 8601, UTC
    warnings: tuple[str, ...] = ()

    @property
    def killed(self) -> bool:
        """Never, and because a run of it, or of something smaller, was killed."""
        return self.fits == "never" and (self.kills > 0 or "killed" in self.reason)

    @property
    def unit(self) -> Unit:
        """What the rate is of."""
        return _UNITS[self.workload.kind]

    @property
    def energy_j(self) -> float | None:
        """Of a unit of work."""
        if self.power_w is None or self.rate_s is None:
            return None
        return self.power_w * self.rate_s


@dataclass(slots=True)
class _Seen:
    """What the runs of a workload on a kind of device say beside its cost."""

    runs: int = 0
    kills: int = 0
    peak_mib: float | None = None
    last: str = ""
    fastest_s: float = inf
    slowest_s: float = 0.0
    flaws: dict[str, list[str]] = field(default_factory=dict)  # by what is odd

    def warnings(self) -> tuple[str, ...]:
        """One line for all runs with the same flaw."""
        found = [
            texts[-1] + (f" ({len(texts):,} runs)" if len(texts) > 1 else "")
            for texts in self.flaws.values()
        ]
        if self.slowest_s > CONTRADICTS * self.fastest_s:
            least, most = format_duration(self.fastest_s), format_duration(self.slowest_s)
            factor = self.slowest_s / self.fastest_s
            found.append(f"repeats differ {factor:,.1f}-fold: {least} to {most}")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The rows of ``workloads`` x ``devices``, workload by workload."""

    rows: tuple[Known, ...]
    workloads: tuple[Workload, ...]
    devices: tuple[DeviceClass, ...]
    left_out: int = 0  # workloads that were measured before those that are shown


def known(
    measurements: Sequence[Measurement],
    costs: CostModel,
    calibrated: Iterable[DeviceClass] = (),
    *,
    device: str = "",
    workload: str = "",
    everything: bool = False,
) -> Knowledge:
    """What ``costs`` knows of what was measured, of the paper's workloads and of its two boards.

    ``device`` and ``workload`` are what a person calls them: part of the name is enough. Not
    ``everything``: the workloads that were measured last, and no other boards. Devices of which
    there is no more than a calibration are known as well. Raises InputError where nothing has such
    a name.
    """
    devices = _devices(measurements, calibrated, device, everything)
    workloads = _workloads(measurements, workload)
    shown = workloads if everything or workload else workloads[:MOST]
    seen = _seen(measurements)
    places = [(each, speed_class(each)) for each in devices]
    rows = [
        _known(work, each, costs, seen.get((work, speed), _Seen()))
        for work in sorted(shown, key=_order)
        for each, speed in places
    ]
    left_out = len(workloads) - len(shown)
    return Knowledge(tuple(rows), tuple(sorted(shown, key=_order)), tuple(devices), left_out)


def _workloads(measurements: Sequence[Measurement], text: str) -> list[Workload]:
    """The paper's and those that were measured, the last one first, with these words in them."""
    found = dict.fromkeys([*paper_workloads(), *measured_workloads(measurements)])
    words = text.lower().split()
    chosen = [work for work in found if all(word in _words(work) for word in words)]
    if not chosen:
        raise InputError(
            f"no workload that was measured has {text!r} in its name",
            hint="jetsched costs show has all names; of any other: jetsched estimate FILE.yaml",
        )
    return chosen


def _words(workload: Workload) -> str:
    return f"{workload.label} {workload.model} {workload.head} {workload.key}".lower()


def _devices(
    measurements: Sequence[Measurement],
    calibrated: Iterable[DeviceClass],
    name: str,
    everything: bool,
) -> list[DeviceClass]:
    """Those that something was measured on, then boards of which there is a data sheet only."""
    measured = measured_devices(measurements, calibrated)
    real = {device.model for device in measured if not device.emulated}
    wanted = DEVICE_MODELS if everything or name else PAPER_BOARDS
    found = [*measured, *(by_sheet(model) for model in wanted if model not in real)]
    if not name:
        return found
    ids = {speed_class(m.device_class) for m in measurements if m.device == name}
    chosen = [d for d in found if speed_class(d) in ids] or [
        device for device in found if name.lower() in f"{device.label} {device.software}".lower()
    ]
    if not chosen:
        names = sorted({device.model for device in found} | {m.device for m in measurements} - {""})
        raise InputError(f"there is no device {name!r}", hint=f"there is: {', '.join(names)}")
    return chosen


def measured_workloads(measurements: Iterable[Measurement]) -> list[Workload]:
    """The cost keys of all that was measured, the last one first."""
    last: dict[Workload, str] = {}
    for m in measurements:
        key = cost_key(m.workload)
        last[key] = max(m.at, last.get(key, ""))
    return sorted(last, key=lambda workload: last[workload], reverse=True)


def paper_workloads() -> list[Workload]:
    """The cost keys of what the paper ran."""
    return [cost_key(paper_workload(model)) for model in TABLE_2]


def measured_devices(
    measurements: Iterable[Measurement], calibrated: Iterable[DeviceClass] = ()
) -> list[DeviceClass]:
    """The kinds of device that something was measured on, one each: as it was the last time.

    Two that differ in memory only are one kind.
    """
    last: dict[SpeedClass, tuple[str, DeviceClass]] = {}
    for m in measurements:
        speed = speed_class(m.device_class)
        if speed not in last or m.at >= last[speed][0]:
            last[speed] = m.at, m.device_class
    for device in calibrated:
        last.setdefault(speed_class(device), ("", device))
    devices = [device for _, device in last.values()]
    return sorted(devices, key=lambda d: (d.emulated, d.model, d.power_mode, d.software))


def by_sheet(model: str) -> DeviceClass:
    """A device of which only the data sheet is known, in its default power mode, headless."""
    row = device_model(model)
    return DeviceClass(model, row.default_power_mode, "", row.usable_mib)


def _order(workload: Workload) -> tuple[object, ...]:
    w = workload
    return (
        _KINDS.index(w.kind),
        w.model,
        w.batch_size,
        w.seq_len,
        w.prompt_tokens,
        w.max_new_tokens,
        w.precision,
        w.method,
        w.head,
        repr(w),
    )


def _seen(measurements: Iterable[Measurement]) -> dict[tuple[Workload, SpeedClass], _Seen]:
    found: dict[tuple[Workload, SpeedClass], _Seen] = {}
    counted: set[tuple[object, ...]] = set()
    for row, m in enumerate(measurements, start=1):
        mark = (m.at, m.device, m.job_id, m.outcome, m.time_s)
        if m.source != "measured" or (m.at and mark in counted):
            continue  # the head may tell what the board's own store has as well
        counted.add(mark)
        seen = found.setdefault((cost_key(m.workload), speed_class(m.device_class)), _Seen())
        seen.runs += 1
        seen.kills += m.outcome == "killed_memory"
        seen.last = max(seen.last, m.at)
        if is_timed(m) and m.rate_s is not None:
            seen.fastest_s = min(seen.fastest_s, m.rate_s)
            seen.slowest_s = max(seen.slowest_s, m.rate_s)
        sound = believed(m)
        if sound is not None and sound.peak_memory_mib is not None:
            seen.peak_mib = max(seen.peak_mib or 0.0, sound.peak_memory_mib)
        for flaw in warnings(m, row):
            seen.flaws.setdefault(flaw.code, []).append(flaw.text)
    return found


def fits_of(cost: Cost | Never) -> Fits:
    """In one word. A board that lacks e.g. a precision never runs it either."""
    if isinstance(cost, Never):
        return "unknown" if cost.code == "NotProfiled" else "never"
    return cost.fit


def _known(workload: Workload, device: DeviceClass, costs: CostModel, seen: _Seen) -> Known:
    cost = costs.cost(workload, device)
    if isinstance(cost, Never):
        return Known(
            workload,
            device,
            fits_of(cost),
            code=cost.code,
            reason=cost.text,
            source=cost.source,
            live_memory_mib=cost.peak_memory_mib,
            admitted_mib=cost.admitted_mib,
            peak_memory_mib=seen.peak_mib,
            runs=seen.runs,
            kills=seen.kills,
            last_seen=seen.last,
            warnings=seen.warnings(),
        )
    return Known(
        workload,
        device,
        cost.fit,
        note=cost.note,
        source=cost.source,
        method=cost.method,
        measurements=cost.measurements,
        rate_s=cost.rate_s,
        rate_p90_s=cost.rate_s * cost.p90,
        load_s=cost.load_s,
        live_memory_mib=cost.peak_memory_mib,
        admitted_mib=cost.admitted_mib,
        peak_memory_mib=seen.peak_mib,
        gpu_util_pct=cost.gpu_util_pct,
        power_w=cost.power_w,
        runs=seen.runs,
        kills=seen.kills,
        last_seen=seen.last,
        warnings=seen.warnings(),
    )
