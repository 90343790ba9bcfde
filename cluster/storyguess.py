"""Predicted against measured over a week: a point per run, a row per kind of work and board.

What is compared is what the page Cost model compares: a run without loading, of what was measured,
beside the estimate that it was placed by. A command whose time was only that of other work is
counted, and left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from jetsched.cluster.markup import Html, tag
from jetsched.cluster.storyparts import Head, Line, table
from jetsched.cluster.storyweek import Ended, WeekStory
from jetsched.cluster.svg_scatter import Dot, scatter
from jetsched.profiler.accuracy import is_told
from jetsched.profiler.drift import ran_of
from jetsched.units import NOTHING, counted, format_duration

#: So many kinds of work are worth a row.
_MOST_ROWS = 100


class Run(NamedTuple):
    """A run that was done, beside what was estimated; seconds without loading."""

    one: Ended
    measured_s: float
    estimated_s: float
    p90_s: float

    @property
    def ratio(self) -> float:
        return self.measured_s / self.estimated_s


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
    runs, guessed = compared(story.ended)
    head = tag("h2", "Predicted against measured")
    out = (
        f" {counted(guessed, 'run')} of commands left out: their time was only guessed, by the work"
        " that they are said to be like."
        if guessed
        else ""
    )
    if not runs:
        return [head, tag("p", f"No run of that time can be compared.{out}")]
    rows = guesses(runs)
    within = sum(row.within for row in rows)
    words = (
        f"Of {counted(len(runs), 'run')} that {'was' if len(runs) == 1 else 'were'} done"
        f" {100 * within / len(runs):.0f} % took no longer than the time that nine of ten should"
        f" keep to.{out}"
    )
    dots = [
        Dot(
            run.estimated_s,
            run.measured_s,
            run.one.attempt.device_class.label,
            f"job {run.one.job.job.id}, {run.one.job.job.workload.label} on"
            f" {run.one.attempt.device}: estimated {format_duration(run.estimated_s)},"
            f" took {format_duration(run.measured_s)}",
            run.p90_s,
        )
        for run in runs
    ]
    heads = [
        *(Head("work"), Head("board", words=True), Head("runs"), Head("measured / estimated")),
        *(Head("furthest off"), Head("within 9 of 10"), Head("memory held / admitted")),
    ]
    return [
        head,
        tag("p", words),
        scatter(
            dots,
            title=f"Estimated and measured times of {counted(len(dots), 'run')}. {words}",
            what="Times of runs without loading.",
        ),
        table("", heads, [Line(_cells(row)) for row in rows[:_MOST_ROWS]]),
    ]


def compared(ended: Sequence[Ended]) -> tuple[list[Run], int]:
    """The runs that can be compared, and how many were left out as only guessed."""
    runs, guessed = [], 0
    for one in ended:
        attempt = one.attempt
        if attempt.outcome != "done" or attempt.measurement is None:
            continue
        if not _from_its_beginning(one):
            continue
        amount = one.job.job.amount
        ran = ran_of(attempt.measurement, attempt.end_s or 0.0, attempt.estimate, amount)
        if ran is None or ran.predicted_s is None:
            continue
        if not is_told(ran):
            guessed += 1
            continue
        p90_s = (ran.predicted_p90_s or ran.predicted_s) * amount
        runs.append(Run(one, ran.rate_s * amount, ran.predicted_s * amount, p90_s))
    return runs, guessed


def _from_its_beginning(one: Ended) -> bool:
    """One that went on from a checkpoint has had less to do than its estimate was of."""
    return all(a is one.attempt or a.outcome == "killed_memory" for a in one.job.attempts)


def guesses(runs: Sequence[Run]) -> list[Guess]:
    """A row per workload and kind of boards, the most frequent first."""
    kinds: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        key = run.one.job.job.workload.label, run.one.attempt.device_class.label
        kinds.setdefault(key, []).append(run)
    rows = [_guess(*key, found) for key, found in kinds.items()]
    return sorted(rows, key=lambda row: (-row.runs, row.workload, row.board))


def _guess(workload: str, board: str, found: Sequence[Run]) -> Guess:
    ratios = [run.ratio for run in found]
    attempts = [run.one.attempt for run in found]
    memory = [
        a.measurement.peak_memory_mib / a.estimate.admitted_mib
        for a in attempts
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
        sum(run.measured_s <= run.p90_s for run in found),
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
