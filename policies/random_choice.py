"""Random: the baseline that every idea must beat."""

from __future__ import annotations

from math import log

from jetsched.policies.base import Greedy
from jetsched.records import Placement
from jetsched.scheduler.draws import uniform
from jetsched.scheduler.view import View


class RandomChoice(Greedy):
    """Bind each job to a device drawn at random: the baseline.

    Random dispatching (Harchol-Balter, *Performance Modeling and Design of Computer Systems*, 2013,
    ch. 24): a job gets a kind of device with a chance in proportion to how many of them there are,
    and waits for the first of these, even while others idle. A job that starts again is drawn
    again. Good for: nothing but comparing. Bad whenever devices differ, or jobs do.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def score(self, placement: Placement, view: View) -> float:
        kind = placement.device.device_class
        count = next(n for other, n in view.device_classes if other == kind)
        attempts = len(view.record(placement.job.id).attempts)
        # Of exponential draws with rates n_1, n_2... the i-th is the lowest n_i times out of all.
        draw = uniform("random policy", self.seed, placement.job.id, attempts, str(kind))
        return -log(draw) / count
