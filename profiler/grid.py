"""Estimates for many workloads on many device classes at once, as arrays.

What :class:`~jetsched.profiler.costs.CostModel` says of a single pair, for all pairs of workloads
that nothing was measured of: counted once for each workload and kind of stack, the rest is
arithmetic on arrays. A pair that something is known of is asked for by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from jetsched.profiler import roofline
from jetsched.profiler.admission import Admission
from jetsched.profiler.evidence import Evidence
from jetsched.profiler.fitted import PhaseTable
from jetsched.profiler.memory import Memory, Stack
from jetsched.profiler.subjects import Card, Place
from jetsched.profiler.timing import Timing
from jetsched.records import DeviceClass, Never, Workload
from jetsched.scheduler.costs import UnitCost

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

NEVER, TIGHT, FITS = 0, 1, 2


class PairCost(UnitCost, Protocol):
    """What is taken from the answer to a single pair."""

    @property
    def p90(self) -> float: ...
    @property
    def peak_memory_mib(self) -> float: ...
    @property
    def admitted_mib(self) -> float: ...


Ask = Callable[[Workload, DeviceClass], "PairCost | Never"]
Lacks = Callable[[Workload, Place], Never | None]


@dataclass(frozen=True)
class Grid:
    """Arrays of (workloads, device classes); NaN where a pair can never run.

    ``fit`` is :data:`NEVER`, :data:`TIGHT` or :data:`FITS`. ``rate_s`` is seconds per unit of work,
    ``p90`` a factor on the time of a whole run. Memory in MiB, known also of what never fits.
    """

    load_s: Array
    rate_s: Array
    p90: Array
    peak_memory_mib: Array
    admitted_mib: Array
    fit: NDArray[np.int8]


class GridMaker:
    """Makes grids out of what the cost model consists of."""

    def __init__(
        self, evidence: Evidence, timing: Timing, admission: Admission, ask: Ask, lacks: Lacks
    ) -> None:
        self._evidence = evidence
        self._timing = timing
        self._admission = admission
        self._ask = ask
        self._lacks = lacks

    def make(self, cards: Sequence[Card], places: Sequence[Place]) -> Grid:
        """One row for each card, one column for each place."""
        import numpy as np

        shape = len(cards), len(places)
        a, b, c, d, e = (np.full(shape, np.nan) for _ in range(5))
        grid = Grid(a, b, c, d, e, np.zeros(shape, dtype=np.int8))
        known = self._evidence.workloads()
        alone = [i for i, card in enumerate(cards) if card.shape is None or card.workload in known]
        groups = _groups(cards, set(range(len(cards))) - set(alone))
        for column, place in enumerate(places):
            proven: list[int] = []
            if place.stack is None:
                proven = [row for group in groups for row in group.rows]
            else:
                for group in groups:
                    proven += self._fill(grid, group, column, place, place.stack)
            for row in [*alone, *proven]:
                self._fill_one(grid, row, column, cards[row], place)
        return grid

    def _fill(
        self, grid: Grid, group: _Group, column: int, place: Place, stack: Stack
    ) -> list[int]:
        """Fill in what is plain arithmetic; returns the rows that something is proven of there."""
        import numpy as np

        rows = group.rows
        need = self._admission.with_headroom(self._runtime(group, place, stack), place, stack)
        grid.peak_memory_mib[rows, column] = need.live_mib
        grid.admitted_mib[rows, column] = need.admitted_mib
        if self._lacks(group.cards[0].workload, place) is not None:
            return []
        grid.fit[rows, column] = np.where(
            need.live_mib + need.runtime_mib > place.has_mib,
            NEVER,
            np.where(need.admitted_mib > place.has_mib, TIGHT, FITS),
        )
        rate_s, p90, load_s = self._times(group, place, stack)
        runs = grid.fit[rows, column] != NEVER
        for to, values in ((grid.rate_s, rate_s), (grid.p90, p90), (grid.load_s, load_s)):
            to[rows, column] = np.where(runs, values, np.nan)
        if not self._evidence.kills_on(place.device_class):
            return []
        kill_of = self._evidence.kill_of
        return [
            int(row)
            for row, card in zip(rows, group.cards, strict=True)
            if kill_of(card.workload, place.device_class) is not None
        ]

    def _runtime(self, group: _Group, place: Place, stack: Stack) -> Memory:
        return self._admission.with_runtime(group.memory(place, stack), place, stack)

    def _times(self, group: _Group, place: Place, stack: Stack) -> tuple[Array, Array, Array]:
        """(rate, p90 factor, load) of the group there."""
        phases = group.phases(place, stack)
        starting_s, storage_mb_s = group.cards[0].load_terms(place)[0], place.storage_mb_s
        reading_s = group.weights_mb / storage_mb_s
        found = self._timing.fits_to(group.kind, place)
        if found is None:
            rates, rate_s = place.rates[group.precision], 0.0 * reading_s
            for phase in phases:
                byte_s = rates.stream_byte_s if phase.streams else rates.byte_s
                rate_s += phase.flops * rates.flop_s + phase.bytes * byte_s
                rate_s += phase.launches * rates.launch_s
            p90 = 0.0 * reading_s + self._timing.roofline_p90(place)
            return rate_s, p90, starting_s + reading_s
        fit, _ = found
        rate_s, p90_s = fit.rates(phases, group.precision, place)
        return rate_s, p90_s / rate_s, fit.load_s(starting_s + 0.0 * reading_s, reading_s, place)

    def _fill_one(self, grid: Grid, row: int, column: int, card: Card, place: Place) -> None:
        import numpy as np

        found = self._ask(card.workload, place.device_class)
        at = row, column
        for memory, mib in (
            (grid.peak_memory_mib, found.peak_memory_mib),
            (grid.admitted_mib, found.admitted_mib),
        ):
            memory[at] = np.nan if mib is None else mib
        if isinstance(found, Never):
            grid.fit[at] = NEVER
            grid.load_s[at] = grid.rate_s[at] = grid.p90[at] = np.nan
        else:
            grid.fit[at] = FITS if found.fit == "fits" else TIGHT
            grid.load_s[at], grid.rate_s[at], grid.p90[at] = found.load_s, found.rate_s, found.p90


class _Group:
    """Workloads of one kind and precision that nothing is known of, and their rows."""

    def __init__(self, rows: Sequence[int], cards: Sequence[Card]) -> None:
        import numpy as np

        self.rows, self.cards = np.array(rows), cards
        self.kind, self.precision = cards[0].kind, cards[0].workload.precision
        self.weights_mb = np.array(
            [roofline.weights_mb(card.shape, card.workload) for card in cards if card.shape]
        )
        self._phases: dict[Stack, list[PhaseTable]] = {}
        self._memory: dict[Stack, Memory] = {}

    def phases(self, place: Place, stack: Stack) -> list[PhaseTable]:
        """What each phase asks for, counted once for each kind of stack."""
        if stack not in self._phases:
            by_card = [card.phases(place) for card in self.cards]
            self._phases[stack] = [PhaseTable.of(same) for same in zip(*by_card, strict=True)]
        return self._phases[stack]

    def memory(self, place: Place, stack: Stack) -> Memory:
        """What memory is needed, likewise; its fields are arrays."""
        import numpy as np

        if stack not in self._memory:
            counted = [card.memory(place) for card in self.cards]
            columns = np.array([_values(memory) for memory in counted if memory]).T
            self._memory[stack] = Memory(*columns)
        return self._memory[stack]


_FIELDS = [field.name for field in fields(Memory)]


_values: Callable[[Memory], tuple[float, ...]] = attrgetter(*_FIELDS)


def _groups(cards: Sequence[Card], rows: Iterable[int]) -> list[_Group]:
    by_kind: dict[tuple[object, ...], list[int]] = {}
    for row in sorted(rows):
        work = cards[row].workload
        # What a device lacks is asked of one workload of a group.
        key = (cards[row].kind, work.precision, work.kind)
        by_kind.setdefault(key, []).append(row)
    return [_Group(rows, [cards[row] for row in rows]) for rows in by_kind.values()]
