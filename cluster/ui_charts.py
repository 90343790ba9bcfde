"""Where marks and bars of pictures lie: pure sums, which templates draw as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor, log, log10

from jetsched.units import format_rate

#: Ticks of a time axis, in seconds; those between are for axes of less than three decades.
_TICKS_S = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36000.0, 360000.0)
_BETWEEN_S = (2e-3, 5e-3, 0.02, 0.05, 0.2, 0.5, 2.0, 5.0, 20.0, 120.0, 300.0, 1800.0, 7200.0)


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a bar."""

    x: float
    width: float


def stacked(amounts: Sequence[float], most: float, width: float) -> list[Segment]:
    """One beside the other; ``most`` is as wide as ``width``."""
    scale, x, found = width / most if most > 0 else 0.0, 0.0, []
    for amount in amounts:
        found.append(Segment(x, amount * scale))
        x += amount * scale
    return found


class LogScale:
    """Maps positive numbers to places between 0 and ``length``, with room at both ends."""

    def __init__(self, values: Iterable[float], length: float, room: float = 1.6) -> None:
        found = [value for value in values if value > 0]
        self.low, self.high = min(found, default=1.0) / room, max(found, default=1.0) * room
        self.length = length

    def at(self, value: float) -> float:
        """The place of a number; what lies beyond an end is put on it."""
        value = min(max(value, self.low), self.high)
        return self.length * log(value / self.low) / log(self.high / self.low)

    def seconds(self) -> list[Tick]:
        """Ticks for times."""
        ticks = _TICKS_S + (_BETWEEN_S if self.high / self.low < 1000 else ())
        return [
            Tick(self.at(t), format_rate(t)) for t in sorted(ticks) if self.low <= t <= self.high
        ]

    def factors(self) -> list[Tick]:
        """Ticks for how many times as long: 1x, and what lies beside it."""
        ticks = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
        if self.high / self.low < 4:
            ticks = (0.5, 0.7, 0.85, 1.0, 1.15, 1.4, 2.0)
        return [Tick(self.at(t), f"{t:g}x") for t in ticks if self.low <= t <= self.high]


def points(places: Iterable[tuple[float, float]]) -> str:
    """The ``points`` of a polyline, to a tenth."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7 and their tenfolds, for the end of an axis."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 5, 7, 10) if step * power >= value * 0.9999)
