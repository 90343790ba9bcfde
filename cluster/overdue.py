"""When time alone is news: what was foreseen has not happened, and somebody waits for it."""

from __future__ import annotations

from jetsched.scheduler.book import Book

#: Seconds between two looks; while nothing changes they become longer.
SHORTEST_S = 1.0
LONGEST_S = 60.0


class Overdue:
    """Says when the policy should think again: a busy board is free later than was foreseen.

    Every event makes it think anyway, so only what is overdue is told: at once, and then more and
    more seldom, because each time is an entry in the journal.
    """

    def __init__(self) -> None:
        self._next = 0.0  # monotonic
        self._pause_s = SHORTEST_S

    def is_due(self, book: Book, now_s: float, now: float) -> bool:
        """``now_s`` is the cluster's time, ``now`` monotonic; cheap, for each turn of the loop."""
        if now < self._next:
            return False
        self._next = now + SHORTEST_S
        if not book.queue.length or min(book.fleet.finish_s.values(), default=now_s) >= now_s:
            self._pause_s = SHORTEST_S
            return False
        self._next = now + self._pause_s
        self._pause_s = min(LONGEST_S, 2 * self._pause_s)
        return True
