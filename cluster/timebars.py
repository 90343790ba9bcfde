"""What a board did, does and will do, as bars on the axis of time. Pure: no clock, no scheduler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from jetsched.records import Attempt, Job, Outcome, Placement, Source

BarKind = Literal["past", "running", "planned"]

#: What a person wants to see first of several attempts that are drawn as one.
WORST_FIRST: tuple[Outcome, ...] = (
    "killed_memory",
    "killed_heat",
    "killed_time",
    "failed",
    "lost",
    "cancelled",
    "preempted",
    "done",
)


@dataclass(frozen=True, slots=True)
class TimeBar:
    """An attempt at a job, or a start that is foreseen; several where they are too thin to tell.

    Moments are seconds on the cluster's clock. ``end_s`` is expected where it has not ended, and
    ``p90_s`` is when it should be over nine times out of ten; None for what has ended. ``outcomes``
    counts how attempts ended, the worst first. ``jobs`` is 1 for a single bar; of more,
    ``job_id``, ``name`` and ``work`` are those of the first.
    """

    kind: BarKind
    job_id: str
    name: str
    work: str
    attempt: int
    start_s: float
    end_s: float
    p90_s: float | None = None
    outcomes: tuple[tuple[Outcome, int], ...] = ()
    text: str = ""
    estimated_s: float | None = None
    source: Source = "estimated"
    jobs: int = 1

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, the worst of several; None for what has not."""
        return self.outcomes[0][0] if self.outcomes else None


def past_bar(job: Job, attempt: Attempt) -> TimeBar:
    """An attempt that has ended."""
    assert attempt.end_s is not None and attempt.outcome is not None
    return TimeBar(
        "past",
        job.id,
        job.name,
        job.workload.label,
        attempt.number,
        attempt.start_s,
        attempt.end_s,
        outcomes=((attempt.outcome, 1),),
        text=attempt.text,
        estimated_s=attempt.estimate.time_s,
        source="measured",
    )


def running_bar(job: Job, attempt: Attempt, finish_s: float) -> TimeBar:
    """An attempt that runs; ``finish_s`` is when its board should be free."""
    estimate = attempt.estimate
    return TimeBar(
        "running",
        job.id,
        job.name,
        job.workload.label,
        attempt.number,
        attempt.start_s,
        finish_s,
        p90_s=finish_s + max(0.0, estimate.time_p90_s - estimate.time_s),
        estimated_s=estimate.time_s,
        source=estimate.source,
    )


def planned_bar(placement: Placement) -> TimeBar:
    """A start that is foreseen. Its p90 is that of its own run: what is before it may last, too."""
    job, estimate = placement.job, placement.estimate
    return TimeBar(
        "planned",
        job.id,
        job.name,
        job.workload.label,
        0,
        placement.start_s,
        placement.finish_s,
        p90_s=placement.finish_s + max(0.0, estimate.time_p90_s - estimate.time_s),
        estimated_s=estimate.time_s,
        source=estimate.source,
    )


def joined(bars: Iterable[TimeBar], least_s: float) -> list[TimeBar]:
    """Neighbours of a kind that are too thin to be told apart, as one; by their starts.

    What comes out is at most two bars for each ``least_s`` of time.
    """
    found: list[TimeBar] = []
    for bar in sorted(bars, key=lambda bar: bar.start_s):
        last = found[-1] if found else None
        if (
            last is not None
            and last.kind == bar.kind != "running"
            and max(last.end_s, bar.end_s) - last.start_s < least_s
        ):
            found[-1] = _both(last, bar)
        else:
            found.append(bar)
    return found


def _both(first: TimeBar, second: TimeBar) -> TimeBar:
    counts = Counter[Outcome](dict(first.outcomes))
    counts.update(dict(second.outcomes))
    p90s_s = [p for p in (first.p90_s, second.p90_s) if p is not None]
    return replace(
        first,
        end_s=max(first.end_s, second.end_s),
        p90_s=max(p90s_s, default=None),
        outcomes=tuple((o, counts[o]) for o in WORST_FIRST if counts[o]),
        text="",
        estimated_s=None,
        jobs=first.jobs + second.jobs,
    )
