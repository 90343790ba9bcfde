"""The scheduler's book: jobs, fleet and queue, changed by one entry after another.

The only place where state changes. What is written here can be written again from a journal: no
policy is asked, no clock is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jetsched.records import (
    FINAL_STATES,
    Attempt,
    DeviceClass,
    Measurement,
    Never,
    Outcome,
    Reason,
    State,
    Verdict,
)
from jetsched.scheduler.aging import lane_of, level_of
from jetsched.scheduler.costs import Costs
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceJoined,
    DeviceLost,
    DeviceRemoved,
    DiskSeen,
    Entry,
    FilesSeen,
    Finished,
    GivenUp,
    Learned,
    PolicyChanged,
    Remarked,
    ServiceStarted,
    Start,
    Started,
    Stop,
    Submitted,
    Tick,
)
from jetsched.scheduler.fleet import Fleet
from jetsched.scheduler.groups import Groups
from jetsched.scheduler.packed import PackedDecision
from jetsched.scheduler.state import ClassState, JobRecord, Queue, Usage

#: The final state that an outcome leads to when the job is not tried again.
STATE_AFTER: Mapping[Outcome, State] = {
    "done": "done",
    "failed": "failed",
    "killed_memory": "killed",
    "killed_time": "killed",
    "killed_heat": "killed",
    "lost": "lost",
    "preempted": "waiting",
    "cancelled": "cancelled",
}


#: A late result of an attempt that was given up counts if it says how the job itself ended.
LATE_OUTCOMES: frozenset[Outcome] = frozenset(
    {"done", "failed", "killed_memory", "killed_time", "killed_heat"}
)


@dataclass(frozen=True, slots=True)
class Submission:
    """What was handed in under a key: a digest of what it said, and the jobs that came of it."""

    content: str
    job_ids: tuple[str, ...]


class Book:
    """Everything that the scheduler knows; changes only through :meth:`apply`.

    ``aging_s`` is how long a job waits until that counts as much as one point of priority; 0 for
    never. All that waits ages alike, so the order of any two jobs stays what it is.
    """

    def __init__(self, costs: Costs, share: int = 1, aging_s: float = 0.0) -> None:
        if share < 1:
            raise ValueError(f"a board runs at least one job at a time, not {share}")
        self.costs = costs
        self.jobs: dict[str, JobRecord] = {}
        self.fleet = Fleet(share)
        self.queue = Queue()
        self.held: dict[str, JobRecord] = {}
        self.usage: dict[str, Usage] = {}  # by user
        self.submissions: dict[str, Submission] = {}  # by key, of those that had one
        self.groups = Groups(costs, self.fleet)
        self.now_s = 0.0
        #: In a replay: what may wait or be held wrongly, until an entry needs to know.
        self._untested: dict[str, JobRecord] | None = None
        self.age_by(aging_s)
        self._appliers: dict[type, Callable[[Any], None]] = {
            Submitted: self._submit,
            Start: self._start,
            Started: self._apply_started,
            Finished: self._finish,
            CancelAsked: self._ask_cancel,
            DeviceJoined: self._join,
            DiskSeen: self._see_disk,
            FilesSeen: self._see_files,
            DeviceLost: self._lose,
            Learned: self._learned,
            GivenUp: self._give_up,
            Stop: self._apply_stop,
            Remarked: self._remark,
            # Whoever tells it has put the other one in place; and nothing changes with time.
            PolicyChanged: lambda event: None,
            ServiceStarted: lambda event: None,
            Tick: lambda event: None,
        }

    def replay(self, entries: Iterable[Entry]) -> None:
        """Rebuild the state from a journal. No policy is asked, nothing is journalled.

        Whether there is hope for what waits is not asked after each entry, only before one that
        changes the fleet or a wish: a cost model that has learnt something may have to fit anew.
        """
        self._untested = {}
        for entry in entries:
            if isinstance(entry, DeviceJoined | DeviceLost | DeviceRemoved | CancelAsked):
                self._test_late(self._untested)
            self.apply(entry)
        untested, self._untested = self._untested, None
        self._test_late(untested)

    def _test_late(self, untested: dict[str, JobRecord]) -> None:
        self._retest(r for r in untested.values() if r.state in ("waiting", "held"))
        untested.clear()

    # -- state changes ---------------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Change the state. Deterministic; the only place where state changes."""
        if entry.at_s > self.now_s:
            self.now_s = entry.at_s
        self._appliers[type(entry)](entry)

    def _submit(self, event: Submitted) -> None:
        jobs, groups, aging_s = self.jobs, self.groups, self.aging_s
        if event.key:
            ids = tuple(job.id for job in event.jobs)
            self.submissions[event.key] = Submission(event.content, ids)
        for job in event.jobs:
            group = groups.of(job)
            lane = level = job.priority
            if aging_s:
                lane, level = lane_of(job, aging_s), level_of(job, aging_s)
            record = jobs[job.id] = JobRecord(job, len(jobs), group, lane, level)
            if self._untested is None and groups.hopeless(group) is None:
                self.queue.add(record)  # as `_await` does, without another call
            else:
                self._await(record)

    def age_by(self, aging_s: float) -> None:
        """Have jobs age by a point of priority each ``aging_s``, 0 for never, from their arrival.

        Like the argument of the constructor: it is in no journal but by `ServiceStarted`.
        """
        if aging_s < 0:
            raise ValueError(f"jobs cannot age by a point of priority each {aging_s} s")
        self.aging_s = aging_s
        waiting = list(self.queue)
        for record in waiting:
            self.queue.remove(record)
        for record in self.jobs.values():
            record.lane = lane_of(record.job, aging_s)
            record.level = level_of(record.job, aging_s)
        for record in waiting:
            self.queue.add(record)
        self._new_generation()

    def _apply_started(self, event: Started) -> None:
        record = self._running(event.job_id, event.attempt)
        if record is not None:
            record.state = "running"

    def _join(self, event: DeviceJoined) -> None:
        generation = self.fleet.generation
        new = self.fleet.join(event.device)  # a class, which may dash the hope of what waits
        self._fleet_changed(generation)
        # A board that is there again may have lost a label that somebody asks for.
        self._retest([*self.held.values(), *(self.queue if new or self.queue.picky else ())])

    def _see_disk(self, event: DiskSeen) -> None:
        device = self.fleet.devices.get(event.device_id)
        if device is not None:
            self.fleet.join(replace(device, disk_free_mib=event.free_mib))
            self._fleet_changed(self.fleet.generation)

    def disk_is_news(self, device_id: str, free_mib: float) -> bool:
        """Whether a reading of a device's disk is worth a :class:`DiskSeen`: it is another one."""
        device = self.fleet.devices.get(device_id)
        if device is None:
            return False
        known_mib = device.disk_free_mib
        return known_mib is None or abs(free_mib - known_mib) > max(256.0, 0.1 * known_mib)

    def _see_files(self, event: FilesSeen) -> None:
        if self.fleet.last_class(event.device_id) is not None:
            self.fleet.files.see(event.device_id, event.names, event.mib_s)

    def _learned(self, event: Learned) -> None:
        self._learn_from(*event.measurements, other=bool(event.calibrated))

    def _apply_stop(self, action: Stop) -> None:
        record = self._running(action.job_id, action.attempt)
        if record is not None:
            record.stopping = True  # it ends when its end is reported

    def _remark(self, entry: Remarked) -> None:
        record = self.jobs[entry.job_id]
        record.remark, record.remark_s = entry.text, entry.at_s

    def _fleet_changed(self, generation: int) -> None:
        """A new generation where kinds have come or gone since the one that is given.

        Where a waiting job names devices or labels, its kinds are others with each board.
        """
        if self.queue.picky or self.fleet.generation != generation:
            self._new_generation()

    def _new_generation(self) -> None:
        self.fleet.generation += 1
        self.queue.arrivals.clear()

    def _await(self, record: JobRecord) -> None:
        """Queue the job, or hold it when no known class of devices can ever run it."""
        if self._untested is None:
            self._settle(record, self.groups.hopeless(record.group))
        else:
            self._untested[record.job.id] = record
            self._settle(record, None)

    def _settle(self, record: JobRecord, hopeless: Reason | None) -> None:
        if record.kept:
            record.state = "held"  # whatever there is hope for
            self.held[record.job.id] = record
            return
        record.reason = hopeless
        if hopeless is None:
            record.state = "waiting"
            self.queue.add(record)
        else:
            record.state = "held"
            self.held[record.job.id] = record

    def _start(self, start: Start) -> None:
        placement = start.placement
        job, device_id = placement.job, placement.device.id
        record = self.jobs[job.id]
        if record.state == "waiting":
            self.queue.remove(record)
        else:  # in a replay: a newer cost model holds what an older one let wait
            self.held.pop(job.id, None)
        record.attempts.append(Attempt(start.attempt, device_id, start.at_s, placement.estimate))
        record.state, record.reason = "starting", None
        decision = start.decision
        record.packed = PackedDecision(decision) if decision is not None else None
        if self.fleet.sharing is None:
            self.fleet.occupy(device_id, job.id, placement.finish_s)
        else:
            self.fleet.start(device_id, job.id, placement.estimate, placement.finish_s)
        usage = self.usage.get(job.user)
        if usage is None:
            usage = self.usage[job.user] = Usage()
        usage.running += 1
        usage.started_s += start.at_s

    def _finish(self, event: Finished) -> None:
        record, late = self._running(event.job_id, event.attempt), False
        if record is not None:
            device_id = record.attempts[-1].device
            if self.fleet.sharing is None:
                self.fleet.release(device_id)
            else:
                self.fleet.end(device_id, event.job_id)
        elif event.outcome in LATE_OUTCOMES:
            record = self.given_up(event.job_id, event.attempt)
            if record is not None:
                self._take_back(record)
                late = True
        if record is None:  # of an attempt that is no longer the current one
            if event.measurement is not None:
                self._learn_from(event.measurement)
            return
        if event.outcome == "killed_memory":
            killer = self.fleet.last_class(record.attempts[-1].device)
            if killer is not None:
                self.groups.bar(record, killer)
        if event.measurement is not None:
            self._learn_from(event.measurement)
        self._end_attempt(record, event.at_s, event.outcome, event.text)
        if late and record.state in FINAL_STATES:
            record.kept, record.reason = False, None

    def given_up(self, job_id: str, attempt: int) -> JobRecord | None:
        """The job whose last attempt this is, if it was given up and may yet count.

        That is as lost, or as preempted where its whole cluster went down.
        """
        record = self.jobs.get(job_id)
        if record is None or not record.attempts or record.state == "cancelled":
            return None
        last = record.attempts[-1]
        gone = last.outcome in ("lost", "preempted")
        return record if gone and last.number == attempt else None

    def _take_back(self, record: JobRecord) -> None:
        """Undo that the job's last attempt was given up. The job is in no place then."""
        last = record.attempts[-1]
        self._unqueue(record)
        record.attempts[-1] = Attempt(last.number, last.device, last.start_s, last.estimate)
        self.groups.save(record)
        if last.end_s is not None:
            self.usage[record.job.user].go_on(last.start_s, last.end_s)

    def _lose(self, event: DeviceLost) -> None:
        self._leave(event.device_id, event.at_s, event.text or f"{event.device_id} was lost")

    def _leave(self, device_id: str, at_s: float, text: str) -> None:
        if device_id not in self.fleet.devices:
            return
        job_ids = self.fleet.jobs_on(device_id)
        generation = self.fleet.generation
        self.fleet.leave(device_id)
        self._fleet_changed(generation)
        for job_id in job_ids:
            self._end_attempt(self.jobs[job_id], at_s, "lost", text)

    def _ask_cancel(self, event: CancelAsked) -> None:
        record = self.jobs.get(event.job_id)
        if record is None or record.state in FINAL_STATES:
            return
        record.cancel_asked = True
        if record.current is None:
            self._unqueue(record)
            record.state, record.kept = "cancelled", False

    def _end_attempt(self, record: JobRecord, at_s: float, outcome: Outcome, text: str) -> None:
        ran = record.attempts[-1]
        record.attempts[-1] = Attempt(
            ran.number, ran.device, ran.start_s, ran.estimate, at_s, outcome, text
        )
        self.usage[record.job.user].end(ran.start_s, at_s)
        record.stopping = False
        if outcome != "done":
            if record.cancel_asked:
                record.state = "cancelled"
                return
            if self._tries_again(record, outcome):
                self.groups.save(record)
                self._await(record)
                return
        record.state = STATE_AFTER[outcome]
        record.costs, record.generation = (), -1  # it is over: a million of them add up

    def _tries_again(self, record: JobRecord, outcome: Outcome) -> bool:
        if outcome == "preempted":
            return True
        retry = record.job.retry
        counted = record.attempts[record.forgiven :]  # this one included
        used = sum(a.outcome in retry.on for a in counted)
        return outcome in retry.on and used <= retry.times

    def _give_up(self, entry: GivenUp) -> None:
        record = self.jobs[entry.job_id]
        self._unqueue(record)
        record.state = "killed"
        record.reason = Reason("NeverFits", entry.text)

    def _unqueue(self, record: JobRecord) -> None:
        if record.state == "waiting":
            self.queue.remove(record)
        self.held.pop(record.job.id, None)

    def _running(self, job_id: str, attempt: int) -> JobRecord | None:
        record = self.jobs.get(job_id)
        if record is not None and record.attempts:
            last = record.attempts[-1]
            if last.outcome is None and last.number == attempt:
                return record
        return None

    # -- verdicts --------------------------------------------------------------------------------

    def verdict(self, record: JobRecord, device_class: DeviceClass) -> Verdict:
        """What the job would cost on the class, which need not be in the fleet."""
        kind = self.fleet.kind(device_class)
        if kind is not None:
            return self._verdict(record, kind)
        cost = self.groups.ask(record.group, device_class)
        return cost if isinstance(cost, Never) else cost.of(record.job.amount)

    def _verdict(self, record: JobRecord, kind: ClassState) -> Verdict:
        cost = self.groups.verdict(record.group, kind)
        return cost if isinstance(cost, Never) else cost.of(record.job.amount)

    def _learn_from(self, *measurements: Measurement, other: bool = False) -> None:
        """Learn all of them, then ask anew once; ``other``: verdicts have changed in any case."""
        for measurement in measurements:
            other |= self.costs.learn(measurement)
        if other:
            self.groups.forget()
            self._new_generation()
            concerned = [*self.held.values(), *self.queue]
            if self._untested is None:
                self._retest(concerned)
            else:
                self._untested.update((record.job.id, record) for record in concerned)

    def _retest(self, records: Iterable[JobRecord]) -> None:
        """Move jobs between the queue and the held ones, after the fleet or a verdict changed."""
        for record in list(records):
            if record.kept:
                continue
            hopeless = self.groups.hopeless(record.group)
            if (hopeless is None) != (record.state == "waiting"):
                self._unqueue(record)
                self._settle(record, hopeless)
            else:
                record.reason = hopeless
