"""A file of our own measurements as a table: its columns, and which of its lines are of use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jetsched.errors import InputError
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costtable import EMPTY
from jetsched.profiler.evidence import SWAPPED_MIB, cost_key, speed_class
from jetsched.profiler.flaws import Flaw
from jetsched.profiler.judged import believed, timed_of, useless, warnings
from jetsched.profiler.quality import (
    Timed,
    contradictions,
    duplicates,
    unit_slips,
)
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Measurement

#: What can be held out. ``device`` is the kind of board, ``board`` the id of one.
COLUMNS: Mapping[str, Callable[[Measurement], object]] = {
    # One under all its names: else its runs under another one would give it away.
    "workload": lambda m: cost_key(m.workload).label,
    "model": lambda m: cost_key(m.workload).model,
    "kind": lambda m: m.workload.kind,
    "precision": lambda m: m.workload.precision,
    "batch_size": lambda m: m.workload.batch_size,
    "seq_len": lambda m: m.workload.seq_len,
    "prompt_tokens": lambda m: m.workload.prompt_tokens,
    "max_new_tokens": lambda m: m.workload.max_new_tokens,
    "method": lambda m: m.workload.method,
    "head": lambda m: m.workload.head,
    "dataset": lambda m: m.workload.dataset,
    "gradient_checkpointing": lambda m: m.workload.gradient_checkpointing,
    "device": lambda m: m.device_class.label,
    "device_model": lambda m: m.device_class.model,
    "power_mode": lambda m: m.device_class.power_mode,
    "software": lambda m: m.device_class.software,
    "emulated": lambda m: m.device_class.emulated,
    "board": lambda m: m.device,
}

#: What a table of costs calls the same.
ALIASES: Mapping[str, str] = {"batch": "batch_size"}


@dataclass(frozen=True, slots=True)
class MeasuredTable:
    """The usable measurements by line, and which of them have a time to compare."""

    measurements: tuple[tuple[int, Measurement], ...]
    timed: tuple[int, ...]
    left_out: tuple[Flaw, ...] = ()
    warnings: tuple[Flaw, ...] = ()
    calibrations: tuple[Calibration, ...] = ()


def group_of(measurement: Measurement, column: str) -> str:
    """What stands in a column of :data:`COLUMNS`."""
    return str(COLUMNS[column](measurement)) or EMPTY


def read_measured(path: Path) -> MeasuredTable:
    """The measurements of a file, numbered by its lines; calibrations.jsonl beside it counts too.

    A run that was killed has no time to compare, but what it proves is used in fits. Raises
    InputError where no line is of use; OSError where the file cannot be read.
    """
    with path.open("rb"):  # a store that is not there is merely empty
        pass
    store = MeasurementStore(path)
    numbered = store.numbered()
    left_out = [Flaw("Unreadable", bad.line, bad.text) for bad in store.bad]
    usable = dict(numbered)
    for number, measurement in numbered:
        if believed(measurement) is None:
            left_out += useless(measurement, number)
            del usable[number]
    left_out += _drop(usable, duplicates((number, repr(m)) for number, m in usable.items()))
    left_out += _drop(usable, unit_slips(_timed(usable)))
    left_out += _drop(usable, contradictions(_timed(usable)))
    untimed = [flaw for number, m in usable.items() if (flaw := _untimed(number, m)) is not None]
    if len(untimed) == len(usable):
        first = min([*left_out, *untimed], key=lambda flaw: flaw.row, default=None)
        why = f": {first}" if first else ""
        raise InputError(f"{path} has no measurement with a time that can be compared{why}")
    without = {flaw.row for flaw in untimed}
    odd = [
        flaw
        for number, m in usable.items()
        for flaw in warnings(m, number)
        if flaw.code != "Efficiency" or number not in without
    ]
    return MeasuredTable(
        tuple(usable.items()),
        tuple(number for number in usable if number not in without),
        tuple(sorted([*left_out, *untimed], key=lambda flaw: flaw.row)),
        tuple(odd),
        tuple(CalibrationStore(path.with_name("calibrations.jsonl")).read()),
    )


def _drop(usable: dict[int, Measurement], flaws: list[Flaw]) -> list[Flaw]:
    for flaw in flaws:
        usable.pop(flaw.row, None)
    return flaws


def _timed(usable: Mapping[int, Measurement]) -> list[Timed]:
    """Those with a rate, beside their data sheets; repeats have the same key."""
    found = []
    for number, m in usable.items():
        timed = timed_of(m, number) if _untimed(number, m) is None else None
        if timed is not None:
            key = (cost_key(m.workload), speed_class(m.device_class))
            found.append(replace(timed, key=key))
    return found


def _untimed(number: int, m: Measurement) -> Flaw | None:
    """Why a measurement has no time to compare a prediction with."""
    if m.workload.kind == "command":
        return Flaw("NotTimed", number, "a command: only its own runs say how long it takes")
    if m.source != "measured":
        return Flaw("NotTimed", number, f"it is {m.source}, not measured")
    if m.outcome != "done":
        return Flaw("NotTimed", number, f"{m.outcome}: it has no whole time to compare")
    if not m.time_s or not m.amount or not m.rate_s:
        return Flaw("NotTimed", number, "its time or its amount of work was not measured")
    if (m.swap_delta_mib or 0.0) > SWAPPED_MIB:
        return Flaw("NotTimed", number, f"it swapped {m.swap_delta_mib:.0f} MiB")
    return None
