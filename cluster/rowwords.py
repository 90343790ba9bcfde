"""A row of a comparison in words, the same on every screen and in the report."""

from __future__ import annotations

from collections.abc import Callable

from jetsched.cluster.compare import BY, Interval, PolicyRow
from jetsched.units import NOTHING

Show = Callable[[float | None], str]

#: Of a mean: what is smaller than this share of it comes from rounding, not from the seeds.
_ROUNDING = 1e-9


def remarks(row: PolicyRow) -> list[str]:
    """What a reader must know before comparing the row's figures."""
    notes = []
    if (unfinished := row.figures.get("unfinished")) is not None and unfinished.mean:
        notes.append(f"{unfinished.mean:g} not done")
    if row.policy_errors:
        notes.append(f"{row.policy_errors} policy errors")
    if row.failed:
        notes.append(f"{row.failed} of {row.runs + row.failed} runs failed")
    return notes


def versus(row: PolicyRow, name: str = BY) -> str:
    """How much more than the best policy: ``best``, ``≈ +2 %`` for no certain difference."""
    worse = row.worse.get(name)
    if worse is None:
        return NOTHING
    half = _spread(worse, of=1.0)
    if abs(worse.mean) <= _ROUNDING and not half:
        return "best"
    text = f"{_percent(worse.mean, '+')} %"
    if not half:
        return text
    return f"{'' if told_apart(row, name) else '≈ '}{text} ±{_percent(half)}"


def _percent(share: float, sign: str = "") -> str:
    """Two digits of it, in per cent; more only before the point."""
    digits = 0 if abs(share) >= 0.0995 else 1
    return f"{100 * share:{sign},.{digits}f}"


def told_apart(row: PolicyRow, name: str = BY) -> bool:
    """Whether it is certainly worse than the best policy: its interval does not hold 0."""
    worse = row.worse.get(name)
    if worse is None or worse.half is None:
        return False
    return abs(worse.mean) > max(_spread(worse, of=1.0), _ROUNDING)


def distances(row: PolicyRow) -> str:
    """Mean completion and makespan as multiples of their bounds."""
    found = [row.distance.get(name) for name in (BY, "makespan_s")]
    if not any(found):
        return NOTHING
    return " / ".join(NOTHING if i is None else f"{i.mean:.2f}" for i in found)


def with_interval(figure: Interval | None, show: Show) -> str:
    """``1h 04m ±6m``."""
    if figure is None:
        return NOTHING
    half = _spread(figure, of=abs(figure.mean))
    return show(figure.mean) + (f" ±{show(half)}" if half else "")


def _spread(figure: Interval, *, of: float) -> float:
    """Half its interval; 0 where there is none but that of rounding."""
    return figure.half if figure.half is not None and figure.half > _ROUNDING * of else 0.0
