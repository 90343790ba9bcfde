"""Random: the baseline that every idea must beat."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from jetsched.policies.bound import Bound
from jetsched.records import Estimate, Job
from jetsched.scheduler.draws import uniform
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View


class RandomChoice(Bound):
    """Bind each job to a device drawn at random: the baseline.

    Random dispatching (Harchol-Balter, *Performance Modeling and Design of Computer Systems*, 2013,
    ch. 24): a job gets a kind of device with a chance in proportion to how many of them there are,
    and waits for the first of these, even while others idle. A job that starts again is drawn
    again. Good for: nothing but comparing. Bad whenever devices differ, or jobs do.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def prefer(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        attempts = len(view.record(job.id).attempts)
        return [
            None if cost is None else self._draw(job, attempts, kind)
            for kind, cost in zip(view.kinds, costs, strict=True)
        ]

    def _draw(self, job: Job, attempts: int, kind: ClassState) -> float:
        draw = uniform("random policy", self.seed, job.id, attempts, str(kind.device_class))
        # Of exponential draws with rates n_1, n_2... the i-th is the lowest n_i times out of all.
        return -log(draw) / len(kind.devices)
