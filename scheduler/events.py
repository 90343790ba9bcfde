"""What happens (events, in) and what is to be done about it (actions, out).

Every one carries the time it happened on the cluster's clock. Actions are journalled like events
and change the state through the same door, so that a replay of both rebuilds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jetsched.quick import quick
from jetsched.records import (
    Code,
    Decision,
    Device,
    DeviceClass,
    Job,
    Measurement,
    Outcome,
    Placement,
)


@quick
@dataclass(frozen=True, slots=True)
class Submitted:
    """Jobs that were handed in together; a policy sees all of them at once.

    ``key`` was made by whoever handed them in, so that asking twice brings them in once, and
    ``content`` is a digest of what they said: the same key with another one is a mistake.
    """

    at_s: float
    jobs: tuple[Job, ...]
    key: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody wants the job stopped."""

    at_s: float
    job_id: str


@dataclass(frozen=True, slots=True)
class HoldAsked:
    """Somebody wants a job that waits to be kept back, or with ``hold`` false to wait again."""

    at_s: float
    job_id: str
    hold: bool
    text: str = ""  # why, in the person's own words


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """Somebody wants a job that ended, but is not done, to be tried again.

    The numbers of its attempts go on; those that it may be retried are counted anew.
    """

    at_s: float
    job_id: str


@dataclass(frozen=True, slots=True)
class QueuePaused:
    """Nothing is started any more, or with ``paused`` false again; what runs goes on."""

    at_s: float
    paused: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class DeviceJoined:
    """A device is there: for the first time, again, or with another profile."""

    at_s: float
    device: Device


@dataclass(frozen=True, slots=True)
class DeviceLost:
    """A device is gone, and with it whatever ran there."""

    at_s: float
    device_id: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class DeviceClosed:
    """A device takes no new jobs, for one more reason; what runs there goes on.

    Kept by the device's id, also while it is away. The same code again only changes the text.
    """

    at_s: float
    device_id: str
    code: Code  # one of CLOSINGS
    text: str = ""


@dataclass(frozen=True, slots=True)
class DeviceOpened:
    """One reason why a device took no jobs is over; it takes some once none is left."""

    at_s: float
    device_id: str
    code: Code


@dataclass(frozen=True, slots=True)
class DeviceRemoved:
    """A device is forgotten for good, with why it was closed. What ran there is lost."""

    at_s: float
    device_id: str


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """How much disk is free on a device, for jobs that ask for some. Told where it has changed."""

    at_s: float
    device_id: str
    free_mib: float


@dataclass(frozen=True, slots=True)
class FilesSeen:
    """All bundles of files that a device has now, and how fast files come there.

    Told where one of them has changed. ``names`` are those in jobs' ``work["files_mib"]``;
    ``mib_s`` is None for a link that was never measured.
    """

    at_s: float
    device_id: str
    names: tuple[str, ...] = ()
    mib_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reattached:
    """An attempt that had been given up as lost lives: its device is back.

    It is the job's current attempt again, if the job has no newer one.
    """

    at_s: float
    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: something that was foreseen did not happen. A policy may think again."""

    at_s: float


@quick
@dataclass(frozen=True, slots=True)
class Started:
    """The attempt's own work began: its model is loaded."""

    at_s: float
    job_id: str
    attempt: int


@quick
@dataclass(frozen=True, slots=True)
class Finished:
    """An attempt ended. It counts only if it is the job's current attempt, or was given up as lost
    and the job has no newer one.

    ``measurement`` is what the cost model learns from, also of an attempt that had been given up; a
    memory kill always brings one.
    """

    at_s: float
    job_id: str
    attempt: int
    outcome: Outcome
    measurement: Measurement | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Learned:
    """What came from elsewhere and is taken in together: profiles of boards.

    ``calibrated`` are classes of which the cost model was told other constants: what was estimated
    may be another now.
    """

    at_s: float
    measurements: tuple[Measurement, ...] = ()
    calibrated: tuple[DeviceClass, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """Another policy decides from now on, about everything that waits. ``policy`` is its spec."""

    at_s: float
    policy: str


@dataclass(frozen=True, slots=True)
class ServiceStarted:
    """A scheduler began on this journal, with a policy that remembers nothing from before.

    It changes nothing; it says under which policy and settings what follows was decided.
    """

    at_s: float
    policy: str  # its spec
    aging_s: float = 0.0
    version: str = ""  # of jetsched
    costs: str = ""


@quick
@dataclass(frozen=True, slots=True)
class Start:
    """Start an attempt. ``decision`` is what the policy saw, where that is kept."""

    at_s: float
    placement: Placement
    attempt: int
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a running attempt; it will be reported as finished with this outcome."""

    at_s: float
    job_id: str
    device_id: str
    attempt: int
    outcome: Literal["cancelled", "preempted"]
    text: str = ""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A job was killed for memory and fits nowhere else: it ends.

    Written down beside the event that it follows from, so that a replay with a newer cost model
    does not bring the job back to life.
    """

    at_s: float
    job_id: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Remarked:
    """The policy had something to say about a waiting job. Written down once per text."""

    at_s: float
    job_id: str
    text: str


#: Why a device may be closed: what `DeviceClosed` may say.
CLOSINGS: tuple[Code, ...] = (
    "Draining",  # a person wants it
    "DeviceOffline",  # its agent is silent, and may be about to be given up
    "TooHot",
    "NoDisk",
    "WrongPowerMode",
    "EnvMissing",
)

Event = (
    Submitted
    | CancelAsked
    | HoldAsked
    | RetryAsked
    | QueuePaused
    | DeviceJoined
    | DeviceLost
    | DeviceClosed
    | DeviceOpened
    | DeviceRemoved
    | DiskSeen
    | FilesSeen
    | Reattached
    | Tick
    | ServiceStarted
    | Started
    | Finished
    | Learned
    | PolicyChanged
)
Action = Start | Stop
Entry = Event | Action | GivenUp | Remarked
