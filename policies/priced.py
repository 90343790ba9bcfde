"""Whether to start on what is free or to wait for better, on fleets of any size."""

from __future__ import annotations

from collections.abc import Iterator

from jetsched.policies.aged import AgedOrder
from jetsched.policies.matching import start, times_of
from jetsched.records import Job, Placement
from jetsched.scheduler.view import View

#: How many jobs that rather wait are looked at in one decision, and how many of kinds that are
#: busy. More find a job for a device that nobody ahead wants.
LOOK = 64

#: The load is the mean over about so many arrivals.
MEMORY = 200


class Load:
    """How much work arrives, as a part of what the fleet can do: 1 is all of it, or more.

    Work is counted at its run time on the kind that is best for it. Taken from the last arrivals,
    at O(1) each; jobs that come all at once are a load of 1.
    """

    def __init__(self) -> None:
        self._mark = (-2, 0)
        self._seen = 0
        self._last_s = 0.0
        self._gap_s = 0.0
        self._work_s = 0.0

    def follow(self, view: View) -> float:
        """The load, with the arrivals since the last time taken into account."""
        generation, length = view.mark
        if generation >= 0:
            since = self._mark[1] if generation == self._mark[0] else 0
            for job in view.arrivals(since) if length > since else ():
                self._arrived(job, view)
            self._mark = (generation, length)
        capacity_s = self._gap_s * len(view.devices)
        return min(1.0, self._work_s / capacity_s) if capacity_s > 0 else 1.0

    def _arrived(self, job: Job, view: View) -> None:
        if self._seen and job.submitted_s < self._last_s:
            return  # it was there before
        times_s = [cost.time_s for cost in view.costs(job) if cost is not None]
        if not times_s:
            return
        self._seen += 1
        share = max(1 / self._seen, 1 / MEMORY)
        self._work_s += share * (min(times_s) - self._work_s)
        if self._seen > 1:
            self._gap_s += share * (job.submitted_s - self._last_s - self._gap_s)
        self._last_s = job.submitted_s


def alone(view: View, price: float) -> Iterator[Placement]:
    """What becomes of the only waiting job. Costs O(kinds)."""
    job = next(view.queue())
    best_s, waits, chosen = 0.0, True, None
    busy: list[tuple[float, int]] = []
    kinds = view.kinds
    for position, cost in enumerate(view.costs(job)):
        if cost is None:
            continue
        if not view.free_in(kinds[position]):
            busy.append((cost.time_s * (1.0 + price), position))
        elif waits or cost.time_s < best_s:
            best_s, waits, chosen = cost.time_s, False, kinds[position]
    if chosen is None:
        return
    for priced_s, position in busy:
        # Most often the price alone is too high, and nobody need know when the kind is free.
        if priced_s < best_s and priced_s + view.earliest_s(kinds[position]) - view.now_s < best_s:
            return
    yield from start(view, job, chosen)


class Walk:
    """One decision: goes through the waiting jobs in their order, and starts or holds each.

    A job goes where ``wait + time`` is least, its time on a kind that is all busy counted
    ``1 + price`` fold: a second of such a device makes others wait, jobs yet to come among them,
    and without the price everybody would wait for the fastest. Jobs ahead that are held for a kind
    make the wait for it longer: by their run times, spread over its devices.
    """

    def __init__(self, view: View, price: float) -> None:
        self._view = view
        self._price = price
        self._kinds = view.kinds
        self._free = [view.free_in(kind) for kind in self._kinds]
        self._waits_s: list[float | None] = [0.0 if free else None for free in self._free]
        self._ahead_s = [0.0] * len(self._free)
        self._decided: set[str] = set()

    def first(self, job: Job) -> Iterator[Placement]:
        """Decide about a job that goes before all others."""
        times_s = times_of(job, self._view)
        position = self._best(times_s, -1)
        if position is not None:
            yield from self._settle(job, times_s, position)

    def through(self, order: AgedOrder) -> Iterator[Placement]:
        """Decide about the others, until no device is free or enough rather wait."""
        busy_left = held_left = LOOK
        closed: set[int] = set()
        for position, entry in order.walk(self._view, closed):
            if not any(self._free):
                return
            if not self._free[position]:
                busy_left -= 1
                if busy_left < 0:
                    closed.update(p for p, free in enumerate(self._free) if not free)
                    continue
            job = entry.job
            if job.id in self._decided:
                continue
            times_s = times_of(job, self._view)
            best = self._best(times_s, position)
            if best is None:
                continue
            if best not in closed and entry.comes_later(best, position):
                continue
            if self._free[position] and not self._free[best]:
                held_left -= 1
                if held_left < 0:
                    return
            yield from self._settle(job, times_s, best)

    def _best(self, times_s: list[float | None], prefer: int) -> int | None:
        """The position of the kind where the job is done first, at the price of the busy ones."""
        best_s, best = 0.0, None
        for position, time_s in enumerate(times_s):
            if time_s is None:
                continue
            if not self._free[position]:
                time_s *= 1.0 + self._price
                if best is not None and time_s > best_s:
                    continue
                time_s += self._wait_s(position)
            if best is None or time_s < best_s or (time_s == best_s and position == prefer):
                best_s, best = time_s, position
        return best

    def _wait_s(self, position: int) -> float:
        wait_s, kind = self._waits_s[position], self._kinds[position]
        if wait_s is None:
            wait_s = self._view.earliest_s(kind) - self._view.now_s
            self._waits_s[position] = wait_s
        return wait_s + self._ahead_s[position] / max(1, len(kind.devices))

    def _settle(self, job: Job, times_s: list[float | None], position: int) -> Iterator[Placement]:
        self._decided.add(job.id)
        if not self._free[position]:
            self._ahead_s[position] += times_s[position] or 0.0
            return
        yield from start(self._view, job, self._kinds[position])
        self._free[position] = self._view.free_in(self._kinds[position])
        if not self._free[position]:
            self._waits_s[position] = None
