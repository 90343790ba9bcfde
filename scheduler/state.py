"""What the scheduler knows: the jobs with their states, the fleet by device class.

Plain mutable bookkeeping, changed only by :meth:`jetsched.scheduler.core.Scheduler.apply`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sortedcontainers import SortedDict, SortedList

from jetsched.records import (
    Attempt,
    Decision,
    Device,
    DeviceClass,
    Job,
    Outcome,
    Reason,
    State,
    Verdict,
)


@dataclass(slots=True)
class JobRecord:
    """A job and everything that happened to it."""

    job: Job
    order: int  # of submission, from 0
    state: State = "waiting"
    attempts: list[Attempt] = field(default_factory=list)
    #: Why it is held, or ended as it did.
    reason: Reason | None = None
    cancel_asked: bool = False
    stopping: bool = False
    #: What the policy saw when it started the last attempt.
    decision: Decision | None = None
    #: Device classes where an attempt of this very job was killed for memory.
    barred: tuple[DeviceClass, ...] = ()
    #: Verdicts by device class, as long as ``epoch`` is the scheduler's.
    verdicts: dict[DeviceClass, Verdict] = field(default_factory=dict)
    epoch: int = 0

    @property
    def queue_key(self) -> tuple[int, int]:
        """Highest priority first, then in the order of submission."""
        return (-self.job.priority, self.order)

    @property
    def current(self) -> Attempt | None:
        """The attempt that runs now."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.outcome is None else None

    @property
    def wanted_end(self) -> Outcome | None:
        """What the attempt that runs now is to end with, where it is to be stopped."""
        if self.cancel_asked:
            return "cancelled"
        return "preempted" if self.stopping else None


class Queue:
    """The waiting jobs in the order in which they are served; O(log n) to change."""

    def __init__(self) -> None:
        self._records: SortedDict[tuple[int, int], JobRecord] = SortedDict()

    def add(self, record: JobRecord) -> None:
        self._records[record.queue_key] = record

    def remove(self, record: JobRecord) -> None:
        del self._records[record.queue_key]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[JobRecord]:
        return iter(self._records.values())


class ClassState:
    """The devices of one class: which are free, and when the busy ones should be."""

    def __init__(self, device_class: DeviceClass) -> None:
        self.device_class = device_class
        self.devices: dict[str, Device] = {}
        self.free: SortedList[str] = SortedList()
        #: (estimated finish, device id)
        self.busy: SortedList[tuple[float, str]] = SortedList()


class Fleet:
    """All devices, by id and by class. A class stays known when its last device is lost."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.classes: list[ClassState] = []  # in a fixed order, whoever joined first
        self._by_class: dict[DeviceClass, ClassState] = {}
        self.finish_s: dict[str, float] = {}  # of the busy devices
        self.job_on: dict[str, str] = {}  # device id -> job id
        self.free_count = 0

    def class_of(self, device_id: str) -> ClassState:
        return self._by_class[self.devices[device_id].device_class]

    def join(self, device: Device) -> bool:
        """Add or replace a device; what runs there goes on. True if its class is a new one."""
        finish_s = self.finish_s.get(device.id)
        job_id = self.job_on.get(device.id)
        if device.id in self.devices:
            self.leave(device.id)
        new = device.device_class not in self._by_class
        if new:
            self._by_class[device.device_class] = ClassState(device.device_class)
            self.classes = sorted(self._by_class.values(), key=_class_order)
        self.devices[device.id] = device
        state = self._by_class[device.device_class]
        state.devices[device.id] = device
        state.free.add(device.id)
        self.free_count += 1
        if finish_s is not None and job_id is not None:
            self.occupy(device.id, job_id, finish_s)
        return new

    def leave(self, device_id: str) -> None:
        if device_id in self.finish_s:
            self.release(device_id)
        state = self.class_of(device_id)
        state.free.remove(device_id)
        self.free_count -= 1
        del state.devices[device_id]
        del self.devices[device_id]

    def occupy(self, device_id: str, job_id: str, finish_s: float) -> None:
        state = self.class_of(device_id)
        state.free.remove(device_id)
        self.free_count -= 1
        state.busy.add((finish_s, device_id))
        self.finish_s[device_id] = finish_s
        self.job_on[device_id] = job_id

    def release(self, device_id: str) -> None:
        state = self.class_of(device_id)
        state.busy.remove((self.finish_s.pop(device_id), device_id))
        del self.job_on[device_id]
        state.free.add(device_id)
        self.free_count += 1


def _class_order(state: ClassState) -> tuple[str, str, str, float]:
    kind = state.device_class
    return (kind.model, kind.power_mode, kind.software, kind.memory_mib)
