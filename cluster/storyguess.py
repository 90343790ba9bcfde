"""Predicted against measured over a week: a point per run, a row per kind of work and board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from jetsched.cluster.markup import Html, tag
from jetsched.cluster.storyparts import Head, Line, table
from jetsched.cluster.storyweek import Ended, WeekStory
from jetsched.cluster.svg_scatter import Dot, scatter
from jetsched.units import NOTHING, format_duration

#: So many kinds of work are worth a row.
_MOST_ROWS = 100


@dataclass(frozen=True)
class Guess:
    """How runs of a workload went on a kind of boards beside what was thought of them.

    Ratios are measured over estimated, the median; ``within``: how many took no longer than the
    estimate that nine of ten should keep to.
    """

    workload: str
    board: str
    runs: int
    time_ratio: float
    worst_ratio: float
    within: int
    memory_ratio: float | None


def guess_parts(story: WeekStory) -> list[Html]:
    """The section of a page."""
    done = [one for one in story.ended if _can_be_compared(one)]
    head = tag("h2", "Predicted against measured")
    if not done:
        return [head, tag("p", "No run was done in that time, so there is nothing to compare.")]
    rows = guesses(done)
    within, count = sum(row.within for row in rows), sum(row.runs for row in rows)
    words = (
        f"Of {count:,} runs that were done {100 * within / count:.0f} % took no longer than the"
        " time that nine of ten should keep to."
    )
    dots = [
        Dot(
            attempt.estimated_s,
            attempt.took_s or 0.0,
            attempt.device_class.label,
            f"job {job.job.id}, {job.job.workload.label} on {attempt.device}: estimated"
            f" {format_duration(attempt.estimated_s)}, took {format_duration(attempt.took_s)}",
        )
        for job, attempt in done
    ]
    heads = [
        *(Head("work"), Head("board", words=True), Head("runs"), Head("measured / estimated")),
        *(Head("furthest off"), Head("within 9 of 10"), Head("memory held / admitted")),
    ]
    return [
        head,
        tag("p", words),
        scatter(dots, title=f"Estimated and measured times of {len(dots):,} runs. {words}"),
        table("", heads, [Line(_cells(row)) for row in rows[:_MOST_ROWS]]),
    ]


def guesses(done: Sequence[Ended]) -> list[Guess]:
    """A row per workload and kind of boards, the most frequent first."""
    kinds: dict[tuple[str, str], list[Ended]] = {}
    for one in done:
        key = one.job.job.workload.label, one.attempt.device_class.label
        kinds.setdefault(key, []).append(one)
    rows = [_guess(*key, found) for key, found in kinds.items()]
    return sorted(rows, key=lambda row: (-row.runs, row.workload, row.board))


def _can_be_compared(one: Ended) -> bool:
    """Whether it ran to its end; one that went on from a checkpoint has had less to do."""
    attempt = one.attempt
    first = all(a is attempt or a.outcome == "killed_memory" for a in one.job.attempts)
    return attempt.outcome == "done" and first and attempt.estimated_s > 0 and bool(attempt.took_s)


def _guess(workload: str, board: str, found: Sequence[Ended]) -> Guess:
    ratios = [(a.took_s or 0.0) / a.estimated_s for _, a in found]
    memory = [
        a.measurement.peak_memory_mib / a.estimate.admitted_mib
        for _, a in found
        if a.measurement is not None
        and a.measurement.peak_memory_mib is not None
        and a.estimate.admitted_mib
    ]
    return Guess(
        workload,
        board,
        len(found),
        median(ratios),
        max(ratios, key=lambda ratio: max(ratio, 1 / ratio if ratio else 1.0)),
        sum((a.took_s or 0.0) <= a.estimate.time_p90_s for _, a in found),
        median(memory) if memory else None,
    )


def _cells(row: Guess) -> list[str]:
    return [
        row.workload,
        row.board,
        f"{row.runs:,}",
        f"{row.time_ratio:.2f}",
        f"{row.worst_ratio:.2f}",
        f"{row.within:,} of {row.runs:,}",
        NOTHING if row.memory_ratio is None else f"{row.memory_ratio:.2f}",
    ]
