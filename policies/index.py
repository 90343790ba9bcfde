"""The waiting jobs in heaps, one for each kind of device, kept from decision to decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

from jetsched.records import Job
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View

#: Level (negative), rank, order of submission, a number that breaks ties, the job.
Key = tuple[float, float, int, int, Job]

#: A job's rank on each of ``view.kinds``, None where it is not to be offered.
Ranks = Callable[[Job, View], Sequence[float | None]]


class Index:
    """Finds the first of the waiting jobs on a kind, without looking at the others.

    A cache of the view's queue, brought up to date by :meth:`follow` in O(new jobs). What waits no
    longer is dropped when it comes to the top, or when the heaps hold mostly such.
    """

    def __init__(self) -> None:
        self._heaps: dict[int, list[Key]] = {}  # by the index of the kind
        self._mark = (-2, 0)  # of no view
        self._serial = 0
        #: What was taken out in the last decision: it may not have been started after all.
        self._taken: list[tuple[ClassState, Key]] = []

    def follow(self, view: View, ranks: Ranks) -> Index:
        """This index brought up to date; or another one, for a view that has its own queue."""
        generation, length = view.mark
        if generation < 0 or not view.untouched:
            other = type(self)()
            other._start(view, ranks)
            return other
        if generation != self._mark[0]:
            self._start(view, ranks)
        else:
            for kind, key in self._taken:
                if view.waits(key[-1].id):
                    heappush(self._heaps[kind.index], key)
            for job in view.arrivals(self._mark[1]):
                if view.waits(job.id):
                    self.add(job, view, ranks)
            self._compact(view)
        self._taken.clear()
        self._mark = (generation, length)
        return self

    def _start(self, view: View, ranks: Ranks) -> None:
        self._heaps = {kind.index: [] for kind in view.kinds}
        self._taken.clear()
        for job in view.queue():
            self.add(job, view, ranks)

    def add(self, job: Job, view: View, ranks: Ranks) -> None:
        """Add a job that waits, on the kinds where it has a rank. New ones come by `follow`."""
        self._serial += 1
        record = view.record(job.id)
        level, order = -record.level, record.order
        for kind, rank in zip(view.kinds, ranks(job, view), strict=True):
            if rank is not None:
                if rank != rank:
                    raise ValueError(f"the rank of {job.id} is not a number")
                key = (level, rank, order, self._serial, job)
                heappush(self._heaps[kind.index], key)

    def _compact(self, view: View) -> None:
        most = 2 * view.queue_length + 64
        for heap in self._heaps.values():
            if len(heap) > most:
                heap[:] = [key for key in heap if view.waits(key[-1].id)]
                heapify(heap)

    def first(self, kind: ClassState, view: View) -> Key | None:
        """The first job on the kind; None if there is none."""
        heap = self._heaps[kind.index]
        while heap and not view.waits(heap[0][-1].id):
            key = heappop(heap)
            if view.is_placed(key[-1].id):
                self._taken.append((kind, key))  # in this decision: it may yet wait on
        return heap[0] if heap else None

    def take(self, kind: ClassState) -> Key:
        """Take the first job on the kind out. It is back in the next decision if it still waits."""
        key = heappop(self._heaps[kind.index])
        self._taken.append((kind, key))
        return key

    def drop(self, kind: ClassState) -> None:
        """Take the first job on the kind out, for good."""
        heappop(self._heaps[kind.index])
