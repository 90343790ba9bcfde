"""What `report` prints for a person."""

from __future__ import annotations

from jetsched.cluster.storytelling import Told
from jetsched.tables import console, next_steps


def print_written(told: Told) -> None:
    """Where the page is, what it is about, and how to look at it."""
    assert told.path is not None
    out = console()
    size = f"{told.size / 1024:,.0f} KiB"
    out.print(f"{told.path}: {told.words} ({size}, one file).", markup=False, highlight=False)
    again = "jetsched history" if told.job_id is None else f"jetsched why {told.job_id}"
    next_steps(f"xdg-open {told.path}", again)
