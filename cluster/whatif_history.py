"""One's own history as the world of a question: the jobs that are over, as they were seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

from jetsched.cluster.history import entries_of, history_of, span_s
from jetsched.cluster.pastjobs import PastBook, PastJob
from jetsched.cluster.scenarios import fitting
from jetsched.cluster.tracerecord import Trace
from jetsched.cluster.truth import TrueRun, Truth
from jetsched.cluster.whatif_still import Still
from jetsched.cluster.whatif_worlds import Deciding, World
from jetsched.errors import InputError
from jetsched.records import DeviceClass, Job
from jetsched.scheduler.events import DeviceClosed, DeviceOpened, Entry, HoldAsked, QueuePaused
from jetsched.units import counted

#: How a job of the past is over, so that it can be compared.
_OVER = ("done", "failed", "killed_memory", "killed_time", "killed_heat")


def history_world(span: str, journal: Path, now_s: float = 0.0) -> World:
    """The jobs that came in a span and are over, and what still runs beside them.

    ``now_s`` is until when that has run. Raises :class:`InputError` where no job is over.
    """
    book, wishes, deciding, notes = PastBook(), _Wishes(), Deciding(), list[str]()

    def heard() -> Iterator[Entry]:
        nonlocal now_s
        for entry in deciding.of(entries_of(journal)):
            book.take(entry)
            wishes.take(entry)
            now_s = max(now_s, entry.at_s)
            yield entry

    history = history_of(heard(), span_s(span, "span"))
    if not history.jobs:
        raise InputError(
            f"no job was submitted in that time ({span})", hint="try a longer one: all"
        )
    over = [job for job in history.jobs if _is_over(book.jobs[job.id])]
    if not over:
        raise InputError(
            f"no job of that time is over yet ({span})", hint="ask about the queue instead"
        )
    work = history.work(journal.parent)
    kept = fitting(Trace(over, {}, span), work, history.devices, skip=True)
    for count, one, more in (
        (history.cancelled, "that was cancelled", "that were cancelled"),
        (len(history.jobs) - len(over), "that is not over yet", "that are not over yet"),
        (len(over) - len(kept.jobs), "that fits no board of then", "that fit no board of then"),
    ):
        if count:
            notes.append(f"Left out: {counted(count, 'job')} {one if count == 1 else more}.")
    notes.append(
        "The simulated scheduler knows all that was measured by now, kills included: it does not"
        " make the mistakes again that it has learnt from."
    )
    failed = sum(book.jobs[job.id].outcome == "failed" for job in kept.jobs)
    if failed:
        noun = "job that failed is" if failed == 1 else "jobs that failed are"
        notes.append(f"{failed:,} {noun} simulated as if all had gone well.")
    if history.outages:
        notes.append("Boards are away when they were away; added ones never are.")
    if wishes.events:
        notes.append("The queue is paused, and boards and jobs are held back, when they were.")
    if len(deciding.specs) > 1:
        names = ", ".join(deciding.specs)
        notes.append(f"Several policies have decided: {names}. The simulation has the last one.")
    late = _Late(work.truth, _overhead_s(book.jobs[job.id] for job in kept.jobs))
    past = {job.id: book.jobs[job.id] for job in kept.jobs}
    origin_s = past[kept.jobs[0].id].job.submitted_s - kept.jobs[0].submitted_s
    still = Still(book.jobs.values(), history.devices, origin_s, now_s)
    if still.jobs:
        notes.append(
            f"{counted(len(still.past), 'job')} still running: no figure of a job is of these, but"
            " they take up boards in all that is simulated, and use energy there."
        )
    jobs = sorted([*kept.jobs, *still.jobs], key=lambda job: job.submitted_s)
    work = replace(work, jobs=jobs, truth=still.truth(late))
    also = [*history.also, *wishes.since(origin_s, past)]
    scenario = work.scenario(history.devices, outages=history.outages)
    return World(
        replace(scenario, also=also),
        deciding.last(notes),
        origin_s,
        notes,
        {**past, **still.past},
        frozenset(still.past),
        one_policy=len(deciding.specs) < 2,
    )


def _is_over(past: PastJob) -> bool:
    return past.over and past.outcome in _OVER


def _overhead_s(jobs: Iterable[PastJob]) -> float:
    """From a decision to the report of the end, beyond what the board has measured. Median."""
    over = [
        a.end_s - a.start_s - a.measurement.time_s
        for job in jobs
        for a in job.attempts
        if a.end_s is not None and a.measurement is not None and a.measurement.time_s is not None
    ]
    return max(0.0, median(over)) if over else 0.0


class _Late:
    """A truth in which every run takes so much longer: the way to the board and back."""

    def __init__(self, otherwise: Truth, overhead_s: float) -> None:
        self._otherwise, self._overhead_s = otherwise, overhead_s

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        found = self._otherwise.run(job, device_class)
        if found is None:
            return None
        return found._replace(time_s=found.time_s + self._overhead_s)


_Wish = DeviceClosed | DeviceOpened | HoldAsked | QueuePaused


class _Wishes:
    """What people and boards asked for that a simulation can follow: closings, holds, pauses."""

    def __init__(self) -> None:
        self.events: list[_Wish] = []

    def take(self, entry: Entry) -> None:
        """Take in the next entry."""
        if isinstance(entry, _Wish):
            self.events.append(entry)

    def since(self, origin_s: float, jobs: Collection[str]) -> Iterator[_Wish]:
        """Those after a time, which is 0 then; first what still held at it."""
        still: dict[object, _Wish] = {}
        for event in self.events:
            if isinstance(event, HoldAsked) and event.job_id not in jobs:
                continue
            if event.at_s > origin_s:
                yield replace(event, at_s=event.at_s - origin_s)
            elif isinstance(event, QueuePaused):
                still["queue"] = event
            elif not isinstance(event, HoldAsked):  # a job came after the origin
                still[event.device_id, event.code] = event
        for event in still.values():
            if isinstance(event, DeviceClosed) or (isinstance(event, QueuePaused) and event.paused):
                yield replace(event, at_s=0.0)
