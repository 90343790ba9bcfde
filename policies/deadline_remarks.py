"""Says of a job that waits that its deadline cannot be met, and what would help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from jetsched.policies.deadline_plan import DeadlinePlan, Demand, Late
from jetsched.policies.situation import Situation, situation
from jetsched.records import Job, Remark
from jetsched.scheduler.view import View
from jetsched.units import format_duration

#: Up to so many waiting jobs with deadlines, all of them are judged anew when one comes.
FEW = 32

#: With more of them, all are judged anew when this part of them has come since the last time, and
#: only the new one meanwhile: that keeps the work for each job the same, however many wait.
PART = 8

#: What is said of a job whose deadline was given up too soon.
CAN_AFTER_ALL = "its deadline can be met after all"


class DeadlineRemarks:
    """Judges the deadlines of jobs when they come; each is remarked on once.

    A verdict holds for the queue and the fleet as they were: jobs that come later, with earlier
    deadlines, are judged with those they push back. When kinds or costs are others, all are judged
    anew, and a job whose deadline can be met after all is told so.
    """

    def __init__(self) -> None:
        self._generation = -2
        self._length = 0
        self._pending: dict[str, Demand] = {}
        self._since = 0
        self._plan = DeadlinePlan((), ())
        self._last: list[Remark] = []
        self._situation: Situation | None = None
        #: The ids of jobs that would have been late even if they had been next when they came.
        self.hopeless: set[str] = set()

    def judge(self, view: View) -> list[Job]:
        """Judge what has come since the last call; returns those that are hopeless."""
        now = situation(view)
        if now != self._situation:
            self._last.clear()
        self._situation = now
        before = self.hopeless
        self.hopeless = set(before)
        self._last += self._on_come(view)
        return [view.record(job_id).job for job_id in sorted(self.hopeless - before)]

    def remarks(self, view: View, lost: Sequence[Job]) -> Iterator[Remark]:
        """What there is to say of those, and of the jobs that have lost their deadline.

        Asked again before anything has happened, it says the same again.
        """
        told = {remark.job_id for remark in self._last}
        for job in lost:
            late = late_next(job, view)
            if late is not None and job.id not in told and not _said(job.id, view):
                self._last.append(Remark(job.id, explained(job, late, view)))
        yield from self._last

    def copy(self) -> DeadlineRemarks:
        """Another one that has judged the same."""
        made = DeadlineRemarks()
        made.__dict__.update(self.__dict__)
        made._pending, made._last = dict(self._pending), list(self._last)
        made.hopeless = set(self.hopeless)
        return made

    def _on_come(self, view: View) -> Iterator[Remark]:
        generation, length = view.mark
        anew = generation != self._generation
        jobs = view.queue() if anew else view.arrivals(self._length)
        self._generation, self._length = generation, length
        if anew:
            self._pending.clear()
        new = list(self._demands(jobs, view))
        if not new:
            return
        self._pending.update((demand.job_id, demand) for demand in new)
        self._since += len(new)
        self.hopeless.difference_update(demand.job_id for demand in new)
        if anew or len(self._pending) <= FEW or PART * self._since >= len(self._pending):
            self._judge_all(view)
            new = list(self._pending.values())
            late = self._plan.late
        else:
            judged = ((demand.job_id, self._plan.judge(demand)) for demand in new)
            late = {job_id: found for job_id, found in judged if found is not None}
        for demand in new:
            found, said = late.get(demand.job_id), _said(demand.job_id, view)
            if found is not None and found.next_s > found.deadline_s:
                self.hopeless.add(demand.job_id)
            if found is not None and not said:
                job = view.record(demand.job_id).job
                yield Remark(demand.job_id, explained(job, found, view))
            elif found is None and said and anew:
                yield Remark(demand.job_id, CAN_AFTER_ALL)

    def _demands(self, jobs: Iterable[Job], view: View) -> Iterator[Demand]:
        for job in jobs:
            if job.deadline_s is not None and view.waits(job.id):
                demand = demand_of(job, view)
                if any(time_s is not None for time_s in demand.times_s):
                    yield demand

    def _judge_all(self, view: View) -> None:
        self._since = 0
        gone = [job_id for job_id in self._pending if not view.waits(job_id)]
        for job_id in gone:
            del self._pending[job_id]
        self.hopeless = {job_id for job_id in self.hopeless if view.waits(job_id)}
        # So many jobs need no more than so many devices of a kind.
        clocks = [view.first_clocks(kind, len(self._pending)) for kind in view.kinds]
        self._plan = DeadlinePlan(self._pending.values(), clocks)


def _said(job_id: str, view: View) -> bool:
    return view.record(job_id).remark not in ("", CAN_AFTER_ALL)


def demand_of(job: Job, view: View) -> Demand:
    """What a job with a deadline asks of the fleet that the view shows."""
    assert job.deadline_s is not None
    times_s = tuple(None if cost is None else cost.time_s for cost in view.costs(job))
    return Demand(job.id, job.deadline_s, times_s, view.level(job))


def late_next(job: Job, view: View) -> Late | None:
    """The verdict on a job that would be started next of all; None if it would be in time."""
    demand = demand_of(job, view)
    return DeadlinePlan((), [[view.earliest_s(kind)] for kind in view.kinds]).judge(demand)


def explained(job: Job, late: Late, view: View) -> str:
    """Why a deadline cannot be met, and what would help. Durations count from submission."""

    def after(at_s: float) -> str:
        return format_duration(max(0.0, at_s - job.submitted_s))

    label = view.kinds[late.kind].device_class.label
    said = (
        f"its deadline, {after(late.deadline_s)} after submission, cannot be met:"
        f" it is done after {after(late.finish_s)} at the earliest, on {label},"
        f" {format_duration(late.finish_s - late.deadline_s)} too late"
    )
    later = f"a deadline of {after(late.finish_s)}"
    runs = [(c.time_s, n, c) for n, c in enumerate(view.costs(job)) if c is not None]
    time_s, position, cost = min(runs, key=lambda run: run[:2])
    fastest = view.kinds[position].device_class.label
    left_s = late.deadline_s - view.now_s
    if time_s > left_s:
        part = (left_s - cost.load_s) / (time_s - cost.load_s) if time_s > cost.load_s else 0.0
        less = f", or {100 * part:.0f} % of its work" if part > 0 else ""
        helps = f"It runs {format_duration(time_s)} even on a free {fastest}; {later}{less}"
    elif late.next_s > late.deadline_s:
        by = after(late.deadline_s - time_s)
        helps = f"No device is free in time; {later}, or {fastest} free {by} after submission"
    else:
        helps = f"Jobs with earlier deadlines go first; {later}, or a higher priority"
    return f"{said}. {helps} would do"
