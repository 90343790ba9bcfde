"""What has changed, as it changes: for those who follow instead of asking again and again.

The loop's thread notes each event that it has handled; followers read from a ring of the last ones,
each at its own pace, and are woken when there is more.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from jetsched.records import Attempt
from jetsched.scheduler.events import (
    Action,
    DeviceClosed,
    DeviceJoined,
    DeviceLost,
    DeviceOpened,
    DeviceRemoved,
    Event,
    Start,
    Submitted,
    Tick,
)
from jetsched.scheduler.state import JobRecord

#: How many changes are kept for those who come back.
KEPT = 4096
#: Of so many jobs that change at once each is named; of more, only how many there are.
MOST_NAMED = 200

RUNNING = ("starting", "running")
DEVICE_EVENTS = (DeviceJoined, DeviceLost, DeviceClosed, DeviceOpened, DeviceRemoved)
Kind = Literal["jobs", "devices", "queue"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that has changed. ``data`` are JSON values."""

    number: int
    kind: Kind
    data: dict[str, Any]


class Feed:
    """A ring of changes. :meth:`note` is for the loop's thread, the rest for any.

    ``jobs`` are those of the scheduler, which is where they live.
    """

    def __init__(self, jobs: Mapping[str, JobRecord]) -> None:
        #: Tells this run's numbers from those of another.
        self.run = secrets.token_hex(4)
        #: How many events were handled; whoever keeps something for later compares.
        self.changes = 0
        self._jobs = jobs
        self._ring: deque[Change] = deque(maxlen=KEPT)
        self._number = 0
        #: The state and the attempt of what runs: who ran on a lost board no event says.
        self._running = {
            job_id: (record.state, len(record.attempts))
            for job_id, record in jobs.items()
            if record.state in RUNNING
        }
        self._wake: set[Callable[[], None]] = set()
        self._lock = threading.Lock()

    def note(self, event: Event, actions: Sequence[Action]) -> list[tuple[JobRecord, Attempt]]:
        """An event was handled, and these actions follow from it; returns what has ended."""
        self.changes += 1
        touched, ended = self._touched(event, actions)
        name = type(event).__name__
        if touched:
            named = [_told(self._jobs[job_id]) for job_id in touched[:MOST_NAMED]]
            self._add("jobs", event.at_s, name, count=len(touched), jobs=named)
        if isinstance(event, DEVICE_EVENTS):
            joined = isinstance(event, DeviceJoined)
            device = event.device.id if isinstance(event, DeviceJoined) else event.device_id
            text = "" if joined else getattr(event, "text", "")
            self._add("devices", event.at_s, name, device=device, text=text)
        elif not touched and not isinstance(event, Tick):
            self._add("queue", event.at_s, name)
        for wake in tuple(self._wake):
            wake()
        return ended

    def _touched(
        self, event: Event, actions: Sequence[Action]
    ) -> tuple[list[str], list[tuple[JobRecord, Attempt]]]:
        """The jobs that may be in another state now, and the attempts that have ended."""
        jobs = self._jobs
        touched: dict[str, None] = {}
        ended: list[tuple[JobRecord, Attempt]] = []
        if isinstance(event, Submitted):
            touched.update((job.id, None) for job in event.jobs)
        elif (named := getattr(event, "job_id", None)) is not None and named in jobs:
            touched[named] = None
        started = [a.placement.job.id for a in actions if isinstance(a, Start)]
        touched.update(dict.fromkeys(started))
        touched.update((a.job_id, None) for a in actions if not isinstance(a, Start))
        for job_id, before in list(self._running.items()):
            record = jobs[job_id]
            now = (record.state, len(record.attempts))
            if now == before:
                continue
            touched[job_id] = None
            attempt = record.attempts[before[1] - 1]
            if attempt.outcome is not None:
                ended.append((record, attempt))
            if record.state in RUNNING:
                self._running[job_id] = now
            else:
                del self._running[job_id]
        for job_id in touched:
            record = jobs[job_id]
            if record.state in RUNNING:
                self._running[job_id] = (record.state, len(record.attempts))
        return list(touched), ended

    def _add(self, kind: Kind, at_s: float, event: str, **data: Any) -> None:
        with self._lock:
            self._number += 1
            self._ring.append(Change(self._number, kind, {"at_s": at_s, "event": event, **data}))

    # -- for those who follow ----------------------------------------------------------------------

    @property
    def newest(self) -> int:
        """The number of the last change."""
        return self._number

    def after(self, number: int, most: int = 500) -> list[Change] | None:
        """The next changes behind one; None where some of them are no longer kept."""
        with self._lock:
            missing = self._number - number
            if missing < 0 or missing > len(self._ring):
                return None
            start = len(self._ring) - missing
            return list(islice(self._ring, start, start + most))

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have ``wake`` called, on the loop's thread, when there is more; returns the end of it."""
        self._wake.add(wake)
        return lambda: self._wake.discard(wake)


def _told(record: JobRecord) -> dict[str, Any]:
    last = record.attempts[-1] if record.attempts else None
    return {
        "id": record.job.id,
        "name": record.job.name,
        "state": record.state,
        "attempt": last.number if last is not None else None,
        "device": last.device if last is not None else None,
        "outcome": last.outcome if last is not None else None,
    }
