"""What can be wrong with a measured number, and how it is told: as data, with the row it is in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from jetsched.records import Measurement

#: A closed list. The last three only warn: the row, or the measurement, is kept.
FlawCode = Literal[
    "NotANumber",  # a cell that should be a number and is not
    "NonFinite",
    "Negative",
    "Zero",  # an unknown number is an empty cell, not 0
    "Missing",  # no time, no device, no workload
    "WrongCells",  # more or fewer cells than the header has
    "Unreadable",  # a line of a measurement file that is no measurement
    "UnitSlip",  # e.g. milliseconds for seconds
    "Impossible",  # faster than the device can be, or a data sheet of no device
    "Duplicate",
    "Contradiction",  # the same work on the same device, and quite another time
    "NoDataSheet",  # neither peak nor bandwidth of the device is known
    "NothingCounted",  # neither operations nor bytes: no model of time can say anything
    "NotTimed",  # a run that was killed, or swapped: it has no time to compare
    "IgnoredNumber",  # e.g. a peak that no such device has: taken as not known
    "Efficiency",
    "IgnoredCell",
]


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong. ``row`` counts the rows of a file from 1; 0: not out of a file."""

    code: FlawCode
    row: int
    text: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.text}" if self.row else self.text


#: Numbers of a measurement. Losses may be anything: they cost nothing.
_FINITE = (
    *("amount", "time_s", "load_s", "warmup_s", "work_s", "tokens_per_s", "peak_memory_mib"),
    *("live_memory_mib", "gpu_util_pct", "cpu_util_pct", "power_w", "energy_j"),
    *("swap_delta_mib", "temperature_c"),
)
#: More memory than this no device has that we know of: 4 TiB.
MOST_MIB = 4.0 * 1024 * 1024
_MAY_BE_NEGATIVE = ("swap_delta_mib", "temperature_c")


def flaws_of(measurement: Measurement, row: int = 0) -> Iterator[Flaw]:
    """What makes a measurement useless: numbers that are not finite, or negative.

    The cost model leaves such a measurement out. A kill and a failure are not flaws.
    """
    numbers = {name: getattr(measurement, name) for name in _FINITE}
    numbers.update({f"phases_s.{name}": value for name, value in measurement.phases_s.items()})
    for name, value in numbers.items():
        if value is None:
            continue
        if not isfinite(value):
            yield Flaw("NonFinite", row, f"{name} is {value}")
        elif value < 0 and name not in _MAY_BE_NEGATIVE:
            yield Flaw("Negative", row, f"{name} is negative: {value:g}")
    load_s, time_s = measurement.load_s, measurement.time_s
    if load_s is not None and time_s is not None and load_s > time_s * (1 + 1e-6) >= 0:
        yield Flaw("Contradiction", row, f"load_s is {load_s:.4g}, longer than all: {time_s:.4g} s")
