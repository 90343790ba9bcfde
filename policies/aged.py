"""The waiting jobs, sorted for each kind of device by a rank that falls while they wait."""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Iterator, Sequence
from copy import deepcopy
from typing import Any

from jetsched.policies.comparative_advantage import advantages
from jetsched.policies.pooled import PooledTimes
from jetsched.records import Job, Placement
from jetsched.scheduler.state import JobRecord
from jetsched.scheduler.view import View

#: Of so many jobs, on so many devices, the ranks are always those of the moment. Of more they are
#: worked out anew when jobs have come or gone for an eighth of the queue and of the devices.
_EXACT, _EXACT_DEVICES = 32, 64
_STALE = 8

#: So many jobs that wait no longer may stand in the way.
_DEAD = 16

#: No job is born in the very moment in which it is looked at.
_LEAST_S = 1e-6


class Entry:
    """A waiting job in the order: its run time and its size on each kind, None where it cannot go.

    ``unit_s`` is its run time on the kind that is best for it.
    """

    __slots__ = ("born_s", "job", "level", "order", "serial", "sizes", "times_s", "unit_s")

    def __init__(self, record: JobRecord, times_s: Sequence[float | None]) -> None:
        job = self.job = record.job
        self.level = record.level
        self.order = record.order
        self.serial = 0  # which of the entries of one job it is
        self.times_s = times_s
        self.unit_s = min((time_s for time_s in times_s if time_s is not None), default=0.0)
        self.born_s = job.submitted_s - max(self.unit_s, _LEAST_S)
        self.sizes: Sequence[float | None] = times_s

    def comes_later(self, position: int, than: int) -> bool:
        """Whether the entry's turn on one kind comes after that on another."""
        size, other = self.sizes[position], self.sizes[than]
        return size is not None and other is not None and (size, position) > (other, than)


#: Priority (negative), rank, order of submission, position of the kind, serial number, entry.
#: No two have the same first five, so that entries are never compared.
_Key = tuple[int, float, int, int, int, Entry]


class AgedOrder:
    """Goes through the waiting jobs from the lowest rank on, on all kinds of devices together.

    A job has the size ``s = p * (p / p_best) ** bias`` on a kind (p its run time there, p_best that
    on its best kind), and when it has waited for w, the rank ``s / (w + p_best) ** power``. With
    power 0 nothing ages; with 1 the rank has halved when a job has waited for its own length.

    Ranks change places as time goes by. Of up to 32 jobs on up to 64 devices the order is always
    exact; else it is worked out anew after so many changes that one costs O(kinds x log jobs) on
    the average. A cache of the view's queue, brought up to date by :meth:`follow`.
    """

    def __init__(self, bias: float, power: float, pooled: PooledTimes | None = None) -> None:
        self.bias = bias
        self.power = power
        self._pooled = pooled
        self._live: dict[str, Entry] = {}
        self._lists: list[list[_Key]] = []  # one for each of view.kinds
        self._walked: list[int] = []  # how far into each of them somebody has come,
        self._dead: list[int] = []  # and what waits no longer up to there
        self._mark = (-2, 0)  # of no view
        self._sorted = (0, 0)  # the length of the log and of the queue when ranks were worked out
        self._serial = 0

    def follow(self, view: View) -> AgedOrder:
        """This order brought up to date; or another one, for a view that has its own queue."""
        generation, length = view.mark
        if generation < 0 or not view.untouched:
            other = AgedOrder(self.bias, self.power, self._pooled)
            other._start(view)
            return other
        if generation != self._mark[0]:
            self._start(view)
        else:
            fresh = [job for job in view.arrivals(self._mark[1]) if view.waits(job.id)]
            entries = [self._add(job, view) for job in fresh]
            came = length - self._sorted[0]
            went = self._sorted[1] + came - view.queue_length
            exact = view.queue_length <= _EXACT and len(view.devices) <= _EXACT_DEVICES
            if exact or _STALE * (came + went) > max(view.queue_length, len(view.devices)):
                self._sort(view)
            else:
                self._clean(view)
                for entry in entries:
                    for position, keys in enumerate(self._lists):
                        key = self._key(entry, position, view.now_s)
                        if key is not None:
                            insort(keys, key)
        self._mark = (generation, length)
        return self

    def walk(self, view: View, closed: Container[int] = ()) -> Iterator[tuple[int, Entry]]:
        """(position of a kind, entry), lowest rank first; those that do not wait are left out.

        A job comes once for each kind on which it can go, until it does not wait any more. Kinds
        are left out from when their position is among the ``closed``.
        """
        lists, live, waits = self._lists, self._live, view.waits
        nexts = [0] * len(lists)
        heads = [keys[0] if keys else None for keys in lists]
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
            keys = lists[position]
            at = nexts[position] = nexts[position] + 1
            heads[position] = keys[at] if at < len(keys) else None
            waiting = live.get(entry.job.id) is entry and waits(entry.job.id)
            if at > self._walked[position]:
                self._walked[position] = at
                self._dead[position] += not waiting
            if waiting:
                yield position, entry

    def entry(self, job: Job, view: View) -> Entry:
        """The entry of a waiting job."""
        return self._live.get(job.id) or self._new(job, view)

    def _start(self, view: View) -> None:
        self._live.clear()
        for job in view.queue():
            self._add(job, view)
        self._lists = [[] for _ in view.kinds]
        self._walked, self._dead = [0] * len(self._lists), [0] * len(self._lists)
        self._sort(view)

    def _add(self, job: Job, view: View) -> Entry:
        entry = self._live[job.id] = self._new(job, view)
        self._serial += 1
        entry.serial = self._serial
        return entry

    def _new(self, job: Job, view: View) -> Entry:
        times_s = view.times(job) if self._pooled is None else self._pooled.times(job, view)
        entry = Entry(view.record(job.id), times_s)
        entry.sizes = advantages(entry.times_s, self.bias)
        return entry

    def _sort(self, view: View) -> None:
        """Drop what waits no longer, and sort the rest by its rank at this time."""
        gone = [job_id for job_id in self._live if not view.waits(job_id)]
        for job_id in gone:
            del self._live[job_id]
        for position in range(len(self._lists)):
            keys = (self._key(entry, position, view.now_s) for entry in self._live.values())
            self._lists[position] = sorted(key for key in keys if key is not None)
            self._walked[position] = self._dead[position] = 0
        self._sorted = (view.mark[1], view.queue_length)

    def _clean(self, view: View) -> None:
        """Drop what waits no longer from where it is walked over again and again."""
        for position, keys in enumerate(self._lists):
            if self._dead[position] >= _DEAD:
                walked = keys[: self._walked[position]]
                keys[: len(walked)] = [key for key in walked if self._waits(key[5], view)]
            self._walked[position] = self._dead[position] = 0

    def _waits(self, entry: Entry, view: View) -> bool:
        return self._live.get(entry.job.id) is entry and view.waits(entry.job.id)

    def _key(self, entry: Entry, position: int, now_s: float) -> _Key | None:
        size = entry.sizes[position]
        if size is None:
            return None
        if self.power:
            size *= max(now_s - entry.born_s, _LEAST_S) ** -self.power
        return (-entry.level, size, entry.order, position, entry.serial, entry)

    def __deepcopy__(self, memo: dict[int, Any]) -> AgedOrder:
        """A copy that goes its own way; the entries never change and are shared."""
        copy = AgedOrder(self.bias, self.power)
        copy.__dict__.update(self.__dict__)
        copy._pooled = deepcopy(self._pooled, memo)
        copy._live = dict(self._live)
        copy._lists = [list(keys) for keys in self._lists]
        copy._walked, copy._dead = list(self._walked), list(self._dead)
        return copy


def foresee(view: View, order: AgedOrder) -> Iterator[Placement]:
    """Everything that waits, by its rank of this moment, each job where it is done first."""
    for _, entry in order.walk(view):
        options = view.options(entry.job)
        if options:
            yield min(options, key=lambda p: (p.finish_s, p.start_s, p.device.id))
