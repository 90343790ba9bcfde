"""Which deadlines can be met: an admission test in the order of deadlines. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from math import inf


@dataclass(frozen=True, slots=True)
class Demand:
    """A job with a deadline. ``times_s`` are its run times by kind, None where it cannot go."""

    job_id: str
    deadline_s: float
    times_s: Sequence[float | None]
    priority: int = 50

    @property
    def order(self) -> tuple[int, float]:
        """Highest priority first, then the earliest deadline."""
        return (-self.priority, self.deadline_s)


@dataclass(frozen=True, slots=True)
class Late:
    """A deadline that cannot be met: when the job is done at the earliest, and on which kind.

    ``next_s`` is when it would be done if it were started next of all, ahead of whatever waits.
    """

    job_id: str
    deadline_s: float
    finish_s: float
    kind: int
    next_s: float


class DeadlinePlan:
    """Who would be late if jobs were started in the order of their deadlines.

    Earliest deadline first is optimal for the greatest lateness on one machine (Jackson,
    *Scheduling a production line to minimize maximum tardiness*, 1955); over several kinds of
    devices each job goes where it is done first. A job that would be late is not admitted: it takes
    no time from those behind it, as in Moore, *An n job, one machine sequencing algorithm for
    minimizing the number of late jobs*, Management Science 15, 1968 (which would reject the longest
    one so far instead). What is late here could perhaps be met by letting a job in front wait.

    ``clocks_s`` says for each kind when its devices are free, in any order; a kind without devices
    has none. O(n x kinds + n log n) for n jobs.
    """

    def __init__(self, demands: Iterable[Demand], clocks_s: Sequence[Sequence[float]]) -> None:
        clocks = [list(kind) for kind in clocks_s]
        for clock in clocks:
            heapify(clock)
        #: Of those that are not admitted, by job id.
        self.late: dict[str, Late] = {}
        self._orders: list[tuple[int, float]] = []  # of those that are
        self._first_s = [tuple(clock[0] if clock else inf for clock in clocks)]
        for demand in sorted(demands, key=lambda demand: demand.order):
            finish_s, kind = _earliest(demand.times_s, self._first_s[-1])
            if finish_s <= demand.deadline_s:
                heapreplace(clocks[kind], finish_s)
                self._orders.append(demand.order)
                self._first_s.append(tuple(clock[0] if clock else inf for clock in clocks))
            else:
                self.late[demand.job_id] = self._late(demand, finish_s, kind)

    def judge(self, demand: Demand) -> Late | None:
        """Whether one more job would be late, behind those of the plan that go before it.

        O(log n); None if it would not. Whom it would make late is another question.
        """
        behind = self._first_s[bisect_right(self._orders, demand.order)]
        finish_s, kind = _earliest(demand.times_s, behind)
        return self._late(demand, finish_s, kind) if finish_s > demand.deadline_s else None

    def _late(self, demand: Demand, finish_s: float, kind: int) -> Late:
        next_s, _ = _earliest(demand.times_s, self._first_s[0])
        return Late(demand.job_id, demand.deadline_s, finish_s, kind, next_s)


def late_jobs(demands: Iterable[Demand], clocks_s: Sequence[Sequence[float]]) -> list[Late]:
    """The jobs that cannot meet their deadlines, in the order in which they would be served.

    All times are seconds on one clock; see :class:`DeadlinePlan`.
    """
    return list(DeadlinePlan(demands, clocks_s).late.values())


def _earliest(times_s: Sequence[float | None], first_s: Sequence[float]) -> tuple[float, int]:
    """(finish, kind) where a job is done first; (inf, 0) if it can go nowhere."""
    best_s, best = inf, 0
    for kind, time_s in enumerate(times_s):
        if time_s is not None and first_s[kind] + time_s < best_s:
            best_s, best = first_s[kind] + time_s, kind
    return best_s, best
