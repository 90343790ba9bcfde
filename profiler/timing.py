"""How long a unit of work takes on a device: from a table, carried over, scaled, by the sheet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp, log
from statistics import median
from typing import Literal

from jetsched.profiler.evidence import Evidence, Runs, SpeedClass, middle, p90_factor
from jetsched.profiler.subjects import Card, Place, Subjects
from jetsched.records import DeviceModel, Method, Precision, Source, Workload

#: Spread (sigma of log time) before repeats say otherwise: of a measured time; of one that was
#: carried over; of the data sheet alone; of one carried to another precision, or by no formula.
SIGMA_MEASURED, SIGMA_FITTED, SIGMA_SHEET, SIGMA_FAR = 0.08, 0.25, 0.5, 0.7
#: Of the roofline with constants that were calibrated on the board itself.
SIGMA_CALIBRATED = 0.35


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds for loading and for a unit of work; ``p90`` is a factor on the whole run's p50."""

    load_s: float
    rate_s: float
    p90: float
    gpu_util_pct: float | None
    power_w: float | None
    source: Source
    method: Method
    measurements: int = 0


@dataclass(frozen=True, slots=True)
class _Scale:
    """How the measured time of one workload compares with its roofline."""

    kind: Literal["train", "infer", ""]
    precision: Precision
    factor: float
    load_factor: float | None
    runs: int


class Timing:
    """Makes times out of the evidence. Keeps what it derives until told to forget it."""

    def __init__(self, evidence: Evidence, subjects: Subjects) -> None:
        self._evidence = evidence
        self._subjects = subjects
        self._scales: dict[tuple[SpeedClass, bool], list[_Scale]] = {}

    def forget(self, speed: SpeedClass) -> None:
        """Something was learnt about devices of this class."""
        self._scales.pop((speed, True), None)
        self._scales.pop((speed, False), None)

    def best(self, card: Card, place: Place) -> Time | None:
        """The best that is known: what was measured first, nearest first; None for nothing.

        1. this workload on this speed class (table); 2. the same on this model in another power
        mode or with other software; 3. other work of its kind on this speed class, by the ratio to
        its roofline; 4. this workload on another model (2-4: fitted). Then the board's own
        calibration (fitted), then the same four from what is only assumed, then the data sheet.
        """
        return (
            self._known(card, place, measured=True)
            or (self._by_roofline(card, place) if place.calibrated else None)
            or self._known(card, place, measured=False)
            or self._by_roofline(card, place)
        )

    def _known(self, card: Card, place: Place, *, measured: bool) -> Time | None:
        return (
            self._table(card, place, measured)
            or self._carried(card, place, measured, same_model=True)
            or self._scaled(card, place, measured)
            or self._carried(card, place, measured, same_model=False)
        )

    def _by_roofline(self, card: Card, place: Place) -> Time | None:
        """With the constants of the place's calibration, else those of its data sheet."""
        sheeted = card.sheeted(place)
        if sheeted is None:
            return None
        return Time(
            card.load_s(place),
            sheeted.rate_s,
            p90_factor([], sigma=SIGMA_CALIBRATED if place.calibrated else SIGMA_SHEET),
            sheeted.gpu_util_pct,
            None,
            "estimated" if place.calibrated else "assumed",
            "fitted" if place.calibrated else "datasheet",
        )

    def _table(self, card: Card, place: Place, measured: bool) -> Time | None:
        runs = self._evidence.runs(card.workload, place.speed, measured=measured)
        if runs is None or not runs.rates_s:
            return None
        load_s, util = middle(runs.loads_s), middle(runs.utils_pct)
        if util is None and (sheeted := card.sheeted(place)) is not None:
            util = sheeted.gpu_util_pct
        return Time(
            card.load_s(place) if load_s is None else load_s,
            median(runs.rates_s),
            p90_factor(runs.rates_s, sigma=SIGMA_MEASURED),
            util,
            middle(runs.powers_w),
            "measured" if measured else "assumed",
            "table",
            len(runs.rates_s),
        )

    def _carried(
        self, card: Card, place: Place, measured: bool, *, same_model: bool
    ) -> Time | None:
        """From runs of the same workload elsewhere, by the ratio of the two rooflines."""
        candidates = [
            (-len(runs.rates_s), repr(where), where, runs)
            for where, runs in self._evidence.runs_of(card.workload, measured=measured)
            if runs.rates_s
            and where != place.speed
            and where.engine == place.speed.engine
            and (where.model == place.speed.model) == same_model
        ]
        if not candidates:
            return None
        _, _, where, runs = min(candidates, key=lambda candidate: candidate[:2])
        there = self._subjects.any_place(where)
        # Like with like: a calibration of one and the sheet of the other have no common scale.
        both = place.calibrated and there.calibrated
        ours, theirs = (card.sheeted(each, calibrated=both) for each in (place, there))
        if ours is not None and theirs is not None:
            factor, sigma = ours.rate_s / theirs.rate_s, SIGMA_FITTED
        else:
            factor, sigma = _crude_ratio(place.sheet, there.sheet), SIGMA_FAR
        load_s = middle(runs.loads_s)
        if load_s is None:
            load_s = card.load_s(place)
        elif by_sheet := card.load_s(there, calibrated=both):
            load_s *= card.load_s(place, calibrated=both) / by_sheet
        return Time(
            load_s,
            median(runs.rates_s) * factor,
            p90_factor([], sigma=sigma),
            middle(runs.utils_pct),
            None,
            "estimated" if measured else "assumed",
            "fitted",
            len(runs.rates_s),
        )

    def _scaled(self, card: Card, place: Place, measured: bool) -> Time | None:
        """The roofline, times what other work of its kind took here beside its own roofline."""
        sheeted = card.sheeted(place)
        scales = self._scales_of(place, measured)
        alike = [scale for scale in scales if scale.kind == card.kind]
        if sheeted is None or not alike:
            return None
        same = [scale for scale in alike if scale.precision == card.workload.precision]
        factors = sorted(scale.factor for scale in same or alike)
        loads = [scale.load_factor for scale in scales if scale.load_factor is not None]
        return Time(
            card.load_s(place) * (median(loads) if loads else 1.0),
            sheeted.rate_s * exp(median(map(log, factors))),
            p90_factor(factors, sigma=SIGMA_FITTED if same else SIGMA_FAR),
            sheeted.gpu_util_pct,
            None,
            "estimated" if measured else "assumed",
            "fitted",
            sum(scale.runs for scale in same or alike),
        )

    def _scales_of(self, place: Place, measured: bool) -> list[_Scale]:
        key = (place.speed, measured)
        if key not in self._scales:
            table = self._evidence.table(place.speed, measured=measured)
            self._scales[key] = list(self._compare(place, table))
        return self._scales[key]

    def _compare(self, place: Place, table: Mapping[Workload, Runs]) -> Iterator[_Scale]:
        for workload, runs in table.items():
            card = self._subjects.card(workload)
            sheeted = card.sheeted(place)
            if sheeted is None or not runs.rates_s:
                continue
            load_s, by_sheet = middle(runs.loads_s), card.load_s(place)
            yield _Scale(
                card.kind,
                workload.precision,
                median(runs.rates_s) / sheeted.rate_s,
                load_s / by_sheet if load_s and by_sheet else None,
                len(runs.rates_s),
            )


def _crude_ratio(ours: DeviceModel | None, theirs: DeviceModel | None) -> float:
    """How much longer work of unknown make takes here: by peak and bandwidth alike."""
    if ours is None or theirs is None:
        return 1.0
    peak = theirs.peak_gflops["fp32"] / ours.peak_gflops["fp32"]
    return float((peak * theirs.bandwidth_gb_s / ours.bandwidth_gb_s) ** 0.5)
