"""Fits times to measured rows and predicts others: the additive roofline and what it leaves over.

Terms are what a row's operations, bytes and launches would take at its device's data sheet. Factors
for them are fitted to all rows, then to the rows of each kind (train, decode, ...), shrunk towards
the former (additive.py). The rest is learnt from rows that are alike (residual.py), from which the
p90 comes as well. A device or workload that was never seen gets the common factors and a wider p90.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple
from weakref import finalize

from jetsched.errors import InputError
from jetsched.profiler.additive import fit_factors
from jetsched.profiler.boosting import ENOUGH_ROWS, MOST_ROWS, Boosted
from jetsched.profiler.costrows import CostRow
from jetsched.profiler.evidence import Z90
from jetsched.profiler.residual import Likeness, Nearness, Residual, drawn

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
#: Launches of unknown number take this x 1 GB/s over the device's bandwidth: smaller boards have
#: slower hosts. Only a starting point; the factor is fitted. Without a bandwidth as at 100 GB/s.
OVERHEAD_S, UNKNOWN_BYTE_S = 1.0, 1e-11
#: From so many rows on, comparisons are kept for the next device.
MANY = 64
#: What few rows tell is no reason to forget the others: a fit that uses it takes so many rows, or
#: half of all.
ENOUGH_TOLD = 12


@dataclass(frozen=True, slots=True)
class Predicted:
    """The p50 and p90 of a row's time; ``note`` says what it was extrapolated over, "" nothing."""

    time_s: float
    time_p90_s: float
    note: str = ""


@dataclass(frozen=True)
class Asked:
    """What rows ask of their devices, as arrays of (rows,); NaN: not known.

    ``flop_s``, ``byte_s``, ``launch_s`` are the seconds that the device takes for one, as assumed.
    ``kinds`` and ``names`` (board, device, workload, stack) hold a name for each row, or a single
    one for all.
    """

    flops: Array
    bytes: Array
    launches: Array
    flop_s: Array
    byte_s: Array
    launch_s: Array
    kinds: Sequence[str]
    names: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, rows: Sequence[CostRow]) -> Asked:
        return cls(
            flops=_column(row.flops for row in rows),
            bytes=_column(row.bytes for row in rows),
            launches=_column(row.launches for row in rows),
            flop_s=1e-9 / _column(row.peak_gflops or None for row in rows),
            byte_s=1e-9 / _column(row.bandwidth_gb_s or None for row in rows),
            launch_s=_column(row.launch_s for row in rows),
            kinds=[row.kind for row in rows],
            names={
                "board": [row.board or row.device for row in rows],
                "device": [row.device for row in rows],
                "workload": [row.workload for row in rows],
                "stack": [stack_name(row.framework, row.precision) for row in rows],
            },
        )


def stack_name(framework: str, precision: str) -> str:
    """Framework and precision: neither can be extrapolated from another."""
    return " ".join(word for word in (framework, precision) if word)


def _column(values: Iterable[float | None]) -> Array:
    import numpy as np

    return np.array([float("nan") if value is None else value for value in values], dtype=float)


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
        weight: float = TO_EVEN,
    ) -> None:
        self._rows = [row for row in rows if 0 < row.time_s < inf]
        self._prior, self._weight = prior, weight
        self._told = Counter(_Known.of(row) for row in self._rows)
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
            fit, asked = self._fit_for(known), Asked.of([rows[index] for index in here])
            stacks = asked.names["stack"]
            for index, time_s, p90_s, stack in zip(here, *fit.predict(asked), stacks, strict=True):
                found[index] = Predicted(float(time_s), float(p90_s), fit.note(stack))
        return [found[index] for index in range(len(rows))]

    def predict_all(self, asked: Asked) -> tuple[Array, Array]:
        """(p50, p90) of rows that tell everything, as arrays; a stack's note is in :meth:`note`."""
        return self._fit_for(_Known(True, True, True, True)).predict(asked)

    def note(self, stack: str) -> str:
        """What a prediction in this stack is extrapolated over; "" for one that was measured."""
        return self._fit_for(_Known(True, True, True, True)).note(stack)

    def _fit_for(self, known: _Known) -> _Fit:
        """The fit that uses most of what such a row tells, among those that have enough rows."""
        usable = {
            _Known(*(a and b for a, b in zip(known, other, strict=True))) for other in self._told
        }
        best = max(usable, key=lambda each: (self._is_enough(each), sum(each), each))
        if best not in self._fits:
            rows = [row for row in self._rows if best.within(_Known.of(row))]
            self._fits[best] = _Fit(best, rows, self._prior, self._weight)
        return self._fits[best]

    def _is_enough(self, known: _Known) -> bool:
        rows = sum(count for told, count in self._told.items() if known.within(told))
        return rows >= min(ENOUGH_TOLD, len(self._rows) / 2)


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
        #: Which of operations, bytes, their mix and launches (or overhead) are terms.
        self._uses = [known.peak, known.bytes, known.peak and known.bytes, True]
        asked, times = Asked.of(rows), np.array([row.time_s for row in rows])
        self._stacks = set(asked.names["stack"])
        terms = self._terms(asked)
        start = None
        if prior is not None:
            # What all rows are off by is taken first: the terms keep their proportions.
            start = np.array(prior)[self._uses]
            off = np.median(np.log(times / (terms @ start)))
            start = start * np.exp(off * len(times) / (len(times) + weight))
        self._common = fit_factors(terms, times, start, weight)
        self._factors: dict[str, Array] = {}
        for kind in sorted(set(asked.kinds)):
            here = np.array([each == kind for each in asked.kinds])
            self._factors[kind] = fit_factors(terms[here], times[here], self._common, TO_COMMON)
        left = np.log(times) - np.log(self._roofline(asked))
        self._residual = Residual(self._likeness(asked), left)
        #: By the id of the array of their operations, and their kind.
        self._near: dict[tuple[int, str], tuple[Array, Nearness]] = {}
        self._seen = {name: set(asked.names[name]) for name in ("board", "stack")}
        self._boosted = self._boost(rows, left)

    def _boost(self, rows: Sequence[CostRow], left: Array) -> Boosted | None:
        """Trees on what remains, of some of the rows where there are very many."""
        if len(rows) < ENOUGH_ROWS:
            return None
        part = drawn(len(rows), MOST_ROWS)
        asked = Asked.of([rows[index] for index in part])
        mean, _ = self._residual.predict(self._likeness(asked))
        return Boosted.fit(self._features(asked), left[part] - mean, asked.names["workload"])

    def predict(self, asked: Asked) -> tuple[Array, Array]:
        """(p50, p90) in seconds."""
        import numpy as np

        mean, sigma = self._residual.predict(*self._compared(asked))
        if self._boosted is not None:
            # Only of boards and stacks that were seen; the others have nothing to go by.
            seen = np.array([name in self._seen["board"] for name in asked.names["board"]])
            seen &= np.array([name in self._seen["stack"] for name in asked.names["stack"]])
            mean = mean + seen * self._boosted.predict(self._features(asked))
            less = seen * (1 - self._boosted.left) * self._residual.noise**2
            sigma = np.sqrt(sigma**2 - less)
        unseen = np.array([stack not in self._stacks for stack in asked.names["stack"]])
        sigma = np.sqrt(sigma**2 + SIGMA_UNSEEN**2 * unseen)
        time_s = self._roofline(asked) * np.exp(mean)
        return time_s, time_s * np.exp(Z90 * sigma)

    def note(self, stack: str) -> str:
        if stack in self._stacks:
            return ""
        return f"nothing was measured in {stack or 'this precision'}: extrapolated"

    def _compared(self, asked: Asked) -> tuple[Likeness, Nearness | None]:
        """Features do not depend on the device: many rows are compared once for all devices."""
        if len(asked.flops) < MANY:
            return self._likeness(asked), None
        key = id(asked.flops), asked.kinds[0]
        if key not in self._near:
            alike = self._likeness(asked)
            self._near[key] = alike.features, self._residual.nearness(alike.features)
            # For as long as the rows are asked about: 10,000 take a hundred megabytes.
            finalize(asked.flops, self._near.pop, key).atexit = False
        features, near = self._near[key]
        return Likeness(asked.names, features), near

    def _roofline(self, asked: Asked) -> Array:
        import numpy as np

        factors = np.array([self._factors.get(kind, self._common) for kind in asked.kinds])
        roof: Array = (self._terms(asked) * factors).sum(axis=1)
        # Where every factor that a row has a term for is 0, it still takes some time.
        return np.maximum(roof, 1e-12)

    def _terms(self, asked: Asked) -> Array:
        """(rows, terms): seconds at the data sheet.

        The mix is the geometric mean of operations and bytes: kernels whose balance lies between
        the two, which are bound by one on some devices and by the other on others.
        """
        import numpy as np

        computing, moving = asked.flops * asked.flop_s, asked.bytes * asked.byte_s
        starting = asked.launches * asked.launch_s
        if not self._known.launches:
            starting = OVERHEAD_S * np.nan_to_num(asked.byte_s, nan=UNKNOWN_BYTE_S) * 1e9
        columns = [computing, moving, np.sqrt(computing * moving), starting]
        return np.stack([each for each, on in zip(columns, self._uses, strict=True) if on], axis=1)

    def _features(self, asked: Asked) -> Array:
        """What trees are given: what is asked for, the assumed rates, kind and device by number."""
        import numpy as np

        shape = asked.flops.shape
        numbered = {kind: number for number, kind in enumerate(self._factors)}
        kinds = np.array([numbered.get(kind, -1) for kind in asked.kinds])
        numbers = (asked.flops, asked.bytes, asked.launches, asked.flop_s, asked.byte_s)
        columns = [np.log(np.maximum(np.nan_to_num(each), 1e-30)) for each in numbers]
        return np.stack([np.broadcast_to(each, shape) for each in (*columns, kinds)], axis=1)

    def _likeness(self, asked: Asked) -> Likeness:
        """What decides how well the rates of the sheet are reached, whatever the device."""
        import numpy as np

        known = self._known
        flops, moved, launches = (
            np.log(np.maximum(np.nan_to_num(each), 1.0))
            for each in (asked.flops, asked.bytes, asked.launches)
        )
        mix = []
        if known.bytes:
            mix.append(flops - moved if known.flops else moved)
        if known.flops:
            mix.append(flops - launches if known.launches else flops)
        for kind in self._factors:
            is_kind = np.array([each == kind for each in asked.kinds], dtype=float)
            mix.append(np.broadcast_to(0.5**0.5 * is_kind, flops.shape))
        return Likeness(asked.names, np.stack(mix, axis=1))
