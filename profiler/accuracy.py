"""How well runs had been predicted before they ran: all of them together, and by kind of work.

The same figures as those of `jetsched costs evaluate`, of estimates that were really acted on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import median

from jetsched.profiler.drift_scores import Ran, is_rate
from jetsched.profiler.heldout import Guess
from jetsched.profiler.labels import device_labels
from jetsched.profiler.scoring import HeldOut, Score, score
from jetsched.records import DeviceClass, Source


@dataclass(frozen=True, slots=True)
class Compared:
    """A predicted time beside the measured one: seconds for a unit of work, without loading."""

    work: str
    device: str  # the kind of board, for a person
    emulated: bool
    measured_s: float
    predicted_s: float
    predicted_p90_s: float
    source: Source | None  # of the prediction
    board: str = ""
    job_id: str = ""

    @property
    def ratio(self) -> float:
        """How many times as long as predicted it took."""
        return self.measured_s / self.predicted_s


@dataclass(frozen=True, slots=True)
class Group:
    """All that was compared of some work on a kind of board."""

    work: str
    device: str
    emulated: bool
    runs: int
    measured_s: float  # the median
    predicted_s: float  # likewise
    ratio: float  # the median of how many times as long as predicted it took
    over_p90: int  # how many took longer than nine of ten should
    sources: tuple[Source, ...]  # of the predictions

    @property
    def off(self) -> float:
        """How far from 1 the ratio is, either way."""
        return abs(log(self.ratio))


def is_told(ran: Ran) -> bool:
    """Whether a run is to be compared with what was predicted for it.

    One of a command that nobody has measured is not: its time was that of other work.
    """
    return is_rate(ran.predicted_s) and not ran.is_guessed


def of_runs(runs: Sequence[Ran]) -> list[Compared]:
    """Runs of jobs beside what had been predicted for them, where that :func:`is_told`."""
    runs = [ran for ran in runs if is_told(ran)]
    speeds = dict.fromkeys(ran.speed for ran in runs)
    classes = [DeviceClass(s.model, s.power_mode, s.software, emulated=s.emulated) for s in speeds]
    shown = device_labels(classes)
    labels = {speed: shown[where] for speed, where in zip(speeds, classes, strict=True)}
    return [
        Compared(
            ran.workload.label,
            labels[ran.speed],
            ran.speed.emulated,
            ran.rate_s,
            ran.predicted_s or 0.0,
            ran.predicted_p90_s or ran.predicted_s or 0.0,
            ran.source,
            ran.device,
            ran.job_id,
        )
        for ran in runs
    ]


def of_guesses(guesses: Sequence[Guess]) -> list[Compared]:
    """Measured times beside predictions that had not seen their work."""
    labels = device_labels(list(dict.fromkeys(guess.device_class for guess in guesses)))
    return [
        Compared(
            guess.workload.label,
            labels[guess.device_class],
            guess.device_class.emulated,
            guess.measured_s,
            guess.predicted_s,
            guess.predicted_p90_s or guess.predicted_s,
            guess.source,
        )
        for guess in guesses
        if guess.predicted_s
    ]


def score_of(compared: Iterable[Compared]) -> Score:
    """Errors of the predictions, and how often the measured time was at most the p90."""
    rows = [
        HeldOut(0, c.work, c.device, c.work, c.measured_s, c.predicted_s, c.predicted_p90_s)
        for c in compared
    ]
    return score(rows)


def groups_of(compared: Iterable[Compared]) -> list[Group]:
    """By work and kind of board, those that are off furthest first."""
    found: dict[Hashable, list[Compared]] = {}
    for each in compared:
        found.setdefault((each.work, each.device), []).append(each)
    groups = [_group(each) for each in found.values()]
    return sorted(groups, key=lambda group: (-group.off, group.work, group.device))


def _group(compared: Sequence[Compared]) -> Group:
    def middle(value: Callable[[Compared], float]) -> float:
        return median(map(value, compared))

    first = compared[0]
    return Group(
        first.work,
        first.device,
        first.emulated,
        len(compared),
        middle(lambda c: c.measured_s),
        middle(lambda c: c.predicted_s),
        exp(middle(lambda c: log(c.ratio))),
        sum(c.measured_s > c.predicted_p90_s for c in compared),
        tuple(sorted({c.source for c in compared if c.source is not None})),
    )
