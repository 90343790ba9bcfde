"""Least work left: the device that is free first."""

from __future__ import annotations

from jetsched.policies.base import Greedy
from jetsched.records import Placement
from jetsched.scheduler.view import View


class LeastLoaded(Greedy):
    """Take the device with the least work left: whichever is free first.

    OLB, opportunistic load balancing, in Braun et al. 2001; join the shortest queue, with queues
    measured in seconds of work, in queueing theory (Harchol-Balter 2013, ch. 24). Good when devices
    are alike: nothing idles while something waits, and no estimate is needed but of what runs. Bad
    when devices differ: a free slow device always wins over a fast one that is free a little later.
    """

    name = "least_loaded"

    def score(self, placement: Placement, view: View) -> float:
        return placement.start_s
