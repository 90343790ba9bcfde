"""Matching: jobs to places in the queues of devices, at the least sum of completion times."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import islice
from math import ceil
from typing import Any

from jetsched.policies.aged import AgedOrder, Entry, foresee
from jetsched.policies.comparative_advantage import advantages
from jetsched.records import Job, Placement
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View

#: Run times of a job on each kind of device, None where it cannot go.
Times = Sequence[float | None]

#: More devices than this, and matching gives way to its stand-in.
MOST_DEVICES = 64


class Matching:
    """Match the waiting jobs to places in line, so that the sum of their completions is least.

    A job that is k-th from last on a device delays itself and the k - 1 behind it: it costs k times
    its run time, plus the time until the device is free. The matching of least cost is the best
    plan for the jobs that are there (Bruno, Coffman and Sethi, *Scheduling independent tasks to
    reduce mean finishing time*, CACM 17, 1974; AlloX: Le, Sun, Chowdhury and Liu, EuroSys 2020); it
    is made anew at every event, and what stands first on a free device starts. Of a queue longer
    than ``window`` only its front is matched. On large fleets a stand-in is used that loops over
    kinds of devices: the longest job first, each to the kind where its run time, times its place
    from last there, is least; every device then takes the shortest job of its kind's. Good: batches
    and small fleets whose devices differ much. Bad: it takes no account of jobs yet to come, waits
    too readily for fast devices, and a long job waits as long as shorter ones keep coming.
    """

    name = "matching"

    _order: AgedOrder | None = None
    _plan: _Plan | None = None

    def __init__(self, window: int = 40) -> None:
        if not 1 <= window <= 500:
            raise ValueError(f"window must lie in 1..500, not {window}")
        self.window = window

    def decide(self, view: View) -> Iterator[Placement]:
        """What stands first on the free devices in the best plan for what waits."""
        if not view.free_count:
            return
        if view.planning or len(view.devices) <= MOST_DEVICES:
            if self._order is None:
                self._order = AgedOrder(power=0.0)
            order = self._order.follow(view, sizes_of)
            if view.planning:
                yield from foresee(view, order)
                return
            kinds = lines(view)
            for entries in front(order, view, self.window):
                rows = [Row(times_of(entry.job, view)) for entry in entries]
                for index, position in first_places(rows, kinds):
                    yield from start(view, entries[index].job, view.kinds[position])
            return
        if self._plan is None:
            self._plan = _Plan()
        yield from self._plan.starts(view)

    def __deepcopy__(self, memo: dict[int, Any]) -> Matching:
        """A copy without what was worked out so far: looking ahead must not move it on."""
        return type(self)(self.window)


def sizes_of(job: Job, view: View) -> tuple[Sequence[float | None], float]:
    """The sizes by which the front of the queue is chosen: short, and where it belongs."""
    times_s = times_of(job, view)
    unit_s = min((time_s for time_s in times_s if time_s is not None), default=0.0)
    return advantages(times_s, 3.0), unit_s


def times_of(job: Job, view: View) -> list[float | None]:
    """The run times of the job on each of ``view.kinds``."""
    return [None if cost is None else cost.time_s for cost in view.costs(job)]


def front(order: AgedOrder, view: View, window: int) -> Iterator[list[Entry]]:
    """The first jobs in the order, for each kind the same number: about ``window`` in all.

    In groups: those of the highest priority first.
    """
    entries: dict[str, Entry] = {}
    if view.queue_length <= window:
        entries.update((entry.job.id, entry) for _, entry in order.walk(view))
    else:
        every = range(len(view.kinds))
        for position in every:
            others = [other for other in every if other != position]
            found = islice(order.walk(view, others), ceil(window / len(every)))
            entries.update((entry.job.id, entry) for _, entry in found)
    groups: dict[int, list[Entry]] = {}
    for entry in entries.values():
        groups.setdefault(-entry.job.priority, []).append(entry)
    for priority in sorted(groups):
        yield groups[priority]


def start(view: View, job: Job, kind: ClassState) -> Iterator[Placement]:
    """The job on a free device of the kind, if one is left that suits it."""
    placement = view.place(job, kind)
    if placement is not None and placement.start_s <= view.now_s:
        if view.explains:
            options = view.options(job)
            view.note(job, options, [option.finish_s for option in options], placement)
        yield placement


# ----------------------------------------------------------------------------------- the matching


class Row:
    """A job to match: its run times, and how much its place from last counts.

    ``weight`` 1 is a job that has just come; less lets it stand further ahead than its length says.
    """

    __slots__ = ("times_s", "weight")

    def __init__(self, times_s: Times, weight: float = 1.0) -> None:
        self.times_s = times_s
        self.weight = weight


class Line:
    """The devices of a kind: the seconds until each is free, sorted.

    ``price`` is what a second of them costs beside itself: how many jobs yet to come will wait for
    it.
    """

    __slots__ = ("price", "waits_s")

    def __init__(self, waits_s: Sequence[float], price: float = 0.0) -> None:
        self.waits_s = waits_s
        self.price = price


def lines(view: View, price: float = 0.0) -> list[Line]:
    """The lines of the view's kinds; ``price`` is that of kinds of which no device is free."""
    now_s = view.now_s
    return [
        Line(
            [free_s - now_s for free_s in view.clocks(kind)],
            0.0 if view.free_in(kind) else price,
        )
        for kind in view.kinds
    ]


def first_places(rows: Sequence[Row], kinds: Sequence[Line]) -> list[tuple[int, int]]:
    """(index of the job, position of the kind) of those that stand first on a free device.

    A job on the k-th place from last of a device costs ``wait + time x (1 + price) + weight x time
    x (k - 1)``; the plan is the one of least cost in all. The lines are longer by it afterwards.
    O(jobs^3).
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    count, devices = len(rows), sum(len(kind.waits_s) for kind in kinds)
    if not count or not devices:
        return []
    # Even with lines of unlike length, no device gets much more than its share.
    depth = count if devices < 4 else min(count, ceil(2.5 * count / devices) + 2)
    of_kind: list[int] = []
    ends_s: list[float] = []
    for position, kind in enumerate(kinds):
        nearest = kind.waits_s[:count]
        of_kind += [position] * len(nearest)
        ends_s += nearest
    free = [end_s <= 0 for end_s in ends_s]
    places = np.tile(np.arange(depth), len(ends_s))
    columns = np.repeat(np.array(of_kind), depth)
    never = np.array([[time_s is None for time_s in row.times_s] for row in rows])
    times = np.array([[time_s or 0.0 for time_s in row.times_s] for row in rows])
    prices = 1.0 + np.array([kind.price for kind in kinds])
    weights = np.array([row.weight for row in rows])
    cost = (times * prices)[:, columns] + (weights[:, None] * times)[:, columns] * places
    cost += np.repeat(np.array(ends_s), depth)
    cost[never[:, columns]] = 4 * count * (1.0 + cost.max())  # only if nothing else is left
    chosen_rows, chosen = linear_sum_assignment(cost)
    first: dict[int, tuple[int, int]] = {}  # device -> (places behind, job)
    for index, column in zip(chosen_rows.tolist(), chosen.tolist(), strict=True):
        device, behind = divmod(column, depth)
        time_s = rows[index].times_s[of_kind[device]]
        if time_s is not None:
            first[device] = max(first.get(device, (-1, -1)), (behind, index))
            ends_s[device] += time_s
    for position, kind in enumerate(kinds):
        nearest = [end_s for end_s, of in zip(ends_s, of_kind, strict=True) if of == position]
        kind.waits_s = sorted([*nearest, *kind.waits_s[len(nearest) :]])
    return [
        (index, of_kind[device]) for device, (_, index) in sorted(first.items()) if free[device]
    ]


# ------------------------------------------------------------------------- its stand-in, at scale


class _Plan:
    """Which kind each waiting job is to go to, for fleets and queues of any size.

    Made longest job first, 1-2 % above the best matching; new jobs are put where they cost least,
    and everything is planned anew when an eighth of it has changed.
    """

    def __init__(self) -> None:
        self._lists: list[list[tuple[int, float, int, Job]]] = []
        self._mark = (-2, 0)
        self._changes = 0

    def starts(self, view: View) -> Iterator[Placement]:
        """The shortest job of each kind's on its free devices."""
        plan = self._follow(view)
        for position, kind in enumerate(view.kinds):
            yield from plan._start_on(view, position, kind)

    def _start_on(self, view: View, position: int, kind: ClassState) -> Iterator[Placement]:
        keys, kept = self._lists[position], []
        taken = 0
        while taken < len(keys) and view.free_in(kind):
            key = keys[taken]
            taken += 1
            if view.waits(key[-1].id):
                kept.append(key)
                yield from start(view, key[-1], kind)
        # What did not start, for what it asks for is busy, goes back in.
        keys[:taken] = [key for key in kept if view.waits(key[-1].id)]

    def _follow(self, view: View) -> _Plan:
        generation, length = view.mark
        if generation < 0 or not view.untouched:
            other = _Plan()
            other._make(view)
            return other
        fresh = []
        if generation == self._mark[0]:
            fresh = [job for job in view.arrivals(self._mark[1]) if view.waits(job.id)]
        self._changes += 1 + len(fresh)
        if generation != self._mark[0] or 8 * self._changes > view.queue_length:
            self._make(view)
        else:
            for job in fresh:
                self._insert(job, view)
        self._mark = (generation, length)
        return self

    def _make(self, view: View) -> None:
        """Longest first; a job's place from last on a kind is how many are there already."""
        kinds = view.kinds
        counts = [0] * len(kinds)
        sizes = [max(1, len(kind.devices)) for kind in kinds]
        waits_s = [view.earliest_s(kind) - view.now_s for kind in kinds]
        jobs = [(job, times_of(job, view)) for job in view.queue()]
        jobs = [(job, times_s) for job, times_s in jobs if any(t is not None for t in times_s)]
        jobs.sort(key=lambda pair: -min(time_s for time_s in pair[1] if time_s is not None))
        self._lists = [[] for _ in kinds]
        for job, times_s in jobs:
            best, chosen = -1.0, -1
            for position, time_s in enumerate(times_s):
                if time_s is not None:
                    place = counts[position] // sizes[position] + 1
                    cost = time_s * place + waits_s[position]
                    if chosen < 0 or cost < best:
                        best, chosen = cost, position
            counts[chosen] += 1
            self._put(job, chosen, times_s, view)
        for keys in self._lists:
            keys.sort()
        self._changes = 0

    def _put(self, job: Job, position: int, times_s: Times, view: View) -> None:
        time_s = times_s[position]
        assert time_s is not None
        self._lists[position].append((-job.priority, time_s, view.record(job.id).order, job))

    def _insert(self, job: Job, view: View) -> None:
        """Put a new job where its own completion, and the wait of those behind it, grow least."""
        times_s = times_of(job, view)
        order = view.record(job.id).order
        best: tuple[float, int] | None = None
        for position, kind in enumerate(view.kinds):
            time_s, keys = times_s[position], self._lists[position]
            if time_s is None:
                continue
            ahead = bisect_left(keys, (-job.priority, time_s, order))
            # Those ahead take half the time of this one on the average.
            work_s = time_s * (len(keys) - ahead) + 0.5 * time_s * ahead
            wait_s = view.earliest_s(kind) - view.now_s
            cost = (wait_s + time_s + work_s / max(1, len(kind.devices)), position)
            if best is None or cost < best:
                best = cost
        if best is not None:
            time_s = times_s[best[1]]
            assert time_s is not None
            insort(self._lists[best[1]], (-job.priority, time_s, order, job))
