"""The queue as it is now as the world of a question: what waits, and what runs already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from jetsched import policies
from jetsched.cluster.history import Gathered, entries_of
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.truth import CostsAsTruth, TrueRun, Truth
from jetsched.cluster.whatif_worlds import Deciding, World
from jetsched.errors import InputError
from jetsched.profiler.bundled import bundled_profile
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.costs import CostModel
from jetsched.records import Device, DeviceClass, Job, Needs
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import Entry, Start
from jetsched.scheduler.journal import NoJournal
from jetsched.scheduler.state import JobRecord
from jetsched.units import counted

#: What waits comes so much later than what runs now, which is on its board already.
_LATER_S = 1e-3
#: Of what takes longer than estimated nobody knows how much longer.
_LEAST_LEFT_S = 30.0


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


def queue_world(journal: Path, now_s: float) -> World:
    """What waits at a time. Raises :class:`InputError` where nothing does."""
    gathered, deciding, notes = Gathered(), Deciding(), list[str]()
    calibrations = CalibrationStore(journal.parent / CalibrationStore.name).read()
    fallback = policies.load(policies.FALLBACK)
    costs = CostModel((), calibrations)
    scheduler = Scheduler(fallback, costs, fallback=fallback, journal=NoJournal())

    def heard() -> Iterator[Entry]:
        for entry in deciding.of(entries_of(journal)):
            gathered.take(entry)
            # What the policy saw is a row per board, and nobody asks why here.
            yield replace(entry, decision=None) if isinstance(entry, Start) else entry

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
            f"{counted(len(jobs), 'job')} running now: each ends where it runs, when it is"
            " estimated to."
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
        notes.append(f"Left out: {counted(kept, 'job')} that somebody holds.")
    if scheduler.paused is not None:
        notes.append("The queue is paused now; here it is not.")
