"""Fits times to measured rows and predicts others: the additive roofline and what it leaves over.

Terms are what a row's operations, bytes and launches would take at its device's data sheet. Factors
for them are fitted to all rows, then to the rows of each kind (train, decode, ...), shrunk towards
the former (additive.py). The rest is learnt from rows that are alike (residual.py), from which the
p90 comes as well. A device or workload that was never seen gets the common factors and a wider p90.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log
from typing import TYPE_CHECKING, NamedTuple

from jetsched.errors import InputError
from jetsched.profiler.additive import fit_factors
from jetsched.profiler.costrows import CostRow
from jetsched.profiler.residual import Likeness, Residual

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: Weights of what factors are shrunk towards, in rows: nothing at all (the terms share the time
#: evenly), and the factors of all kinds.
TO_EVEN, TO_COMMON = 1.0, 20.0
#: Spread (sigma of log time) that a precision or framework adds which no row was measured in: from
#: one to another inside eager transformers a prediction was off by up to 270 %.
SIGMA_UNSEEN = 0.5
#: In nine of ten cases a normal value is below its mean plus so many sigma.
Z90 = 1.2816
#: A launch takes so long, and one of unknown number this x 1 GB/s over the device's bandwidth:
#: smaller boards have slower hosts. Only starting points; the factors are fitted.
LAUNCH_S, OVERHEAD_S = 1e-5, 1.0


@dataclass(frozen=True, slots=True)
class Predicted:
    """The p50 and p90 of a row's time; ``note`` says what it was extrapolated over, "" nothing."""

    time_s: float
    time_p90_s: float
    note: str = ""


class _Known(NamedTuple):
    """What a row tells. A fit uses what all of its rows tell, and no more."""

    peak: bool  # operations, and how fast the device does them
    bytes: bool
    launches: bool
    flops: bool  # operations alone: no term, but a sign of likeness

    @classmethod
    def of(cls, row: CostRow) -> _Known:
        return cls(
            row.flops is not None and bool(row.peak_gflops),
            row.bytes is not None and bool(row.bandwidth_gb_s),
            row.launches is not None,
            row.flops is not None,
        )

    def within(self, other: _Known) -> bool:
        return all(mine <= theirs for mine, theirs in zip(self, other, strict=True))


class TimeFit:
    """A model of time, fitted to rows.

    ``prior``: factors of operations, bytes, their mix and launches that are assumed before anything
    was measured, worth ``weight`` rows; None where the data sheet says nothing of what programs
    reach.
    """

    def __init__(
        self,
        rows: Sequence[CostRow],
        prior: tuple[float, float, float, float] | None = None,
        weight: float = 1.0,
    ) -> None:
        self._rows = [row for row in rows if 0 < row.time_s < inf]
        self._prior, self._weight = prior, weight
        self._fits: dict[_Known, _Fit] = {}
        if not self._rows:
            raise InputError("there is no row to fit times to")

    @classmethod
    def fit(cls, rows: Sequence[CostRow]) -> TimeFit:
        """Raises InputError where there is no row."""
        return cls(rows)

    def predict(self, rows: Sequence[CostRow]) -> list[Predicted]:
        """One prediction a row, in order."""
        found: dict[int, Predicted] = {}
        for known in dict.fromkeys(_Known.of(row) for row in rows):
            here = [index for index, row in enumerate(rows) if _Known.of(row) == known]
            answers = self._fit_for(known).predict([rows[index] for index in here])
            found.update(zip(here, answers, strict=True))
        return [found[index] for index in range(len(rows))]

    def _fit_for(self, known: _Known) -> _Fit:
        """The fit that uses most of what such a row tells, among those that have rows."""
        told = Counter(_Known.of(row) for row in self._rows)
        usable = {_Known(*(a and b for a, b in zip(known, other, strict=True))) for other in told}
        best = max(usable, key=lambda each: (sum(each), each))
        if best not in self._fits:
            rows = [row for row in self._rows if best.within(_Known.of(row))]
            self._fits[best] = _Fit(best, rows, self._prior, self._weight)
        return self._fits[best]


class _Fit:
    """One fit, to rows that tell the same things."""

    def __init__(
        self,
        known: _Known,
        rows: Sequence[CostRow],
        prior: tuple[float, float, float, float] | None,
        weight: float,
    ) -> None:
        import numpy as np

        self._known = known
        self._kinds = sorted({row.kind for row in rows})
        self._stacks = {_stack(row) for row in rows}
        times = np.array([row.time_s for row in rows])
        terms = self._terms(rows)
        start = (
            None
            if prior is None
            else np.array([f for f, on in zip(prior, self._uses(), strict=True) if on])
        )
        self._common = fit_factors(terms, times, start, weight)
        self._factors: dict[str, Array] = {}
        for kind in self._kinds:
            of_kind = [index for index, row in enumerate(rows) if row.kind == kind]
            self._factors[kind] = fit_factors(
                terms[of_kind], times[of_kind], self._common, TO_COMMON
            )
        left = np.log(times) - np.log(self._roofline(rows))
        self._residual = Residual(self._likeness(rows), left)

    def predict(self, rows: Sequence[CostRow]) -> list[Predicted]:
        means, sigmas = self._residual.predict(self._likeness(rows))
        found = []
        for row, roof_s, mean, sigma in zip(rows, self._roofline(rows), means, sigmas, strict=True):
            note = ""
            if _stack(row) not in self._stacks:
                sigma = (sigma**2 + SIGMA_UNSEEN**2) ** 0.5
                note = f"nothing was measured in {_stack(row) or 'this precision'}: extrapolated"
            time_s = float(roof_s) * exp(mean)
            found.append(Predicted(time_s, time_s * exp(Z90 * sigma), note))
        return found

    def _roofline(self, rows: Sequence[CostRow]) -> Array:
        import numpy as np

        factors = np.array([self._factors.get(row.kind, self._common) for row in rows])
        # Where every factor that a row has a term for is 0, it still takes some time.
        roof: Array = (self._terms(rows) * factors).sum(axis=1)
        return np.maximum(roof, 1e-12)

    def _uses(self) -> tuple[bool, bool, bool, bool]:
        known = self._known
        return known.peak, known.bytes, known.peak and known.bytes, True

    def _terms(self, rows: Sequence[CostRow]) -> Array:
        """(rows, terms): seconds at the data sheet.

        The mix is the geometric mean of operations and bytes: kernels whose balance lies between
        the two, which are bound by one on some devices and by the other on others.
        """
        import numpy as np

        known = self._known
        columns: list[list[float]] = []
        flops = [(row.flops or 0.0) / ((row.peak_gflops or 1.0) * 1e9) for row in rows]
        moved = [(row.bytes or 0.0) / ((row.bandwidth_gb_s or 1.0) * 1e9) for row in rows]
        if known.peak:
            columns.append(flops)
        if known.bytes:
            columns.append(moved)
        if known.peak and known.bytes:
            columns.append([(f * b) ** 0.5 for f, b in zip(flops, moved, strict=True)])
        if known.launches:
            columns.append([(row.launches or 0.0) * LAUNCH_S for row in rows])
        else:
            columns.append([OVERHEAD_S / (row.bandwidth_gb_s or 100.0) for row in rows])
        return np.array(columns).T

    def _likeness(self, rows: Sequence[CostRow]) -> Likeness:
        """What decides how well the rates of the sheet are reached, whatever the device."""
        import numpy as np

        known, features = self._known, []
        for row in rows:
            flops, moved, launches = (
                log(max(value or 0.0, 1.0)) for value in (row.flops, row.bytes, row.launches)
            )
            if known.flops and known.bytes:
                mix = [flops - moved]
            else:
                mix = [moved if known.bytes else flops if known.flops else 0.0]
            if known.flops:
                mix.append(flops - launches if known.launches else flops)
            features.append(mix + [0.5**0.5 * (row.kind == kind) for kind in self._kinds])
        names = {
            "board": [row.board or row.device for row in rows],
            "device": [row.device for row in rows],
            "workload": [row.workload for row in rows],
            "stack": [_stack(row) for row in rows],
        }
        return Likeness(names, np.array(features))


def _stack(row: CostRow) -> str:
    """Framework and precision: neither can be extrapolated from another."""
    return " ".join(word for word in (row.framework, row.precision) if word)
