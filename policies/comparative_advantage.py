"""Comparative advantage: each device takes the short jobs that it is relatively good at."""

from __future__ import annotations

from collections.abc import Sequence

from jetsched.policies.ranked import Ranked
from jetsched.records import Estimate, Job
from jetsched.scheduler.view import View


class ComparativeAdvantage(Ranked):
    """Let a free device take the short jobs that no other does much faster.

    A free device d takes the waiting job with the least ``p_d * (p_d / p_best) ** bias``: p_d its
    run time there, p_best its run time on the fastest kind of device in the fleet. With ``bias`` 0
    it is shortest job first; a larger one leaves a job to the devices that are made for it. Named
    after Ricardo's principle of trade (1817); in scheduling it is affinity for unrelated machines
    (Al-Azzoni and Down, *Linear programming-based affinity scheduling*, IEEE TPDS 19, 2008) with
    shortest-first order. Good: mean completion at high load, when devices differ and sizes are
    known; a device never idles while something can run there. Bad: a long job waits as long as
    shorter ones keep coming (a higher ``priority`` is served first), and at low load a job starts
    on a slow device though a fast one would have been free a moment later.
    """

    name = "comparative_advantage"

    def __init__(self, bias: float = 2.0) -> None:
        if not 0 <= bias <= 16:
            raise ValueError(f"bias must lie in 0..16, not {bias}")
        self.bias = bias

    def rank(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        return advantages([None if cost is None else cost.time_s for cost in costs], self.bias)


def advantages(times_s: Sequence[float | None], bias: float) -> list[float | None]:
    """``p_d * (p_d / p_best) ** bias`` for each run time p_d; the lowest is served first."""
    best_s = min((time_s for time_s in times_s if time_s is not None), default=0.0)
    if not best_s > 0:
        return list(times_s)
    return [None if p is None else p * (p / best_s) ** bias for p in times_s]
