"""The clock of a live cluster: the wall clock as far as it can be relied on."""

from __future__ import annotations

import time
from collections.abc import Callable

#: How much slower than real time it goes while the wall clock is behind it.
SLOWER = 0.5


class LiveClock:
    """Seconds since the Unix epoch that never go back, and never stand still.

    Boards and old computers have no clock that runs without power: theirs is set back and forth. It
    begins no earlier than ``from_s``, the last time in the journal. Where the wall clock is ahead
    it is followed at once; where it is behind, time goes half as fast until it has caught up.
    Whoever waits for something measures that by ``time.monotonic``.
    """

    def __init__(
        self,
        from_s: float = 0.0,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._then, self._last_s = monotonic(), max(from_s, wall())

    def now_s(self) -> float:
        """The time now."""
        then, self._then = self._then, self._monotonic()
        passed_s = max(0.0, self._then - then)
        self._last_s = max(self._wall(), self._last_s + SLOWER * passed_s)
        return self._last_s
