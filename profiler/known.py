"""What the cost model knows: for each workload and kind of device, what it costs and says who.

The answers are those of :class:`~jetsched.profiler.costs.CostModel`, as the scheduler gets them;
what they rest on (runs, kills, warnings) is counted beside them. Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from jetsched.errors import InputError
from jetsched.profiler.bundled import paper_workload
from jetsched.profiler.costs import Cost, CostModel
from jetsched.profiler.devices import DEVICE_MODELS, device_model
from jetsched.profiler.evidence import cost_key, speed_class
from jetsched.profiler.paper import NX, ORIN, TABLE_2
from jetsched.profiler.seen import Sightings
from jetsched.records import Code, DeviceClass, Measurement, Method, Never, Source, Workload

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


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The rows of ``workloads`` x ``devices``, workload by workload."""

    rows: tuple[Known, ...]
    workloads: tuple[Workload, ...]
    devices: tuple[DeviceClass, ...]
    left_out: int = 0  # workloads that were measured before those that are shown


def known(
    measurements: Iterable[Measurement],
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
    seen = Sightings(measurements)
    devices = _devices(seen, calibrated, device, everything)
    workloads = _workloads(seen, workload)
    shown = workloads if everything or workload else workloads[:MOST]
    rows = [
        known_of(work, each, costs, seen) for work in sorted(shown, key=_order) for each in devices
    ]
    left_out = len(workloads) - len(shown)
    return Knowledge(tuple(rows), tuple(sorted(shown, key=_order)), tuple(devices), left_out)


def _workloads(seen: Sightings, text: str) -> list[Workload]:
    """The paper's and those that were measured, the last one first, with these words in them."""
    found = dict.fromkeys([*paper_workloads(), *seen.workloads])
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
    seen: Sightings, calibrated: Iterable[DeviceClass], name: str, everything: bool
) -> list[DeviceClass]:
    """Those that something was measured on, then boards of which there is a data sheet only."""
    measured = seen.devices(calibrated)
    real = {device.model for device in measured if not device.emulated}
    wanted = DEVICE_MODELS if everything or name else PAPER_BOARDS
    found = [*measured, *(by_sheet(model) for model in wanted if model not in real)]
    if not name:
        return found
    ids = seen.of_device(name)
    chosen = [d for d in found if speed_class(d) in ids] or [
        device for device in found if name.lower() in f"{device.label} {device.software}".lower()
    ]
    if not chosen:
        names = sorted({device.model for device in found} | seen.device_ids)
        raise InputError(f"there is no device {name!r}", hint=f"there is: {', '.join(names)}")
    return chosen


def paper_workloads() -> list[Workload]:
    """The cost keys of what the paper ran."""
    return [cost_key(paper_workload(model)) for model in TABLE_2]


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


def fits_of(cost: Cost | Never) -> Fits:
    """In one word. A board that lacks e.g. a precision never runs it either."""
    if isinstance(cost, Never):
        return "unknown" if cost.code == "NotProfiled" else "never"
    return cost.fit


def known_of(
    workload: Workload, device: DeviceClass, costs: CostModel, sightings: Sightings
) -> Known:
    """What a workload costs on a kind of device by ``costs``, and what its runs there say."""
    cost, seen = costs.cost(workload, device), sightings.of(workload, device)
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
            last_seen=seen.last_at,
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
        last_seen=seen.last_at,
        warnings=seen.warnings(),
    )
