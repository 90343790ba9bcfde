"""What happens (events, in) and what is to be done about it (actions, out).

Every one carries the time it happened on the cluster's clock. Actions are journalled like events
and change the state through the same door, so that a replay of both rebuilds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jetsched.quick import quick
from jetsched.records import Decision, Device, DeviceClass, Job, Measurement, Outcome, Placement


@quick
@dataclass(frozen=True, slots=True)
class Submitted:
    """Jobs that were handed in together; a policy sees all of them at once."""

    at_s: float
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody wants the job stopped."""

    at_s: float
    job_id: str


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
    """An attempt ended. It counts only if it is the job's current attempt.

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


Event = (
    Submitted
    | CancelAsked
    | DeviceJoined
    | DeviceLost
    | Started
    | Finished
    | Learned
    | PolicyChanged
)
Action = Start | Stop
Entry = Event | Action | GivenUp | Remarked
