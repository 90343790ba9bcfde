"""The simulated cluster with what really happened in it: a live history under a virtual clock.

Jobs come, boards come and go and people ask for things when they did. An attempt that was seen
takes what it took and ends as it did, whenever it begins; for one that never was, see
:mod:`jetsched.cluster.elsewhere`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from jetsched.cluster.history import Gathered
from jetsched.cluster.protocol import Key
from jetsched.cluster.simulated import Outage, SimulatedCluster
from jetsched.cluster.simulated_run import SimulatedRun
from jetsched.cluster.truth import TrueRun, Truth
from jetsched.records import Decision, Device, DeviceClass, Job, Measurement, Outcome
from jetsched.scheduler.book import LATE_OUTCOMES
from jetsched.scheduler.events import (
    Action,
    CancelAsked,
    DeviceClosed,
    DeviceJoined,
    DeviceLost,
    DeviceOpened,
    DeviceRemoved,
    DiskSeen,
    Entry,
    Event,
    FilesSeen,
    Finished,
    HoldAsked,
    Learned,
    PolicyChanged,
    QueuePaused,
    Reattached,
    RetryAsked,
    ServiceStarted,
    Start,
    Submitted,
    Tick,
)

#: What happens at its own time, whatever the scheduler decides. The rest follows from decisions.
_ASKED = (
    CancelAsked
    | HoldAsked
    | RetryAsked
    | QueuePaused
    | DeviceClosed
    | DeviceOpened
    | DeviceRemoved
    | DiskSeen
    | FilesSeen
    | Learned
    | PolicyChanged
    | ServiceStarted
    | Tick
)


@dataclass(slots=True)
class Ran:
    """An attempt as it was seen by the head. ``own_end``: it ended by itself, not with its board,
    and not because somebody wanted it to."""

    job: Job
    device: Device
    start_s: float
    estimate_s: float
    end_s: float = inf
    outcome: Outcome | None = None
    measurement: Measurement | None = None
    text: str = ""
    own_end: bool = False

    @property
    def seen_s(self) -> float:
        """From the decision to the end, both on the head's clock."""
        return self.end_s - self.start_s

    @property
    def measured_s(self) -> float:
        """What it took on its board; what the head has seen where nobody measured."""
        if self.measurement is None or self.measurement.time_s is None:
            return self.seen_s
        return self.measurement.time_s

    @property
    def load_s(self) -> float:
        """Until its own work began."""
        seen = self.measurement.load_s if self.measurement is not None else None
        return min(seen or 0.0, self.measured_s)


@dataclass
class Recording:
    """What a live history holds, gathered entry by entry on the journal's own clock."""

    jobs: dict[str, Job] = field(default_factory=dict)
    ran: dict[Key, Ran] = field(default_factory=dict)
    #: What each job was thought to take on each class of boards when it was first placed.
    estimates: dict[str, dict[DeviceClass, float]] = field(default_factory=dict)
    asked: list[Event] = field(default_factory=list)
    history: Gathered = field(default_factory=Gathered)
    #: Attempts that lived on while their board was away.
    reattached: int = 0
    _on: dict[str, set[Key]] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Take in the next entry."""
        self.history.take(entry)
        match entry:
            case Submitted():
                self.jobs.update((job.id, job) for job in entry.jobs)
            case Start():
                placement, key = entry.placement, (entry.placement.job.id, entry.attempt)
                self.ran[key] = Ran(
                    placement.job, placement.device, entry.at_s, placement.estimate.time_s
                )
                self._on.setdefault(placement.device.id, set()).add(key)
                if entry.decision is not None:
                    self._estimated(placement.job.id, entry.decision)
            case Finished():
                self._finished(entry)
            case DeviceLost() | DeviceRemoved():
                for key in self._on.pop(entry.device_id, ()):
                    ran = self.ran[key]
                    ran.end_s, ran.outcome, ran.own_end = entry.at_s, "lost", False
            case Reattached():
                self._reattached(entry)
        if isinstance(entry, _ASKED):
            self.asked.append(entry)

    def _estimated(self, job_id: str, decision: Decision) -> None:
        if job_id in self.estimates:
            return
        known = self.history.devices
        self.estimates[job_id] = {
            known[row.device][-1][1].device_class: row.time_s
            for row in decision.rows
            if row.time_s is not None and row.device in known
        }

    def _finished(self, event: Finished) -> None:
        key = (event.job_id, event.attempt)
        ran = self.ran.get(key)
        current = ran is not None and key in self._on.get(ran.device.id, ())
        if ran is None or not (current or self._counts_late(ran, event)):
            if event.measurement is not None:  # it counts no more, but tells of its board
                self.asked.append(Learned(event.at_s, (event.measurement,)))
            return
        self._on.get(ran.device.id, set()).discard(key)
        ran.end_s, ran.outcome, ran.text = event.at_s, event.outcome, event.text
        ran.measurement = event.measurement
        ran.own_end = event.outcome not in ("cancelled", "preempted")

    def _counts_late(self, ran: Ran, event: Finished) -> bool:
        """Whether it is the end of a last attempt that had been given up."""
        newer = (event.job_id, event.attempt + 1) in self.ran
        gone = ran.outcome in ("lost", "preempted")
        return gone and not newer and event.outcome in LATE_OUTCOMES

    def _reattached(self, event: Reattached) -> None:
        """The board was away and the attempt went on: to the simulation it was never away."""
        key = (event.job_id, event.attempt)
        ran = self.ran.get(key)
        if ran is None:
            return
        self.reattached += 1
        self.history.was_there(ran.device.id)
        ran.end_s, ran.outcome = inf, None
        self._on.setdefault(ran.device.id, set()).add(key)

    def outages(self, origin_s: float) -> list[Outage]:
        """When boards were away; those that were not there at ``origin_s`` are from 0 on."""
        found: list[Outage] = []
        for device_id, changes in self.history.presence.items():
            there, gone_s = False, 0.0
            for at_s, is_there in changes:
                if at_s <= origin_s:
                    there, gone_s = is_there, 0.0
                    continue
                if is_there and not there:
                    found.append(Outage(device_id, gone_s, at_s))
                elif there and not is_there:
                    gone_s = at_s
                there = is_there
            if not there:
                found.append(Outage(device_id, gone_s))
        return found


class _Recorded:
    """Truth that knows the attempt that begins: as it was, where it was on such a device."""

    def __init__(self, ran: Mapping[Key, Ran], otherwise: Truth, overhead_s: float) -> None:
        self._ran = ran
        self._otherwise = otherwise
        self._overhead_s = overhead_s
        self.attempt = 0
        self.estimate_s = 0.0

    def same(self, key: Key, device_class: DeviceClass) -> Ran | None:
        """The attempt as it was, if it came to its own end on such a device."""
        ran = self._ran.get(key)
        same = ran is not None and ran.own_end and ran.device.device_class == device_class
        return ran if same else None

    def lasted_s(self, ran: Ran) -> float:
        return ran.measured_s + self._overhead_s

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun:
        ran = self.same((job.id, self.attempt), device_class)
        if ran is not None:
            # No peak: what is killed for memory is known, and need not be found out.
            return TrueRun(self.lasted_s(ran), ran.load_s, 0.0)
        found = self._otherwise.run(job, device_class) or TrueRun(self.estimate_s, 0.0, 0.0)
        return found._replace(time_s=found.time_s + self._overhead_s)


class RecordedCluster(SimulatedCluster):
    """Devices, jobs and wishes of a live history in virtual time, which goes on as the journal's.

    An attempt takes what its board has measured and ``overhead_s``: the way there and back, during
    which the board is as good as busy.
    """

    def __init__(
        self, recording: Recording, otherwise: Truth, *, origin_s: float, overhead_s: float = 0.0
    ) -> None:
        self._truth = _Recorded(recording.ran, otherwise, overhead_s)
        devices = {id: _at(changes, origin_s) for id, changes in recording.history.devices.items()}
        also: list[Event] = [event for event in recording.asked if event.at_s >= origin_s]
        for changes in recording.history.devices.values():
            also += [DeviceJoined(at_s, d) for at_s, d in changes if at_s > origin_s]
        jobs = [job for job in recording.jobs.values() if job.submitted_s >= origin_s]
        super().__init__(
            devices.values(),
            jobs,
            self._truth,
            seed=0,
            outages=recording.outages(origin_s),
            also=also,
        )

    def perform(self, action: Action) -> None:
        """Start a run, or stop one."""
        if isinstance(action, Start):
            self._truth.attempt = action.attempt
            self._truth.estimate_s = action.placement.estimate.time_s
        super().perform(action)

    def _end(
        self, going: SimulatedRun, kind: DeviceClass, others: Iterable[SimulatedRun] = ()
    ) -> None:
        """As it was. What an earlier attempt has saved is in the time that was seen."""
        ran = self._truth.same((going.job.id, going.attempt), kind)
        if ran is None:
            super()._end(going, kind, list(others))
            return
        going.lasts_s = self._truth.lasted_s(ran)
        going.ready_s = ran.load_s
        assert ran.outcome is not None
        going.outcome, going.text = ran.outcome, ran.text

    def _finished(self, going: SimulatedRun, outcome: Outcome, text: str) -> Finished:
        """With what was really measured, so that what is learnt is the same."""
        kind = going.device.device_class
        ran = self._truth.same((going.job.id, going.attempt), kind)
        measurement = ran.measurement if ran is not None and outcome == ran.outcome else None
        if measurement is None and outcome == "killed_memory":
            return super()._finished(going, outcome, text)
        return Finished(self.now_s, going.job.id, going.attempt, outcome, measurement, text)


def _at(changes: Iterable[tuple[float, Device]], origin_s: float) -> Device:
    """What a board was at a time, or when it came first."""
    found: Device | None = None
    for at_s, device in changes:
        if found is None or at_s <= origin_s:
            found = device
    assert found is not None
    return found
