"""A search over mixes of boards for the cheapest that will do, with few trials.

A mix is a count for each kind of board. What is assumed: with more boards of some kinds and no
fewer of the others, a mix that will do still will. Then a trial that fails speaks for all smaller
mixes, one that succeeds for all larger ones; and the cheapest one is found for certain, because a
mix that is neither dearer than it nor spoken for is tried.

A schedule can get worse by a board more (Graham 1969), so that is an assumption about the policy.
Only failures that a bound has shown are *certain* for smaller mixes. What none but the assumption
rules out is *doubtful*: some of it, or all, is tried in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Flags = npt.NDArray[np.bool_]

Mix = tuple[int, ...]


class Outcome(Protocol):
    """What came of a trial."""

    @property
    def will_do(self) -> bool: ...

    @property
    def certain(self) -> bool:
        """Whether a failure is one for every smaller mix as well, with no assumption."""
        ...


Found = TypeVar("Found", bound=Outcome)

#: So many mixes are tried at a time, whatever computes them: results depend on it.
AT_ONCE = 4
#: Of so many mixes it is looked which tells most.
_SAMPLE = 128
#: So many doubtful mixes are tried, in rounds of so many.
DOUBTS, _ROUND = 256, 16


class CheapestMix(Generic[Found]):
    """The search. ``tried`` are the trials so far, in their order; ``best`` is the cheapest mix.

    ``costs`` of one board of each kind are positive. Equal costs: fewer boards, then the first in
    the order of counts.
    """

    def __init__(
        self,
        limits: Sequence[int],
        costs: Sequence[float],
        try_all: Callable[[Sequence[Mix]], Sequence[Found]],
    ) -> None:
        import numpy as np

        self.tried: dict[Mix, Found] = {}
        self.best: Mix | None = None
        self._try_all = try_all
        axes = [np.arange(limit + 1) for limit in limits]
        grid = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)[1:]
        order = np.lexsort(
            [
                *(grid[:, k] for k in range(len(limits) - 1, -1, -1)),
                grid.sum(axis=1),
                _cost(grid, costs),
            ]
        )
        #: Shape (mixes, kinds): from the cheapest to the dearest.
        self._mixes = grid[order]
        #: What is to be settled yet, and what would be if nothing were assumed.
        self._open: Flags = np.ones(len(grid), dtype=bool)
        self._doubtful: Flags = np.ones(len(grid), dtype=bool)

    def run(self, doubts: int | None = DOUBTS) -> Mix | None:
        """The cheapest mix that will do; None if none does within the limits.

        The largest one is tried first: if that will not do, by what is assumed none will. At the
        end so many doubtful mixes are tried; None: all of them, and then nothing is assumed.
        """
        self._try([_mix(self._mixes[-1])])
        while self.best is not None and self._open.any():
            self._try(self._telling())
        self._doubt(doubts)
        return self.best

    @property
    def doubtful(self) -> int:
        """How many mixes, all cheaper than the best, are ruled out by nothing but assumption."""
        return int(self._doubtful.sum())

    def _doubt(self, most: int | None) -> None:
        """Try doubtful mixes, evenly over those that are cheaper than the best, again and again."""
        import numpy as np

        left = most
        while left is None or left > 0:
            there = np.flatnonzero(self._doubtful)
            count = min(_ROUND, len(there), _ROUND if left is None else left)
            if not count:
                return
            places = there[np.unique(np.linspace(0, len(there) - 1, count).astype(int))]
            self._try([_mix(self._mixes[place]) for place in places])
            left = None if left is None else left - len(places)

    def _try(self, mixes: Sequence[Mix]) -> None:
        import numpy as np

        for mix, found in zip(mixes, self._try_all(mixes), strict=True):
            self.tried[mix] = found
            rank = self._rank(mix)
            self._doubtful[rank] = False
            if found.will_do:
                self._open[rank:] = self._doubtful[rank:] = False
                if self.best is None or rank < self._rank(self.best):
                    self.best = mix
            else:
                smaller = (self._mixes <= np.array(mix)).all(axis=1)
                self._open &= ~smaller
                if found.certain:
                    self._doubtful &= ~smaller

    def _rank(self, mix: Mix) -> int:
        """The place of a mix among all by cost."""
        import numpy as np

        return int(np.flatnonzero((self._mixes == np.array(mix)).all(axis=1))[0])

    def _telling(self) -> list[Mix]:
        """Which mixes to try: those that settle most others, whatever comes of them."""
        import numpy as np

        places = np.flatnonzero(self._open)
        there = self._mixes[places]
        sample = np.unique(np.linspace(0, len(places) - 1, _SAMPLE).astype(int))
        scores = []
        for index in sample:
            smaller = int((there <= there[index]).all(axis=1).sum())  # settled if it will not do
            dearer = len(places) - int(index)  # settled if it will
            scores.append((-min(smaller, dearer), int(index)))
        chosen: list[int] = []
        for _, index in sorted(scores):
            apart = all(
                (there[index] > there[other]).any() and (there[index] < there[other]).any()
                for other in chosen
            )
            if apart:
                chosen.append(index)
            if len(chosen) == AT_ONCE:
                break
        return [_mix(there[index]) for index in chosen]


def _mix(row: npt.NDArray[np.int64]) -> Mix:
    return tuple(int(n) for n in row)


def _cost(grid: npt.NDArray[np.int64], costs: Sequence[float]) -> npt.NDArray[np.float64]:
    import numpy as np

    return np.asarray(grid @ np.array(costs, dtype=float))
