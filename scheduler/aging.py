"""Priorities that age: what has waited long goes before what is more important but has just come.

Every ``aging_s`` of waiting counts as one point of priority. All that waits ages alike, so a job's
place among the others never changes while it waits: both numbers below are worked out once.
"""

from __future__ import annotations

from math import floor

from jetsched.records import Job

#: Priorities are from 0 to this.
_HIGHEST = 100
#: How many points of aging jobs may differ by and still be of one level.
LEVEL_POINTS = 50


def lane_of(job: Job, aging_s: float) -> int:
    """Where the job stands in the queue: its priority, less what all older jobs have gained on it.

    With ``aging_s`` 0, its priority.
    """
    return job.priority if not aging_s else job.priority - floor(job.submitted_s / aging_s)


def level_of(job: Job, aging_s: float) -> int:
    """The same in coarse steps: what a policy heeds that has an order of its own, such as by size.

    Within one level it is the priority that counts, then the policy's order. With lanes, a job that
    came a few minutes later could never go first, and *shortest first* would be *first come, first
    served*. So a job gets ahead of more important ones later than by its lane: by LEVEL_POINTS.
    """
    if not aging_s:
        return job.priority
    return lane_of(job, aging_s) // LEVEL_POINTS * (_HIGHEST + 1) + job.priority
