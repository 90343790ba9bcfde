"""Which time a report is about: ``2026-W47``, ``last-week``, ``7d``, ``2026-11-24``, ``all``."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import inf

from jetsched.cluster.history import span_s
from jetsched.errors import InputError
from jetsched.problems import quoted

#: The first says what is meant, the others how else it may be said.
HINT = "a week (2026-W47), a day (2026-11-24), or a span back from now: last-week, 12h, 7d, all"
_WEEK = re.compile(r"(\d{4})-?[Ww](\d{1,2})")


@dataclass(frozen=True)
class Span:
    """From when to when, by the wall clock, and what it is called."""

    name: str
    from_s: float = -inf
    until_s: float = inf


def span_named(what: str, now_s: float | None = None) -> Span | None:
    """The span that is named; None for what is no time at all, such as a job's number.

    Raises :class:`InputError` for a day or a week that no calendar has.
    """
    found = _calendar(what)
    if found is not None:
        return found
    try:
        lasts_s = span_s(what, "")
    except InputError:
        return None
    now_s = time.time() if now_s is None else now_s
    return Span(what, now_s - lasts_s, now_s)


def span_of(what: str, now_s: float | None = None) -> Span:
    """The span that is named. Raises :class:`InputError`, with what can be said."""
    found = span_named(what, now_s)
    if found is None:
        raise InputError(f"{quoted(what)} is no time", hint=HINT)
    return found


def _calendar(what: str) -> Span | None:
    """A week from Monday to Sunday, as ISO 8601 counts them, or a day. In this machine's zone."""
    week = _WEEK.fullmatch(what.strip())
    try:
        if week is not None:
            year, number = int(week[1]), int(week[2])
            first, days = date.fromisocalendar(year, number, 1), 7
            name = f"{year}-W{number:02d}"
        elif re.fullmatch(r"\d{4}-\d\d-\d\d", what.strip()):
            first, days = date.fromisoformat(what.strip()), 1
            name = first.isoformat()
        else:
            return None
        return Span(name, _midnight_s(first), _midnight_s(first + timedelta(days=days)))
    except (ValueError, OverflowError, OSError):
        raise InputError(f"there is no {what.strip()}", hint=HINT) from None


def _midnight_s(day: date) -> float:
    return datetime(day.year, day.month, day.day).timestamp()
