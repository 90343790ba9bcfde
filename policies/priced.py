"""Whether to start on what is free or to wait for better, on fleets of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from jetsched.policies.aged import AgedOrder, Entry
from jetsched.policies.matching import start
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
        least_s = min((t for t in view.times(job) if t is not None), default=0.0)
        if not least_s > 0:
            return
        self._seen += 1
        share = 1 / self._seen if self._seen < MEMORY else 1 / MEMORY
        self._work_s += share * (least_s - self._work_s)
        if self._seen > 1:
            self._gap_s += share * (job.submitted_s - self._last_s - self._gap_s)
        self._last_s = job.submitted_s


def alone(view: View, price: float) -> Iterable[Placement]:
    """What becomes of the only waiting job. Costs O(kinds)."""
    job = view.first()
    kinds = view.kinds
    best_s, best = 0.0, -1
    busy: list[tuple[float, int]] = []
    for position, time_s in enumerate(view.times(job)):
        if time_s is not None:
            if not view.free_in(kinds[position]):
                busy.append((time_s * (1.0 + price), position))
            elif best < 0 or time_s < best_s:
                best_s, best = time_s, position
    if best < 0:
        return ()
    for priced_s, position in busy:
        # Most often the price alone is too high, and nobody need know when the kind is free.
        if priced_s < best_s and priced_s + view.earliest_s(kinds[position]) - view.now_s < best_s:
            return ()
    return start(view, job, kinds[best])


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

    def first(self, entry: Entry) -> Iterable[Placement]:
        """Decide about a job that goes before all others."""
        position = self._best(entry.times_s, -1)
        return () if position is None else self._settle(entry, position)

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
            best = self._best(entry.times_s, position)
            if best is None or (best not in closed and entry.comes_later(best, position)):
                continue
            if free[position] and not free[best]:
                held_left -= 1
                if held_left < 0:
                    return
            yield from self._settle(entry, best)
            if not any(free):
                return

    def _best(self, times_s: Sequence[float | None], prefer: int) -> int | None:
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
