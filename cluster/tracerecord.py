"""The record of a trace that was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jetsched.cluster.runtimes import RunTimes
from jetsched.cluster.truth import Truth
from jetsched.problems import Problem
from jetsched.records import Job
from jetsched.scheduler.view import Costs


@dataclass(frozen=True)
class Trace:
    """Jobs in the order of their arrival.

    ``run_s`` is job id -> device model -> seconds, for traces that carry run times: what they say
    is the truth. It is empty for jobs that are described by their workload alone. ``lines`` says
    where each job stands in ``file``; ``skipped`` rows of it were left out, ``left_out`` says why,
    of the first ones.
    """

    jobs: Sequence[Job]
    run_s: Mapping[str, Mapping[str, float]]
    file: str = field(default="", compare=False)
    lines: Sequence[int] = field(default=(), compare=False)
    skipped: int = field(default=0, compare=False)
    left_out: Sequence[Problem] = field(default=(), compare=False)

    @property
    def device_models(self) -> list[str]:
        """The device models that run times are given for."""
        return sorted(self._times.models)

    def costs(self) -> Costs:
        """A cost model that knows the run times, and nothing else."""
        return self._times

    def truth(self) -> Truth:
        """The run times as what really happens."""
        return self._times

    @property
    def _times(self) -> RunTimes:
        return self.run_s if isinstance(self.run_s, RunTimes) else RunTimes.of(self.run_s)
