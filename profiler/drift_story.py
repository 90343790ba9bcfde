"""How boards did over time, and how well their runs had been predicted: what a page shows of both.

Little is copied while a scheduler waits for it; the rest is made of that beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from jetsched.profiler.drift import Drift, DriftWatch
from jetsched.profiler.drift_scores import Ran, Scored
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


@dataclass(frozen=True, slots=True)
class Noted:
    """What the watch knew at one moment, by board: its verdict, and its last runs."""

    boards: Mapping[str, tuple[Drift, list[Scored]]]
    changes: int


def noted(watch: DriftWatch, classes: Mapping[str, DeviceClass | None]) -> Noted:
    """For the watch's thread, and quick; ``classes`` says what boards are now, if that is known."""
    boards = {
        device: (watch.drift(device, classes.get(device)), watch.runs(device, MOST_OF_BOARD))
        for device in watch.boards
    }
    return Noted(boards, watch.changes)


def stories(known: Noted) -> Stories:
    """What it comes to; for any thread."""
    boards, predicted = [], list[Ran]()
    for device, (drift, scored) in known.boards.items():
        boards.append(BoardStory(device, drift, tuple(map(_point, scored))))
        predicted += [s.ran for s in scored if s.ran.predicted_s is not None]
    predicted.sort(key=lambda ran: ran.order)
    return Stories(tuple(boards), tuple(predicted[-MOST:]), known.changes)


def _point(scored: Scored) -> Point:
    ran, ratio = scored.ran, None if scored.off is None else exp(scored.off)
    return Point(ran.at_s, ratio, ran.profiled, ran.workload.label, ran.job_id)
