"""What all parts of the desk share: the scheduler, the cluster, and the errors of wishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jetsched.cluster.feed import Feed
from jetsched.cluster.figures import Tally
from jetsched.cluster.live import RayCluster
from jetsched.cluster.ran import Ran
from jetsched.errors import InputError, NeverFitsError
from jetsched.profiler.drift import DriftWatch
from jetsched.records import Decision, Placement
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import Action, Event
from jetsched.scheduler.state import JobRecord


class UnknownJobError(InputError):
    """There is no job with this id."""


class UnknownDeviceError(InputError):
    """There is no device with this id."""


class ConflictError(InputError):
    """What is asked for contradicts what was asked for before."""


class WontFitError(NeverFitsError):
    """No device can ever run the job; ``decision`` says for each one why."""

    def __init__(self, message: str, decision: Decision, change: str = "") -> None:
        anyway = "to queue it anyway, until a device fits: --hold"
        super().__init__(message, hint=f"{change}; {anyway}" if change else anyway)
        self.decision = decision


@dataclass(frozen=True)
class Foreseen:
    """When and where waiting jobs would start, as it was worked out last.

    ``at`` and ``cost_s`` are by the monotonic clock; ``changes``: how many events there had been.
    """

    at: float
    cost_s: float
    changes: int
    placements: dict[str, Placement]


class DeskBase:
    """One scheduler on one cluster."""

    def __init__(self, scheduler: Scheduler, cluster: RayCluster, drift: DriftWatch) -> None:
        self._scheduler = scheduler
        self._cluster = cluster
        self._drift = drift
        self._feed = Feed(scheduler.jobs)
        self._tally = Tally()
        self._ran = Ran(scheduler.jobs.values())
        self._foreseen: Foreseen | None = None

    @property
    def feed(self) -> Feed:
        """What changes, for those who follow."""
        return self._feed

    def heard(self, event: Event, actions: Sequence[Action]) -> None:
        """The loop has handled an event, and it is on the disk. For the loop's thread."""
        ended = self._feed.note(event, actions)
        for record, attempt in ended:
            self._tally.add(record, attempt)
        self._ran.note(actions, (attempt for _, attempt in ended), self._scheduler.jobs)

    def _record(self, job_id: str) -> JobRecord:
        record = self._scheduler.jobs.get(job_id)
        if record is None:
            raise UnknownJobError(f"there is no job {job_id!r}", hint="see: jetsched queue --all")
        return record
