"""Sufferage: the job that would suffer most without its best device gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetsched.policies.replanned import Replanned

if TYPE_CHECKING:
    from jetsched.policies.classlp import Floats


class Sufferage(Replanned):
    """Again and again, take the job that loses most on its second best device.

    Sufferage of Maheswaran et al. (JPDC 59, 1999), mapped job by job: what a job suffers is the
    difference between its two earliest completions, and a job that can run on one device only
    suffers most. Good: devices that differ by job, and nothing better known of the load. Bad:
    devices that are alike (nobody suffers, and it is first come, first served), and devices that
    differ by a constant factor, where every job suffers in proportion to its length.
    """

    name = "sufferage"

    def choose(self, best_s: Floats, second_s: Floats) -> int:
        return int((second_s - best_s).argmax())
