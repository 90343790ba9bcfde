"""What the scheduler knows: the jobs with their states, the fleet by device class.

Plain mutable bookkeeping, changed only by :meth:`jetsched.scheduler.core.Scheduler.apply`. It is
made for a million jobs on ten thousand devices: no step below costs more than O(log n).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge

from sortedcontainers import SortedDict

from jetsched.records import (
    Attempt,
    Decision,
    Device,
    DeviceClass,
    Estimate,
    Job,
    Never,
    Outcome,
    Reason,
    State,
)
from jetsched.scheduler.costs import UnitCost
from jetsched.scheduler.devices import BusyDevices, FreeDevices
from jetsched.scheduler.sharing import Occupant, Sharing, occupant_of


@dataclass(slots=True)
class Group:
    """Jobs that cost alike: same workload, same wishes, killed for memory in the same places.

    One that was killed, or has saved a part of its work, is a group of its own.

    What was worked out about them, by :class:`~jetsched.scheduler.groups.Groups`.
    """

    job: Job  # one of them
    #: Device classes where an attempt of this very job was killed for memory.
    barred: tuple[DeviceClass, ...] = ()
    #: The part of this very job's work that a checkpoint should hold.
    saved: float = 0.0
    #: By the index of a class, as long as ``epoch`` is that of the cost model.
    verdicts: dict[int, UnitCost | Never] = field(default_factory=dict)
    epoch: int = 0
    #: By kind, as long as ``generation`` is the fleet's.
    offers: tuple[UnitCost | None, ...] = ()
    generation: int = -1
    #: Why no known device will do, as long as ``tested`` is the fleet's generation.
    hopeless: Reason | None = None
    tested: int = -1
    #: The cost model did not know the workload, but may know it when a job comes next.
    unsure: bool = False


@dataclass(slots=True)
class JobRecord:
    """A job and everything that happened to it."""

    job: Job
    order: int  # of submission, from 0
    group: Group
    state: State = "waiting"
    attempts: list[Attempt] = field(default_factory=list)
    #: Why it is held, or ended as it did.
    reason: Reason | None = None
    cancel_asked: bool = False
    stopping: bool = False
    #: What the policy saw when it started the last attempt.
    decision: Decision | None = None
    #: What the policy has last remarked on it.
    remark: str = ""
    remark_s: float = 0.0  # when
    #: The estimates of the whole job by kind, as long as ``generation`` is the fleet's.
    costs: tuple[Estimate | None, ...] = ()
    generation: int = -1

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


class _Lane:
    """The waiting jobs of one priority. Those that come back stand where they stood before."""

    __slots__ = ("back", "fresh")

    def __init__(self) -> None:
        self.fresh: OrderedDict[int, JobRecord] = OrderedDict()  # orders only grow
        self.back: SortedDict[int, JobRecord] = SortedDict()

    def __iter__(self) -> Iterator[JobRecord]:
        if not self.back:
            return iter(self.fresh.values())
        both = (iter(self.fresh.values()), iter(self.back.values()))
        return merge(*both, key=lambda record: record.order)


class Queue:
    """The waiting jobs in the order in which they are served; O(1) to add one or to take one."""

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}  # by priority
        self._in_order: list[_Lane] = []  # the highest priority first
        self.length = 0
        self._last = -1  # the highest order that was ever added
        #: How many of them name devices or labels, so that not all of a kind will do.
        self.picky = 0
        #: Everything that was added since the fleet's generation began, in that order.
        self.arrivals: list[JobRecord] = []

    def add(self, record: JobRecord) -> None:
        lane = self._lanes.get(record.job.priority)
        if lane is None:
            lane = self._lane(record.job.priority)
        if record.order > self._last:
            self._last = record.order
            lane.fresh[record.order] = record
        else:
            lane.back[record.order] = record
        self.length += 1
        if record.job.needs.device:
            self.picky += 1
            # Nobody has watched its devices in the meantime.
            record.generation = record.group.generation = -1
        self.arrivals.append(record)

    def _lane(self, priority: int) -> _Lane:
        lane = self._lanes[priority] = _Lane()
        self._in_order = [self._lanes[p] for p in sorted(self._lanes, reverse=True)]
        return lane

    def remove(self, record: JobRecord) -> None:
        lane = self._lanes[record.job.priority]
        if lane.fresh.pop(record.order, None) is None:
            del lane.back[record.order]
        self.length -= 1
        if record.job.needs.device:
            self.picky -= 1

    def first(self) -> JobRecord:
        """The job that is served first. Raises StopIteration if there is none."""
        for lane in self._in_order:
            if lane.fresh and not lane.back:
                return next(iter(lane.fresh.values()))
            if lane.back:
                return next(iter(lane))
        raise StopIteration

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[JobRecord]:
        for lane in self._in_order:
            yield from lane


class ClassState:
    """The devices of one class, a *kind*: which are free, and when the busy ones should be.

    ``index`` never changes; ``position`` is its place among the kinds that have devices now, and
    -1 without any.
    """

    __slots__ = ("busy", "device_class", "devices", "free", "index", "position")

    def __init__(self, device_class: DeviceClass, index: int) -> None:
        self.device_class = device_class
        self.index = index
        self.position = -1
        self.devices: dict[str, Device] = {}
        self.free = FreeDevices()
        self.busy = BusyDevices()


class Fleet:
    """All devices, by id and by class. A class stays known when its last device is lost.

    ``share`` is how many jobs a board may run at a time. With more than one, ``job_on`` has the
    first of them, and ``finish_s`` is when the last is expected to end.
    """

    def __init__(self, share: int = 1) -> None:
        self.sharing = Sharing(share) if share > 1 else None
        self.devices: dict[str, Device] = {}
        self.classes: list[ClassState] = []  # in a fixed order, whoever joined first
        self.kinds: list[ClassState] = []  # those of them that have devices now
        #: Grows whenever what the kinds are, or what jobs cost on them, may have changed.
        self.generation = 0
        self._by_class: dict[DeviceClass, ClassState] = {}
        self._kind_of: dict[str, ClassState] = {}  # by device id
        self.finish_s: dict[str, float] = {}  # of the busy devices
        self.job_on: dict[str, str] = {}  # device id -> job id
        self.free_count = 0

    def kind(self, device_class: DeviceClass) -> ClassState | None:
        """The class's devices; None if it was never seen."""
        return self._by_class.get(device_class)

    def class_of(self, device_id: str) -> ClassState:
        return self._kind_of[device_id]

    def join(self, device: Device) -> bool:
        """Add or replace a device; what runs there goes on. True if its class is a new one."""
        finish_s = self.finish_s.get(device.id)
        job_id = self.job_on.get(device.id)
        together: list[Occupant] = []
        if device.id in self.devices:
            if self.sharing is not None:
                together = self.sharing.lift(device.id, self._kind_of[device.id].index)
            self.leave(device.id)
        state = self._by_class.get(device.device_class)
        new = state is None
        if state is None:
            state = ClassState(device.device_class, len(self.classes))
            self._by_class[device.device_class] = state
            self.classes = sorted(self._by_class.values(), key=_class_order)
        self.devices[device.id] = device
        self._kind_of[device.id] = state
        state.devices[device.id] = device
        if len(state.devices) == 1:
            self._count_kinds()
        state.free.add(device.id)
        self.free_count += 1
        if finish_s is not None and job_id is not None:
            self.occupy(device.id, job_id, finish_s)
        if self.sharing is not None:
            for occupant in together:
                self.sharing.enter(device.id, state.index, occupant)
        return new

    def leave(self, device_id: str) -> None:
        if self.sharing is not None:
            self.sharing.lift(device_id, self._kind_of[device_id].index)
        if device_id in self.finish_s:
            self.release(device_id)
        state = self._kind_of.pop(device_id)
        state.free.remove(device_id)
        self.free_count -= 1
        del state.devices[device_id]
        del self.devices[device_id]
        if not state.devices:
            self._count_kinds()

    def _count_kinds(self) -> None:
        self.kinds = [state for state in self.classes if state.devices]
        for state in self.classes:
            state.position = -1
        for position, state in enumerate(self.kinds):
            state.position = position
        self.generation += 1

    def occupy(self, device_id: str, job_id: str, finish_s: float) -> None:
        state = self._kind_of[device_id]
        state.free.remove(device_id)
        self.free_count -= 1
        state.busy.add(device_id, finish_s)
        self.finish_s[device_id] = finish_s
        self.job_on[device_id] = job_id

    def release(self, device_id: str) -> None:
        state = self._kind_of[device_id]
        state.busy.remove(device_id)
        del self.finish_s[device_id], self.job_on[device_id]
        state.free.add(device_id)
        self.free_count += 1

    # -- several jobs on a board -----------------------------------------------------------------

    def jobs_on(self, device_id: str) -> list[str]:
        """The ids of all jobs that run on the device."""
        if self.sharing is not None:
            return list(self.sharing.on(device_id))
        job_id = self.job_on.get(device_id)
        return [] if job_id is None else [job_id]

    def start(self, device_id: str, job_id: str, estimate: Estimate, finish_s: float) -> None:
        """A job starts, beside others if there are any."""
        if device_id not in self.finish_s:
            self.occupy(device_id, job_id, finish_s)
        else:
            first, last_s = self.job_on[device_id], self.finish_s[device_id]
            self._expect(device_id, first, max(last_s, finish_s))
        if self.sharing is not None:
            occupant = occupant_of(job_id, estimate, finish_s)
            self.sharing.enter(device_id, self._kind_of[device_id].index, occupant)

    def end(self, device_id: str, job_id: str) -> None:
        """A job ends; others on the device go on."""
        if self.sharing is not None:
            self.sharing.leave(device_id, self._kind_of[device_id].index, job_id)
            left = self.sharing.on(device_id)
            if left:
                last_s = max(occupant.finish_s for occupant in left.values())
                self._expect(device_id, next(iter(left)), last_s)
                return
        self.release(device_id)

    def _expect(self, device_id: str, job_id: str, finish_s: float) -> None:
        busy = self._kind_of[device_id].busy
        busy.remove(device_id)
        busy.add(device_id, finish_s)
        self.finish_s[device_id] = finish_s
        self.job_on[device_id] = job_id


class Usage:
    """Device-seconds that a user's jobs have had: those of attempts that ended, and that run."""

    __slots__ = ("ended_s", "running", "started_s")

    def __init__(self) -> None:
        self.ended_s = 0.0
        self.running = 0
        self.started_s = 0.0  # the sum over what runs

    def end(self, start_s: float, at_s: float) -> None:
        self.running -= 1
        self.started_s = self.started_s - start_s if self.running else 0.0
        self.ended_s += at_s - start_s

    def until(self, now_s: float) -> float:
        return self.ended_s + self.running * now_s - self.started_s


def _class_order(state: ClassState) -> tuple[str, str, str, float]:
    kind = state.device_class
    return (kind.model, kind.power_mode, kind.software, kind.memory_mib)
