"""What a job draws: mean GPU utilisation, watts and joules; measured, else estimated, else assumed.

Power is a line over utilisation (powerline.py), one for each device model, power mode and software,
shrunk towards what the model's other classes say and those towards the data sheet. Utilisation is
what was measured; elsewhere the roofline's share of computing time, corrected by what was measured
beside it. That share alone is *assumed* and wide: a GPU counts as busy whenever any kernel runs, so
decoding shows 9 to 33 % in the paper where bandwidth would say otherwise.

Everything measured here is of the measured phase, from *loaded* to the result; what loading draws
is assumed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import exp, isfinite, log
from statistics import median
from typing import NamedTuple

from jetsched.profiler.devices import DEVICE_MODELS
from jetsched.profiler.evidence import (
    RECENT,
    SWAPPED_MIB,
    TIMED,
    Z90,
    SpeedClass,
    cost_key,
    speed_class,
)
from jetsched.profiler.powerline import (
    Point,
    PowerLine,
    Prior,
    as_prior,
    fit_line,
    points_prior,
    sheet_prior,
)
from jetsched.profiler.subjects import Card, Place, Subjects
from jetsched.records import DeviceModel, Measurement, Source, Workload

#: Spread of a utilisation's log odds: measured there; on the same model in another mode or with
#: other software; on another board of the architecture; by the roofline corrected on this board;
#: by the roofline alone. Assumed, but for the last: so far the 24 frameworks and precisions of the
#: AGX Orin in powerline.py lie apart.
MEASURED, SAME_MODEL, SAME_CHIP, BESIDE, SHEET = 0.1, 0.3, 0.5, 0.6, 1.35
#: How many workloads' corrections the roofline's own word (none) is worth.
SHARE_WEIGHT = 1.0
#: Watts with a busy GPU in the board's highest mode: a CNN at batches of 10 and more, published in
#: iloudaros/LoudVA @ 2b4b15e. Elsewhere powerline.SHEET_SHARE of the budget stands in.
FULL_W: Mapping[str, float] = {"xavier-nx": 14.4, "agx-xavier": 31.0}
#: The dynamic part of power goes with the GPU clock to this: the same data, 1.2 to 1.4.
CLOCK_EXPONENT = 1.3
#: Spread of log watts: of a single measured power; repeats narrow it.
POWER_MEASURED = 0.05
#: Loading keeps a core and the storage busy, not the GPU: it draws as the GPU at so many per cent.
#: Assumed.
LOADING_PCT = 10.0


class Utilisation(NamedTuple):
    """Mean GPU utilisation of the work, per cent; ``sigma`` is the spread of its log odds.

    ``measurements`` is the number of workloads or runs that stand behind it.
    """

    pct: float
    sigma: float
    source: Source
    measurements: int = 0

    @property
    def p10_pct(self) -> float:
        """One of ten cases lies below."""
        return min(_pct(_odds(self.pct) - Z90 * self.sigma), self.pct)

    @property
    def p90_pct(self) -> float:
        """One of ten cases lies above."""
        return max(_pct(_odds(self.pct) + Z90 * self.sigma), self.pct)


class Draw(NamedTuple):
    """Power while loading and while working, in watts.

    ``spread`` is that of log watts, or what it follows from: estimates are made by the ten
    thousand, and few are asked how sure they are.
    """

    load_w: float
    work_w: float
    source: Source
    spread: float | tuple[PowerLine, Utilisation]
    measurements: int = 0

    @property
    def sigma(self) -> float:
        """The spread of log watts: of the line, and of the utilisation as far as that is steep."""
        if not isinstance(self.spread, tuple):
            return self.spread
        line, use = self.spread
        share = use.pct / 100
        steep = line.busy_w * share * (1 - share) / max(line.power_w(use.pct), 1e-9)
        return float((line.sigma(use.pct) ** 2 + (steep * use.sigma) ** 2) ** 0.5)

    def energy_j(self, load_s: float, work_s: float) -> float:
        """Joules, the p50, of so many seconds of loading and of work."""
        return self.load_w * load_s + self.work_w * work_s

    def p90_factor(self, time_p90: float = 1.0) -> float:
        """By how much energy may exceed its p50 in nine of ten cases, time by ``time_p90``.

        Errors of power and of time are taken as independent.
        """
        return float(exp((log(max(time_p90, 1.0)) ** 2 + (Z90 * self.sigma) ** 2) ** 0.5))


@dataclass(slots=True)
class _Seen:
    """What runs of one workload on one speed class have shown. Lists are sorted.

    Of runs whose time is known the latest RECENT count, as for how long they take.
    """

    utils_pct: list[float] = field(default_factory=list)
    watts: list[float] = field(default_factory=list)
    _dated: list[_Drew] = field(default_factory=list)

    def add(self, drew: _Drew) -> None:
        for values, value in self._places_of(drew):
            insort(values, value)
        if drew.at:
            insort(self._dated, drew)
        if len(self._dated) > RECENT:
            for values, value in self._places_of(self._dated.pop(0)):
                del values[bisect_left(values, value)]

    def _places_of(self, drew: _Drew) -> Iterator[tuple[list[float], float]]:
        yield from ((self.utils_pct, util_pct) for util_pct in drew.util_pct)
        yield from ((self.watts, watts) for watts in drew.watts)


class _Drew(NamedTuple):
    """What one run has shown; empty where it has not."""

    at: str
    util_pct: tuple[float, ...]
    watts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Move:
    """How far work of one kind on one speed class is from the roofline's share, in log odds."""

    odds: float
    sigma: float
    workloads: int


class PowerModel:
    """Answers from measurements. Keeps what it derives until it learns something new."""

    def __init__(
        self, measurements: Iterable[Measurement] = (), subjects: Subjects | None = None
    ) -> None:
        self._subjects = subjects or Subjects()
        self._seen: dict[bool, dict[SpeedClass, dict[Workload, _Seen]]] = {True: {}, False: {}}
        self._lines: dict[SpeedClass, PowerLine | None] = {}
        self._moves: dict[tuple[SpeedClass, bool, str], _Move | None] = {}
        for measurement in measurements:
            self.learn(measurement)

    def learn(self, measurement: Measurement) -> bool:
        """Take a run's utilisation and power into account; False where it has neither."""
        util_pct, watts = _in_range(measurement.gpu_util_pct, 100.0), measured_watts(measurement)
        swapped = (measurement.swap_delta_mib or 0.0) > SWAPPED_MIB  # it waited more than it worked
        if measurement.outcome not in TIMED or swapped or (util_pct is None and watts is None):
            return False
        where = speed_class(measurement.device_class)
        table = self._seen[measurement.source == "measured"].setdefault(where, {})
        seen = table.setdefault(cost_key(measurement.workload), _Seen())
        seen.add(_Drew(measurement.at, _told(util_pct), _told(watts)))
        self.forget(where)
        return True

    def forget(self, speed: SpeedClass) -> None:
        """Something was learnt about devices of this class."""
        self._moves.clear()
        for known in [known for known in self._lines if known.model == speed.model]:
            del self._lines[known]

    def utilisation(
        self, card: Card, place: Place, share: float | None = None
    ) -> Utilisation | None:
        """The best that is known; None without a GPU, or where nothing is known of the workload.

        Measured on this pair; the same workload elsewhere on this architecture, corrected; the
        roofline's share corrected here; the same three of what is only assumed; the share alone,
        which is ``share`` where that was computed already.
        """
        return (
            self._known(card, place, measured=True)
            or self._known(card, place, measured=False)
            or _by_share(share_pct(card, place) if share is None else share)
        )

    def draw(self, card: Card, place: Place, use: Utilisation | None = None) -> Draw | None:
        """Watts of the workload there: measured, else by the line at its utilisation.

        ``use`` is what :meth:`utilisation` said, where it was asked already.
        """
        line = self.line(place)
        measured = self._seen[True].get(place.speed) if self._seen[True] else None
        seen = measured.get(card.workload) if measured else None
        if seen is not None and seen.watts:
            work_w = median(seen.watts)
            load_w = min(line.power_w(LOADING_PCT), work_w) if line is not None else work_w
            sigma = _spread([log(watts) for watts in seen.watts], POWER_MEASURED)
            return Draw(load_w, work_w, "measured", sigma, len(seen.watts))
        use = (use or self.utilisation(card, place)) if line is not None else None
        if use is None or line is None:
            return None
        source: Source = "estimated" if line.points and use.source != "assumed" else "assumed"
        load_w, work_w = line.power_w(LOADING_PCT), line.power_w(use.pct)
        return Draw(min(load_w, work_w), work_w, source, (line, use), line.points)

    def line(self, place: Place) -> PowerLine | None:
        """Power over utilisation on this speed class; None where nothing tells it."""
        if place.speed not in self._lines:
            self._lines[place.speed] = self._fitted(place)
        return self._lines[place.speed]

    def _fitted(self, place: Place) -> PowerLine | None:
        here = [point for _, point in self._points(place.speed)]
        prior = None if place.sheet is None else _by_sheet(place.sheet)
        if prior is None or place.sheet is None:
            return fit_line(here, points_prior(here)) if here else None
        others = [
            _onto(point, there.sheet, place.sheet)
            for speed in self._seen[True]
            if speed.model == place.speed.model and speed.engine == place.speed.engine
            if speed != place.speed and (there := self._subjects.any_place(speed)).sheet is not None
            for _, point in self._points(speed)
        ]
        if others:  # they say what the model's boards are like, less surely what this class is
            prior = as_prior(fit_line(others, prior), more=2.0)
        return fit_line(here, prior)

    def _points(self, speed: SpeedClass) -> Iterator[tuple[Workload, Point]]:
        """A point for each workload of which both were measured: its medians."""
        for workload, seen in self._seen[True].get(speed, {}).items():
            told = seen.utils_pct and seen.watts
            if told and self._subjects.card(workload).teaches:
                yield workload, Point(median(seen.utils_pct), median(seen.watts))

    def _known(self, card: Card, place: Place, *, measured: bool) -> Utilisation | None:
        if not self._seen[measured]:
            return None
        return (
            self._table(card, place, measured)
            or self._carried(card, place, measured)
            or self._beside(card, place, measured)
        )

    def _table(self, card: Card, place: Place, measured: bool) -> Utilisation | None:
        seen = self._seen[measured].get(place.speed, {}).get(card.workload)
        if seen is None or not seen.utils_pct:
            return None
        sigma = _spread([_odds(pct) for pct in seen.utils_pct], MEASURED)
        source: Source = "measured" if measured else "assumed"
        return Utilisation(median(seen.utils_pct), sigma, source, len(seen.utils_pct))

    def _carried(self, card: Card, place: Place, measured: bool) -> Utilisation | None:
        """The same workload on boards of this architecture, by how the rooflines' odds differ."""
        if place.speed.engine != "board" or place.sheet is None:
            return None
        near: list[float] = []
        far: list[float] = []
        for speed, table in self._seen[measured].items():
            seen = table.get(card.workload)
            if seen is None or not seen.utils_pct or speed == place.speed:
                continue
            there = self._subjects.any_place(speed)
            if speed.engine != "board" or there.sheet is None:
                continue
            # Like with like: a calibration of one and the sheet of the other have no common scale.
            both = place.calibrated and there.calibrated
            ours, theirs = (share_pct(card, each, calibrated=both) for each in (place, there))
            moved = _odds(ours) - _odds(theirs) if ours is not None and theirs is not None else 0.0
            odds = _odds(median(seen.utils_pct)) + moved
            if speed.model == place.speed.model:
                near.append(odds)
            elif there.sheet.architecture == place.sheet.architecture != "":
                far.append(odds)
        if not near and not far:
            return None
        sigma = SAME_MODEL if near else SAME_CHIP
        source: Source = "estimated" if measured else "assumed"
        return Utilisation(_pct(median(near or far)), sigma, source, len(near or far))

    def _beside(self, card: Card, place: Place, measured: bool) -> Utilisation | None:
        """The roofline's share, moved as the other work of its kind here says."""
        key = (place.speed, measured, card.kind)
        if key not in self._moves:
            self._moves[key] = self._move(place, measured, card.kind)
        move, share = self._moves[key], share_pct(card, place)
        if move is None or share is None:
            return None
        source: Source = "estimated" if measured else "assumed"
        return Utilisation(_pct(_odds(share) + move.odds), move.sigma, source, move.workloads)

    def _move(self, place: Place, measured: bool, kind: str) -> _Move | None:
        """Few workloads move it less than they say."""
        moves: list[float] = []
        for workload, seen in self._seen[measured].get(place.speed, {}).items():
            other = self._subjects.card(workload)
            alike = other.kind == kind and other.teaches
            by_sheet = share_pct(other, place) if alike else None
            if by_sheet is not None and seen.utils_pct:
                moves.append(_odds(median(seen.utils_pct)) - _odds(by_sheet))
        if not moves:
            return None
        moves.sort()  # a sum of floats depends on their order, and nothing here may
        weight = SHARE_WEIGHT + len(moves)
        odds = sum(moves) / weight
        squares = SHARE_WEIGHT * BESIDE**2 + sum((each - odds) ** 2 for each in moves)
        return _Move(odds, max((squares / weight) ** 0.5, BESIDE / 2), len(moves))


def _by_share(share: float | None) -> Utilisation | None:
    return None if share is None else Utilisation(share, SHEET, "assumed")


def share_pct(card: Card, place: Place, *, calibrated: bool = True) -> float | None:
    """The roofline's share of time with the GPU at work; None without GPU or shape.

    Not ``calibrated``: by the data sheet in any case, as to compare with another place's.
    """
    sheeted = card.sheeted(place, calibrated=calibrated)
    return None if sheeted is None else sheeted.gpu_util_pct


def measured_watts(measurement: Measurement) -> float | None:
    """Mean power of the measured phase: integrated energy over its time, else the mean of samples.

    The phase is warm-up and work; of a command, all of it.
    """
    phase_s = measurement.time_s
    if measurement.work_s:
        phase_s = measurement.work_s + (measurement.warmup_s or 0.0)
    if measurement.energy_j is not None and phase_s:
        watts = _in_range(measurement.energy_j / phase_s)
        if watts:
            return watts
    return _in_range(measurement.power_w) or None


def _told(value: float | None) -> tuple[float, ...]:
    return () if value is None else (value,)


def _in_range(value: float | None, most: float = float("inf")) -> float | None:
    if value is None or not isfinite(value) or not 0 <= value <= most:
        return None
    return value


def _by_sheet(sheet: DeviceModel) -> Prior | None:
    full_w, top = FULL_W.get(sheet.name), DEVICE_MODELS.get(sheet.name)
    if full_w is not None and top is not None:
        full_w = sheet.idle_w + (full_w - sheet.idle_w) * _clock_worth(sheet, top)
    return sheet_prior(sheet.idle_w, sheet.max_w, full_w)


def _onto(point: Point, theirs: DeviceModel | None, ours: DeviceModel) -> Point:
    """The point in another power mode: its part above idle goes with the GPU clock."""
    if theirs is None:
        return point
    above_w = max(point.power_w - theirs.idle_w, 0.0)
    idle_w = min(point.power_w, theirs.idle_w)
    return Point(point.util_pct, idle_w + above_w * _clock_worth(ours, theirs))


def _clock_worth(ours: DeviceModel, theirs: DeviceModel) -> float:
    """Dynamic power of one power mode over another's of the same model."""
    return float((ours.peak_gflops["fp32"] / theirs.peak_gflops["fp32"]) ** CLOCK_EXPONENT)


def _odds(pct: float) -> float:
    """The log odds of a utilisation; 0 and 100 % count as half a per cent from there."""
    share = min(max(pct, 0.5), 99.5) / 100
    return log(share / (1 - share))


def _pct(odds: float) -> float:
    return 100 / (1 + exp(-odds))


def _spread(values: list[float], sigma: float, weight: float = 3.0) -> float:
    """Of a further value, before there are many taken as ``sigma``."""
    mean = sum(values) / len(values)
    squares = weight * sigma**2 + sum((value - mean) ** 2 for value in values)
    return float((squares / (weight + len(values) - 1)) ** 0.5)
