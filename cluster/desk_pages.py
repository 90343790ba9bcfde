"""Which jobs an answer lists: those in some states, in an order, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from jetsched.records import FINAL_STATES, State
from jetsched.scheduler.book import Book
from jetsched.scheduler.state import JobRecord

Order = Literal["submitted", "newest", "queue"]

#: Those that have not ended.
OPEN: frozenset[State] = frozenset({"waiting", "held", "starting", "running"})


@dataclass(frozen=True)
class Page:
    """A part of the jobs: at most ``limit`` of them, those behind the job ``after``.

    *submitted* is the order of submission, *newest* the reverse. *queue* is what happens when: what
    runs, what waits in the order in which it is served, what is held, then what has ended, the
    newest first.
    """

    states: frozenset[State] | None = None  # None: all
    order: Order = "submitted"
    after: str = ""
    limit: int | None = None

    def of(self, book: Book, find: Callable[[str], JobRecord]) -> list[JobRecord]:
        """The records of the page. ``find`` raises for an id that there is no job of."""
        records = self._ordered(book, find(self.after) if self.after else None)
        if self.states is not None:
            records = (record for record in records if record.state in self.states)
        return list(islice(records, self.limit))

    def _ordered(self, book: Book, after: JobRecord | None) -> Iterator[JobRecord]:
        if self.order == "submitted":
            return islice(book.jobs.values(), after.order + 1 if after is not None else 0, None)
        if self.order == "newest":
            newest: Iterator[JobRecord] = reversed(book.jobs.values())
            if after is None:
                return newest
            return islice(newest, len(book.jobs) - after.order, None)
        if after is None:
            return self._in_queue(book)
        behind = _queue_key(after)
        return (record for record in self._in_queue(book) if _queue_key(record) > behind)

    def _in_queue(self, book: Book) -> Iterator[JobRecord]:
        def wanted(*states: State) -> bool:
            return self.states is None or not self.states.isdisjoint(states)

        if wanted("starting", "running"):
            running = {i for d in list(book.fleet.devices) for i in book.fleet.jobs_on(d)}
            yield from _sorted(book.jobs[i] for i in running)
        if wanted("waiting"):
            yield from book.queue
        if wanted("held"):
            yield from _sorted(book.held.values())
        if wanted(*FINAL_STATES):
            yield from _sorted(r for r in book.jobs.values() if r.state in FINAL_STATES)


def _sorted(records: Iterable[JobRecord]) -> list[JobRecord]:
    return sorted(records, key=_queue_key)


def _queue_key(record: JobRecord) -> tuple[int, float, int]:
    """Where a job stands in the order *queue*, also when it has moved on since a page was read."""
    if record.state in ("starting", "running"):
        return 0, 0.0, record.order
    if record.state == "waiting":
        lane, order = record.queue_key
        return 1, lane, order
    if record.state == "held":
        return 2, 0.0, record.order
    ended = record.attempts[-1].end_s if record.attempts else None
    return 3, -(ended if ended is not None else record.job.submitted_s), -record.order


#: Every job there is.
ALL = Page()
