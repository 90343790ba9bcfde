"""Co-location: what leaves a GPU idle much of the time gets company there."""

from __future__ import annotations

from collections.abc import Iterator

from jetsched.policies.comparative_advantage import ComparativeAdvantage
from jetsched.policies.interference import COUPLING, SharedGpu
from jetsched.records import Job, Placement
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View


class Colocation(ComparativeAdvantage):
    """When no board is free, start a job beside others where both lose little.

    Free boards take jobs as in ``comparative_advantage``. Then the first waiting jobs of each kind
    look at the boards with the idlest GPUs: by the GPU shares that were measured, or are estimated,
    an interference model (:class:`~jetsched.policies.interference.SharedGpu`) says how fast each
    would run. A job joins a board if all together get at least ``gain`` more done there than
    before, in units of what one job does alone, and itself runs at ``least_speed`` or more. The
    core admits only what fits the board's memory together. It is the packing of Gandiva (Xiao et
    al., OSDI 2018) without its trial and error, as Lucid packs by a score (Hu et al., ASPLOS 2023).

    Needs a scheduler whose boards may be shared (``share`` above 1, in simulation only); without,
    it is ``comparative_advantage``. Good: throughput where jobs leave GPUs half idle, as
    fine-tuning of small models and batch inference do. Bad: where interference is worse than the
    model thinks, and everything whose GPU share is not known: that stays alone.
    """

    name = "colocation"
    #: Real boards run one job at a time: it is refused there.
    shares_boards = True

    def __init__(
        self,
        bias: float = 2.0,
        gain: float = 0.25,
        least_speed: float = 0.5,
        coupling: float = COUPLING,
    ) -> None:
        super().__init__(bias)
        if not (0 <= gain <= 10 and 0 <= least_speed <= 1):
            raise ValueError("gain lies in 0..10, least_speed in 0..1")
        self.gain = gain
        self.least_speed = least_speed
        self.coupling = coupling
        self._speed = SharedGpu(coupling)

    def decide(self, view: View) -> Iterator[Placement]:
        yield from super().decide(view)
        if view.share == 1 or view.planning or not view.queue_length or view.mark[0] < 0:
            return
        index = self._followed(view)
        for kind in view.kinds:
            if view.free_in(kind):
                continue  # what waits was not wanted here
            for _ in range(_JOBS):
                key = index.first(kind, view)
                if key is None:
                    break
                index.take(kind)
                found = self._beside(view, kind, key[-1])
                if found is not None:
                    yield found

    def _beside(self, view: View, kind: ClassState, job: Job) -> Placement | None:
        """The job on the board of the kind where most is won; None if nothing is."""
        cost = view.costs(job)[kind.position]
        if cost is None or cost.gpu_util_pct is None:
            return None
        best, most = None, self.gain
        for number, device in enumerate(view.with_room(kind)):
            if number == _BOARDS:
                break
            placement = view.beside(job, device)
            there = [other.gpu_pct for other in view.occupants(device)]
            if placement is None or any(pct is None for pct in there):
                continue
            shares = [pct for pct in there if pct is not None]
            own = self._speed(cost.gpu_util_pct, shares)
            won = self._together([*shares, cost.gpu_util_pct]) - self._together(shares)
            if own >= self.least_speed and won > most:
                best, most = placement, won
        if best is not None and view.explains:
            view.note(job, [best], [most], best)
        return best

    def _together(self, shares: list[float]) -> float:
        """How much gets done on a board, in units of what one job does alone."""
        return sum(
            self._speed(pct, shares[:at] + shares[at + 1 :]) for at, pct in enumerate(shares)
        )


#: So many waiting jobs per kind look at so many boards each time; the next ones may later.
_JOBS, _BOARDS = 8, 4
