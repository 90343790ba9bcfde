"""A policy that binds each job to one kind of device, and lets it wait there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from jetsched.policies.ranked import Ranked
from jetsched.records import Estimate, Job
from jetsched.scheduler.view import View


class Bound(Ranked):
    """Bind a job to the kind that it prefers, whatever is busy; first come, first served there.

    A subclass writes :meth:`prefer`.
    """

    @abstractmethod
    def prefer(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        """How little each of ``view.kinds`` is wanted: the job is bound to the lowest number.

        None where the job cannot go (``costs``). Equal ones go to the kind that comes first.
        """

    def rank(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        wishes = self.prefer(job, costs, view)
        best = min((wish for wish in wishes if wish is not None), default=None)
        if best is None:
            return wishes
        bound = wishes.index(best)
        return [0.0 if position == bound else None for position in range(len(wishes))]

    def scores(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        return self.prefer(job, costs, view)
