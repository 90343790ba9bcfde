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
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TrueTimes:
    """The jobs that can be done at all, in the order of the scenario, and their run times."""

    #: Shape (jobs,): when each comes.
    release_s: Numbers
    #: Shape (jobs, classes): a whole run there, alone and from the start; inf where it cannot be.
    #: Where a job is killed for memory a part of it can be done, if it can be interrupted before.
    run_s: Numbers
    #: Shape (classes,): how many jobs run at once on the devices of each class.
    devices: Numbers
    #: When the first job of the scenario comes, of those too that can never be done.
    first_s: float
    #: Whether a run goes at one pace from start to end, whatever else runs or changes.
    steady: bool = True
    #: Shape (jobs, classes): where a job is killed for memory; None: nowhere that counts.
    kills: Bools | None = None

    @property
    def best_s(self) -> Numbers:
        """Shape (jobs,): on the class where the job is fastest."""
        best: Numbers = self.run_s.min(axis=1)
        return best

    def __len__(self) -> int:
        return len(self.release_s)

    def in_one_go(self) -> TrueTimes:
        """The same world for runs that are never interrupted: where one is killed is no use."""
        import numpy as np

        if self.kills is None:
            return self
        return replace(self, run_s=np.where(self.kills, inf, self.run_s), kills=None)

    def by_release(self) -> TrueTimes:
        """The same jobs in the order in which they come."""
        import numpy as np

        order = np.argsort(self.release_s, kind="stable")
        return self._of(order)

    def every(self, step: int) -> TrueTimes:
        """One of so many jobs each, in the same order, at uneven distances."""
        import numpy as np

        if step <= 1:
            return self
        number = np.arange(len(self) // step)
        # The jobs themselves may repeat at even distances.
        index = ((number + number * 0.6180339887498949 % 1.0) * step).astype(np.int64)
        return self._of(index)

    def only(self, chosen: Bools) -> TrueTimes:
        """The same world with some of the jobs."""
        return self._of(chosen)

    def _of(self, index: npt.NDArray[np.int64] | Bools) -> TrueTimes:
        kills = self.kills[index] if self.kills is not None else None
        return replace(self, release_s=self.release_s[index], run_s=self.run_s[index], kills=kills)


def true_times(scenario: Scenario, only: Container[str] | None = None) -> TrueTimes:
    """The true times of the scenario's jobs, or of those whose ids are given.

    A class where the job would be killed for memory counts only if it can save what it has done
    before that, as training can. Time limits, outages, and which devices of a class a job asks for
    are not looked at: they only make runs longer or rarer.
    A device that changes its power mode counts in every class that it is ever of, and one that jobs
    share as many times as they may be: none of them is faster than alone.

    Where devices change, what runs on one goes on as in its new class: out of one where it would
    have been killed, into one that it would not have been given, and what has loaded in one class
    does not load again. So any part of a job can be done in any class that a device of its may
    become, and loading is left out.
    """
    import numpy as np

    joining = [event.device for event in scenario.also if isinstance(event, DeviceJoined)]
    counts: dict[DeviceClass, int] = {}
    fleet = list(dict.fromkeys([*scenario.devices, *joining]))
    for device in fleet:
        counts[device.device_class] = counts.get(device.device_class, 0) + 1
    kinds = list(counts)
    changing = _changing(fleet)
    suited: dict[Needs, list[bool]] = {}
    run = scenario.truth.run
    release_s, times, kills = array("d"), array("d"), array("b")
    for job in scenario.jobs:
        if only is not None and job.id not in only:
            continue
        suits = suited.get(job.needs)
        if suits is None:
            suits = suited[job.needs] = _suited(fleet, kinds, job.needs, changing)
        partly = changing or job.workload.kind == "train"
        row, deadly, able = [], [], False
        for kind, suitable in zip(kinds, suits, strict=True):
            true = run(job, kind) if suitable else None
            killed = true is not None and true.peak_memory_mib > kind.memory_mib
            if true is None or (killed and not partly):
                row.append(inf)
            else:
                row.append(true.time_s - true.load_s if changing else true.time_s)
            deadly.append(killed and not changing)
            able |= true is not None and not killed
        if able:
            release_s.append(job.submitted_s)
            times.extend(row)
            kills.extend(deadly)
    shape = (len(release_s), len(kinds))
    killed_there = np.array(kills, dtype=np.bool_).reshape(shape)
    return TrueTimes(
        release_s=np.array(release_s),
        run_s=np.array(times).reshape(shape),
        devices=np.array([scenario.share * counts[kind] for kind in kinds], dtype=np.float64),
        first_s=min((job.submitted_s for job in scenario.jobs), default=0.0),
        steady=not joining and scenario.share == 1,
        kills=killed_there if killed_there.any() else None,
    )


def _changing(fleet: Sequence[Device]) -> bool:
    """Whether a device is of more than one class in the course of time."""
    return len({(d.id, d.device_class) for d in fleet}) > len({d.id for d in fleet})


def _suited(
    fleet: Sequence[Device], kinds: Sequence[DeviceClass], needs: Needs, changing: bool
) -> list[bool]:
    """Of each class: whether a device of it is one that the job may use, or may be on by then."""
    if changing:
        given = {
            device.id
            for device in fleet
            if device.satisfies(needs) and device.device_class.memory_mib >= (needs.memory_mib or 0)
        }
        reached = {device.device_class for device in fleet if device.id in given}
        return [kind in reached for kind in kinds]
    if not needs.device:
        named = set(kinds)
    else:
        named = {d.device_class for d in fleet if d.satisfies(needs)}
    least_mib = needs.memory_mib or 0.0
    return [kind in named and kind.memory_mib >= least_mib for kind in kinds]
