"""A policy that keeps a plan: a list of jobs for each pool of like devices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any

from jetsched.policies.placeable import Placeable, placeable
from jetsched.policies.pools import Pool, pools_of
from jetsched.policies.situation import is_private
from jetsched.records import Job, Placement
from jetsched.scheduler.view import View

if TYPE_CHECKING:
    from jetsched.policies.classlp import Floats


class Entry:
    """A job in the list of a pool. Never changed."""

    __slots__ = ("job", "pool", "start_s", "time_s")

    def __init__(self, job: Job, pool: int, start_s: float, time_s: float) -> None:
        self.job = job
        self.pool = pool
        self.start_s = start_s
        self.time_s = time_s


#: Priority (negative), planned start, order of submission, the entry.
Key = tuple[int, float, int, Entry]


class Planned(ABC):
    """Whichever device of a pool is free takes the next job on the pool's list.

    A list is in the order of the planned starts: where all goes as estimated the plan is followed
    to the second, and where runs end sooner or later no device waits for another one. A subclass
    writes :meth:`assign`, which makes a plan, and :meth:`stale`, which says when a new one is worth
    its price. One is made in any case when devices, costs or wishes are others; what comes in
    between is put where it ends first.

    What is decided follows from what happened, not from how often it was asked: a job that was
    taken from a list is put back in the next decision if it still waits.
    """

    name: str = ""

    #: How many waiting jobs a plan looks at, from the front, beside those for free devices; 0: all.
    #: Jobs that no device can run do not count.
    window: int = 0

    def __init__(self) -> None:
        self._forget()
        self._placeable = Placeable()
        self._came = 0  # jobs that ever came: each of them pays for a part of the planning

    def _forget(self) -> None:
        self._mark = (-2, 0)  # of no view
        self._pools: list[Pool] = []
        self._counts: tuple[int, ...] = ()
        self._lists: list[list[Key]] = []
        self._work_s: list[float] = []  # in each list
        self._entries: dict[str, Entry] = {}  # the valid one of each job
        self._taken: list[Key] = []  # in the last decision: they may not have been started
        self._nowhere = 0  # jobs that no device can run, of those that the plan has looked at
        self._beyond: tuple[int, int] | None = None  # the last place in the queue that is planned
        self._new = self._started = 0  # since the plan was made
        self._length_s = 0.0
        self._off_s = 0.0  # how far a start has been off its time
        self._planned_at_s = self._last_start_s = -inf

    def __deepcopy__(self, memo: dict[int, Any]) -> Planned:
        """A copy with a plan of its own; entries and pools never change and are shared."""
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._lists = [list(keys) for keys in self._lists]
        copy._work_s = list(self._work_s)
        copy._entries = dict(self._entries)
        copy._taken = list(self._taken)
        copy._placeable = Placeable()  # a cache
        return copy

    # -- what a subclass writes ------------------------------------------------------------------

    @abstractmethod
    def assign(
        self, jobs: Sequence[Job], levels: Sequence[int], times_s: Floats, clocks: Sequence[Floats]
    ) -> tuple[list[int], list[float], float]:
        """The pool and the planned start of each job, and the length of the plan, in seconds.

        Jobs of a higher level go first. ``times_s[job, pool]``, inf where it cannot go;
        ``clocks[pool]``: when its devices are free, the first of them, sorted. All from now.
        """

    @abstractmethod
    def stale(self, view: View) -> bool:
        """Whether a new plan is worth its price. Asked when time has passed since the last one and
        the last start, and when jobs have come."""

    # -- deciding --------------------------------------------------------------------------------

    def decide(self, view: View) -> Iterator[Placement]:
        """For each free device of a pool the next job on the pool's list."""
        if not view.free_count:
            return
        if is_private(view):  # a queue of its own: this view alone has it
            other = self.__deepcopy__({})
            other._forget()
            other._plan(view)
            yield from other._next(view)
            return
        self._catch_up(view)
        yield from self._next(view)

    def _next(self, view: View) -> Iterator[Placement]:
        free = [pool.free_in(view) for pool in self._pools]
        while True:
            best: Key | None = None
            for number, keys in enumerate(self._lists):
                if not keys or not (free[number] or view.planning):
                    continue
                key = self._first(number, view)
                if key is not None and (best is None or key[:3] < best[:3]):
                    best = key
            if best is None:
                return
            entry = best[-1]
            heappop(self._lists[entry.pool])
            self._taken.append(best)
            placement = self._pools[entry.pool].place(entry.job, view)
            if placement is None:
                continue
            if placement.start_s <= view.now_s:
                self._last_start_s = view.now_s
                free[entry.pool] -= 1
            if view.explains:
                options = view.options(entry.job)
                view.note(entry.job, options, [p.finish_s for p in options], placement)
            yield placement

    def _first(self, number: int, view: View) -> Key | None:
        """The next job on a list that waits."""
        keys = self._lists[number]
        while keys:
            entry = keys[0][-1]
            if self._entries.get(entry.job.id) is entry:
                if view.waits(entry.job.id):
                    return keys[0]
                self._drop(entry)
            heappop(keys)
        return None

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.job.id]
        self._work_s[entry.pool] -= entry.time_s

    # -- what has happened -----------------------------------------------------------------------

    def _catch_up(self, view: View) -> None:
        """Bring the plan up to date with what was started, what came and what went."""
        generation, length = view.mark
        known = generation == self._mark[0]
        jobs = [j for j in view.arrivals(self._mark[1]) if view.waits(j.id)] if known else []
        self._confirm(view)
        self._new += len(jobs)
        self._came += len(jobs) if known else max(0, view.queue_length - len(self._entries))
        self._mark = (generation, length)
        moved_on = view.now_s > max(self._planned_at_s, self._last_start_s)
        if (
            not known
            or self._misses(jobs, view)
            or ((jobs or moved_on) and self.stale(view))
        ):  # fmt: skip
            self._plan(view)
            return
        for job in jobs:
            self._insert(job, view)

    def _confirm(self, view: View) -> None:
        """What was taken has been started; or it still waits, then it is put back."""
        for key in self._taken:
            entry = key[-1]
            if self._entries.get(entry.job.id) is not entry:
                continue
            if view.waits(entry.job.id):
                heappush(self._lists[entry.pool], key)
                continue
            self._drop(entry)
            self._started += 1
            last = view.record(entry.job.id).attempts[-1:]
            if last:
                self._off_s = max(self._off_s, abs(last[0].start_s - entry.start_s))
        self._taken.clear()

    def _misses(self, jobs: Sequence[Job], view: View) -> bool:
        """Whether there are devices, jobs or wishes that the plan does not know."""
        if self._counts != tuple(len(kind.devices) for kind in view.kinds):
            return True
        if not all(pool.holds() for pool in self._pools):  # as many devices, but others
            return True
        if not self._entries and view.queue_length > self._nowhere:
            return True
        for job in jobs:
            if not any(pool.suits(job) for pool in self._pools) and placeable(job, view):
                return True
        planned = len(self._entries) + len(jobs) + self._nowhere
        return self._beyond is None and planned < view.queue_length

    def dry(self, view: View) -> bool:
        """Whether a pool has nothing left on its list, and a device that could start a job."""
        return any(
            not self._lists[number] and pool.free_in(view)
            for number, pool in enumerate(self._pools)
        )

    # -- planning --------------------------------------------------------------------------------

    def _plan(self, view: View) -> None:
        """Plan what waits anew."""
        import numpy as np

        mark = self._mark
        self._forget()
        self._mark = mark
        self._planned_at_s = view.now_s
        self._counts = tuple(len(kind.devices) for kind in view.kinds)
        jobs = self._front(view)
        if not jobs:
            return
        pools = self._pools = pools_of(view, jobs)
        self._lists = [[] for _ in pools]
        self._work_s = [0.0] * len(pools)
        times_s = np.array([_times(view.times(job), job, pools) for job in jobs])
        clocks = [np.array(pool.clocks(view, len(jobs))) - view.now_s for pool in pools]
        levels = [view.level(job) for job in jobs]
        chosen, starts_s, self._length_s = self.assign(jobs, levels, times_s, clocks)
        for number, (job, pool, start_s) in enumerate(zip(jobs, chosen, starts_s, strict=True)):
            key = self._enter(job, pool, view.now_s + start_s, float(times_s[number, pool]), view)
            self._lists[pool].append(key)
        for keys in self._lists:
            heapify(keys)

    def _front(self, view: View) -> list[Job]:
        """The jobs to plan; notes what is left out, beyond them or because it can go nowhere."""
        most = self.window + view.free_count if self.window and not view.planning else None
        if most is None or is_private(view):
            able = (job for job in view.queue() if placeable(job, view))
            jobs = list(islice(able, None if most is None else most + 1))
        else:
            jobs = self._placeable.first(most + 1, view)
        if most is not None and len(jobs) > most:
            jobs.pop()
            self._beyond = view.record(jobs[-1].id).queue_key
        else:
            self._nowhere = view.queue_length - len(jobs)
        return jobs

    def _insert(self, job: Job, view: View) -> None:
        """Put a job that came where it ends first, behind what is planned there."""
        if self._beyond is not None and view.record(job.id).queue_key > self._beyond:
            return  # others before it are not planned yet either
        best: tuple[float, int, float, float] | None = None
        row = _times(view.times(job), job, self._pools)
        for number, (pool, time_s) in enumerate(zip(self._pools, row, strict=True)):
            if time_s < inf:
                start_s = pool.earliest_s(view) + self._work_s[number] / pool.size
                found = (start_s + time_s, number, start_s, time_s)
                if best is None or found < best:
                    best = found
        if best is None:
            self._nowhere += 1
            return
        _, number, start_s, time_s = best
        heappush(self._lists[number], self._enter(job, number, start_s, time_s, view))

    def _enter(self, job: Job, pool: int, start_s: float, time_s: float, view: View) -> Key:
        old = self._entries.get(job.id)
        if old is not None:
            self._drop(old)
        entry = self._entries[job.id] = Entry(job, pool, start_s, time_s)
        self._work_s[pool] += time_s
        record = view.record(job.id)
        return (-record.level, start_s, record.order, entry)


def _times(times_s: Sequence[float | None], job: Job, pools: Sequence[Pool]) -> list[float]:
    """The run time of a job in each pool; inf where it cannot go. Never 0: a plan needs weights."""
    row = []
    for pool in pools:
        time_s = times_s[pool.kind.position] if pool.suits(job) else None
        row.append(inf if time_s is None else max(time_s, 1e-9))
    return row
