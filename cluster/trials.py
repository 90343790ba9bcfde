"""The computations that a comparison consists of: one run, or the bounds of one world.

They are sent to where they run, so they hold what a world is asked to be and never its jobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from jetsched.cluster.bounds import Bounds, bounds
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.summaries import RunSummary, summarise
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import scenario


@dataclass(frozen=True)
class Trial:
    """A run: a world, drawn with a seed, under a policy; ``lanes`` of it are kept for a picture."""

    world: WorldOptions
    seed: int
    policy: str
    name: str
    lanes: int = 0

    def __call__(self) -> RunSummary:
        run = simulate(self.policy, _scenario(self.world, self.seed))
        return summarise(run, policy=self.name, lanes=self.lanes)


@dataclass(frozen=True)
class BoundTrial:
    """The bounds of a world, drawn with a seed: what no policy can do better than."""

    world: WorldOptions
    seed: int

    def __call__(self) -> Bounds:
        return bounds(_scenario(self.world, self.seed))


# A process gets the trials of a world one after the other. No more than one: worlds can be large.
@lru_cache(maxsize=1)
def _scenario(options: WorldOptions, seed: int) -> Scenario:
    return scenario(options, seed)
