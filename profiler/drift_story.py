"""How boards did over time, and how well their runs had been predicted: what a page shows of both.

Copies of what the drift watch knows, small enough to be made while a scheduler waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from jetsched.profiler.drift import Drift, DriftWatch
from jetsched.profiler.drift_scores import Ran
from jetsched.records import DeviceClass

#: Of each board, and of all boards together, so many of the last runs are told.
MOST_OF_BOARD, MOST = 60, 600


@dataclass(frozen=True, slots=True)
class Point:
    """A run of a board beside the usual."""

    at_s: float  # when it ended, on the cluster's clock
    ratio: float | None  # how many times as long as usual it took; None: nothing to compare with
    profiled: bool  # the board's speed is what it was here from then on
    work: str
    job_id: str


@dataclass(frozen=True, slots=True)
class BoardStory:
    """How one board did; points oldest first."""

    device: str
    drift: Drift
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Stories:
    """All boards of which runs are known, and the runs that an estimate had been made of."""

    boards: tuple[BoardStory, ...]
    predicted: tuple[Ran, ...]  # oldest first
    changes: int  # how many runs were known


def stories(watch: DriftWatch, classes: Mapping[str, DeviceClass | None]) -> Stories:
    """What the watch knows; ``classes`` says what boards are now, where that is known."""
    boards, predicted = [], list[Ran]()
    for device in watch.boards:
        scored = watch.runs(device, MOST_OF_BOARD)
        points = tuple(
            Point(
                s.ran.at_s,
                None if s.off is None else exp(s.off),
                s.ran.profiled,
                s.ran.workload.label,
                s.ran.job_id,
            )
            for s in scored
        )
        boards.append(BoardStory(device, watch.drift(device, classes.get(device)), points))
        predicted += [s.ran for s in scored if s.ran.predicted_s is not None]
    predicted.sort(key=lambda ran: ran.order)
    return Stories(tuple(boards), tuple(predicted[-MOST:]), watch.changes)
