"""The jobs of the past, put together from a journal entry by entry, as far as it was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jetsched.records import DeviceClass, Estimate, Job, Measurement, Outcome
from jetsched.scheduler.book import LATE_OUTCOMES
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceLost,
    DeviceRemoved,
    Entry,
    Finished,
    GivenUp,
    Reattached,
    RetryAsked,
    Start,
    Submitted,
)

#: So many jobs are looked through for those that can be forgotten.
_MANY = 4000


@dataclass
class PastAttempt:
    """An attempt of the past; ``outcome`` is None while it runs."""

    number: int
    device: str
    start_s: float
    #: What was thought of it when it was placed, and the kind of board that it was placed on.
    estimate: Estimate
    device_class: DeviceClass
    end_s: float | None = None
    outcome: Outcome | None = None
    text: str = ""
    measurement: Measurement | None = None
    #: What was believed of it until it came back: its board was away.
    reattached: bool = False

    @property
    def estimated_s(self) -> float:
        """How long it was to take, loading included."""
        return self.estimate.time_s

    @property
    def took_s(self) -> float | None:
        """What its board has measured, else what the head has seen; None while it runs."""
        if self.end_s is None:
            return None
        seen = self.measurement
        if seen is not None and seen.time_s is not None:
            return seen.time_s
        return self.end_s - self.start_s

    def to_json(self) -> dict[str, Any]:
        """As JSON values, with the times that were measured."""
        seen = self.measurement
        return {
            "number": self.number,
            "device": self.device,
            "start_s": self.start_s,
            "end_s": self.end_s,
            "outcome": self.outcome,
            "text": self.text,
            "estimated_s": self.estimated_s,
            "time_s": None if seen is None else seen.time_s,
            "peak_memory_mib": None if seen is None else seen.peak_memory_mib,
            "energy_j": None if seen is None else seen.energy_j,
            "reattached": self.reattached,
        }


@dataclass
class PastJob:
    """A job of the past, as far as the journal goes."""

    job: Job
    submitted_s: float
    attempts: list[PastAttempt] = field(default_factory=list)
    cancelled_s: float | None = None
    given_up: str = ""
    #: So many of its attempts count no more: a person has asked for another try.
    forgiven: int = 0

    @property
    def outcome(self) -> str:
        """How its last attempt ended; *open* while it may still go on without a person."""
        last = self.attempts[-1] if self.attempts else None
        if last is not None and last.outcome is None:
            return "running"
        if last is not None and last.outcome == "done":
            return "done"
        if self.cancelled_s is not None:
            return "cancelled"
        return "open" if last is None else str(last.outcome)

    @property
    def over(self) -> bool:
        """Whether it goes on only if a person asks for another try: as the scheduler decides it."""
        last = self.attempts[-1] if self.attempts else None
        if last is None:
            return self.cancelled_s is not None
        if last.outcome is None:
            return False
        if last.outcome == "done" or self.cancelled_s is not None or self.given_up:
            return True
        counted, retry = self.attempts[self.forgiven :], self.job.retry
        if last.outcome == "preempted" or not counted:
            return False
        used = sum(attempt.outcome in retry.on for attempt in counted)
        return last.outcome not in retry.on or used > retry.times

    @property
    def end_s(self) -> float | None:
        """When its last attempt ended; the job itself need not be :attr:`over` with it."""
        if self.attempts:
            return self.attempts[-1].end_s
        return self.cancelled_s

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "id": self.job.id,
            "name": self.job.name,
            "work": self.job.workload.label,
            "user": self.job.user,
            "priority": self.job.priority,
            "submitted_s": self.submitted_s,
            "end_s": self.end_s,
            "outcome": self.outcome,
            "over": self.over,
            "text": self.given_up or (self.attempts[-1].text if self.attempts else ""),
            "attempts": [attempt.to_json() for attempt in self.attempts],
        }


class PastBook:
    """Jobs by id, and their attempts. It forgets what is over and nobody wants: a journal may hold
    a million jobs."""

    def __init__(self) -> None:
        self.jobs: dict[str, PastJob] = {}
        self._running: dict[str, set[str]] = {}  # device id -> ids of jobs
        self._many = _MANY

    def take(self, entry: Entry) -> list[str]:
        """Take an entry in; returns the ids of the known jobs that it concerns."""
        jobs = self.jobs
        match entry:
            case Submitted():
                jobs.update((job.id, PastJob(job, entry.at_s)) for job in entry.jobs)
            case Start():
                self._start(entry)
            case Finished():
                self._finish(entry)
            case DeviceLost() | DeviceRemoved():
                return self._lose(entry)
            case Reattached():
                attempt = self.attempt(entry.job_id, entry.attempt)
                if attempt is not None:
                    attempt.end_s = attempt.outcome = None
                    attempt.text, attempt.reattached = "", True
                    self._running.setdefault(attempt.device, set()).add(entry.job_id)
            case CancelAsked() if entry.job_id in jobs:
                jobs[entry.job_id].cancelled_s = entry.at_s
            case RetryAsked() if entry.job_id in jobs:
                past = jobs[entry.job_id]
                past.cancelled_s, past.given_up = None, ""
                past.forgiven = len(past.attempts)
            case GivenUp() if entry.job_id in jobs:
                jobs[entry.job_id].given_up = entry.text
        return [id for id in jobs_of(entry) if id in jobs]

    def attempt(self, job_id: str, number: int) -> PastAttempt | None:
        """An attempt of a job, if both are known."""
        past = self.jobs.get(job_id)
        return next((a for a in past.attempts if a.number == number), None) if past else None

    def forget(self, wanted: dict[str, None], most: int) -> None:
        """Let go of jobs that are over, but for the last ``most`` of those that are wanted."""
        if len(self.jobs) < self._many:
            return
        last = set(list(wanted)[-most:]) if most else set()
        for id in [id for id, job in self.jobs.items() if id not in last and job.over]:
            del self.jobs[id]
        for id in [id for id in wanted if id not in self.jobs]:
            del wanted[id]
        self._many = max(_MANY, 2 * len(self.jobs))

    def _start(self, start: Start) -> None:
        placed = start.placement
        past = self.jobs.get(placed.job.id)
        if past is None:  # it had been let go, or the journal does not go back so far
            past = self.jobs[placed.job.id] = PastJob(placed.job, placed.job.submitted_s)
        device_id, kind = placed.device.id, placed.device.device_class
        past.attempts.append(
            PastAttempt(start.attempt, device_id, start.at_s, placed.estimate, kind)
        )
        self._running.setdefault(device_id, set()).add(placed.job.id)

    def _finish(self, event: Finished) -> None:
        attempt = self.attempt(event.job_id, event.attempt)
        if attempt is None or attempt.outcome not in (None, "lost", "preempted"):
            return
        attempt.measurement = event.measurement
        current = attempt.outcome is None or event.outcome in LATE_OUTCOMES
        if current and self.jobs[event.job_id].attempts[-1] is attempt:  # else it counts no more
            attempt.end_s, attempt.outcome = event.at_s, event.outcome
            attempt.text = event.text
            self._running.get(attempt.device, set()).discard(event.job_id)

    def _lose(self, event: DeviceLost | DeviceRemoved) -> list[str]:
        lost = []
        for id in sorted(self._running.pop(event.device_id, ())):
            past = self.jobs.get(id)
            last = past.attempts[-1] if past is not None and past.attempts else None
            if last is not None and last.outcome is None:
                last.end_s, last.outcome = event.at_s, "lost"
                last.text = getattr(event, "text", "") or f"{event.device_id} was removed"
                lost.append(id)
        return lost


def jobs_of(entry: Entry) -> tuple[str, ...]:
    """The ids of the jobs that an entry names."""
    if isinstance(entry, Submitted):
        return tuple(job.id for job in entry.jobs)
    if isinstance(entry, Start):
        return (entry.placement.job.id,)
    job_id = getattr(entry, "job_id", None)
    return () if job_id is None else (job_id,)
