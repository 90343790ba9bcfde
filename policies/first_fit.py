"""First fit: the first idle device on which the job fits."""

from __future__ import annotations

from collections.abc import Sequence

from jetsched.policies.ranked import Ranked
from jetsched.records import Estimate, Job
from jetsched.scheduler.view import View


class FirstFit(Ranked):
    """Give the head of the queue the first idle device, in the order of the fleet, that fits it.

    First fit of bin packing (Johnson, Demers, Ullman, Garey and Graham, *Worst-case performance
    bounds for simple one-dimensional packing algorithms*, SIAM J. Computing 3, 1974), with one job
    per board and memory as the size. Kinds of devices stand in a fixed order, boards by id. Good as
    a baseline: it needs no run times at all. Bad when devices differ: the order of the fleet says
    nothing about how fast they are.
    """

    name = "first_fit"
    ages = True

    def rank(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        order = view.record(job.id).order  # a whole number: the kind decides behind the point
        return [
            None if cost is None else order + position / len(costs)
            for position, cost in enumerate(costs)
        ]
