"""FIFO to the fastest idle device: what most people would do by hand."""

from __future__ import annotations

from collections.abc import Sequence

from jetsched.policies.ranked import Ranked
from jetsched.records import Estimate, Job
from jetsched.scheduler.view import View


class FifoFastest(Ranked):
    """Give the head of the queue the fastest device that is idle.

    First come, first served, with heterogeneous servers that are tried fastest first (Lin and
    Kumar, *Optimal control of a queueing system with two heterogeneous servers*, IEEE Trans.
    Automatic Control 29, 1984, show what it lacks: at low load a slow server is better left idle).
    A job that no idle device can run is passed by those behind it. Good: nothing idles, nothing is
    overtaken for long, and no size need be known but to tell fast devices from slow. Bad when
    devices differ much: the last one idle is the slow one, and somebody always gets it.
    """

    name = "fifo_fastest"
    ages = True

    def rank(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        order = float(view.record(job.id).order)
        return [None if cost is None else order for cost in costs]
