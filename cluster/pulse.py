"""Whether the scheduler's loop turns: asked every few seconds, so that a look costs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from jetsched.errors import UnreachableError

BEAT_S = 2.0
#: A loop that has not come round for so long is stuck. A decision has a budget of seconds.
STUCK_S = 30.0


class Turning(Protocol):
    """Something that comes round."""

    def turn(self) -> None:
        """Wait until it does. Raises :class:`UnreachableError` if it does not."""
        ...


class Pulse:
    """Knows when the loop has last answered, and how long that took. ``clock`` is monotonic."""

    def __init__(self, desk: Turning, clock: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._clock = clock
        self._turned = clock()
        #: How long a question waited for the loop, the last time.
        self.lag_s = 0.0

    def beat(self) -> None:
        """Ask once. Blocks until the loop answers, or for half a minute."""
        asked = self._clock()
        try:
            self._desk.turn()
        except UnreachableError:
            self.lag_s = self._clock() - asked
            return
        self._turned = self._clock()
        self.lag_s = self._turned - asked

    @property
    def silent_s(self) -> float:
        """For how long the loop has not answered."""
        return max(0.0, self._clock() - self._turned - BEAT_S)

    @property
    def turns(self) -> bool:
        """Whether the loop does its work."""
        return self.silent_s < STUCK_S
