"""In which order boards stand, on the pages and in `jetsched top`."""

from __future__ import annotations

import re
from functools import lru_cache

#: The states of boards, those first that somebody should look at.
URGENT = ("offline", "suspect", "degraded", "draining", "busy", "ready")


@lru_cache(maxsize=4096)
def natural(device_id: str) -> tuple[tuple[bool, int, str], ...]:
    """By which boards are sorted: nx-2 comes before nx-10."""
    parts = re.split(r"(\d+)", device_id)
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)
