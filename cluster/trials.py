"""The computations that a comparison consists of: one run, or the bounds of one world.

They are sent to where they run, so they hold what a world is asked to be and never its jobs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from jetsched.cluster.bounds import Bounds, Distance, bounds_after
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.summaries import RunSummary, summarise
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import scenario
from jetsched.scheduler.metrics import Metrics


@dataclass(frozen=True)
class Trial:
    """A run: a world, drawn with a seed, under a policy; ``lanes`` of it are kept for a picture."""

    world: WorldOptions
    seed: int
    policy: str
    name: str
    lanes: int = 0
    warmup: float = 0.0

    def __call__(self) -> RunSummary:
        run = simulate(self.policy, _scenario(self.world, self.seed), warmup=self.warmup)
        return summarise(run, policy=self.name, lanes=self.lanes)


@dataclass(frozen=True)
class BoundTrial:
    """The bounds of a world, drawn with a seed: what no policy can do better than.

    With a warm-up, the mean's is of the jobs that come after it.
    """

    world: WorldOptions
    seed: int
    warmup: float = 0.0

    def __call__(self) -> Bounds:
        return bounds_after(_scenario(self.world, self.seed), self.warmup)


def distance(bound: Bounds, metrics: Metrics) -> Distance:
    """How far a run was from the bound of its world, drawn with the same warm-up."""
    found = bound.distance(metrics)
    if metrics.done != bound.jobs or metrics.counted == metrics.done:
        return found
    _, least_s = bound.of(metrics)
    if not least_s or metrics.mean_completion_s is None:
        return found
    return replace(found, mean_completion=metrics.mean_completion_s / least_s)


# A process gets the trials of a world one after the other. No more than one: worlds can be large.
@lru_cache(maxsize=1)
def _scenario(options: WorldOptions, seed: int) -> Scenario:
    return scenario(options, seed)
