"""Implied deadlines: an order that serves short jobs first and lets no long one starve."""

from __future__ import annotations

from collections.abc import Sequence

from jetsched.records import Estimate, Job

#: How many times its run time a job may wait before others that come are behind it.
STRETCH = 10.0


def implied_deadlines(
    job: Job, costs: Sequence[Estimate | None], stretch: float = STRETCH
) -> list[float | None]:
    """By when a job that says nothing should be done, as a rank on each kind of ``costs``.

    Submission + ``stretch`` x its run time: served in this order, a job is overtaken only by such
    as come before that time (Bender, Chakrabarti and Muthukrishnan, *Flow and stretch metrics for
    scheduling continuous job streams*, SODA 1998, where it bounds the greatest stretch). On a kind
    that is comparatively bad at the job the run counts (p / p_best)^2 times, as in
    ``comparative_advantage``. None where the job cannot go. Never changes while the job waits.
    """
    best_s = min((cost.time_s for cost in costs if cost is not None), default=0.0)
    return [
        None if cost is None else job.submitted_s + stretch * _worth(cost.time_s, best_s)
        for cost in costs
    ]


def _worth(time_s: float, best_s: float) -> float:
    return time_s * (time_s / best_s) ** 2 if best_s > 0 else time_s
