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
from jetsched.scheduler.packed import PackedDecision

#: With more lanes than this, those without a job are forgotten when another one is made.
MOST_IDLE_LANES = 101


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
    #: The priority, or what it has aged to: in steps of a point, and coarse (`scheduler/aging.py`).
    lane: int
    level: int
    state: State = "waiting"
    attempts: list[Attempt] = field(default_factory=list)
    #: Why it is held, or ended as it did.
    reason: Reason | None = None
    #: Somebody wants it to be kept back; ``reason`` says so.
    kept: bool = False
    #: How many of its attempts do not count any more against its retries.
    forgiven: int = 0
    cancel_asked: bool = False
    stopping: bool = False
    #: What the policy saw when it started the last attempt, as it is kept.
    packed: PackedDecision | None = None
    #: What the policy has last remarked on it.
    remark: str = ""
    remark_s: float = 0.0  # when
    #: The estimates of the whole job by kind, as long as ``generation`` is the fleet's.
    costs: tuple[Estimate | None, ...] = ()
    generation: int = -1

    @property
    def decision(self) -> Decision | None:
        """What the policy saw when it started the last attempt."""
        return self.packed.unpacked() if self.packed is not None else None

    @property
    def queue_key(self) -> tuple[int, int]:
        """Highest lane first, then in the order of submission."""
        return (-self.lane, self.order)

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
    """The waiting jobs of one level. Those that come back stand where they stood before."""

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
        self._lanes: dict[int, _Lane] = {}
        self._in_order: list[_Lane] = []  # the highest first
        self.length = 0
        self._last = -1  # the highest order that was ever added
        #: How many of them name devices or labels, or ask for disk: not all of a kind will do.
        self.picky = 0
        #: Everything that was added since the fleet's generation began, in that order.
        self.arrivals: list[JobRecord] = []

    def add(self, record: JobRecord) -> None:
        lane = self._lanes.get(record.lane)
        if lane is None:
            lane = self._new_lane(record.lane)
        if record.order > self._last:
            self._last = record.order
            lane.fresh[record.order] = record
        else:
            lane.back[record.order] = record
        self.length += 1
        needs = record.job.needs
        if needs.device or needs.disk_mib is not None:  # `picky`, without another call
            self.picky += 1
            # Nobody has watched its devices in the meantime.
            record.generation = record.group.generation = -1
        self.arrivals.append(record)

    def _new_lane(self, number: int) -> _Lane:
        if len(self._lanes) > MOST_IDLE_LANES:  # with aging there are ever new ones
            self._lanes = {n: lane for n, lane in self._lanes.items() if lane.fresh or lane.back}
        lane = self._lanes[number] = _Lane()
        self._in_order = [self._lanes[n] for n in sorted(self._lanes, reverse=True)]
        return lane

    def remove(self, record: JobRecord) -> None:
        lane = self._lanes[record.lane]
        if lane.fresh.pop(record.order, None) is None:
            del lane.back[record.order]
        self.length -= 1
        needs = record.job.needs
        if needs.device or needs.disk_mib is not None:
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
    -1 without any. ``known`` are all devices of the class that were seen and not removed: also
    those that are closed, which stand in a kind of their own that *takes* 0 jobs, or away.
    """

    __slots__ = ("busy", "device_class", "devices", "free", "index", "known", "position", "takes")

    def __init__(self, device_class: DeviceClass, index: int, takes: int = 1) -> None:
        self.device_class = device_class
        self.index = index
        self.takes = takes  # 1, or 0 for those that are closed
        self.position = -1
        self.devices: dict[str, Device] = {}
        self.known: dict[str, Device] = {}
        self.free = FreeDevices()
        self.busy = BusyDevices()


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

    def go_on(self, start_s: float, end_s: float) -> None:
        """What ended runs after all: :meth:`end` is undone."""
        self.running += 1
        self.started_s += start_s
        self.ended_s -= end_s - start_s

    def until(self, now_s: float) -> float:
        return self.ended_s + self.running * now_s - self.started_s
