"""How long each job of a scenario truly takes on each class of devices, as one array."""

from __future__ import annotations

from array import array
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from jetsched.cluster.simulating import Scenario
from jetsched.records import Device, DeviceClass, Needs
from jetsched.scheduler.events import DeviceJoined

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrueTimes:
    """The jobs that can be done at all, in the order of the scenario, and their run times."""

    #: Shape (jobs,): when each comes.
    release_s: Numbers
    #: Shape (jobs, classes): a whole run there, alone and from the start; inf where it cannot be.
    run_s: Numbers
    #: Shape (classes,): how many jobs run at once on the devices of each class.
    devices: Numbers
    #: When the first job of the scenario comes, of those too that can never be done.
    first_s: float
    #: Whether a run goes at one pace from start to end, whatever else runs or changes.
    steady: bool = True

    @property
    def best_s(self) -> Numbers:
        """Shape (jobs,): on the class where the job is fastest."""
        best: Numbers = self.run_s.min(axis=1)
        return best

    def __len__(self) -> int:
        return len(self.release_s)

    def by_release(self) -> TrueTimes:
        """The same jobs in the order in which they come."""
        import numpy as np

        order = np.argsort(self.release_s, kind="stable")
        return replace(self, release_s=self.release_s[order], run_s=self.run_s[order])

    def every(self, step: int) -> TrueTimes:
        """One of so many jobs each, in the same order, at uneven distances."""
        import numpy as np

        if step <= 1:
            return self
        number = np.arange(len(self) // step)
        # The jobs themselves may repeat at even distances.
        index = ((number + number * 0.6180339887498949 % 1.0) * step).astype(np.int64)
        return replace(self, release_s=self.release_s[index], run_s=self.run_s[index])

    def only(self, chosen: npt.NDArray[np.bool_]) -> TrueTimes:
        """The same world with some of the jobs."""
        return replace(self, release_s=self.release_s[chosen], run_s=self.run_s[chosen])


def true_times(scenario: Scenario, only: Container[str] | None = None) -> TrueTimes:
    """The true times of the scenario's jobs, or of those whose ids are given.

    A class where the job is killed for memory does not count, unless the job saves checkpoints:
    then a part of it can be done there before the kill. Time limits, outages, and which devices of
    a class a job asks for are not looked at: they only make runs longer or rarer.
    A device that changes its power mode counts in every class that it is ever of, and one that jobs
    share as many times as they may be: none of them is faster than alone.
    """
    import numpy as np

    joining = [event.device for event in scenario.also if isinstance(event, DeviceJoined)]
    counts: dict[DeviceClass, int] = {}
    fleet = list(dict.fromkeys([*scenario.devices, *joining]))
    for device in fleet:
        counts[device.device_class] = counts.get(device.device_class, 0) + 1
    kinds = list(counts)
    suited: dict[Needs, list[bool]] = {}
    run = scenario.truth.run
    release_s, times = array("d"), array("d")
    for job in scenario.jobs:
        if only is not None and job.id not in only:
            continue
        suits = suited.get(job.needs)
        if suits is None:
            suits = suited[job.needs] = _suited(fleet, kinds, job.needs)
        killed_counts = job.checkpoint_every_s is not None and job.workload.kind == "train"
        row = []
        for kind, suitable in zip(kinds, suits, strict=True):
            true = run(job, kind) if suitable else None
            possible = true is not None and (
                killed_counts or true.peak_memory_mib <= kind.memory_mib
            )
            row.append(true.time_s if true is not None and possible else inf)
        if min(row, default=inf) < inf:
            release_s.append(job.submitted_s)
            times.extend(row)
    return TrueTimes(
        release_s=np.array(release_s),
        run_s=np.array(times).reshape(len(release_s), len(kinds)),
        devices=np.array([scenario.share * counts[kind] for kind in kinds], dtype=np.float64),
        first_s=min((job.submitted_s for job in scenario.jobs), default=0.0),
        steady=not joining and scenario.share == 1,
    )


def _suited(fleet: Sequence[Device], kinds: Sequence[DeviceClass], needs: Needs) -> list[bool]:
    """Of each class: whether a device of it is one that the job may use."""
    if not needs.device:
        named = set(kinds)
    else:
        named = {d.device_class for d in fleet if d.satisfies(needs)}
    least_mib = needs.memory_mib or 0.0
    return [kind in named and kind.memory_mib >= least_mib for kind in kinds]
