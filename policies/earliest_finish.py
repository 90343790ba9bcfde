"""MCT: the device on which the job is done first."""

from __future__ import annotations

from jetsched.policies.base import Greedy
from jetsched.records import Placement
from jetsched.scheduler.view import View


class EarliestFinish(Greedy):
    """Take the device on which the job is done first, waiting included.

    MCT, minimum completion time (Braun et al. 2001; Maheswaran et al., *Dynamic mapping of a class
    of independent tasks onto heterogeneous computing systems*, JPDC 59, 1999). The clocks of the
    devices are no memory of the policy: every decision starts from what runs now, so that a job
    that ended sooner or later than estimated sets them right. Good in general, and easy to explain.
    Bad with short jobs behind long ones: it serves in order of arrival and knows nothing of sizes.
    """

    name = "earliest_finish"

    def score(self, placement: Placement, view: View) -> float:
        return placement.finish_s
