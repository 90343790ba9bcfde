"""The figures that /metrics tells: counted as things happen, or looked up when somebody asks."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jetsched.records import Attempt, Outcome
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.state import JobRecord

#: Measured over estimated time of an attempt that was done: where the counts are cut.
RATIOS = (0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0)
#: So long the loop may think about why jobs wait, each time it is asked.
WAITING_S = 0.05


@dataclass(frozen=True)
class Ended:
    """Attempts that have ended since the service began."""

    outcomes: dict[Outcome, int] = field(default_factory=dict)
    #: How many of those that were done took at most each of :data:`RATIOS` of their estimate.
    within: tuple[int, ...] = (0,) * len(RATIOS)
    done: int = 0
    ratio_sum: float = 0.0


class Tally:
    """Counts attempts as they end. One thread adds, any reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: Counter[Outcome] = Counter()
        self._within = [0] * len(RATIOS)
        self._done = 0
        self._ratio_sum = 0.0

    def add(self, record: JobRecord, attempt: Attempt) -> None:
        """An attempt has ended."""
        if attempt.outcome is None or attempt.end_s is None:
            return
        with self._lock:
            self._outcomes[attempt.outcome] += 1
            estimated_s = attempt.estimate.time_s
            if attempt.outcome != "done" or estimated_s <= 0:
                return
            ratio = (attempt.end_s - attempt.start_s) / estimated_s
            self._done += 1
            self._ratio_sum += ratio
            for index, bound in enumerate(RATIOS):
                self._within[index] += ratio <= bound

    def ended(self) -> Ended:
        with self._lock:
            return Ended(dict(self._outcomes), tuple(self._within), self._done, self._ratio_sum)


@dataclass(frozen=True)
class Figures:
    """What is so now. ``waiting``: how many jobs wait for each reason."""

    policy: str
    policy_errors: int
    paused: bool
    states: dict[str, int]
    waiting: dict[str, int]
    devices: list[dict[str, Any]]
    events: int
    ended: Ended


def waiting_by_reason(scheduler: Scheduler, now_s: float) -> dict[str, int]:
    """How many jobs wait or are held for each reason code.

    Jobs that cost alike are asked about once: the reason of the first of them counts for all of
    them. Where there are too many kinds of them to ask about, the rest is ``Behind``: each of these
    has others before it.
    """
    counts: Counter[str] = Counter(
        record.reason.code for record in scheduler.held.values() if record.reason is not None
    )
    groups: dict[int, tuple[JobRecord, int]] = {}
    for record in scheduler.queue:
        first, count = groups.get(id(record.group), (record, 0))
        groups[id(record.group)] = (first, count + 1)
    return dict(counts + _reasons(scheduler, groups.values(), now_s))


def _reasons(
    scheduler: Scheduler, groups: Iterable[tuple[JobRecord, int]], now_s: float
) -> Counter[str]:
    counts: Counter[str] = Counter()
    until = time.monotonic() + WAITING_S
    for record, count in groups:
        code = "Behind"
        if time.monotonic() < until:
            reason = scheduler.reason(record.job.id, now_s)
            code = reason.code if reason is not None else code
        counts[code] += count
    return counts
