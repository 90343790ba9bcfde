"""A span of time along a picture: where a moment stands, and which ones are named."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jetsched.units import format_duration

#: Steps between the moments that are named, in seconds.
_STEPS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200)
_DAY_S = 86_400.0
#: At most so many moments are named: at phone width there is room for no more.
_MOST = 7


@dataclass(frozen=True)
class Scale:
    """From when to when, the moments that are named, and what they are in words."""

    from_s: float
    until_s: float
    ticks: Sequence[tuple[float, str]]
    words: str = ""

    @property
    def span_s(self) -> float:
        return max(self.until_s - self.from_s, 1e-6)

    def at(self, at_s: float) -> float:
        """Where a moment stands, as a part of the width from 0 to 1."""
        return min(1.0, max(0.0, (at_s - self.from_s) / self.span_s))


def elapsed(span_s: float, words: str = "") -> Scale:
    """From 0 on, in durations."""
    step_s = _step_s(span_s)
    count = int(span_s / step_s + 1e-9)
    ticks = [(0.0, "0")] + [(n * step_s, format_duration(n * step_s)) for n in range(1, count + 1)]
    return Scale(0.0, span_s, ticks, words)


def on_the_clock(from_s: float, until_s: float) -> Scale:
    """Moments of this machine's clock, in its time zone: days where there are several."""
    span_s = max(until_s - from_s, 1e-6)
    days = span_s / _DAY_S
    if days > 2:
        ticks = _days(from_s, until_s, max(1, round(days / _MOST + 0.499)))
    else:
        step_s = _step_s(span_s)
        shown = "%H:%M" if step_s >= 60 else "%H:%M:%S"
        first_s = _midnight_s(from_s)
        count = int((until_s - first_s) / step_s)
        first = int((from_s - first_s) / step_s)
        moments = [first_s + n * step_s for n in range(first, count + 1)]
        ticks = [
            (at_s, time.strftime(shown, time.localtime(at_s))) for at_s in moments if at_s >= from_s
        ]
    shown = "%d %b %Y" if days > 2 else "%d %b %Y %H:%M"
    first_words, last_words = (
        time.strftime(shown, time.localtime(at_s)) for at_s in (from_s, until_s)
    )
    zone = time.strftime("%Z", time.localtime(until_s))
    return Scale(from_s, until_s, ticks, f"{first_words} to {last_words}, {zone}.")


def _step_s(span_s: float) -> float:
    found = next((step for step in _STEPS_S if span_s / step <= _MOST), None)
    if found is not None:
        return float(found)
    days = 1
    while span_s / (days * _DAY_S) > _MOST:
        days *= 2
    return days * _DAY_S


def _midnight_s(at_s: float) -> float:
    day = datetime.fromtimestamp(at_s)
    return day.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def _days(from_s: float, until_s: float, every: int) -> list[tuple[float, str]]:
    """Midnights: days have 23 or 25 hours where the clock is changed."""
    ticks = []
    day = datetime.fromtimestamp(_midnight_s(from_s))
    while day.timestamp() <= until_s:
        if day.timestamp() >= from_s:
            ticks.append((day.timestamp(), day.strftime("%a %d" if every == 1 else "%d %b")))
        day += timedelta(days=every)
    return ticks
