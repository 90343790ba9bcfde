"""Shortest job first, to the fastest idle device."""

from __future__ import annotations

from collections.abc import Sequence

from jetsched.policies.ranked import Ranked
from jetsched.records import Estimate, Job
from jetsched.scheduler.view import View


class ShortestFirst(Ranked):
    """Start the shortest waiting job, on the fastest idle device.

    SJF or SPT: optimal for the mean completion of jobs that are all there on one machine (Smith,
    *Various optimizers for single-stage production*, Naval Research Logistics Quarterly 3, 1956).
    A job is as long as it runs on the kind of device that is best for it. Good: mean completion
    under load, when sizes are known and devices differ by much the same for all jobs. Bad: a long
    job waits as long as shorter ones keep coming, and a device takes short jobs that another would
    run much faster.
    """

    name = "shortest_first"

    def rank(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        size_s = min((cost.time_s for cost in costs if cost is not None), default=0.0)
        return [None if cost is None else size_s for cost in costs]
