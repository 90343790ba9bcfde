"""The fit of times to what was measured on boards of ours: rows of phases, and of loading.

Each workload that was measured on a speed class gives a row for each of its phases, counted from
the model's shape; the terms of a row are what the phase would take at the rates that are assumed
for the device (its calibration, else its data sheet). What a device, a workload or a kind of phase
takes more than that carries over to whatever shares it: see timefit.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from jetsched.profiler.additive import fit_factors
from jetsched.profiler.costrows import CostRow
from jetsched.profiler.evidence import Runs, SpeedClass, middle
from jetsched.profiler.roofline import Phase, PhaseName
from jetsched.profiler.subjects import Card, Place
from jetsched.profiler.timefit import Predicted, TimeFit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: What the assumed rates are worth beside measured ones, in rows.
PRIOR = (1.0, 1.0, 0.0, 1.0)
PRIOR_WEIGHT = 0.3
#: How far loading is shrunk from what all devices have in common to its own, in rows.
LOAD_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class Cell:
    """All that was measured of one workload on one speed class."""

    card: Card
    place: Place
    runs: Runs


@dataclass(frozen=True, slots=True)
class FittedTime:
    """Seconds for a unit of work and for loading; ``p90`` is a factor on the p50."""

    rate_s: float
    load_s: float
    p90: float
    note: str
    phases: Mapping[PhaseName, Predicted]


class Fitted:
    """Fitted to cells whose model's shape is known; predicts any other such pair.

    Not ``calibrated``: everything by the data sheets, as for a device that has only that.
    """

    def __init__(self, cells: Sequence[Cell], calibrated: bool) -> None:
        self._cells, self._calibrated = cells, calibrated
        self._kinds = {cell.card.kind for cell in cells}
        rows = [row for cell in cells for row in self._measured(cell)]
        self._times = TimeFit(rows, PRIOR, PRIOR_WEIGHT)
        self._loads = _Loads(cells, calibrated)

    @classmethod
    def of(cls, cells: Iterable[Cell], *, calibrated: bool) -> Fitted | None:
        """None where no cell can be fitted to."""
        usable = [cell for cell in cells if cell.runs.rates_s and _phases(cell)]
        return cls(usable, calibrated) if usable else None

    def predict(self, card: Card, place: Place) -> FittedTime | None:
        """None where shape or rates are not known, or nothing of its kind was measured.

        Training says nothing about inference.
        """
        phases = card.phases(place)
        if not phases or card.kind not in self._kinds:
            return None
        rows = [self._row(card, place, phase) for phase in phases]
        found = self._times.predict(rows)
        rate_s = sum(each.time_s for each in found)
        # The phases of a run are off together: their p90s are added.
        p90 = sum(each.time_p90_s for each in found) / rate_s
        note = next((each.note for each in found if each.note), "")
        by_phase = {phase.name: each for phase, each in zip(phases, found, strict=True)}
        return FittedTime(rate_s, self._loads.predict(card, place), p90, note, by_phase)

    def behind(self, card: Card, place: Place) -> int:
        """How many runs the prediction rests on: those of its kind there, else of the workload."""
        alike = [cell for cell in self._cells if cell.card.kind == card.kind]
        here = [cell for cell in alike if cell.place.speed == place.speed]
        same = [cell for cell in alike if cell.card.workload == card.workload]
        return sum(len(cell.runs.rates_s) for cell in here or same or alike)

    def _measured(self, cell: Cell) -> Iterator[CostRow]:
        """A row for each phase; where only their sum was measured it is split as assumed."""
        phases = _phases(cell)
        split = {name: middle(times) for name, times in cell.runs.phases_s.items()}
        if not all(split.get(phase.name) for phase in phases):
            assumed = cell.card.sheeted(cell.place, calibrated=self._calibrated)
            assert assumed is not None  # it has phases, so it has rates
            factor = median(cell.runs.rates_s) / assumed.rate_s
            split = {name: factor * time_s for name, time_s in assumed.phases_s.items()}
        for phase in phases:
            time_s = split[phase.name]
            if time_s:
                yield self._row(cell.card, cell.place, phase, time_s)

    def _row(self, card: Card, place: Place, phase: Phase, time_s: float = 0.0) -> CostRow:
        """What a phase asks for, at the assumed rates of the place."""
        by_precision = place.rates if self._calibrated else place.sheet_rates
        rates = by_precision[card.workload.precision]
        return CostRow(
            device=_device(place.speed),
            workload=card.workload.key,
            kind=phase.name,
            time_s=time_s,
            precision=card.workload.precision,
            framework=place.speed.software,
            board=f"{place.speed.model} {place.speed.emulated}",
            peak_gflops=1e-9 / rates.flop_s,
            bandwidth_gb_s=1e-9 / (rates.stream_byte_s if phase.streams else rates.byte_s),
            flops=phase.flops,
            bytes=phase.bytes,
            launches=phase.launches,
            launch_s=rates.launch_s,
        )


def _phases(cell: Cell) -> tuple[Phase, ...]:
    return cell.card.phases(cell.place)


def _device(speed: SpeedClass) -> str:
    return f"{speed.model} {speed.power_mode} {speed.software} {speed.emulated}"


class _Loads:
    """Seconds to load: starting, and reading the weights, each times a factor of the device."""

    def __init__(self, cells: Iterable[Cell], calibrated: bool) -> None:
        import numpy as np

        self._calibrated = calibrated
        rows = [
            (_device(cell.place.speed), self._terms(cell.card, cell.place), load_s)
            for cell in cells
            if (load_s := middle(cell.runs.loads_s))
        ]
        self._common: NDArray[np.float64] = np.ones(2)
        self._factors: dict[str, NDArray[np.float64]] = {}
        if not rows:
            return
        terms, times = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
        self._common = fit_factors(terms, times, self._common, PRIOR_WEIGHT)
        for device in {row[0] for row in rows}:
            here = [index for index, row in enumerate(rows) if row[0] == device]
            self._factors[device] = fit_factors(terms[here], times[here], self._common, LOAD_WEIGHT)

    def predict(self, card: Card, place: Place) -> float:
        factors = self._factors.get(_device(place.speed), self._common)
        terms = self._terms(card, place)
        return float(sum(f * t for f, t in zip(factors, terms, strict=True)))

    def _terms(self, card: Card, place: Place) -> tuple[float, float]:
        return card.load_terms(place, calibrated=self._calibrated)
