"""Why a decision may be another one today: what the two of them saw, compared."""

from __future__ import annotations

from collections.abc import Sequence

from jetsched import __version__
from jetsched.cluster.following import Difference
from jetsched.records import Decision, Row

#: What is estimated of a job on a board, with the words for it.
_ESTIMATED = {
    "time_s": "time",
    "admitted_mib": "memory to admit",
    "peak_memory_mib": "live memory",
    "energy_j": "energy",
}
#: Two numbers that differ by less than this part are the same: one was written as JSON and read.
_SAME = 1e-9


def cause_of(difference: Difference, *, versions: Sequence[str], tells_starts: bool) -> str:
    """The likely cause in a sentence.

    ``versions`` are others of jetsched that decided in that history; ``tells_starts`` is False for
    a journal that does not say when a scheduler began.
    """
    then, now = difference.live_decision, difference.replayed_decision
    if difference.errors:
        return f"the policy did something wrong this time: {difference.errors[-1]}"
    if then is not None and then.note:
        return f"then the fallback decided: {then.note}"
    if difference.policy != difference.live_policy:
        return f"{difference.policy} decides here, {difference.live_policy} did then"
    seen = _seen_otherwise(then, now)
    if seen:
        return seen + _of_version(versions)
    if not tells_starts:
        return (
            "the journal is of an older version, which does not say when a scheduler was started"
            " again: a policy that remembers things began anew then"
        )
    why = "the policy saw the same and chose otherwise: it remembers something, draws at random,"
    return why + " looks at a clock, or its code has changed" + _of_version(versions)


def _of_version(versions: Sequence[str]) -> str:
    if not versions:
        return ""
    return f" (decided by jetsched {', '.join(versions)}; this is {__version__})"


def _seen_otherwise(then: Decision | None, now: Decision | None) -> str:
    """What the two saw of the same job that is not the same; empty where nothing is known."""
    if then is None or now is None or then.job_id != now.job_id:
        return ""
    rows = {row.device: row for row in now.rows}
    for row in then.rows:
        other = rows.get(row.device)
        if other is None:
            return f"{row.device} was there to be chosen then, and is not now"
        words = _rows_differ(row, other)
        if words:
            return words
    more = [row.device for row in now.rows if row.device not in {r.device for r in then.rows}]
    if more:
        return f"{more[0]} is there to be chosen now, and was not then"
    return ""


def _rows_differ(then: Row, now: Row) -> str:
    never = "never" in (then.verdict, now.verdict)
    if never and then.verdict != now.verdict:
        return (
            f"the cost model says {now.verdict} for {now.device} ({now.reason or 'it fits'}),"
            f" and said {then.verdict} then"
        )
    for name, words in _ESTIMATED.items():
        had, has = getattr(then, name), getattr(now, name)
        if not _same(had, has):
            return (
                f"the cost model says otherwise: {words} on {then.device} was {_number(had)}, is"
                f" {_number(has)}; another version of it, or a measurement or calibration that the"
                " journal does not hold"
            )
    if then.verdict != now.verdict or not _same(then.start_s, now.start_s):
        return f"{then.device} was thought to be free at another time: an event is missing"
    if not _same(then.score, now.score):
        return (
            f"the policy scored {then.device} with {_number(then.score)}, and does with"
            f" {_number(now.score)}"
        )
    return ""


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _SAME * max(1.0, abs(one), abs(other))


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.4g}"
