"""The scheduler: events in, actions out. One door, and state changes in one place.

``handle(event)`` = ``apply(event)`` + ``decide(now)``. ``decide`` asks the policy and changes
nothing: what it decides is journalled and goes through ``apply`` like any event, so that a crash
is undone by replaying the journal, without asking a policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Literal

from jetsched.errors import InputError
from jetsched.records import (
    Decision,
    Job,
    Placement,
    Preempt,
    Reason,
    Remark,
)
from jetsched.scheduler.aging import lane_of, level_of
from jetsched.scheduler.checks import choices, policy_name
from jetsched.scheduler.control import ControlledBook
from jetsched.scheduler.costs import Costs
from jetsched.scheduler.events import (
    Action,
    CancelAsked,
    Entry,
    Event,
    Finished,
    GivenUp,
    Remarked,
    Start,
    Started,
    Stop,
    Submitted,
)
from jetsched.scheduler.explain import decision_of, waiting_reason
from jetsched.scheduler.journal import Journal, MemoryJournal, NoJournal
from jetsched.scheduler.overlay import Sources
from jetsched.scheduler.state import Group, JobRecord
from jetsched.scheduler.view import Policy, View


class Scheduler(ControlledBook):
    """A book that decides; changes only through :meth:`handle` and :meth:`replay`.

    ``fallback`` decides for a job when the policy breaks its contract. With ``explain`` every
    decision is kept as a :class:`~jetsched.records.Decision` (for `why`); a simulation of a
    million jobs goes without. ``share`` is how many jobs a board may run at a time, where a policy
    puts them beside each other and their memory is admitted together. With ``aging_s``, that long
    a wait counts as much as one point of priority.
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
        aging_s: float = 0.0,
    ) -> None:
        super().__init__(costs, share, aging_s)
        self.policy = policy
        self.journal = journal if journal is not None else MemoryJournal()
        #: What policies did wrong, in the order in which it was noticed.
        self.policy_errors: list[str] = []
        self._fallback = fallback
        self._explain = explain
        self._last_view: View | None = None
        self._sources = Sources(
            self.queue, self.fleet, self._verdict, self.groups.offers, self.jobs, self.usage
        )
        self._view = View(0.0, self._sources, explains=False)  # of all decisions without `explain`

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
        if event.at_s > self.now_s:  # from here on `apply`, without another call
            self.now_s = event.at_s
        self._appliers[type(event)](event)
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
                    self.enter(decided)
                else:
                    actions.append(decided)
        else:
            self._last_view = None
        for action in actions:
            self.enter(action)
        return actions

    def enter(self, entry: Entry) -> None:
        """Have something take effect that was decided: journal it, then apply it.

        :meth:`handle` does this with each remark, start, stop and job that is given up, in the
        order in which they were decided.
        """
        if self._journalled:
            self._journal.append(entry)
        if entry.at_s > self.now_s:
            self.now_s = entry.at_s
        self._appliers[type(entry)](entry)

    def _check(self, event: Submitted) -> None:
        jobs, known = event.jobs, self.jobs
        if len(jobs) == 1 and jobs[0].id not in known:
            return
        seen: set[str] = set()
        for job in jobs:
            if job.id in known or job.id in seen:
                raise InputError(f"job id {job.id!r} is taken")
            seen.add(job.id)

    def _give_up_after(self, event: Finished) -> None:
        """Give a job up if this kill for memory was its last chance."""
        record = self.jobs.get(event.job_id)
        if record is None or record.kept:
            return
        if record.state == "held" and _ended_by(record, event):
            text = record.reason.text if record.reason is not None else ""
            self.enter(GivenUp(event.at_s, event.job_id, text))

    # -- decisions -------------------------------------------------------------------------------

    def view(self, now_s: float, *, extra: JobRecord | None = None, planning: bool = False) -> View:
        """The queue and the fleet as a policy sees them now."""
        return View(now_s, self._sources, extra, planning, self._explain or planning)

    def decide(self, now_s: float) -> list[Action | Remarked]:
        """Ask the policy what to do now, and check it. Changes no state."""
        self._last_view = None
        actions: list[Action | Remarked] = []
        if not self.queue.length or not self.fleet.open or self.paused is not None:
            return actions
        if self._explain:
            view = View(now_s, self._sources, None, False, True)  # `why` keeps it
        else:
            view = self._view.renew(now_s)
        notes: dict[str, str] = {}
        preempted: set[str] = set()
        for choice in choices(self.policy, self._fallback, view, self.policy_errors, notes):
            if not isinstance(choice, Placement):
                actions += self._said(now_s, choice, view, preempted)
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

    def _said(
        self, now_s: float, choice: Preempt | Remark, view: View, preempted: set[str]
    ) -> Sequence[Stop | Remarked]:
        """What follows from a choice that places nothing; said twice, it is heard once."""
        if isinstance(choice, Preempt):
            if choice.job_id in preempted or self.jobs[choice.job_id].cancel_asked:
                return ()
            preempted.add(choice.job_id)
            return self._stops(now_s, choice.job_id, "preempted", choice.text)
        known = view.remark_on(choice.job_id)
        view.hear(choice)
        if known == choice.text:
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
        return decision_of(view, record.job, self.policy, None, "", self._kept_back(record))

    def reason(self, job_id: str, now_s: float | None = None) -> Reason | None:
        """Why a job waits or is held, as :meth:`why` says it; None for any other.

        Raises :class:`InputError` if there is no such job.
        """
        record = self.jobs.get(job_id)
        if record is None:
            raise InputError(f"there is no job {job_id!r}", hint="see: jetsched queue --all")
        if record.state not in ("waiting", "held"):
            return None
        view = self._last_view or self.view(self.now_s if now_s is None else now_s)
        return self._kept_back(record) or waiting_reason(view, record.job)

    def _kept_back(self, record: JobRecord) -> Reason | None:
        """Why a job would not start whatever the policy wanted; None if it might."""
        return record.reason or self.paused

    def plan(self, job: Job, now_s: float) -> Decision:
        """What would become of a job that was submitted now. Changes nothing."""
        group = self.groups.of(job)
        if job.needs.picky:
            group.generation = -1  # nobody has watched its devices while none of its jobs waited
        record = self._record_of(job, group)
        hopeless = self.groups.hopeless(group)
        view = self.view(now_s, extra=record, planning=True)
        if hopeless is not None or self.paused is not None or not self.fleet.open:
            return decision_of(view, job, self.policy, None, "", hopeless or self.paused)
        notes: dict[str, str] = {}
        for choice in self._foreseen(view, notes):
            if isinstance(choice, Remark):
                view.hear(choice)
                continue
            if choice.job.id == job.id:
                note = notes.get(job.id, "")
                return decision_of(view, job, self.policy, choice, note)
            view.assume(choice)
        return decision_of(view, job, self.policy, None, "")

    def _record_of(self, job: Job, group: Group) -> JobRecord:
        """The record of a job that is not there."""
        lane, level = lane_of(job, self.aging_s), level_of(job, self.aging_s)
        return JobRecord(job, len(self.jobs), group, lane, level)

    def foresee(self, now_s: float) -> dict[str, Placement]:
        """When and where each waiting job would start if nothing else came, by job id.

        Nothing is foreseen while the queue is paused."""
        view = self.view(now_s, planning=True)
        placements: dict[str, Placement] = {}
        if self.fleet.open and self.paused is None:
            for choice in self._foreseen(view, {}):
                if isinstance(choice, Placement):
                    placements[choice.job.id] = choice
                    view.assume(choice)
        return placements

    def _foreseen(self, view: View, notes: dict[str, str]) -> Iterator[Placement | Remark]:
        errors: list[str] = []
        try:
            policy = deepcopy(self.policy)  # a random generator or a turn must not move on
        except Exception as error:  # a plug-in that holds a lock, a file...
            name = policy_name(self.policy)
            self._note([f"policy {name} cannot be copied, to look ahead: {error}"])
            return
        try:
            for choice in choices(policy, self._fallback, view, errors, notes):
                if not isinstance(choice, Preempt):
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
