"""A search over mixes of boards for the cheapest that will do, with few trials.

A mix is a count for each kind of board. What is assumed: with more boards of some kinds and no
fewer of the others, a mix that will do still will. Then a trial that fails speaks for all smaller
mixes, one that succeeds for all larger ones; and the cheapest one is found for certain, because a
mix that is neither dearer than it nor spoken for is tried. (A schedule can get worse by a board
more, Graham's anomaly, so this is an assumption about the policy, not a theorem.)
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


Found = TypeVar("Found", bound=Outcome)

#: So many mixes are tried at a time, whatever computes them: results depend on it.
AT_ONCE = 4
#: Of so many mixes it is looked which tells most.
_SAMPLE = 128


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
        self._open: Flags = np.ones(len(grid), dtype=bool)

    def run(self) -> Mix | None:
        """The cheapest mix that will do; None if none does within the limits.

        The largest one is tried first: if that will not do, none will.
        """
        self._try([tuple(int(n) for n in self._mixes[-1])])
        while self.best is not None and self._open.any():
            self._try(self._telling())
        return self.best

    def _try(self, mixes: Sequence[Mix]) -> None:
        import numpy as np

        for mix, found in zip(mixes, self._try_all(mixes), strict=True):
            self.tried[mix] = found
            if found.will_do:
                self._open[self._rank(mix) :] = False
                if self.best is None or self._rank(mix) < self._rank(self.best):
                    self.best = mix
            else:
                self._open &= ~(self._mixes <= np.array(mix)).all(axis=1)

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
        return [tuple(int(n) for n in there[index]) for index in chosen]


def _cost(grid: npt.NDArray[np.int64], costs: Sequence[float]) -> npt.NDArray[np.float64]:
    import numpy as np

    return np.asarray(grid @ np.array(costs, dtype=float))
