"""Batch-mode heuristics: map the waiting jobs one by one onto the devices, again and again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from heapq import heapreplace
from typing import TYPE_CHECKING

from jetsched.policies.planned import Planned
from jetsched.records import Job
from jetsched.scheduler.view import View

if TYPE_CHECKING:
    from jetsched.policies.classlp import Floats

#: So many jobs are mapped anew in every decision; of a longer plan, this part is followed first.
SMALL = 16
FOLLOWED_PART = 8


class Replanned(Planned):
    """Map a window of the queue onto all devices, one job after the other by a rule.

    The mapping of Maheswaran et al. (*Dynamic mapping of a class of independent tasks onto
    heterogeneous computing systems*, JPDC 59, 1999) in batch mode: it starts from when the devices
    really are free, and only its first starts come true before it is made anew. With up to 16 jobs
    in it that is in every decision; a longer one is followed for an eighth of its jobs, so that a
    decision costs the same with any number of jobs waiting.

    A subclass writes :meth:`choose`. More important jobs are mapped before the others. ``window``
    is the number of waiting jobs that are mapped: with it grow quality and, in proportion, costs.
    """

    def __init__(self, window: int = 128) -> None:
        if window < 1:
            raise ValueError(f"window must be at least 1, but is {window}")
        super().__init__()
        self.window = window

    @abstractmethod
    def choose(self, best_s: Floats, second_s: Floats) -> int:
        """The number of the job that is mapped next.

        ``best_s[job]``: its earliest completion; ``second_s[job]``: that on the next best device,
        inf where there is none. Seconds from now.
        """

    def stale(self, view: View) -> bool:
        planned = len(self._entries)
        if planned <= SMALL:
            return True
        return self._new + self._started >= (planned + self._started) / FOLLOWED_PART

    def assign(
        self, jobs: Sequence[Job], levels: Sequence[int], times_s: Floats, clocks: Sequence[Floats]
    ) -> tuple[list[int], list[float], float]:
        pools, starts_s = [0] * len(jobs), [0.0] * len(jobs)
        free_s = [clock.tolist() for clock in clocks]  # sorted, so they are heaps
        at_level: dict[int, list[int]] = {}
        for number, level in enumerate(levels):
            at_level.setdefault(level, []).append(number)
        length_s = 0.0
        for level in sorted(at_level, reverse=True):
            numbers = at_level[level]
            for row, pool, start_s in self._mapped(times_s[numbers], free_s):
                pools[numbers[row]], starts_s[numbers[row]] = pool, start_s
            length_s = max(length_s, *(max(heap) for heap in free_s))
        return pools, starts_s, length_s

    def _mapped(self, times_s: Floats, free_s: list[list[float]]) -> list[tuple[int, int, float]]:
        """(job, pool, start) in the order of mapping; the heaps of clocks move on."""
        import numpy as np

        rows = np.arange(len(times_s))  # of the jobs that are left
        kinds = len(free_s)
        # Each pool has two columns: on its first device, and on the one that is free next.
        done_s = np.empty((len(times_s), 2 * kinds))
        for pool in range(kinds):
            _look(done_s, times_s, pool, free_s[pool])
        mapped = []
        while len(rows):
            two = np.partition(done_s, 1, axis=1)
            at = self.choose(two[:, 0], two[:, 1])
            pool = int(done_s[at, 0::2].argmin())
            start_s, row = free_s[pool][0], int(rows[at])
            mapped.append((row, pool, start_s))
            heapreplace(free_s[pool], start_s + float(times_s[at, pool]))
            last = len(rows) - 1
            left = np.delete(np.arange(last + 1), at)
            rows, times_s, done_s = rows[left], times_s[left], done_s[left]
            if len(rows):
                _look(done_s, times_s, pool, free_s[pool])
        return mapped


def _look(done_s: Floats, times_s: Floats, pool: int, heap: list[float]) -> None:
    """Work out when each job would be done on the first two devices of a pool."""
    from math import inf

    second_s = min(heap[1:3], default=inf)
    done_s[:, 2 * pool] = times_s[:, pool] + heap[0]
    done_s[:, 2 * pool + 1] = times_s[:, pool] + second_s
