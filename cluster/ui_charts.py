"""Where marks and bars of pictures lie: pure sums, which templates draw as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log


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


def points(places: Iterable[tuple[float, float]]) -> str:
    """The ``points`` of a polyline, to a tenth."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
