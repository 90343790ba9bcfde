"""How the endings of attempts look in pictures over time, on pages and in reports alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Ending(NamedTuple):
    """A kind of ending that is not *done*, which needs no sign.

    ``sign`` is a character and ``path`` the same drawn around a point; ``gone``: nobody's fault.
    """

    sign: str
    path: str
    words: str
    gone: bool


#: By the first word of an outcome: it was killed, whatever for.
ENDINGS: Mapping[str, Ending] = {
    "killed": Ending("✕", "M-4-4L4 4M-4 4L4-4", "killed", gone=False),
    "failed": Ending("▲", "M0-5L5 4L-5 4Z", "failed", gone=False),
    "lost": Ending("○", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", "lost with its board", gone=True),
    "preempted": Ending("‖", "M-2-5V5M2-5V5", "stopped for another job", gone=True),
    "cancelled": Ending("⊘", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0M-3 3L3-3", "cancelled", gone=True),
}


def ending_of(outcome: str | None) -> Ending | None:
    """The ending of an outcome; None of what was done or has not ended."""
    return ENDINGS.get((outcome or "").partition("_")[0])
