"""Best fit: the idle device on which the least memory is left over."""

from __future__ import annotations

from collections.abc import Sequence

from jetsched.policies.ranked import Ranked
from jetsched.records import Estimate, Job
from jetsched.scheduler.view import View


class BestFit(Ranked):
    """Give the head of the queue the idle device with the least memory left over.

    Best fit of bin packing (Johnson, Demers, Ullman, Garey and Graham 1974, as first fit), with one
    job per board: what is left over is the board's memory less what the job is admitted with.
    Where a job is *tight* everywhere, the board that it exceeds least. Equal ones: the faster one.
    Good when memory is what is scarce: large boards are left to the jobs that fit nowhere else. Bad
    when the small boards are the slow ones, and large jobs are rare.
    """

    name = "best_fit"
    ages = True

    def rank(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        left_mib = [
            None if cost is None else abs(kind.device_class.memory_mib - cost.admitted_mib)
            for kind, cost in zip(view.kinds, costs, strict=True)
        ]
        steps = sorted({mib for mib in left_mib if mib is not None})
        order = view.record(job.id).order  # a whole number: the fit decides behind the point
        return [None if mib is None else order + steps.index(mib) / len(costs) for mib in left_mib]
