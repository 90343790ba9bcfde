"""Whether to start on what is free or to wait for better, on fleets of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf, sqrt

from jetsched.policies.aged import AgedOrder, Entry
from jetsched.policies.matching import start
from jetsched.policies.pooled import PooledTimes
from jetsched.policies.worth import Worth
from jetsched.records import Job, Placement
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View

#: How many jobs that rather wait are looked at in one decision, and how many of kinds that are
#: busy. More find a job for a device that nobody ahead wants.
LOOK = 64

#: A second of a device that is busy makes so many jobs wait at full load, as experience tells; and
#: so many more at most, where that is learnt.
PRICE = 1.6
MOST = 1.0

#: Kinds of more devices than this are priced by demand.
MANY = 64

#: The load is the mean over about so many arrivals.
MEMORY = 200


class Load:
    """How much work arrives, as a part of what the fleet can do: 1 is all of it, or more.

    Work is counted at its run time on the kind that is best for it, over the last arrivals; jobs
    that come all at once are a load of 1.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._last_s = 0.0
        self._last_order = -1
        self._gap_s = 0.0
        self._work_s = 0.0
        self._worth = Worth()

    def arrived(self, jobs: Iterable[Job], view: View) -> int:
        """Take new arrivals into account; returns how many of the jobs were new.

        Those that it has seen before, as when they wait once more, do not count again.
        """
        fresh: dict[int, Job] = {}
        for job in jobs:
            order = view.record(job.id).order
            if order > self._last_order:
                fresh[order] = job
        if not fresh:
            return 0
        count, first, last = len(fresh), min(fresh), max(fresh)
        some = _some(list(fresh.values()))
        seen = [min((t for t in view.times(j) if t is not None), default=0.0) for j in some]
        work_s = [least_s for least_s in seen if least_s > 0]
        if not work_s:
            return 0
        share = 1.0 - (1.0 - 1.0 / MEMORY) ** count
        share = max(share, count / (self._seen + count))
        self._work_s += share * (sum(work_s) / len(work_s) - self._work_s)
        self._worth.learn(some, view, share)
        last_s = fresh[last].submitted_s
        gaps = count - (self._seen == 0)
        if gaps:
            since_s = self._last_s if self._seen else fresh[first].submitted_s
            self._gap_s += share * (max(0.0, last_s - since_s) / gaps - self._gap_s)
        self._seen += count
        self._last_s, self._last_order = last_s, last
        return count

    def on(self, devices: int) -> float:
        """The load of a fleet of so many devices."""
        capacity_s = self._gap_s * devices
        return min(1.0, self._work_s / capacity_s) if capacity_s > 0 else 1.0

    def worth(self, kinds: Sequence[ClassState]) -> list[float]:
        """What a second of each kind is worth beside itself, at this load."""
        return self._worth.prices(kinds, self.on(sum(len(kind.devices) for kind in kinds)))


def _some(jobs: Sequence[Job]) -> Sequence[Job]:
    return jobs if len(jobs) <= 8 else jobs[:: len(jobs) // 8]


class Prices:
    """What a second of each kind costs beside itself: how many jobs, also yet to come, wait for it.

    ``PRICE`` times the load, or what all jobs agree that it is worth (:class:`Worth`). On kinds of
    many devices, where chance matters little, it follows demand: it rises while all devices are
    busy, and falls while more are free than a reserve, by steps that reach as far as ``PRICE`` when
    as many jobs have come as there are devices. Looked at anew when a 64th of that has come.
    """

    def __init__(self) -> None:
        self.load = Load()
        self._extra: dict[int, float] = {}  # by the index of the kind
        self._mark = (-2, 0)
        self._prices: list[float] = []

    def follow(self, view: View, pooled: PooledTimes) -> Sequence[float]:
        """The price on each of ``view.kinds`` when all of it is busy; ``pooled`` follows too."""
        generation, length = view.mark
        same, since = generation == self._mark[0], self._mark[1]
        devices = len(view.devices)
        if same and (length - since) * 64 < max(64, devices):
            return self._prices
        pooled.follow(view)
        if generation < 0:
            return self._now(view)
        arrived = self.load.arrived(view.arrivals(since) if same else view.queue(), view)
        if arrived:
            self._move(view, min(arrived, devices))
        self._mark = (generation, length)
        self._prices = self._now(view)
        return self._prices

    def _now(self, view: View) -> list[float]:
        base = PRICE * self.load.on(len(view.devices))
        worth = self.load.worth(view.kinds)
        return [max(base + self._of(k), w) for k, w in zip(view.kinds, worth, strict=True)]

    def _of(self, kind: ClassState) -> float:
        return self._extra.get(kind.index, 0.0)

    def _move(self, view: View, arrived: int) -> None:
        extras = []
        for kind in view.kinds:
            devices, free = len(kind.devices), view.free_in(kind)
            step = PRICE * arrived / devices
            extra = self._of(kind)
            if devices <= MANY:
                extra = 0.0
            elif not free:
                extra += step
            elif free > scarce(devices):
                extra = max(0.0, extra - step)
            extras.append(extra)
        least = min(extras)  # what is dear everywhere is no reason to wait for nothing
        for kind, extra in zip(view.kinds, extras, strict=True):
            self._extra[kind.index] = min(MOST, extra - least)


def scarce(devices: int) -> float:
    """The kind is dear while fewer of its devices are free: 47 for 1,000 of them."""
    return 2.0 * (sqrt(devices) - sqrt(MANY)) if devices > MANY else 0.0


def dearness(free: int, devices: int) -> float:
    """By which part of its price a kind is dear, when so many of its devices are free.

    All of it when none is. On kinds of many devices it rises before: jobs that gain little there
    leave the last ones to those that gain more.
    """
    if not free:
        return 1.0
    few = scarce(devices)
    return 1.0 - free / few if free < few else 0.0


def alone(view: View, prices: Sequence[float], pooled: PooledTimes) -> Iterable[Placement]:
    """What becomes of the only waiting job. Costs O(kinds)."""
    kinds = view.kinds
    job = view.first()
    times_s = pooled.times(job, view)
    free = [view.free_in(kind) for kind in kinds]
    best_s, at, dear = inf, -1, False
    for position, time_s in enumerate(times_s):
        if time_s is not None and free[position]:
            dear = dear or _may_be_dear(free[position], len(kinds[position].devices))
            if time_s < best_s:
                best_s, at = time_s, position
    if at < 0:
        return ()
    if dear:
        best_s, at = cheapest(times_s, free, kinds, prices) or (best_s, at)
    for position, time_s in enumerate(times_s):
        # Most often the price alone is too high, and nobody need know when the kind is free.
        if time_s is not None and time_s * (1.0 + prices[position]) < best_s:
            kind = kinds[position]
            wait_s = view.earliest_s(kind) - view.now_s
            if wait_s > 0 and wait_s + time_s * (1.0 + prices[position]) < best_s:
                return ()
    return start(view, job, kinds[at])


def _may_be_dear(free: int, devices: int) -> bool:
    """Whether :func:`dearness` may be above 0: a bound that needs no root."""
    return devices > MANY and free * free < 4 * devices


def cheapest(
    times_s: Sequence[float | None],
    free: Sequence[int],
    kinds: Sequence[ClassState],
    prices: Sequence[float],
) -> tuple[float, int] | None:
    """(cost, position) of the best of the kinds with free devices; None if the job fits none.

    Where all that it could start on is dear, it is as if nothing was.
    """
    best_s, best, least = inf, -1, inf
    costs: list[tuple[int, float, float]] = []
    for position, time_s in enumerate(times_s):
        if time_s is None or not free[position]:
            continue
        price = 0.0
        devices = len(kinds[position].devices)
        if _may_be_dear(free[position], devices):
            price = prices[position] * dearness(free[position], devices)
        if price < least:
            least = price
        costs.append((position, time_s, price))
    for position, time_s, price in costs:
        cost_s = time_s * (1.0 + price - least)
        if cost_s < best_s:
            best_s, best = cost_s, position
    return None if best < 0 else (best_s, best)


class Walk:
    """One decision: goes through the waiting jobs in their order, and starts or holds each.

    A job goes where ``wait + time`` is least, its time on a kind that is all busy counted
    ``1 + price`` fold: a second of such a device makes others wait, jobs yet to come among them,
    and without the price everybody would wait for the fastest. Jobs ahead that are held for a kind
    make the wait for it longer: by their run times, spread over its devices.
    """

    def __init__(self, view: View, prices: Sequence[float]) -> None:
        self._view = view
        self._prices = prices
        self._kinds = view.kinds
        self._free = [view.free_in(kind) for kind in self._kinds]
        self._waits_s: list[float | None] = [0.0 if free else None for free in self._free]
        self._ahead_s = [0.0] * len(self._free)
        self._decided: set[str] = set()

    def first(self, entry: Entry) -> Iterable[Placement]:
        """Start a job that goes before all others, where :meth:`best` says, if that is free."""
        position = self.best(entry)
        return () if position is None or not self._free[position] else self._settle(entry, position)

    def through(self, order: AgedOrder) -> Iterator[Placement]:
        """Decide about the others, until no device is free or enough rather wait."""
        busy_left = held_left = LOOK
        closed: set[int] = set()
        free = self._free
        if not any(free):
            return
        for position, entry in order.walk(self._view, closed):
            if not free[position]:
                busy_left -= 1
                if busy_left < 0:
                    closed.update(p for p, count in enumerate(free) if not count)
                    continue
            if entry.job.id in self._decided:
                continue
            best = self.best(entry)
            if best is None or (best not in closed and entry.comes_later(best, position)):
                continue
            if free[position] and not free[best]:
                held_left -= 1
                if held_left < 0:
                    return
            yield from self._settle(entry, best)
            if not any(free):
                return

    def best(self, entry: Entry) -> int | None:
        """The position of the kind where the job is done first, prices counted."""
        times_s = entry.times_s
        best_s, best = inf, None
        found = cheapest(times_s, self._free, self._kinds, self._prices)
        if found is not None:
            best_s, best = found
        for position, time_s in enumerate(times_s):
            if time_s is None or self._free[position]:
                continue
            cost_s = time_s * (1.0 + self._prices[position])
            if cost_s < best_s:
                cost_s += self._wait_s(position)
                if cost_s < best_s:
                    best_s, best = cost_s, position
        return best

    def _wait_s(self, position: int) -> float:
        wait_s, kind = self._waits_s[position], self._kinds[position]
        if wait_s is None:
            wait_s = self._view.earliest_s(kind) - self._view.now_s
            self._waits_s[position] = wait_s
        return wait_s + self._ahead_s[position] / max(1, len(kind.devices))

    def _settle(self, entry: Entry, position: int) -> Iterable[Placement]:
        """Start the job, or hold it for the kind."""
        self._decided.add(entry.job.id)
        if not self._free[position]:
            self._ahead_s[position] += entry.times_s[position] or 0.0
            return
        yield from start(self._view, entry.job, self._kinds[position])
        self._free[position] = self._view.free_in(self._kinds[position])
        if not self._free[position]:
            self._waits_s[position] = None
