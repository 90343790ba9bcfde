"""Run times made steadier by what jobs of the same workload have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from math import exp, log, sqrt
from typing import Any

from jetsched.records import Job, Workload
from jetsched.scheduler.view import View

#: Of a workload so many jobs are looked at.
ENOUGH = 200

#: When costs or kinds have changed, so many of the waiting jobs are looked at again.
FRONT = 5000

#: Estimates of a workload that differ by less than this between kinds, as a standard deviation of
#: logarithms, are taken as they are.
STEADY = 0.2

#: A workload, and on which kinds it can go.
_Key = tuple[Workload, tuple[bool, ...]]


class PooledTimes:
    """Takes errors of single estimates out: ``log time = size of the job + speed of the kind``.

    Jobs of a workload differ in size, and kinds of devices in how fast they are at it: by the same
    factor for all of its jobs, by the meaning of a workload. Where the estimates of single jobs say
    otherwise, those factors are better known from all of them (two-way analysis of variance without
    interaction), and a job's size from its estimates on all kinds. Without errors nothing changes.
    """

    def __init__(self) -> None:
        self._mark = (-2, 0)
        self._known: dict[_Key, _Factors] = {}
        self._steady = True

    def follow(self, view: View) -> None:
        """Look at the jobs that have come since the last time."""
        generation, length = view.mark
        if generation < 0:
            return
        since = self._mark[1]
        jobs: Iterator[Job]
        if generation != self._mark[0]:
            self._known.clear()
            self._steady = True
            jobs = islice(view.queue(), FRONT)
        elif (length - since) * 64 < max(64, len(view.devices)):
            return  # on a large fleet a few more will be seen with the next ones
        else:
            jobs = view.arrivals(since)
        for job in jobs:
            workload = job.workload
            if workload.kind == "command":
                continue  # nobody says that such jobs are alike
            times_s = view.times(job)
            key = (workload, tuple([time_s is not None for time_s in times_s]))
            factors = self._known.get(key)
            if factors is None:
                factors = self._known[key] = _Factors(len(times_s))
            if factors.count < ENOUGH:
                factors.add(times_s)
                self._steady = self._steady and factors.steady
        self._mark = (generation, length)

    def times(self, job: Job, view: View) -> Sequence[float | None]:
        """The run times of the job on each of ``view.kinds``."""
        times_s = view.times(job)
        if self._steady:
            return times_s
        key = (job.workload, tuple([time_s is not None for time_s in times_s]))
        factors = self._known.get(key)
        return times_s if factors is None or factors.steady else factors.applied(times_s)

    def __deepcopy__(self, memo: dict[int, Any]) -> PooledTimes:
        """A copy that goes its own way."""
        copy = PooledTimes()
        copy._mark, copy._steady = self._mark, self._steady
        copy._known = {key: factors.copy() for key, factors in self._known.items()}
        return copy


class _Factors:
    """How much longer than on the average of kinds jobs run on each, as logarithms."""

    __slots__ = ("count", "means", "spread")

    def __init__(self, kinds: int) -> None:
        self.count = 0
        self.means = [0.0] * kinds
        self.spread = 0.0  # the sum of squared differences from the means

    def add(self, times_s: Sequence[float | None]) -> None:
        logs = _centred(times_s)
        if logs is None:
            return
        self.count += 1
        for position, value in enumerate(logs):
            if value is not None:
                difference = value - self.means[position]
                self.means[position] += difference / self.count
                self.spread += difference * (value - self.means[position])

    @property
    def steady(self) -> bool:
        """Whether single jobs say the same as all of them."""
        return self.count < 2 or sqrt(self.spread / (self.count - 1)) < STEADY

    def applied(self, times_s: Sequence[float | None]) -> Sequence[float | None]:
        size = _size(times_s)
        if size is None:
            return times_s
        return [
            None if time_s is None else exp(size + mean)
            for time_s, mean in zip(times_s, self.means, strict=True)
        ]

    def copy(self) -> _Factors:
        copy = _Factors(len(self.means))
        copy.count, copy.means, copy.spread = self.count, list(self.means), self.spread
        return copy


def _size(times_s: Sequence[float | None]) -> float | None:
    """The mean logarithm of the run times; None if there is none, or one of no time at all."""
    logs = [log(time_s) for time_s in times_s if time_s]
    whole = logs and not any(time_s == 0.0 for time_s in times_s)
    return sum(logs) / len(logs) if whole else None


def _centred(times_s: Sequence[float | None]) -> list[float | None] | None:
    size = _size(times_s)
    if size is None:
        return None
    return [log(time_s) - size if time_s else None for time_s in times_s]
