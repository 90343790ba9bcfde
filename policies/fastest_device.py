"""MET: always the device on which the job runs fastest."""

from __future__ import annotations

from jetsched.policies.base import Greedy
from jetsched.records import Placement
from jetsched.scheduler.view import View


class FastestDevice(Greedy):
    """Wait for the device on which the job runs fastest, however long that takes.

    MET, minimum execution time, of Braun et al. (*A comparison of eleven static heuristics*, J.
    Parallel and Distributed Computing 61, 2001); "user-directed assignment" in older work.
    Good at low load, or where each kind of job has a device of its own. Bad under load when one
    kind of device is best for everything: the others idle while its queue grows without bound.
    """

    name = "fastest_device"

    def score(self, placement: Placement, view: View) -> float:
        return placement.estimate.time_s
