"""Makespan: a plan for the whole batch, so that its last job ends early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

from jetsched.policies.assignment import ROUNDS, plan_batch
from jetsched.policies.pools import Pool, pools_of
from jetsched.records import Job, Placement
from jetsched.scheduler.view import View

#: A plan is made anew when this part of what waits is new to it, or has been started since. What
#: comes in between is put where it ends first. So planning costs the same per job, whatever comes.
NEW_PART = 0.25
STARTED_PART = 0.1
#: Each job that comes pays for so many rounds of local search.
ROUNDS_PER_JOB = 4
#: A plan is out of step when a job starts this part of the plan's length off its time.
OUT_OF_STEP = 0.02

#: Priority (negative), planned start, order of submission, the entry.
_Key = tuple[int, float, int, "_Entry"]


class _Entry:
    """A job in the list of a pool. Never changed."""

    __slots__ = ("job", "pool", "start_s", "time_s")

    def __init__(self, job: Job, pool: int, start_s: float, time_s: float) -> None:
        self.job = job
        self.pool = pool
        self.start_s = start_s
        self.time_s = time_s


class Makespan:
    """Plan all that waits as one batch, so that the last device ends as early as possible.

    The linear program of Lenstra, Shmoys and Tardos (Mathematical Programming 46, 1990) says what
    goes where, rounding and a local search make whole jobs of it: :func:`~jetsched.policies.
    assignment.plan_batch`. The plan is kept as a list for each pool of like devices, in the order
    of the planned starts; whichever device of a pool is free takes the next of it, so that runs
    that end sooner or later than estimated do little harm. It is made anew for what was not
    foreseen: jobs that come, memory kills, devices that are lost or join, starts that are out of
    step when a pool has nothing left. Good: batches on unlike devices. Bad: for the mean
    completion, since long jobs go first, and for streams, which it serves in the order of arrival.

    ``rounds`` bounds the local search of a plan, so that the same seed gives the same plan;
    ``out_of_time`` is asked between rounds and can end it earlier: for a caller with a clock.
    """

    name = "makespan"
    ages = True

    def __init__(
        self,
        rounds: int = ROUNDS,
        seed: int = 0,
        out_of_time: Callable[[], bool] = lambda: False,
    ) -> None:
        if rounds < 0:
            raise ValueError(f"rounds must not be negative, but is {rounds}")
        self.rounds = rounds
        self.seed = seed
        self._out_of_time = out_of_time
        self._forget()
        self._plans = 0
        self._paid = 0  # rounds that jobs have paid for

    def _forget(self) -> None:
        self._mark = (-2, 0)  # of no view
        self._pools: list[Pool] = []
        self._counts: tuple[int, ...] = ()
        self._lists: list[list[_Key]] = []
        self._work_s: list[float] = []  # in each list
        self._entries: dict[str, _Entry] = {}  # the valid one of each job
        self._taken: list[_Key] = []  # in the last decision: they may not have been started
        self._new = self._started = 0  # since the plan was made
        self._length_s = 0.0
        self._off_s = 0.0
        self._last_start_s = -inf

    def __deepcopy__(self, memo: dict[int, Any]) -> Makespan:
        """A copy with a plan of its own; entries and pools never change and are shared."""
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._lists = [list(keys) for keys in self._lists]
        copy._work_s = list(self._work_s)
        copy._entries = dict(self._entries)
        copy._taken = list(self._taken)
        return copy

    # -- deciding --------------------------------------------------------------------------------

    def decide(self, view: View) -> Iterator[Placement]:
        """For each free device of a pool the next job on the pool's list."""
        if not view.free_count:
            return
        generation, _ = view.mark
        if generation < 0 or not view.untouched:  # a queue of its own: this view alone has it
            other = self.__deepcopy__({})
            other._forget()
            other._plan(view)
            yield from other._next(view)
            return
        self._catch_up(view)
        yield from self._next(view)

    def _next(self, view: View) -> Iterator[Placement]:
        while True:
            best: _Key | None = None
            for number, pool in enumerate(self._pools):
                key = self._first(number, view)
                if key is None or not (view.planning or pool.has_free(view)):
                    continue
                if best is None or key[:3] < best[:3]:
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
            if view.explains:
                options = view.options(entry.job)
                view.note(entry.job, options, [p.finish_s for p in options], placement)
            yield placement

    def _first(self, number: int, view: View) -> _Key | None:
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

    def _drop(self, entry: _Entry) -> None:
        del self._entries[entry.job.id]
        self._work_s[entry.pool] -= entry.time_s

    # -- what has happened -----------------------------------------------------------------------

    def _catch_up(self, view: View) -> None:
        """Bring the plan up to date with what was started, what came and what went."""
        generation, length = view.mark
        known = generation == self._mark[0]
        jobs = [j for j in view.arrivals(self._mark[1]) if view.waits(j.id)] if known else []
        self._confirm(view)
        self._paid += len(jobs) * ROUNDS_PER_JOB
        self._new += len(jobs)
        if not known:
            self._paid += max(0, view.queue_length - len(self._entries)) * ROUNDS_PER_JOB
        self._mark = (generation, length)
        if self._needs_plan(known, jobs, view):
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

    def _needs_plan(self, known: bool, jobs: Sequence[Job], view: View) -> bool:
        waiting = view.queue_length
        if not known or self._counts != tuple(len(kind.devices) for kind in view.kinds):
            return True
        if self._new > 1 and self._new >= NEW_PART * waiting:
            return True
        if len(self._entries) + len(jobs) < waiting:
            return True  # something waits that nobody has told of
        if any(not any(pool.suits(job) for pool in self._pools) for job in jobs):
            return True  # wishes that the pools were not made for
        return self._out_of_step(view)

    def _out_of_step(self, view: View) -> bool:
        """Whether a pool has nothing left, others have, and jobs have not started as planned."""
        if self._off_s <= OUT_OF_STEP * self._length_s or view.now_s <= self._last_start_s:
            return False
        if self._started < max(1, STARTED_PART * len(self._entries)):
            return False
        return any(
            not self._lists[number] and pool.has_free(view)
            for number, pool in enumerate(self._pools)
        )

    # -- planning --------------------------------------------------------------------------------

    def _plan(self, view: View) -> None:
        """Plan everything that waits."""
        import numpy as np

        jobs = list(view.queue())
        mark = self._mark
        self._forget()
        self._mark = mark
        self._counts = tuple(len(kind.devices) for kind in view.kinds)
        pools = self._pools = pools_of(view, jobs)
        self._lists = [[] for _ in pools]
        self._work_s = [0.0] * len(pools)
        rows = [_times(view.times(job), job, pools) for job in jobs]
        somewhere = [number for number, row in enumerate(rows) if min(row) < inf]
        if not somewhere:
            return
        jobs = [jobs[number] for number in somewhere]
        times_s = np.array([rows[number] for number in somewhere])
        clocks = [np.array([s - view.now_s for s in pool.clocks(view)]) for pool in pools]
        rounds = min(self.rounds, self._paid)
        plan = plan_batch(
            times_s,
            clocks,
            rounds=rounds,
            seed=self.seed + self._plans,
            out_of_time=self._out_of_time,
        )
        self._paid -= rounds
        self._plans += 1
        self._length_s = plan.makespan_s
        kinds, slots = plan.kind.tolist(), plan.slot.tolist()
        order = [view.record(job.id).order for job in jobs]
        took = times_s[np.arange(len(jobs)), plan.kind].tolist()
        free_s = [clock.tolist() for clock in clocks]
        # Batches in the order in which they came, and the longest job of each first.
        for number in sorted(
            range(len(jobs)),
            key=lambda n: (-jobs[n].priority, jobs[n].submitted_s, -took[n], order[n]),
        ):
            job, pool, slot = jobs[number], kinds[number], slots[number]
            start_s = free_s[pool][slot]
            free_s[pool][slot] = start_s + took[number]
            key = self._enter(job, pool, view.now_s + start_s, took[number], order[number])
            self._lists[pool].append(key)
        for keys in self._lists:
            heapify(keys)

    def _insert(self, job: Job, view: View) -> None:
        """Put a job that came where it ends first, behind what is planned there."""
        best: tuple[float, int, float, float] | None = None
        for number, (pool, time_s) in enumerate(
            zip(self._pools, _times(view.times(job), job, self._pools), strict=True)
        ):
            if time_s < inf:
                start_s = pool.earliest_s(view) + self._work_s[number] / pool.size
                found = (start_s + time_s, number, start_s, time_s)
                if best is None or found < best:
                    best = found
        if best is not None:
            _, number, start_s, time_s = best
            key = self._enter(job, number, start_s, time_s, view.record(job.id).order)
            heappush(self._lists[number], key)

    def _enter(self, job: Job, pool: int, start_s: float, time_s: float, order: int) -> _Key:
        old = self._entries.get(job.id)
        if old is not None:
            self._drop(old)
        entry = self._entries[job.id] = _Entry(job, pool, start_s, time_s)
        self._work_s[pool] += time_s
        return (-job.priority, start_s, order, entry)


def _times(times_s: Sequence[float | None], job: Job, pools: Sequence[Pool]) -> list[float]:
    """The run time of a job in each pool; inf where it cannot go. Never 0: a plan needs weights."""
    row = []
    for pool in pools:
        time_s = times_s[pool.kind.position] if pool.suits(job) else None
        row.append(inf if time_s is None else max(time_s, 1e-9))
    return row
