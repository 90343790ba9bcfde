"""Max-min: of all waiting jobs, the one that is done last at best, where it is done first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetsched.policies.replanned import Replanned

if TYPE_CHECKING:
    from jetsched.policies.classlp import Floats


class MaxMin(Replanned):
    """Again and again, take the job whose best completion is the latest, and put it there.

    Max-min of Ibarra and Kim (JACM 24, 1977), as in Maheswaran et al. (JPDC 59, 1999) and Braun et
    al. (JPDC 61, 2001). The long jobs start first, and the short ones fill what is left. Good:
    batches with a few long jobs among many short ones. Bad: the mean completion, since short jobs
    wait for long ones, and batches of many long jobs on unlike devices.
    """

    name = "max_min"

    def choose(self, best_s: Floats, second_s: Floats) -> int:
        return int(best_s.argmax())
