"""MET: always the device on which the job runs fastest."""

from __future__ import annotations

from collections.abc import Sequence

from jetsched.policies.bound import Bound
from jetsched.records import Estimate, Job
from jetsched.scheduler.view import View


class FastestDevice(Bound):
    """Wait for the device on which the job runs fastest, however long that takes.

    MET, minimum execution time, of Braun et al. (*A comparison of eleven static heuristics*, J.
    Parallel and Distributed Computing 61, 2001); "user-directed assignment" in older work.
    Good at low load, or where each kind of job has a device of its own. Bad under load when one
    kind of device is best for everything: the others idle while its queue grows without bound.
    """

    name = "fastest_device"

    def prefer(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        return [None if cost is None else cost.time_s for cost in costs]
