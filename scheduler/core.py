"""The scheduler: events in, actions out. One door, and state changes in one place.

``handle(event)`` = ``apply(event)`` + ``decide(now)``. ``decide`` asks the policy and changes
nothing: what it decides is journalled and goes through ``apply`` like any event, so that a crash
is undone by replaying the journal, without asking a policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

from jetsched.errors import InputError
from jetsched.records import (
    FINAL_STATES,
    Attempt,
    Decision,
    DeviceClass,
    Job,
    Measurement,
    Never,
    Outcome,
    Placement,
    Preempt,
    Reason,
    Remark,
    State,
    Verdict,
)
from jetsched.scheduler.checks import choices, policy_name
from jetsched.scheduler.costs import Costs
from jetsched.scheduler.events import (
    Action,
    CancelAsked,
    DeviceJoined,
    DeviceLost,
    Entry,
    Event,
    Finished,
    GivenUp,
    Learned,
    PolicyChanged,
    Remarked,
    Start,
    Started,
    Stop,
    Submitted,
)
from jetsched.scheduler.explain import decision_of
from jetsched.scheduler.groups import Groups
from jetsched.scheduler.journal import Journal, MemoryJournal, NoJournal
from jetsched.scheduler.state import ClassState, Fleet, JobRecord, Queue, Usage
from jetsched.scheduler.view import Policy, Sources, View

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


class Scheduler:
    """Holds the queue and the fleet; changes only through :meth:`handle` and :meth:`replay`.

    ``fallback`` decides for a job when the policy breaks its contract. With ``explain`` every
    decision is kept as a :class:`~jetsched.records.Decision` (for `why`); a simulation of a
    million jobs goes without. ``share`` is how many jobs a board may run at a time, where a policy
    puts them beside each other and their memory is admitted together.
    """

    def __init__(
        self,
        policy: Policy,
        costs: Costs,
        *,
        fallback: Policy | None = None,
        journal: Journal | None = None,
        explain: bool = True,
        share: int = 1,
    ) -> None:
        if share < 1:
            raise ValueError(f"a board runs at least one job at a time, not {share}")
        self.policy = policy
        self.costs = costs
        self.journal = journal if journal is not None else MemoryJournal()
        self.jobs: dict[str, JobRecord] = {}
        self.fleet = Fleet(share)
        self.queue = Queue()
        self.held: dict[str, JobRecord] = {}
        self.usage: dict[str, Usage] = {}  # by user
        #: What policies did wrong, in the order in which it was noticed.
        self.policy_errors: list[str] = []
        self.now_s = 0.0
        self._fallback = fallback
        self._appliers: dict[type, Callable[[Any], None]] = {
            Submitted: self._submit,
            Start: self._start,
            Started: self._apply_started,
            Finished: self._finish,
            CancelAsked: self._ask_cancel,
            DeviceJoined: self._join,
            DeviceLost: self._lose,
            Learned: self._learned,
            GivenUp: self._give_up,
            Stop: self._apply_stop,
            Remarked: self._remark,
            PolicyChanged: lambda event: None,  # whoever tells it has put the other one in place
        }
        self._explain = explain
        self._last_view: View | None = None
        self.groups = Groups(costs, self.fleet)
        self._sources = Sources(
            self.queue, self.fleet, self._verdict, self.groups.offers, self.jobs, self.usage
        )
        #: In a replay: what may wait or be held wrongly, until an entry needs to know.
        self._untested: dict[str, JobRecord] | None = None

    @property
    def journal(self) -> Journal:
        """Where every entry is written before it takes effect; another one may be put here."""
        return self._journal

    @journal.setter
    def journal(self, journal: Journal) -> None:
        self._journal = journal
        self._journalled = not isinstance(journal, NoJournal)

    # -- the door --------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Action]:
        """Take in one event and return what must be done because of it.

        Raises :class:`InputError` for an event that makes no sense (a job id that is taken);
        nothing has changed then. What comes late or twice is ignored without an error.
        """
        if isinstance(event, Submitted):
            self._check(event)
        if self._journalled:
            self._journal.append(event)
        self.apply(event)
        actions: list[Action] = []
        if isinstance(event, Finished):
            if event.outcome == "killed_memory":
                self._give_up_after(event)
        elif isinstance(event, Started):  # it frees nothing and adds nothing
            return actions
        elif isinstance(event, CancelAsked):
            actions += self._stops(event.at_s, event.job_id, "cancelled", "asked to")
        if self.queue.length:
            for decided in self.decide(event.at_s):
                if isinstance(decided, Remarked):
                    self._enter(decided)
                else:
                    actions.append(decided)
        else:
            self._last_view = None
        for action in actions:
            self._enter(action)
        return actions

    def _enter(self, entry: Entry) -> None:
        if self._journalled:
            self._journal.append(entry)
        if entry.at_s > self.now_s:  # as in `apply`, without another call
            self.now_s = entry.at_s
        self._appliers[type(entry)](entry)

    def replay(self, entries: Iterable[Entry]) -> None:
        """Rebuild the state from a journal. No policy is asked, nothing is journalled.

        Whether there is hope for what waits is not asked after each entry, only before one that
        changes the fleet or a wish: a cost model that has learnt something may have to fit anew.
        """
        self._untested = {}
        for entry in entries:
            if isinstance(entry, DeviceJoined | DeviceLost | CancelAsked):
                self._test_late(self._untested)
            self.apply(entry)
        untested, self._untested = self._untested, None
        self._test_late(untested)

    def _test_late(self, untested: dict[str, JobRecord]) -> None:
        self._retest(r for r in untested.values() if r.state in ("waiting", "held"))
        untested.clear()

    def _check(self, event: Submitted) -> None:
        jobs, known = event.jobs, self.jobs
        if len(jobs) == 1 and jobs[0].id not in known:
            return
        seen: set[str] = set()
        for job in jobs:
            if job.id in known or job.id in seen:
                raise InputError(f"job id {job.id!r} is taken")
            seen.add(job.id)

    # -- state changes ---------------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Change the state. Deterministic; the only place where state changes."""
        if entry.at_s > self.now_s:
            self.now_s = entry.at_s
        self._appliers[type(entry)](entry)

    def _submit(self, event: Submitted) -> None:
        jobs, groups = self.jobs, self.groups
        for job in event.jobs:
            group = groups.of(job)
            record = jobs[job.id] = JobRecord(job, len(jobs), group)
            if self._untested is None and groups.hopeless(group) is None:
                self.queue.add(record)
            else:
                self._await(record)

    def _apply_started(self, event: Started) -> None:
        record = self._running(event.job_id, event.attempt)
        if record is not None:
            record.state = "running"

    def _join(self, event: DeviceJoined) -> None:
        new = self.fleet.join(event.device)  # a class, which may dash the hope of what waits
        self._fleet_changed()
        self._retest([*self.held.values(), *(self.queue if new else ())])

    def _learned(self, event: Learned) -> None:
        self._learn_from(*event.measurements, other=bool(event.calibrated))

    def _apply_stop(self, action: Stop) -> None:
        record = self._running(action.job_id, action.attempt)
        if record is not None:
            record.stopping = True  # it ends when its end is reported

    def _remark(self, entry: Remarked) -> None:
        self.jobs[entry.job_id].remark = entry.text

    def _fleet_changed(self) -> None:
        """Where a job names devices or labels, its kinds are others with each board."""
        if self.queue.picky:
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
        record.decision = start.decision
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
        record = self._running(event.job_id, event.attempt)
        if record is None:  # of an attempt that is no longer the current one
            if event.measurement is not None:
                self._learn_from(event.measurement)
            return
        device_id = record.attempts[-1].device
        if self.fleet.sharing is None:
            self.fleet.release(device_id)
        else:
            self.fleet.end(device_id, event.job_id)
        if event.outcome == "killed_memory":
            self.groups.bar(record, self.fleet.devices[device_id].device_class)
        if event.measurement is not None:
            self._learn_from(event.measurement)
        self._end_attempt(record, event.at_s, event.outcome, event.text)

    def _lose(self, event: DeviceLost) -> None:
        if event.device_id not in self.fleet.devices:
            return
        job_ids = self.fleet.jobs_on(event.device_id)
        self.fleet.leave(event.device_id)
        self._fleet_changed()
        for job_id in job_ids:
            text = event.text or f"{event.device_id} was lost"
            self._end_attempt(self.jobs[job_id], event.at_s, "lost", text)

    def _ask_cancel(self, event: CancelAsked) -> None:
        record = self.jobs.get(event.job_id)
        if record is None or record.state in FINAL_STATES:
            return
        record.cancel_asked = True
        if record.current is None:
            self._unqueue(record)
            record.state = "cancelled"

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
        used = sum(a.outcome in retry.on for a in record.attempts)  # this one included
        return outcome in retry.on and used <= retry.times

    def _give_up_after(self, event: Finished) -> None:
        """Give a job up if this kill for memory was its last chance."""
        record = self.jobs.get(event.job_id)
        if record is not None and record.state == "held" and _ended_by(record, event):
            text = record.reason.text if record.reason is not None else ""
            self._enter(GivenUp(event.at_s, event.job_id, text))

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
            hopeless = self.groups.hopeless(record.group)
            if (hopeless is None) != (record.state == "waiting"):
                self._unqueue(record)
                self._settle(record, hopeless)
            else:
                record.reason = hopeless

    # -- decisions -------------------------------------------------------------------------------

    def view(self, now_s: float, *, extra: JobRecord | None = None, planning: bool = False) -> View:
        """The queue and the fleet as a policy sees them now."""
        return View(now_s, self._sources, extra, planning, self._explain or planning)

    def decide(self, now_s: float) -> list[Action | Remarked]:
        """Ask the policy what to do now, and check it. Changes no state."""
        self._last_view = None
        actions: list[Action | Remarked] = []
        if not self.queue.length or not self.fleet.devices:
            return actions
        view = View(now_s, self._sources, None, False, self._explain)
        notes: dict[str, str] = {}
        for choice in choices(self.policy, self._fallback, view, self.policy_errors, notes):
            if not isinstance(choice, Placement):
                actions += self._said(now_s, choice)
                continue
            if choice.start_s <= now_s:
                decision = None
                if self._explain:
                    note = notes.get(choice.job.id, "")
                    decision = decision_of(view, choice.job, self.policy, choice, note)
                attempt = len(self.jobs[choice.job.id].attempts) + 1
                actions.append(Start(now_s, choice, attempt, decision))
            view.assume(choice)
        if self._explain:
            self._last_view = view
        return actions

    def _said(self, now_s: float, choice: Preempt | Remark) -> Sequence[Stop | Remarked]:
        if isinstance(choice, Preempt):
            return self._stops(now_s, choice.job_id, "preempted", choice.text)
        if self.jobs[choice.job_id].remark == choice.text:
            return ()
        return [Remarked(now_s, choice.job_id, choice.text)]

    def _stops(
        self, now_s: float, job_id: str, outcome: Literal["cancelled", "preempted"], text: str
    ) -> list[Stop]:
        record = self.jobs.get(job_id)
        current = record.current if record is not None else None
        if record is None or current is None or record.stopping:
            return []
        return [Stop(now_s, job_id, current.device, current.number, outcome, text)]

    # -- questions -------------------------------------------------------------------------------

    def why(self, job_id: str, now_s: float | None = None) -> Decision:
        """The decision about a job: what the policy saw when it last thought about it.

        Raises :class:`InputError` if there is no such job.
        """
        record = self.jobs.get(job_id)
        if record is None:
            raise InputError(f"there is no job {job_id!r}", hint="see: jetsched queue --all")
        if record.state not in ("waiting", "held") and record.decision is not None:
            return record.decision
        view = self._last_view or self.view(self.now_s if now_s is None else now_s)
        return decision_of(view, record.job, self.policy, None, "", record.reason)

    def plan(self, job: Job, now_s: float) -> Decision:
        """What would become of a job that was submitted now. Changes nothing."""
        record = JobRecord(job, len(self.jobs), self.groups.of(job))
        hopeless = self.groups.hopeless(record.group)
        view = self.view(now_s, extra=record, planning=True)
        if hopeless is not None or not self.fleet.devices:
            return decision_of(view, job, self.policy, None, "", hopeless)
        notes: dict[str, str] = {}
        for placement in self._foreseen(view, notes):
            if placement.job.id == job.id:
                note = notes.get(job.id, "")
                return decision_of(view, job, self.policy, placement, note)
            view.assume(placement)
        return decision_of(view, job, self.policy, None, "")

    def foresee(self, now_s: float) -> dict[str, Placement]:
        """When and where each waiting job would start if nothing else came, by job id."""
        view = self.view(now_s, planning=True)
        placements: dict[str, Placement] = {}
        if self.fleet.devices:
            for placement in self._foreseen(view, {}):
                placements[placement.job.id] = placement
                view.assume(placement)
        return placements

    def _foreseen(self, view: View, notes: dict[str, str]) -> Iterator[Placement]:
        errors: list[str] = []
        try:
            policy = deepcopy(self.policy)  # a random generator or a turn must not move on
        except Exception as error:  # a plug-in that holds a lock, a file...
            name = policy_name(self.policy)
            self._note([f"policy {name} cannot be copied, to look ahead: {error}"])
            return
        try:
            for choice in choices(policy, self._fallback, view, errors, notes):
                if isinstance(choice, Placement):
                    yield choice
        finally:  # also when nobody wants to hear the rest
            self._note(errors)

    def _note(self, errors: Sequence[str]) -> None:
        """Keep what went wrong while looking ahead, once: people do that again and again."""
        if errors:
            told = set(self.policy_errors)
            self.policy_errors += [text for text in dict.fromkeys(errors) if text not in told]


def _ended_by(record: JobRecord, event: Finished) -> bool:
    """Whether the event ended the job's last attempt, and did not come late or twice."""
    last = record.attempts[-1]
    return (last.number, last.end_s) == (event.attempt, event.at_s)
