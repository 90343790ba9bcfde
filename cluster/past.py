"""`jetsched history`: what happened, from the journal, without a scheduler.

The journal is read once, as a stream, and only what is asked for is kept. A scheduler may be
writing it meanwhile.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from jetsched.cluster.history import entries_of, moment_s, span_s
from jetsched.cluster.pastjobs import PastBook, PastJob, jobs_of
from jetsched.cluster.store import JOURNAL
from jetsched.cluster.telling import Told, tell
from jetsched.errors import InputError
from jetsched.files import home, to_json
from jetsched.scheduler.events import DeviceJoined, DeviceLost, DeviceRemoved, Entry, Start

#: So many jobs or lines are told where nobody says how many.
USUAL = 50


@dataclass(frozen=True)
class Past:
    """What was found: the last ``jobs`` of ``of_jobs``, and the last of what happened."""

    journal: Path
    jobs: tuple[PastJob, ...] = ()
    of_jobs: int = 0
    told: tuple[Told, ...] = ()
    of_told: int = 0

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "jobs": [job.to_json() for job in self.jobs],
            "of_jobs": self.of_jobs,
            "told": to_json(self.told),
            "of_told": self.of_told,
        }


def since_s(last: str | None, since: str | None) -> float:
    """From when on, by the wall clock: a span back from now, or a local date and time.

    Raises :class:`InputError` for both, and for what is neither.
    """
    if last is not None and since is not None:
        raise InputError("give one of --since and --last")
    if last is not None:
        return time.time() - span_s(last, "--last")
    return -inf if since is None else moment_s(since)


def past_jobs(
    journal: Path | None = None,
    *,
    since_s: float = -inf,
    device: str | None = None,
    limit: int = USUAL,
) -> Past:
    """The last jobs to which something happened since then, on a device if one is named."""
    path = _found(journal)
    book = PastBook()
    touched: dict[str, None] = {}  # the last one touched stands last
    seen: set[str] = set()
    devices: set[str] = set()
    for entry in entries_of(path):
        devices.update(_devices_of(entry))
        for id in book.take(entry):
            ran = device is None or any(a.device == device for a in book.jobs[id].attempts)
            if ran and entry.at_s >= since_s:
                touched.pop(id, None)
                touched[id] = None
                seen.add(id)
        book.forget(touched, limit)
    _check_device(device, devices)
    jobs = sorted((book.jobs[id] for id in list(touched)[-limit:]), key=lambda job: job.submitted_s)
    return Past(path, tuple(jobs), len(seen))


def past_job(job_id: str, journal: Path | None = None) -> Past:
    """One job with all that happened to it. Raises :class:`InputError` for one that never was."""
    path = _found(journal)
    book = PastBook()
    told: list[Told] = []
    for entry in entries_of(path, job_id=job_id):
        concerns = job_id in jobs_of(entry) or isinstance(entry, DeviceLost | DeviceRemoved)
        if concerns and job_id in book.take(entry):
            words = tell(entry, book)
            told += [words] if words is not None else []
    if job_id not in book.jobs:
        raise InputError(f"{path} knows no job {job_id!r}", hint="see: jetsched history")
    return Past(path, (book.jobs[job_id],), 1, tuple(told), len(told))


def past_events(
    journal: Path | None = None,
    *,
    since_s: float = -inf,
    device: str | None = None,
    limit: int = USUAL,
) -> Past:
    """The last things that happened, oldest first, to a device if one is named."""
    path = _found(journal)
    book = PastBook()
    kept: deque[Told] = deque(maxlen=limit)
    count = 0
    devices: set[str] = set()
    for entry in entries_of(path):
        devices.update(_devices_of(entry))
        book.take(entry)
        if entry.at_s >= since_s:
            told = tell(entry, book)
            if told is not None and device in (None, told.device):
                kept.append(told)
                count += 1
        book.forget({}, 0)
    _check_device(device, devices)
    return Past(path, told=tuple(kept), of_told=count)


def _found(journal: Path | None) -> Path:
    path = journal or home() / JOURNAL
    if not path.is_file():
        raise InputError(
            f"there is no history: no file {path}",
            hint="it is written by a cluster that ran: jetsched up; or name one with --journal",
        )
    return path


def _devices_of(entry: Entry) -> tuple[str, ...]:
    if isinstance(entry, DeviceJoined):
        return (entry.device.id,)
    return (entry.placement.device.id,) if isinstance(entry, Start) else ()


def _check_device(device: str | None, devices: set[str]) -> None:
    if device is not None and device not in devices:
        known = ", ".join(sorted(devices)) or "none"
        raise InputError(f"no device {device!r} in the history", hint=f"devices there: {known}")
