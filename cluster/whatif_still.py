"""What still runs at the end of a history: it has taken up boards, so it does in a simulation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from jetsched.cluster.pastjobs import PastJob
from jetsched.cluster.truth import TrueRun, Truth
from jetsched.records import Device, DeviceClass, Job, Needs


class Still:
    """Jobs that run at ``now_s`` of the journal's clock, as jobs of a scenario that begins at
    ``origin_s`` of it, on the boards where they run."""

    def __init__(
        self, jobs: Iterable[PastJob], devices: Sequence[Device], origin_s: float, now_s: float
    ) -> None:
        there = {device.id for device in devices}
        self.past: Mapping[str, PastJob] = {
            past.job.id: past
            for past in jobs
            if past.outcome == "running" and past.attempts[-1].device in there
        }
        self._lasted_s = {
            id: max(0.0, now_s - max(past.attempts[-1].start_s, origin_s))
            for id, past in self.past.items()
        }
        self.jobs: Sequence[Job] = [_job(past, origin_s) for past in self.past.values()]

    def truth(self, otherwise: Truth) -> Truth:
        """The truth about all jobs: of these, that they take at least as long as they have."""
        return _Lasting(self._lasted_s, otherwise)


def _job(past: PastJob, origin_s: float) -> Job:
    """It comes when its attempt was started, and no other board takes it."""
    last = past.attempts[-1]
    return replace(
        past.job,
        submitted_s=max(0.0, last.start_s - origin_s),
        needs=Needs((last.device,)),
        deadline_s=None,
        time_limit_s=None,
    )


class _Lasting:
    def __init__(self, lasted_s: Mapping[str, float], otherwise: Truth) -> None:
        self._lasted_s, self._otherwise = lasted_s, otherwise

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        found = self._otherwise.run(job, device_class)
        lasted_s = self._lasted_s.get(job.id)
        if lasted_s is None:
            return found
        if found is None:  # what it takes is not known, and it runs
            return TrueRun(lasted_s, 0.0, 0.0)
        # It has not been killed so far.
        most_mib = min(found.peak_memory_mib, device_class.memory_mib)
        return found._replace(time_s=max(found.time_s, lasted_s), peak_memory_mib=most_mib)
