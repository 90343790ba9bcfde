"""How long a unit of work takes on a device: from a table, by the fit, by the sheet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from jetsched.profiler.evidence import Engine, Evidence, Runs, SpeedClass, middle, p90_factor
from jetsched.profiler.fitted import Cell, Fitted, PhaseTable
from jetsched.profiler.subjects import Card, Place, Subjects
from jetsched.records import DeviceModel, Method, Source

#: Spread (sigma of log time) before repeats say otherwise: of a measured time; of the data sheet
#: alone; of one that was carried over by no formula. That of a fitted time comes from the fit.
SIGMA_MEASURED, SIGMA_SHEET, SIGMA_FAR = 0.08, 0.5, 0.7
#: Of the roofline with constants that were calibrated on the board itself.
SIGMA_CALIBRATED = 0.35
#: What is assumed of a command of which nothing is known at all, and that it may take ten times it.
UNKNOWN_S, SIGMA_UNKNOWN = 60.0, 1.27


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds for loading and for a unit of work; ``p90`` is a factor on the whole run's p50."""

    load_s: float
    rate_s: float
    p90: float
    gpu_share_pct: float | None  # of time in which the GPU computes, by the roofline alone
    source: Source
    method: Method
    measurements: int = 0
    note: str = ""  # what it was extrapolated over


class Timing:
    """Makes times out of the evidence. Keeps what it derives until told to forget it."""

    def __init__(self, evidence: Evidence, subjects: Subjects) -> None:
        self._evidence = evidence
        self._subjects = subjects
        #: By engine, whether measured, whether by calibrations.
        self._fits: dict[tuple[Engine, bool, bool], Fitted | None] = {}
        #: What kinds of work ran on a board, by its model, emulated or not, measured or assumed.
        self._kinds: dict[tuple[str, bool, bool], frozenset[str]] = {}

    def forget(self, speed: SpeedClass) -> None:
        """Something was learnt about devices of this class."""
        self._kinds.clear()
        for key in [key for key in self._fits if key[0] == speed.engine]:
            del self._fits[key]

    def best(self, card: Card, place: Place) -> Time | None:
        """The best that is known; None for nothing.

        1. What was measured of this workload on this speed class (table); 2. the fit to all that
        was measured, if some of it was on this board or of this workload; 3. the board's own
        calibration; 4. and 5. like 1 and 2 from what is only assumed; 6. the fit to what was
        measured of other work on other boards; 7. the data sheet; 8. of a command that is said to
        be like nothing, a minute: it can run all the same, and is known from then on.
        """
        return (
            self._table(card, place, measured=True)
            or self._near(card, place, measured=True)
            or (self._by_roofline(card, place) if place.calibrated else None)
            or self._table(card, place, measured=False)
            or self._near(card, place, measured=False)
            or self._fitted(card, place, measured=True)
            or self._by_roofline(card, place)
            or _unknown(card)
        )

    def fits_to(self, kind: str, place: Place) -> tuple[Fitted, bool] | None:
        """The fit, and whether it is to what was measured, for work of which nothing is known.

        None: the roofline with assumed rates. It is what :meth:`best` comes to without any run.
        """
        engine, calibrated = place.speed.engine, place.calibrated
        for measured, near in ((True, True), (False, True), (True, False)):
            fit = self._fit_of(engine, measured, calibrated)
            ran = kind in self._kinds_on(place.speed, measured) or not near
            if ran and fit is not None and kind in fit.kinds:
                return fit, measured
            if calibrated:
                break  # which goes before all that is only assumed or far
        return None

    def _near(self, card: Card, place: Place, *, measured: bool) -> Time | None:
        """The fit, where the board or the workload has a part in it; else a crude ratio."""
        elsewhere = list(self._elsewhere(card, place, measured=measured))
        if not elsewhere and card.kind not in self._kinds_on(place.speed, measured):
            return None
        if elsewhere and not card.teaches:  # its own time says more than what it is like
            return self._crudely(card, place, elsewhere, measured=measured)
        found = self._fitted(card, place, measured=measured)
        return found or self._crudely(card, place, elsewhere, measured=measured)

    def _kinds_on(self, speed: SpeedClass, measured: bool) -> frozenset[str]:
        """Kinds of work that ran on the same board, whatever its power mode and software."""
        key = speed.model, speed.emulated, measured
        if key not in self._kinds:
            self._kinds[key] = frozenset(
                card.kind
                for where, table in self._evidence.tables(measured=measured)
                if (where.model, where.emulated) == key[:2]
                for workload in table
                if (card := self._subjects.card(workload)).teaches
            )
        return self._kinds[key]

    def _elsewhere(
        self, card: Card, place: Place, *, measured: bool
    ) -> Iterator[tuple[SpeedClass, Runs]]:
        """Runs of this workload on other speed classes with the same kind of engine."""
        for where, runs in self._evidence.runs_of(card.workload, measured=measured):
            if runs.rates_s and where != place.speed and where.engine == place.speed.engine:
                yield where, runs

    def _fitted(self, card: Card, place: Place, *, measured: bool) -> Time | None:
        import numpy as np

        fit = self._fit_of(place.speed.engine, measured, place.calibrated)
        phases, precision = card.phases(place), card.workload.precision
        if fit is None or not phases or card.kind not in fit.kinds:
            return None
        tables = [PhaseTable.of([phase]) for phase in phases]
        rates_s, p90s_s = fit.rates(tables, precision, place, card.workload.key)
        starting_s, reading_s = card.load_terms(place)
        return Time(
            float(fit.load_s(np.array([starting_s]), np.array([reading_s]), place)[0]),
            float(rates_s[0]),
            float(p90s_s[0] / rates_s[0]),
            None,
            "estimated" if measured else "assumed",
            "fitted",
            fit.behind(card, place),
            fit.note(precision, place),
        )

    def _fit_of(self, engine: Engine, measured: bool, calibrated: bool) -> Fitted | None:
        """Like with like: what has no calibration is fitted by the data sheets of all others."""
        key = engine, measured, calibrated
        if key not in self._fits:
            cells = [
                Cell(card, self._subjects.any_place(where), runs)
                for where, table in self._evidence.tables(measured=measured)
                if where.engine == engine
                for workload, runs in table.items()
                if (card := self._subjects.card(workload)).teaches
            ]
            cells.sort(key=lambda cell: (repr(cell.place.speed), cell.card.workload.key))
            self._fits[key] = Fitted.of(cells, calibrated=calibrated)
        return self._fits[key]

    def _by_roofline(self, card: Card, place: Place) -> Time | None:
        """With the constants of the place's calibration, else those of its data sheet."""
        sheeted = card.sheeted(place)
        if sheeted is None:
            return None
        return Time(
            card.load_s(place),
            sheeted.rate_s,
            self.roofline_p90(place),
            sheeted.gpu_util_pct,
            "estimated" if place.calibrated else "assumed",
            "fitted" if place.calibrated else "datasheet",
        )

    @staticmethod
    def roofline_p90(place: Place) -> float:
        """How wide a time by the roofline is, with constants of a calibration or of the sheet."""
        return p90_factor([], sigma=SIGMA_CALIBRATED if place.calibrated else SIGMA_SHEET)

    def _table(self, card: Card, place: Place, *, measured: bool) -> Time | None:
        runs = self._evidence.runs(card.workload, place.speed, measured=measured)
        if runs is None or not runs.rates_s:
            return None
        load_s = middle(runs.loads_s)
        return Time(
            card.load_s(place) if load_s is None else load_s,
            median(runs.rates_s),
            p90_factor(runs.rates_s, sigma=SIGMA_MEASURED),
            None,
            "measured" if measured else "assumed",
            "table",
            len(runs.rates_s),
        )

    def _crudely(
        self,
        card: Card,
        place: Place,
        elsewhere: list[tuple[SpeedClass, Runs]],
        *,
        measured: bool,
    ) -> Time | None:
        """Work of unknown make: what it took elsewhere, by the ratio of the boards."""
        if not elsewhere:
            return None
        where, runs = min(elsewhere, key=lambda found: (-len(found[1].rates_s), repr(found[0])))
        factor = _ratio(card, place, self._subjects.any_place(where))
        return Time(
            middle(runs.loads_s) or 0.0,
            median(runs.rates_s) * factor,
            p90_factor([], sigma=SIGMA_FAR),
            None,
            "estimated" if measured else "assumed",
            "fitted",
            len(runs.rates_s),
        )


def _unknown(card: Card) -> Time | None:
    """A command that is said to be like nothing; None for other work, of which much is known."""
    if card.kind:
        return None
    p90 = p90_factor([], sigma=SIGMA_UNKNOWN)
    note = "nothing is known about this command: a minute is assumed (work.like says more)"
    return Time(0.0, UNKNOWN_S, p90, None, "assumed", "datasheet", note=note)


def _ratio(card: Card, ours: Place, theirs: Place) -> float:
    """How much longer the work takes at the first: by the sheets, where its make or like is known.

    Like with like: a calibration of one and the sheet of the other have no common scale.
    """
    here, there = (card.sheeted(place, calibrated=False) for place in (ours, theirs))
    if here is None or there is None:
        return _crude_ratio(ours.sheet, theirs.sheet)
    return here.rate_s / there.rate_s


def _crude_ratio(ours: DeviceModel | None, theirs: DeviceModel | None) -> float:
    """How much longer work of unknown make takes here: by peak and bandwidth alike."""
    if ours is None or theirs is None:
        return 1.0
    peak = theirs.peak_gflops["fp32"] / ours.peak_gflops["fp32"]
    return float((peak * theirs.bandwidth_gb_s / ours.bandwidth_gb_s) ** 0.5)
