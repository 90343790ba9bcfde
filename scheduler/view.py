"""What a policy sees, the one interface it implements, and the cost model it relies on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Protocol

from jetsched.records import (
    Device,
    DeviceClass,
    Estimate,
    Job,
    Measurement,
    Never,
    Placement,
    Preempt,
    Verdict,
)
from jetsched.scheduler.state import ClassState, Fleet, JobRecord, Queue

#: A busy device whose job is overdue is expected at least this long from now.
OVERDUE_S = 1.0


class Costs(Protocol):
    """What running a job on a class of devices would cost, or why it never can."""

    def verdict(self, job: Job, device_class: DeviceClass) -> Verdict:
        """An estimate for the whole job, or :class:`Never`. Pure; asked once per job and class."""
        ...

    def learn(self, measurement: Measurement) -> bool:
        """Take a measurement into account. True if some verdict may be another one now."""
        ...


class Policy(Protocol):
    """Chooses which waiting jobs start now, and where."""

    def decide(self, view: View) -> Iterable[Placement | Preempt]:
        """Called after every event while jobs wait. Yield one :class:`Placement` per job.

        A placement with ``start_s`` in the future holds the job for that device: nothing is
        started, and jobs behind it see the device as taken until then. A generator sees each of
        its placements in the view before it goes on. The scheduler checks all of them: an
        illegal one is refused, and the default policy decides for that job.

        To look ahead (`plan`), a copy that ``copy.deepcopy`` makes is asked instead; of a policy
        that cannot be copied nothing is foreseen.
        """
        ...


class Considered:
    """What a policy thought about one job: kept for `why`."""

    __slots__ = ("best", "options", "scores")

    def __init__(
        self, options: Sequence[Placement], scores: Sequence[float], best: Placement | None
    ) -> None:
        self.options = options
        self.scores = scores
        self.best = best


class _Overlay:
    """What one decision has given away so far."""

    def __init__(self) -> None:
        self.placed: set[str] = set()
        #: The devices given away, with the time at which they are free again.
        self.taken_s: dict[str, float] = {}
        self.taken_free = 0
        self.cursors: dict[DeviceClass, _Cursor] = {}
        self.considered: dict[str, Considered] = {}


class View:
    """The queue and the fleet at one instant, with what was decided so far laid over it.

    It never copies the fleet: it reads the scheduler's state and remembers only the differences.
    Made for one decision; a policy must not keep it. With ``planning`` it shows when everything
    waiting would start: nothing is started because of it, and ``free_count`` never falls to 0.
    """

    def __init__(
        self,
        now_s: float,
        queue: Queue,
        fleet: Fleet,
        verdicts: Callable[[JobRecord, DeviceClass], Verdict],
        records: Mapping[str, JobRecord],
        *,
        extra: JobRecord | None = None,
        planning: bool = False,
    ) -> None:
        self.now_s = now_s
        self._queue = queue
        self._fleet = fleet
        self._verdicts = verdicts
        self._records = records
        self._extra = extra  # a job that is not there yet: what would become of it?
        self._planning = planning
        self._overlay = _Overlay()
        self._only: JobRecord | None = None

    # -- what is there ---------------------------------------------------------------------------

    def queue(self) -> Iterator[Job]:
        """The waiting jobs that have no placement yet: priority first, then submission."""
        placed = self._overlay.placed
        for record in self._waiting():
            if record.job.id not in placed:
                yield record.job

    def _waiting(self) -> Iterator[JobRecord]:
        if self._only is not None:
            yield self._only
            return
        extra = self._extra
        for record in self._queue:
            if extra is not None and extra.queue_key < record.queue_key:
                yield extra
                extra = None
            yield record
        if extra is not None:
            yield extra

    @property
    def queue_length(self) -> int:
        """How many jobs wait, those with a placement in this decision not counted."""
        if self._only is not None:
            return int(self._only.job.id not in self._overlay.placed)
        return len(self._queue) + (self._extra is not None) - len(self._overlay.placed)

    @property
    def devices(self) -> Mapping[str, Device]:
        """All devices of the fleet by id, busy ones too."""
        return self._fleet.devices

    @property
    def device_classes(self) -> list[tuple[DeviceClass, int]]:
        """The classes that have devices now, with how many, in a fixed order."""
        return [(s.device_class, len(s.devices)) for s in self._fleet.classes if s.devices]

    @property
    def free_count(self) -> int:
        """How many devices could start a job now."""
        if self._planning:
            return len(self._fleet.devices)
        return self._fleet.free_count - self._overlay.taken_free

    def is_free(self, device: Device) -> bool:
        """Whether a job could start on the device now."""
        return device.id not in self._fleet.finish_s and device.id not in self._overlay.taken_s

    def free_devices(self, device_class: DeviceClass | None = None) -> Iterator[Device]:
        """The devices that could start a job now, of one class or of all, by id in each class."""
        for state in self._fleet.classes:
            if device_class is None or state.device_class == device_class:
                for device_id in state.free:
                    if device_id not in self._overlay.taken_s:
                        yield state.devices[device_id]

    def running(self) -> Iterator[tuple[Job, str]]:
        """The jobs that run now, each with its device's id."""
        for device_id, job_id in self._fleet.job_on.items():
            yield self._records[job_id].job, device_id

    def available_s(self, device: Device) -> float:
        """When the device is expected to be free: ``now_s`` exactly if it is, else later."""
        taken_s = self._overlay.taken_s.get(device.id)
        if taken_s is not None:
            return taken_s
        finish_s = self._fleet.finish_s.get(device.id)
        return self.now_s if finish_s is None else expected_s(finish_s, self.now_s)

    def waited_s(self, job: Job) -> float:
        """Seconds since the job was submitted."""
        return self.now_s - job.submitted_s

    # -- what is possible ------------------------------------------------------------------------

    def verdict(self, job: Job, device: Device) -> Verdict:
        """What the job would cost on the device, or why it never runs there."""
        never = unmet_needs(job, device)
        return never or self._verdicts(self.record(job.id), device.device_class)

    def record(self, job_id: str) -> JobRecord:
        """The job's history so far: its attempts and how they ended. Not to be changed."""
        if self._extra is not None and self._extra.job.id == job_id:
            return self._extra
        return self._records[job_id]

    def admits_tight(self, job: Job) -> bool:
        """Whether *tight* will do: no device of the fleet surely fits the job."""
        record = self.record(job.id)
        for state in self._fleet.classes:
            verdict = self._verdicts(record, state.device_class) if state.devices else None
            if isinstance(verdict, Estimate) and verdict.fit == "fits" and not unmet_by(job, state):
                return False
        return True

    def options(self, job: Job) -> list[Placement]:
        """One placement per device class that can run the job: its earliest device.

        Devices of one class cost the same, so the others could only start later. Busy ones are
        offered with ``start_s`` in the future. Classes where the job *never* fits are left out, and
        those where it is *tight* too, unless it fits nowhere better.
        """
        record = self.record(job.id)
        fitting: list[Placement] = []
        tight: list[Placement] = []
        for state in self._fleet.classes:
            if not state.devices:
                continue
            verdict = self._verdicts(record, state.device_class)
            if isinstance(verdict, Never):
                continue
            found = self._earliest(job, state)
            if found is not None:
                start_s, device = found
                placement = Placement(job, device, verdict, start_s, start_s + verdict.time_s)
                (fitting if verdict.fit == "fits" else tight).append(placement)
        return fitting or tight

    def place_on(self, job: Job, device: Device) -> Placement | None:
        """The placement of the job on this very device as soon as it is free.

        None if it never runs there, or is *tight* there and fits elsewhere.
        """
        verdict = self.verdict(job, device)
        if isinstance(verdict, Never) or (verdict.fit == "tight" and not self.admits_tight(job)):
            return None
        start_s = self.available_s(device)
        return Placement(job, device, verdict, start_s, start_s + verdict.time_s)

    def _earliest(self, job: Job, state: ClassState) -> tuple[float, Device] | None:
        if not job.needs.device or state.device_class.model in job.needs.device:
            if unmet_by(job, state) is not None:
                return None
            start_s, device_id = self._cursor(state).earliest(self.now_s, self._overlay.taken_s)
            return start_s, state.devices[device_id]
        suited = [d for d in state.devices.values() if unmet_needs(job, d) is None]
        if not suited:
            return None
        best = min(suited, key=lambda d: (self.available_s(d), d.id))
        return self.available_s(best), best

    def _cursor(self, state: ClassState) -> _Cursor:
        cursor = self._overlay.cursors.get(state.device_class)
        if cursor is None:
            cursor = _Cursor(state, self.now_s)
            self._overlay.cursors[state.device_class] = cursor
        return cursor

    # -- what was decided ------------------------------------------------------------------------

    def note(
        self,
        job: Job,
        options: Sequence[Placement],
        scores: Sequence[float],
        best: Placement | None,
    ) -> None:
        """Remember what was thought of a job's options, for `why`. Costs next to nothing."""
        self._overlay.considered[job.id] = Considered(options, scores, best)

    def considered(self, job_id: str) -> Considered | None:
        """What was noted about a job in this decision."""
        return self._overlay.considered.get(job_id)

    def is_placed(self, job_id: str) -> bool:
        """Whether this decision has placed the job already, now or in the future."""
        return job_id in self._overlay.placed

    def assume(self, placement: Placement) -> None:
        """Lay a placement over the view. The scheduler does this for whatever a policy yields."""
        device = placement.device
        if self.is_free(device):
            self._overlay.taken_free += 1
        cursor = self._cursor(self._fleet.class_of(device.id))
        self._overlay.placed.add(placement.job.id)
        self._overlay.taken_s[device.id] = placement.finish_s
        cursor.plan(placement.finish_s, device.id)

    def only(self, job: Job) -> View:
        """The same view, in which this job is the whole queue. Shares what was decided."""
        view = View(
            self.now_s,
            self._queue,
            self._fleet,
            self._verdicts,
            self._records,
            extra=self._extra,
            planning=self._planning,
        )
        view._overlay = self._overlay
        view._only = self.record(job.id)
        return view


def expected_s(finish_s: float, now_s: float) -> float:
    """When a busy device should be free. What is overdue by x is expected to take x more."""
    return finish_s if finish_s > now_s else now_s + max(OVERDUE_S, now_s - finish_s)


class _Cursor:
    """Finds the earliest device of a class: free ones by id, then busy ones by expected finish.

    Two marks run over the busy ones, which are sorted by estimated finish: one up from now on, one
    down through those that are overdue (the least overdue is expected first).
    """

    __slots__ = ("_due_at", "_free_at", "_late_at", "_planned", "_state")

    def __init__(self, state: ClassState, now_s: float) -> None:
        self._state = state
        self._free_at = 0
        self._due_at = state.busy.bisect_right((now_s, _LAST))
        self._late_at = self._due_at - 1
        self._planned: list[tuple[float, str]] = []

    def earliest(self, now_s: float, taken_s: Mapping[str, float]) -> tuple[float, str]:
        """(start, device id); the class has at least one device."""
        free, busy, planned = self._state.free, self._state.busy, self._planned
        while self._free_at < len(free):
            if free[self._free_at] not in taken_s:
                return now_s, free[self._free_at]
            self._free_at += 1
        while self._due_at < len(busy) and busy[self._due_at][1] in taken_s:
            self._due_at += 1
        while self._late_at >= 0 and busy[self._late_at][1] in taken_s:
            self._late_at -= 1
        while planned and taken_s[planned[0][1]] != planned[0][0]:
            heappop(planned)  # the device was given away again, until later
        found = planned[:1]
        if self._due_at < len(busy):
            found.append(busy[self._due_at])
        if self._late_at >= 0:
            finish_s, device_id = busy[self._late_at]
            found.append((expected_s(finish_s, now_s), device_id))
        return min(found)

    def plan(self, finish_s: float, device_id: str) -> None:
        heappush(self._planned, (finish_s, device_id))


#: Sorts after every device id.
_LAST = chr(0x10FFFF)


def unmet_needs(job: Job, device: Device) -> Never | None:
    """Why the job's own wishes rule the device out; None if they do not."""
    needs = job.needs
    if not device.satisfies(needs):
        return Never("EnvMissing", f"the job asks for {' or '.join(needs.device)}")
    if needs.memory_mib is not None and device.device_class.memory_mib < needs.memory_mib:
        return Never(
            "NeverFits",
            f"the job asks for {needs.memory_mib:,.0f} MiB,"
            f" {device.device_class.memory_mib:,.0f} are there",
            peak_memory_mib=needs.memory_mib,
        )
    return None


def unmet_by(job: Job, state: ClassState) -> Never | None:
    """Why the job's own wishes rule out every device of a class; None if one is left."""
    kind = state.device_class
    if not job.needs.device or kind.model in job.needs.device:
        return unmet_needs(job, Device("", kind))
    nevers = [unmet_needs(job, device) for device in state.devices.values()]
    if not nevers:
        return Never("EnvMissing", f"the job asks for {' or '.join(job.needs.device)}")
    return None if None in nevers else nevers[0]
