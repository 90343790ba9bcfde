"""Entries of a journal in words, for `jetsched history`."""

from __future__ import annotations

from dataclasses import dataclass

from jetsched.cluster.pastjobs import PastBook
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceClosed,
    DeviceJoined,
    DeviceLost,
    DeviceOpened,
    DeviceRemoved,
    DiskSeen,
    Entry,
    FilesSeen,
    Finished,
    GivenUp,
    HoldAsked,
    Learned,
    PolicyChanged,
    QueuePaused,
    Reattached,
    Remarked,
    RetryAsked,
    ServiceStarted,
    Start,
    Started,
    Stop,
    Submitted,
    Tick,
)
from jetsched.units import format_duration, format_size


@dataclass(frozen=True)
class Told:
    """Something that happened, in words."""

    at_s: float
    what: str  # the entry's type, e.g. "Finished"
    text: str
    job_id: str | None = None
    device: str | None = None


def tell(entry: Entry, book: PastBook | None = None) -> Told | None:
    """An entry in words, once the book has taken it in; None where a person learns nothing."""
    what = type(entry).__name__

    def told(text: str, job_id: str | None = None, device: str | None = None) -> Told:
        return Told(entry.at_s, what, text, job_id, device)

    match entry:
        case Submitted():
            ids = [j.id for j in entry.jobs]
            many = f"jobs {ids[0]} to {ids[-1]}" if len(ids) > 1 else f"job {ids[0]}"
            label = f": {entry.jobs[0].workload.label}" if len(ids) == 1 else ""
            name = f" ({entry.jobs[0].name})" if len(ids) == 1 and entry.jobs[0].name else ""
            one = ids[0] if len(ids) == 1 else None
            return told(f"{many}{name} submitted{label}", one)
        case Start():
            placed = entry.placement
            why = f", estimated {format_duration(placed.estimate.time_s)}"
            policy = f" by {entry.decision.policy}" if entry.decision is not None else ""
            text = f"attempt {entry.attempt} started on {placed.device.id}{policy}{why}"
            return told(text, placed.job.id, placed.device.id)
        case Started():
            return told(
                f"attempt {entry.attempt} is loaded and works", entry.job_id, _on(entry, book)
            )
        case Finished():
            return told(_ended(entry, book), entry.job_id, _on(entry, book))
        case Stop():
            why = f": {entry.text}" if entry.text else ""
            text = f"attempt {entry.attempt} is to be stopped, {entry.outcome}{why}"
            return told(text, entry.job_id, entry.device_id)
        case GivenUp():
            return told(f"given up: {entry.text or 'it fits no device'}", entry.job_id)
        case Remarked():
            return told(f"the policy remarks: {entry.text}", entry.job_id)
        case CancelAsked():
            return told("somebody cancelled it", entry.job_id)
        case HoldAsked():
            return told(_with("held" if entry.hold else "released", entry.text), entry.job_id)
        case RetryAsked():
            return told("somebody wants it tried again", entry.job_id)
        case Reattached():
            text = f"attempt {entry.attempt} lives: its board is back, and it is the current one"
            return told(text, entry.job_id, _on(entry, book))
        case QueuePaused():
            return told(_with("queue paused" if entry.paused else "queue resumed", entry.text))
        case DeviceJoined():
            kind = entry.device.device_class
            has = f", {format_size(kind.memory_mib)} for jobs" if kind.memory_mib else ""
            return told(f"{entry.device.id} joined: {kind.label}{has}", None, entry.device.id)
        case DeviceLost():
            text = entry.text or f"{entry.device_id} was lost"
            return told(text, None, entry.device_id)
        case DeviceClosed():
            text = _with(f"{entry.device_id} takes no new jobs: {entry.code}", entry.text)
            return told(text, None, entry.device_id)
        case DeviceOpened():
            return told(f"{entry.device_id}: {entry.code} is over", None, entry.device_id)
        case DeviceRemoved():
            return told(f"{entry.device_id} was removed", None, entry.device_id)
        case Learned():
            count = len(entry.measurements)
            parts = [f"{count} measurement{'s' if count != 1 else ''}"] if count else []
            parts += [f"another calibration of {kind.label}" for kind in entry.calibrated]
            return told(f"learnt: {', '.join(parts) or 'nothing new'}")
        case PolicyChanged():
            return told(f"policy {entry.policy} decides from now on")
        case ServiceStarted():
            version = f" (jetsched {entry.version})" if entry.version else ""
            return told(f"the scheduler began, policy {entry.policy}{version}")
        case Tick() | DiskSeen() | FilesSeen():
            return None


def _on(entry: Started | Finished | Reattached, book: PastBook | None) -> str | None:
    attempt = book.attempt(entry.job_id, entry.attempt) if book is not None else None
    return None if attempt is None else attempt.device


def _ended(entry: Finished, book: PastBook | None) -> str:
    attempt = book.attempt(entry.job_id, entry.attempt) if book is not None else None
    where = f" on {attempt.device}" if attempt is not None else ""
    lasted = ""
    if attempt is not None:
        lasted = f" after {format_duration(entry.at_s - attempt.start_s)}"
        if entry.outcome == "done":
            lasted += f" (estimated {format_duration(attempt.estimated_s)})"
    late = ""
    if attempt is not None and attempt.end_s != entry.at_s:
        late = ", which counted no more"
    text = f"attempt {entry.attempt} ended{where}{lasted}: {entry.outcome}{late}"
    return _with(text, entry.text)


def _with(text: str, more: str) -> str:
    return f"{text}: {more}" if more else text
