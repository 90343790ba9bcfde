"""A page of the jobs that somebody wants: in an order, a part at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
from typing import Any, Literal

from jetsched.cluster.desk_wanted import Wanted
from jetsched.records import FINAL_STATES, State
from jetsched.scheduler.book import Book
from jetsched.scheduler.state import JobRecord

Order = Literal[
    "submitted", "newest", "queue",
    "name", "-name", "work", "-work", "user", "-user",
    "priority", "-priority", "state", "-state", "device", "-device", "since", "-since",
]  # fmt: skip

_Key = Callable[[JobRecord], Any]


@dataclass(frozen=True)
class Page:
    """A part of the jobs that are wanted: at most ``limit``, those behind the job ``after``.

    *submitted* is the order of submission, *newest* the reverse. *queue* is what happens when: what
    runs, what waits in the order in which it is served, what is held, then what has ended, the
    newest first. The others are columns: a *-* before one turns it round; jobs that are alike there
    stand in the order of submission. ``skip`` leaves out the first ones, for whoever counts pages.
    """

    wanted: Wanted = field(default_factory=Wanted)
    order: Order = "submitted"
    after: str = ""
    limit: int | None = None
    skip: int = 0

    def of(self, book: Book, find: Callable[[str], JobRecord]) -> list[JobRecord]:
        """The records of the page. ``find`` raises for an id that there is no job of."""
        records = self._ordered(book, find(self.after) if self.after else None)
        end = None if self.limit is None else self.skip + self.limit
        return list(islice(records, self.skip, end))

    def counted(self, book: Book, find: Callable[[str], JobRecord]) -> tuple[list[JobRecord], int]:
        """The same, and how many jobs are wanted, on this page or not."""
        if self.after or self.order not in _COLUMNS:
            return self.of(book, find), self.count(book)
        records = list(self._ordered(book, None))  # all of them were sorted
        end = None if self.limit is None else self.skip + self.limit
        return records[self.skip : end], len(records)

    def count(self, book: Book) -> int:
        """How many jobs are wanted, on this page or not."""
        wanted, states = self.wanted, self.wanted.states
        if not wanted.is_all:
            return sum(1 for _ in _found(book, wanted))
        if states is None:
            return len(book.jobs)
        if "waiting" not in states or states & FINAL_STATES:
            return sum(1 for _ in _found(book, wanted))
        others = Wanted(states - {"waiting"})  # those that wait are counted already
        return len(book.queue) + sum(1 for _ in _found(book, others))

    def _ordered(self, book: Book, after: JobRecord | None) -> Iterator[JobRecord]:
        wanted = self.wanted
        if self.order == "submitted":
            behind = islice(book.jobs.values(), after.order + 1 if after is not None else 0, None)
            return wanted.among(behind)
        if self.order == "newest":
            newest: Iterator[JobRecord] = reversed(book.jobs.values())
            if after is not None:
                newest = islice(newest, len(book.jobs) - after.order, None)
            return wanted.among(newest)
        if self.order == "queue":
            if after is None:
                return _in_queue(
                    book, wanted, None if self.limit is None else self.skip + self.limit
                )
            found = _in_queue(book, wanted)
            place = _queue_key(after)
            return (record for record in found if _queue_key(record) > place)
        key, reverse = KEYS[self.order.lstrip("-")], self.order.startswith("-")
        records = _found(book, wanted)
        if after is not None:
            end = key(after)
            records = (r for r in records if (key(r) < end if reverse else key(r) > end))
        return iter(sorted(records, key=key, reverse=reverse))


def _found(book: Book, wanted: Wanted) -> Iterator[JobRecord]:
    """All that are wanted, in no order; what has ended is looked through only where it must be."""
    states = wanted.states
    if states is None or not states.isdisjoint(FINAL_STATES):
        return wanted.among(book.jobs.values())
    return _in_queue(book, wanted)


def _in_queue(book: Book, wanted: Wanted, most: int | None = None) -> Iterator[JobRecord]:
    """Those that are wanted, as they are served. Nobody takes more than ``most`` of them."""

    def any_of(*some: State) -> bool:
        return wanted.states is None or not wanted.states.isdisjoint(some)

    if any_of("starting", "running"):
        running = {i for d in list(book.fleet.devices) for i in book.fleet.jobs_on(d)}
        yield from _sorted(wanted.among(book.jobs[i] for i in running))
    if any_of("waiting"):
        yield from wanted.among(book.queue)
    if any_of("held"):
        yield from _sorted(wanted.among(book.held.values()))
    if any_of(*FINAL_STATES):
        ended = wanted.among(r for r in book.jobs.values() if r.state in FINAL_STATES)
        few = most is not None and most < len(book.jobs) // 8  # then a sort of all is dearer
        yield from nsmallest(most or 0, ended, key=_queue_key) if few else _sorted(ended)


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


def since_s(record: JobRecord) -> float:
    """Since when a job is in the state that it is in, on the cluster's clock."""
    if not record.attempts:
        return record.job.submitted_s
    last = record.attempts[-1]
    return last.start_s if last.end_s is None else last.end_s


#: What a column is sorted by; no two jobs are alike.
KEYS: Mapping[str, _Key] = {
    "name": lambda r: (r.job.name.casefold(), r.order),
    "work": lambda r: (r.job.workload.label, r.order),
    "user": lambda r: (r.job.user.casefold(), r.order),
    "priority": lambda r: (r.job.priority, r.order),
    "state": lambda r: (r.state, r.order),
    "device": lambda r: (r.attempts[-1].device if r.attempts else "", r.order),
    "since": lambda r: (since_s(r), r.order),
}

_COLUMNS = frozenset({*KEYS, *(f"-{name}" for name in KEYS)})

#: Every job there is.
ALL = Page()
