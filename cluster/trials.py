"""The computations that a comparison consists of: one run, or the bounds of one world.

They are sent to where they run, so they hold what a world is asked to be and never its jobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from jetsched.cluster.bounds import Bounds, Distance, bounds, mean_bounds_s
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.summaries import RunSummary, summarise
from jetsched.cluster.truetimes import true_times
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import scenario
from jetsched.scheduler.metrics import Metrics, counted_window


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
        world = _scenario(self.world, self.seed)
        found = bounds(world)
        if not self.warmup:
            return found
        from_s, _ = counted_window([job.submitted_s for job in world.jobs], self.warmup)
        counted = {job.id for job in world.jobs if job.submitted_s >= from_s}
        return Bounds(found.jobs, found.makespan_s, *mean_bounds_s(true_times(world, counted)))


def distance(bound: Bounds, metrics: Metrics) -> Distance:
    """How far a run was from the bound of its world, drawn with the same warm-up."""
    found = bound.distance(metrics)
    if metrics.done != bound.jobs or metrics.counted == metrics.done:
        return found
    whole = metrics.attempts == metrics.done
    least_s = bound.whole_mean_completion_s if whole else bound.mean_completion_s
    if not least_s or metrics.mean_completion_s is None:
        return found
    return Distance(found.makespan, metrics.mean_completion_s / least_s)


# A process gets the trials of a world one after the other. No more than one: worlds can be large.
@lru_cache(maxsize=1)
def _scenario(options: WorldOptions, seed: int) -> Scenario:
    return scenario(options, seed)
