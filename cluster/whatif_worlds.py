"""The worlds of a question: one's own history, or the queue as it is now, ready to be simulated."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from jetsched import policies
from jetsched.cluster.fleet import read_fleet
from jetsched.cluster.history import Gathered, entries_of, history_of, span_s
from jetsched.cluster.pastjobs import PastBook, PastJob
from jetsched.cluster.scenarios import fitting
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.tracerecord import Trace
from jetsched.cluster.truth import CostsAsTruth, TrueRun, Truth
from jetsched.cluster.whatif import Question
from jetsched.errors import InputError
from jetsched.problems import quoted
from jetsched.profiler.bundled import bundled_profile
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.costs import CostModel
from jetsched.records import Device, DeviceClass, Job, Needs
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    DeviceClosed,
    DeviceOpened,
    Entry,
    HoldAsked,
    PolicyChanged,
    QueuePaused,
    ServiceStarted,
)
from jetsched.scheduler.journal import NoJournal
from jetsched.scheduler.state import JobRecord

#: What waits comes so much later than what runs now, which is on its board already.
_LATER_S = 1e-3
#: How a job of the past is over, so that it can be compared.
_OVER = ("done", "failed", "killed_memory", "killed_time", "killed_heat")
#: Of what takes longer than estimated nobody knows how much longer.
_LEAST_LEFT_S = 30.0


@dataclass(frozen=True)
class World:
    """Something to simulate, and what was; ``past`` are the jobs of a history by id.

    Times of the scenario begin at ``origin_s`` of the journal's clock. ``policy`` is what decides
    now; ``pinned`` are jobs of the scenario that stand for what runs.
    """

    scenario: Scenario
    policy: str
    origin_s: float
    notes: Sequence[str]
    past: Mapping[str, PastJob] | None = None
    pinned: frozenset[str] = frozenset()
    one_policy: bool = True


class _Policies:
    """Notes which policy decides, as entries go by."""

    def __init__(self) -> None:
        self.specs: dict[str, None] = {}

    def of(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if isinstance(entry, ServiceStarted | PolicyChanged):
                self.specs.pop(entry.policy, None)
                self.specs[entry.policy] = None
            yield entry

    def last(self, notes: list[str]) -> str:
        """The last one, if it can be loaded here."""
        spec = next(reversed(self.specs), policies.FALLBACK)
        try:
            policies.load(spec, seed=0)
        except (Exception, SystemExit) as error:  # somebody else's code, which may be anything
            notes.append(f"policy {spec} cannot be loaded here ({error}): {policies.FALLBACK} is")
            return policies.FALLBACK
        return spec


def world_of(question: Question, journal: Path, now_s: float) -> World:
    """The world of a question as it is now. Raises :class:`InputError` where there is none."""
    if not journal.is_file():
        raise InputError(f"there is no history: no file {journal}")
    if question.of == "queue":
        return _queue(journal, now_s)
    return _history(question.span, journal)


def with_boards(world: World, question: Question) -> tuple[Scenario, list[Device]]:
    """The scenario with the boards that are to be added, and these. Raises InputError."""
    known = {device.id: device.device_class for device in world.scenario.devices}
    added: list[Device] = []
    for name, count in question.added:
        kind = known.get(name) or _of_sheet(name)
        first = len(added) + 1
        added += [
            Device(f"new-{number}", kind) for number in range(first, first + count)
        ]  # names that no board has
    taken = [device for device in added if device.id in known]
    if taken:
        added = [replace(device, id=f"{device.id}-whatif") for device in added]
    scenario = world.scenario
    return replace(scenario, devices=[*scenario.devices, *added]), added


def _of_sheet(name: str) -> DeviceClass:
    try:
        return read_fleet(f"{name}:1").devices[0].device_class
    except InputError as error:
        raise InputError(
            f"{quoted(name)} is no board here and no model", hint=error.hint or str(error)
        ) from None


# ----------------------------------------------------------------------------------------- history


def _history(span: str, journal: Path) -> World:
    book, wishes, deciding, notes = PastBook(), _Wishes(), _Policies(), list[str]()

    def heard() -> Iterator[Entry]:
        for entry in deciding.of(entries_of(journal)):
            book.take(entry)
            wishes.take(entry)
            yield entry

    history = history_of(heard(), span_s(span, "span"))
    if not history.jobs:
        raise InputError(
            f"no job was submitted in that time ({span})", hint="try a longer one: all"
        )
    over = [job for job in history.jobs if book.jobs[job.id].outcome in _OVER]
    if not over:
        raise InputError(
            f"no job of that time is over yet ({span})", hint="ask about the queue instead"
        )
    work = history.work(journal.parent)
    kept = fitting(Trace(over, {}, span), work, history.devices, skip=True)
    for count, words in (
        (history.cancelled, "that were cancelled"),
        (len(history.jobs) - len(over), "that are not over yet"),
        (len(over) - len(kept.jobs), "that fit no board of then"),
    ):
        if count:
            notes.append(f"Left out: {count:,} jobs {words}.")
    notes.append(
        "The simulated scheduler knows all that was measured by now, kills included: it does not"
        " make the mistakes again that it has learnt from."
    )
    failed = sum(book.jobs[job.id].outcome == "failed" for job in kept.jobs)
    if failed:
        notes.append(f"{failed:,} jobs that failed are simulated as if they had ended well.")
    if history.outages:
        notes.append("Boards are away when they were away; added ones never are.")
    if wishes.events:
        notes.append("The queue is paused, and boards and jobs are held back, when they were.")
    if len(deciding.specs) > 1:
        names = ", ".join(deciding.specs)
        notes.append(f"Several policies have decided: {names}. The simulation has the last one.")
    late = _Late(work.truth, _overhead_s(book.jobs[job.id] for job in kept.jobs))
    work = replace(work, jobs=kept.jobs, truth=late)
    past = {job.id: book.jobs[job.id] for job in kept.jobs}
    origin_s = past[kept.jobs[0].id].job.submitted_s - kept.jobs[0].submitted_s
    also = [*history.also, *wishes.since(origin_s, past)]
    scenario = work.scenario(history.devices, outages=history.outages)
    return World(
        replace(scenario, also=also),
        deciding.last(notes),
        origin_s,
        notes,
        past,
        one_policy=len(deciding.specs) < 2,
    )


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


# ------------------------------------------------------------------------------------- the queue


class _Left:
    """The truth about what runs now: it takes what is left of its estimate."""

    def __init__(self, left_s: Mapping[str, float], otherwise: Truth) -> None:
        self._left_s, self._otherwise = left_s, otherwise

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        found = self._otherwise.run(job, device_class)
        left_s = self._left_s.get(job.id)
        if left_s is None:
            return found
        energy_j = found.energy_j if found is not None else None
        use = found.gpu_util_pct if found is not None else None
        return TrueRun(left_s, 0.0, 0.0, energy_j, use)


def _queue(journal: Path, now_s: float) -> World:
    gathered, deciding, notes = Gathered(), _Policies(), list[str]()
    calibrations = CalibrationStore(journal.parent / CalibrationStore.name).read()
    fallback = policies.load(policies.FALLBACK)
    costs = CostModel((), calibrations)
    scheduler = Scheduler(fallback, costs, fallback=fallback, journal=NoJournal())

    def heard() -> Iterator[Entry]:
        for entry in deciding.of(entries_of(journal)):
            gathered.take(entry)
            yield entry

    scheduler.replay(heard())
    now_s = max(now_s, gathered.last_s)
    devices = _open_devices(scheduler, notes)
    left_s: dict[str, float] = {}
    jobs = [pinned for device in devices for pinned in _pinned(scheduler, device, now_s, left_s)]
    waiting = [_now(record, now_s) for record in [*scheduler.queue, *_hopeless(scheduler)]]
    if not waiting:
        raise InputError("nothing waits now", hint="ask about the history instead")
    _note_held(scheduler, notes)
    if jobs:
        notes.append(
            f"{len(jobs):,} jobs run now: each ends when it is estimated to, where it runs."
        )
    behind = [*gathered.measurements, *bundled_profile()]
    truth = _Left(left_s, CostsAsTruth(CostModel(behind, calibrations)))
    estimates = partial(CostModel, behind, calibrations)
    notes.append("Every job takes the time that is estimated for it (the median).")
    scenario = Scenario([*jobs, *waiting], devices, truth, estimates)
    return World(scenario, deciding.last(notes), now_s, notes, pinned=frozenset(left_s))


def _open_devices(scheduler: Scheduler, notes: list[str]) -> list[Device]:
    fleet = scheduler.fleet
    closed = {id: codes for id, codes in fleet.closings.items() if codes and id in fleet.devices}
    if closed:
        names = ", ".join(f"{id} ({', '.join(codes)})" for id, codes in sorted(closed.items())[:10])
        more = f" and {len(closed) - 10:,} more" if len(closed) > 10 else ""
        notes.append(f"Boards that take no jobs now are left out: {names}{more}.")
    return [device for id, device in sorted(fleet.devices.items()) if id not in closed]


def _pinned(
    scheduler: Scheduler, device: Device, now_s: float, left_s: dict[str, float]
) -> Iterator[Job]:
    """What runs on a board, as a job that only this board takes and that is there first."""
    job_id = scheduler.fleet.job_on.get(device.id)
    if job_id is None:
        return
    record = scheduler.jobs[job_id]
    current = record.current
    if current is None:
        return
    ends_s = current.start_s + current.estimate.time_s
    left = max(_LEAST_LEFT_S, ends_s - now_s)
    left_s[job_id] = left
    share = min(1.0, left / current.estimate.time_s) if current.estimate.time_s else 1.0
    amount = record.job.amount * share or record.job.amount
    yield replace(
        _now(record, now_s), submitted_s=0.0, amount=amount, needs=Needs((device.id,)),
        time_limit_s=None,
    )  # fmt: skip


def _now(record: JobRecord, now_s: float) -> Job:
    """A job as if it came now, without what a checkpoint of it holds."""
    job = record.job
    deadline_s = None if job.deadline_s is None else job.deadline_s - now_s
    amount = job.amount * (1 - record.group.saved) or job.amount
    return replace(job, submitted_s=_LATER_S, deadline_s=deadline_s, amount=amount)


def _hopeless(scheduler: Scheduler) -> list[JobRecord]:
    """Those that no board can run now: another one may."""
    return [record for record in scheduler.held.values() if not record.kept]


def _note_held(scheduler: Scheduler, notes: list[str]) -> None:
    kept = sum(record.kept for record in scheduler.held.values())
    if kept:
        notes.append(f"Left out: {kept:,} jobs that somebody holds.")
    if scheduler.paused is not None:
        notes.append("The queue is paused now; here it is not.")
