"""The waiting jobs, sorted for each kind of device by a rank that falls while they wait."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Container, Iterator, Sequence

from jetsched.records import Job, Placement
from jetsched.scheduler.view import View

#: A job's *size* on each of ``view.kinds`` (None where it is not to be offered), and the seconds
#: that its wait is measured by.
Sizes = Callable[[Job, View], tuple[Sequence[float | None], float]]

#: The ranks are worked out anew when this part of the queue has changed.
_STALE = 8

#: No job is born in the very moment in which it is looked at.
_LEAST_S = 1e-6


class Entry:
    """A waiting job in the order."""

    __slots__ = ("born_s", "job", "order", "serial", "sizes")

    def __init__(
        self, job: Job, sizes: Sequence[float | None], born_s: float, order: int, serial: int
    ) -> None:
        self.job = job
        self.sizes = sizes
        self.born_s = born_s
        self.order = order
        self.serial = serial

    def comes_later(self, position: int, than: int) -> bool:
        """Whether the entry's turn on one kind comes after that on another."""
        size, other = self.sizes[position], self.sizes[than]
        return size is not None and other is not None and (size, position) > (other, than)


#: Priority (negative), rank, order of submission, position of the kind, serial number, entry.
#: No two have the same first five, so that entries are never compared.
_Key = tuple[int, float, int, int, int, Entry]


class AgedOrder:
    """Goes through the waiting jobs from the lowest rank on, on all kinds of devices together.

    A job of size s that has waited for w has the rank ``s / (w + unit) ** power``. With power 0
    nothing ages; with power 1 the rank has halved when w comes to the job's ``unit``. Such ranks
    change places as time goes by. They are worked out anew after changes to an eighth of the queue,
    so that a change costs O(kinds x log jobs) on the average; of up to eight jobs the order is
    always exact.

    A cache of the view's queue, brought up to date by :meth:`follow`.
    """

    def __init__(self, power: float) -> None:
        self.power = power
        self._live: dict[str, Entry] = {}
        self._lists: list[list[_Key]] = []  # one for each of view.kinds
        self._mark = (-2, 0)  # of no view
        self._changes = 0
        self._serial = 0

    def follow(self, view: View, sizes: Sizes) -> AgedOrder:
        """This order brought up to date; or another one, for a view that has its own queue."""
        generation, length = view.mark
        if generation < 0 or not view.untouched:
            other = AgedOrder(self.power)
            other._start(view, sizes)
            return other
        if generation != self._mark[0]:
            self._start(view, sizes)
        else:
            fresh = [job for job in view.arrivals(self._mark[1]) if view.waits(job.id)]
            self._changes += 1 + len(fresh)
            if self._changes * _STALE > view.queue_length:
                for job in fresh:
                    self._entry(job, view, sizes)
                self._sort(view)
            else:
                for job in fresh:
                    entry = self._entry(job, view, sizes)
                    for position, keys in enumerate(self._lists):
                        key = self._key(entry, position, view.now_s)
                        if key is not None:
                            insort(keys, key)
        self._mark = (generation, length)
        return self

    def walk(self, view: View, closed: Container[int] = ()) -> Iterator[tuple[int, Entry]]:
        """(position of a kind, entry), lowest rank first; those that do not wait are left out.

        A job comes once for each kind on which it has a size, until it does not wait any more.
        Kinds are left out from when their position is among the ``closed``.
        """
        streams = [iter(keys) for keys in self._lists]
        heads = [next(stream, None) for stream in streams]
        live, waits = self._live, view.waits
        while True:
            first: _Key | None = None
            for position, head in enumerate(heads):
                if head is None or position in closed:
                    continue
                if first is None or head < first:
                    first = head
            if first is None:
                return
            position, entry = first[3], first[5]
            heads[position] = next(streams[position], None)
            if live.get(entry.job.id) is entry and waits(entry.job.id):
                yield position, entry

    def _start(self, view: View, sizes: Sizes) -> None:
        self._live.clear()
        for job in view.queue():
            self._entry(job, view, sizes)
        self._lists = [[] for _ in view.kinds]
        self._sort(view)

    def _entry(self, job: Job, view: View, sizes: Sizes) -> Entry:
        found, unit_s = sizes(job, view)
        self._serial += 1
        born_s = job.submitted_s - max(unit_s, _LEAST_S)
        entry = Entry(job, found, born_s, view.record(job.id).order, self._serial)
        self._live[job.id] = entry
        return entry

    def _sort(self, view: View) -> None:
        """Drop what waits no longer, and sort the rest by its rank at this time."""
        gone = [job_id for job_id in self._live if not view.waits(job_id)]
        for job_id in gone:
            del self._live[job_id]
        for position in range(len(self._lists)):
            keys = (self._key(entry, position, view.now_s) for entry in self._live.values())
            self._lists[position] = sorted(key for key in keys if key is not None)
        self._changes = 0

    def _key(self, entry: Entry, position: int, now_s: float) -> _Key | None:
        size = entry.sizes[position]
        if size is None:
            return None
        if self.power:
            size *= max(now_s - entry.born_s, _LEAST_S) ** -self.power
        return (-entry.job.priority, size, entry.order, position, entry.serial, entry)


def foresee(view: View, order: AgedOrder) -> Iterator[Placement]:
    """Everything that waits, by its rank of this moment, each job where it is done first."""
    for _, entry in order.walk(view):
        options = view.options(entry.job)
        if options:
            yield min(options, key=lambda p: (p.finish_s, p.start_s, p.device.id))
