"""Matching: jobs to places in the queues of devices, at the least sum of completion times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import ceil

from jetsched.policies.aged import AgedOrder, Entry, foresee
from jetsched.policies.kind_plan import KindPlan
from jetsched.records import Job, Placement
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View

#: Run times of a job on each kind of device, None where it cannot go.
Times = Sequence[float | None]

#: How much the front of a long queue is chosen by where jobs belong, beside how short they are.
BIAS = 3.0


class Matching:
    """Match the waiting jobs to places in line, so that the sum of their completions is least.

    A job that is k-th from last on a device delays itself and the k - 1 behind it: it costs k times
    its run time, plus the time until the device is free. The matching of least cost is the best
    plan for the jobs that are there (Bruno, Coffman and Sethi, *Scheduling independent tasks to
    reduce mean finishing time*, CACM 17, 1974; AlloX: Le, Sun, Chowdhury and Liu, EuroSys 2020); it
    is made anew at every event, and what stands first on a free device starts. Of a queue longer
    than ``window`` only its front is matched. On more than ``most_devices`` a stand-in is used that
    loops over kinds of devices: the longest job first, each to the kind where its run time, times
    its place from last there, is least; every device then takes the shortest job of its kind's.
    Good: batches and small fleets whose devices differ much. Bad: it takes no account of jobs yet
    to come, waits too readily for fast devices, and a long job waits as long as shorter ones keep
    coming.
    """

    name = "matching"

    def __init__(self, window: int = 40, most_devices: int = 64) -> None:
        if not 1 <= window <= 500:
            raise ValueError(f"window must lie in 1..500, not {window}")
        if not 0 <= most_devices <= 500:
            raise ValueError(f"most_devices must lie in 0..500, not {most_devices}")
        self.window = window
        self.most_devices = most_devices
        self._order = AgedOrder(BIAS, power=0.0)
        self._plan = KindPlan()

    def decide(self, view: View) -> Iterable[Placement]:
        """What stands first on the free devices in the best plan for what waits."""
        if view.planning:
            return foresee(view, self._order.follow(view))
        if not view.free_count:
            return ()
        if len(view.devices) > self.most_devices:
            return self._plan.starts(view)
        return self._matched(view)

    def _matched(self, view: View) -> Iterator[Placement]:
        kinds = lines(view)
        for entries in front(self._order.follow(view), view, self.window):
            rows = [Row(entry.times_s) for entry in entries]
            for index, position in first_places(rows, kinds):
                yield from start(view, entries[index].job, view.kinds[position])


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
        groups.setdefault(-entry.level, []).append(entry)
    for level in sorted(groups):
        yield groups[level]


def start(view: View, job: Job, kind: ClassState) -> Iterable[Placement]:
    """The job on a free device of the kind, if one is left that suits it."""
    placement = view.place(job, kind)
    if placement is None or placement.start_s > view.now_s:
        return ()
    if view.explains:
        options = view.options(job)
        view.note(job, options, [option.finish_s for option in options], placement)
    return (placement,)


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


def lines(view: View, prices: Sequence[float] = ()) -> list[Line]:
    """The lines of the view's kinds; ``prices`` are those of kinds of which no device is free."""
    now_s = view.now_s
    prices = prices or [0.0] * len(view.kinds)
    return [
        Line(
            [free_s - now_s for free_s in view.clocks(kind)],
            0.0 if view.free_in(kind) else price,
        )
        for kind, price in zip(view.kinds, prices, strict=True)
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
    starts = [
        (index, of_kind[device]) for device, (_, index) in sorted(first.items()) if free[device]
    ]
    return _in_turn(starts, rows)


def _in_turn(starts: Sequence[tuple[int, int]], rows: Sequence[Row]) -> list[tuple[int, int]]:
    """The same starts, but of jobs that are alike those that stand first among the rows."""
    alike: dict[tuple[float | None, ...], Iterator[int]] = {}
    turns: list[tuple[int, int]] = []
    for index, position in starts:
        times_s = tuple(rows[index].times_s)
        if times_s not in alike:
            same = [n for n, row in enumerate(rows) if tuple(row.times_s) == times_s]
            alike[times_s] = iter(same)
        turns.append((next(alike[times_s]), position))
    return turns
