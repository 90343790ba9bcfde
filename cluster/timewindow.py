"""Which stretch of time is looked at: an hour, a day or a week, fixed or following the clock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import floor

from jetsched.errors import InputError
from jetsched.problems import did_you_mean, listed, quoted

#: What can be looked at, from near to far, in seconds.
SPANS: Mapping[str, float] = {"hour": 3600.0, "day": 86_400.0, "week": 7 * 86_400.0}
USUAL = "hour"
#: A window that follows the clock shows so much of the past, and moves on in so many steps.
PAST, STEPS = 2 / 3, 24
#: No window lies beyond: years 1970 to 2100, of which a clock can tell the days.
_LAST_S = 4_102_444_800.0


@dataclass(frozen=True)
class TimeWindow:
    """From when to when, on the cluster's clock; ``follows``: it moves on with time."""

    span: str
    from_s: float
    to_s: float
    follows: bool

    @property
    def length_s(self) -> float:
        return self.to_s - self.from_s

    @property
    def middle_s(self) -> int:
        return round((self.from_s + self.to_s) / 2)

    @property
    def earlier_s(self) -> int:
        """The middle of the window half a window before this one."""
        return max(0, round(self.middle_s - self.length_s / 2))

    @property
    def later_s(self) -> int:
        return min(round(_LAST_S), round(self.middle_s + self.length_s / 2))


def window_at(span: str, at: str, now_s: float) -> TimeWindow:
    """The window of a span around a moment (seconds, or a date); without one it follows the clock.

    One that follows moves on in steps, so that what it shows need not be drawn anew all the time.
    Raises :class:`InputError` for a span or a moment that is none.
    """
    if span not in SPANS:
        hint = did_you_mean(span, SPANS) or f"spans: {listed(SPANS)}"
        raise InputError(f"there is no span {quoted(span)}", hint=hint)
    length_s = SPANS[span]
    if not at:
        step_s = length_s / STEPS
        from_s = floor(now_s / step_s) * step_s - PAST * length_s
        return TimeWindow(span, from_s, from_s + length_s, True)
    middle_s = _moment_s(at)
    return TimeWindow(span, middle_s - length_s / 2, middle_s + length_s / 2, False)


def _moment_s(text: str) -> float:
    """Seconds since 1970, or the noon of a date such as 2026-11-24, by this machine's clock."""
    if text.isascii() and text.isdigit() and float(text[:20]) <= _LAST_S:
        return float(text)
    try:
        day = datetime.strptime(text[:20], "%Y-%m-%d")
    except ValueError:
        raise InputError(
            f"{quoted(text)} is no moment", hint="a date, e.g. 2026-11-24, or seconds since 1970"
        ) from None
    noon_s = day.replace(hour=12).timestamp()
    if not 0 <= noon_s <= _LAST_S:
        raise InputError(f"{quoted(text)} is too far away", hint="years 1970 to 2100")
    return noon_s


def date_of(at_s: float) -> str:
    """The date of a moment by this machine's clock, as a date field takes it."""
    return time.strftime("%Y-%m-%d", time.localtime(at_s))
