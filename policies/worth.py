"""What a second of each kind of devices is worth, where all jobs agree about it."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from jetsched.records import Job
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View

#: Jobs disagree about a kind when the logarithms of how much faster it is vary by this much.
DISAGREE = 0.1

#: How much less it counts when run times vary: those that wait are the long ones then.
VARIED = 0.2

#: Nothing is said of fewer jobs than this.
FEWEST = 8

#: At this load it counts in full, at lower ones with the square of the load.
FULL_LOAD = 0.9


class _Speed:
    """How much faster than the slowest a kind is, and how fast beside the best one."""

    __slots__ = ("log_mean", "log_square", "pace", "ratio")

    def __init__(self, ratio: float, pace: float) -> None:
        self.ratio, self.pace = ratio, pace
        self.log_mean, self.log_square = log(ratio), log(ratio) ** 2

    def learn(self, ratio: float, pace: float, share: float) -> None:
        self.ratio += share * (ratio - self.ratio)
        self.pace += share * (pace - self.pace)
        self.log_mean += share * (log(ratio) - self.log_mean)
        self.log_square += share * (log(ratio) ** 2 - self.log_square)

    @property
    def agreed(self) -> float:
        """1 where it is as much faster for all jobs, 0 where they disagree."""
        return max(0.0, 1.0 - max(0.0, self.log_square - self.log_mean**2) / DISAGREE)


class Worth:
    """The price of a second of a busy kind at high load, as the duals of the class LP have it.

    Where a kind is r times as fast as the slowest for all jobs, a second of it is worth r seconds
    of that: then nobody gains by waiting for it while the slowest idles, since all who come later
    wait too. Jobs that differ in what they gain sort themselves, and the price is lower.
    """

    def __init__(self) -> None:
        self._speeds: dict[int, _Speed] = {}  # by the index of the kind
        self._seen = 0
        self._mean_s = 0.0
        self._square_s2 = 0.0

    def learn(self, jobs: Sequence[Job], view: View, share: float) -> None:
        """Look at jobs that have come; they are this share of all that count."""
        share /= max(1, len(jobs))
        for job in jobs:
            times_s = view.times(job)
            known = [time_s for time_s in times_s if time_s is not None and time_s > 0]
            if not known:
                continue
            best_s, slowest_s = min(known), max(known)
            self._seen += 1
            if not self._mean_s:
                self._mean_s, self._square_s2 = best_s, best_s * best_s
            self._mean_s += share * (best_s - self._mean_s)
            self._square_s2 += share * (best_s * best_s - self._square_s2)
            for kind, time_s in zip(view.kinds, times_s, strict=True):
                if time_s is not None and time_s > 0:
                    ratio, pace = slowest_s / time_s, best_s / time_s
                    speed = self._speeds.setdefault(kind.index, _Speed(ratio, pace))
                    speed.learn(ratio, pace, share)

    def prices(self, kinds: Sequence[ClassState], load: float) -> list[float]:
        """What a second of each is worth beside itself; ``load`` as if all were the best kind."""
        if self._seen < FEWEST:
            return [0.0] * len(kinds)
        pace = sum(self._pace(kind) * len(kind.devices) for kind in kinds)
        devices = sum(len(kind.devices) for kind in kinds)
        full = min(1.0, load * devices / pace / FULL_LOAD) if pace > 0 else 1.0
        varied = max(0.0, self._square_s2 / self._mean_s**2 - 1.0)
        part = full * full / (1.0 + VARIED * varied)
        return [part * self._gain(kind) for kind in kinds]

    def _pace(self, kind: ClassState) -> float:
        speed = self._speeds.get(kind.index)
        return 0.0 if speed is None else speed.pace

    def _gain(self, kind: ClassState) -> float:
        speed = self._speeds.get(kind.index)
        return 0.0 if speed is None else speed.agreed * (speed.ratio - 1.0)
