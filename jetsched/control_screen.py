"""What the screens say of a paused queue and of boards that take no jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jetsched.tables import console
from jetsched.units import format_duration

Json = Mapping[str, Any]


def print_paused(status: Json) -> None:
    """Two lines, above all else, while the queue is paused; nothing otherwise."""
    if status.get("paused"):
        _say(f"PAUSED: {status['paused']}. Nothing is started, what runs goes on.")
        _say("  To start jobs again: jetsched resume")


def print_pausing(found: Json) -> None:
    """What `pause` and `resume` came to."""
    waiting, running = _jobs(found["waiting"], "wait"), _jobs(found["running"], "run")
    if not found["paused"]:
        _say(f"Jobs are started again; {waiting}." if found["changed"] else "It was not paused.")
        return
    again = "PAUSED" if found["changed"] else "PAUSED, as it was before"
    _say(f"{again}: {found['text']}. Nothing is started; {running}, {waiting}.")


def print_drained(found: Sequence[Json]) -> None:
    """Each board that takes no jobs any more, and what still runs there until when."""
    for board in found:
        running = board["running"]
        there = "there still runs" if running else "nothing runs there"
        _say(f"{board['device']} takes no new jobs ({_closings(board)}); {there}")
        for job in running:
            _say(f"  job {job['id']} {job['name'] or job['work']}: {_until(job)}")


def print_undrained(found: Sequence[Json]) -> None:
    """Each board that may take jobs again, or why it does not yet."""
    for board in found:
        device = board["device"]
        words = f"{device} was not drained" if not board["changed"] else ""
        if board["closings"]:
            closed = f"takes no jobs yet ({_closings(board)})"
            words = f"{words}, but {closed}" if words else f"{device} {closed}"
        _say(words or f"{device} takes jobs again")


def _closings(board: Json) -> str:
    words = [f"{c['code']}: {c['text']}" if c["text"] else c["code"] for c in board["closings"]]
    return " · ".join(words)


def _until(job: Json) -> str:
    if job["finish_s"] is None:
        return str(job["state"])
    left_s = job["finish_s"] - job["now_s"]
    if left_s < 0:
        return f"{format_duration(float(int(-left_s)))} over its estimate"
    return f"done in {format_duration(float(int(left_s)))}"


def _jobs(count: int, verb: str) -> str:
    return f"{count:,} job {verb}s" if count == 1 else f"{count:,} jobs {verb}"


def _say(text: str) -> None:
    console().print(text, markup=False, highlight=False)
