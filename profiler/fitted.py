"""The fit of times to what was measured on boards of ours: rows of phases, and of loading.

Each workload that was measured on a speed class gives a row for each of its phases, counted from
the model's shape; the terms of a row are what the phase would take at the rates that are assumed
for the device (its calibration, else its data sheet). What a device, a workload or a kind of phase
takes more than that carries over to whatever shares it: see timefit.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import median
from typing import TYPE_CHECKING

from jetsched.profiler.additive import fit_factors
from jetsched.profiler.costrows import CostRow
from jetsched.profiler.evidence import Z90, Runs, SpeedClass, middle
from jetsched.profiler.roofline import Phase, PhaseName, Rates
from jetsched.profiler.subjects import Card, Place
from jetsched.profiler.timefit import Asked, TimeFit, stack_name
from jetsched.records import Precision, Workload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

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


@dataclass(frozen=True)
class PhaseTable:
    """What one phase of many workloads asks for, per unit of work: arrays of (workloads,)."""

    name: PhaseName
    streams: bool
    flops: Array
    bytes: Array
    launches: Array

    @classmethod
    def of(cls, phases: Sequence[Phase]) -> PhaseTable:
        """The same phase of each workload, in order."""
        import numpy as np

        columns = np.array([(phase.flops, phase.bytes, phase.launches) for phase in phases]).T
        return cls(phases[0].name, phases[0].streams, *columns)


class Fitted:
    """Fitted to cells whose model's shape is known; predicts any other such pair.

    Not ``calibrated``: everything by the data sheets, as for a device that has only that.
    """

    def __init__(self, cells: Sequence[Cell], calibrated: bool) -> None:
        self._calibrated = calibrated
        #: The kinds of work that it can say something about: training says nothing about inference.
        self.kinds = {cell.card.kind for cell in cells}
        rows = [row for cell in cells for row in self._measured(cell)]
        self._times = TimeFit(rows, PRIOR, PRIOR_WEIGHT)
        self._loads = _Loads(cells, calibrated)
        self._run_sigma = _run_sigma([cell.runs.rates_s for cell in cells])
        self._behind: Counter[tuple[str, SpeedClass | Workload | None]] = Counter()
        for cell in cells:
            for what in (cell.place.speed, cell.card.workload, None):
                self._behind[cell.card.kind, what] += len(cell.runs.rates_s)

    @classmethod
    def of(cls, cells: Iterable[Cell], *, calibrated: bool) -> Fitted | None:
        """None where no cell can be fitted to."""
        usable = [cell for cell in cells if cell.runs.rates_s and cell.card.phases(cell.place)]
        return cls(usable, calibrated) if usable else None

    def rates(
        self, phases: Sequence[PhaseTable], precision: Precision, place: Place, workload: str = ""
    ) -> tuple[Array, Array]:
        """(seconds per unit of work, their p90) of workloads of a kind: arrays of (workloads,).

        ``workload`` is the key of the only one, if something was measured of it elsewhere.
        """
        import numpy as np

        time_s: Array | float = 0.0
        p90_s: Array | float = 0.0
        for phase in phases:
            found = self._times.predict_all(self._asked(phase, precision, place, workload))
            # The phases of a run are off together: their p90s are added.
            time_s, p90_s = time_s + found[0], p90_s + found[1]
        assert not isinstance(time_s, float) and not isinstance(p90_s, float)
        off = np.log(p90_s / time_s) ** 2 + (Z90 * self._run_sigma) ** 2
        return time_s, time_s * np.exp(np.sqrt(off))

    def load_s(self, starting_s: Array, reading_s: Array, place: Place) -> Array:
        """Seconds of loading, from what its two parts would take as assumed."""
        return self._loads.predict(starting_s, reading_s, place)

    def behind(self, card: Card, place: Place) -> int:
        """How many runs a prediction rests on: those of its kind there, else of the workload."""
        asked = (place.speed, card.workload, None)
        return next((n for what in asked if (n := self._behind[card.kind, what])), 0)

    def note(self, precision: Precision, place: Place) -> str:
        """What predictions there are extrapolated over; "" nothing."""
        return self._times.note(stack_name(place.speed.software, precision))

    def _measured(self, cell: Cell) -> Iterator[CostRow]:
        """A row for each phase; where only their sum was measured it is split as assumed."""
        phases = cell.card.phases(cell.place)
        split: Mapping[str, float | None]
        split = {name: middle(times) for name, times in cell.runs.phases_s.items()}
        if not all(split.get(phase.name) for phase in phases):
            assumed = cell.card.sheeted(cell.place, calibrated=self._calibrated)
            assert assumed is not None  # it has phases, so it has rates
            factor = median(cell.runs.rates_s) / assumed.rate_s
            split = {name: factor * time_s for name, time_s in assumed.phases_s.items()}
        precision = cell.card.workload.precision
        rates = self._rates(cell.place, precision)
        for phase in phases:
            time_s = split[phase.name]
            if time_s:
                yield CostRow(
                    device=_device(cell.place.speed),
                    workload=cell.card.workload.key,
                    kind=phase.name,
                    time_s=time_s,
                    precision=precision,
                    framework=cell.place.speed.software,
                    board=_board(cell.place.speed),
                    peak_gflops=1e-9 / rates.flop_s,
                    bandwidth_gb_s=1e-9 / (rates.stream_byte_s if phase.streams else rates.byte_s),
                    flops=phase.flops,
                    bytes=phase.bytes,
                    launches=phase.launches,
                    launch_s=rates.launch_s,
                )

    def _asked(self, phase: PhaseTable, precision: Precision, place: Place, workload: str) -> Asked:
        import numpy as np

        rates = self._rates(place, precision)
        return Asked(
            flops=phase.flops,
            bytes=phase.bytes,
            launches=phase.launches,
            flop_s=np.array([rates.flop_s]),
            byte_s=np.array([rates.stream_byte_s if phase.streams else rates.byte_s]),
            launch_s=np.array([rates.launch_s]),
            kinds=[phase.name],
            names={
                "board": [_board(place.speed)],
                "device": [_device(place.speed)],
                "workload": [workload],
                "stack": [stack_name(place.speed.software, precision)],
            },
        )

    def _rates(self, place: Place, precision: Precision) -> Rates:
        return (place.rates if self._calibrated else place.sheet_rates)[precision]


def _run_sigma(repeats: Sequence[Sequence[float]]) -> float:
    """By how much log times of single runs vary more than the medians that were fitted to.

    Where every workload ran once the fit's own noise says it all, and this is 0.
    """
    degrees = sum(len(rates_s) - 1 for rates_s in repeats)
    squares = 0.0
    for rates_s in repeats:
        logs = [log(rate_s) for rate_s in rates_s]
        squares += sum((each - sum(logs) / len(logs)) ** 2 for each in logs)
    # The variance of a median of n runs is about an n-th of a run's.
    fitted = sum(1 / len(rates_s) for rates_s in repeats) / len(repeats)
    return (squares / degrees * (1 - fitted)) ** 0.5 if degrees else 0.0


def _device(speed: SpeedClass) -> str:
    return f"{speed.model} {speed.power_mode} {speed.software} {speed.emulated}"


def _board(speed: SpeedClass) -> str:
    return f"{speed.model} {speed.emulated}"


class _Loads:
    """Seconds to load: starting, and reading the weights, each times a factor of the device."""

    def __init__(self, cells: Iterable[Cell], calibrated: bool) -> None:
        import numpy as np

        rows = [
            (cell.place.speed, cell.card.load_terms(cell.place, calibrated=calibrated), load_s)
            for cell in cells
            if (load_s := middle(cell.runs.loads_s))
        ]
        self._common: Array = np.ones(2)
        self._factors: dict[SpeedClass, Array] = {}
        if not rows:
            return
        terms, times = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
        self._common = fit_factors(terms, times, self._common, PRIOR_WEIGHT)
        for speed in {row[0] for row in rows}:
            here = [index for index, row in enumerate(rows) if row[0] == speed]
            self._factors[speed] = fit_factors(terms[here], times[here], self._common, LOAD_WEIGHT)

    def predict(self, starting_s: Array, reading_s: Array, place: Place) -> Array:
        start, read = self._factors.get(place.speed, self._common)
        found: Array = start * starting_s + read * reading_s
        return found
