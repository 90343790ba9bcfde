"""What a journal says became of every job, by the rules of the contract and nothing else.

Written apart from the scheduler on purpose: it reads the entries as JSON, and judges them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: The state of a job that is not tried again, by the outcome of its last attempt.
STATE_AFTER = {
    "done": "done",
    "failed": "failed",
    "killed_memory": "killed",
    "killed_time": "killed",
    "killed_heat": "killed",
    "lost": "lost",
    "cancelled": "cancelled",
}
#: What is taken of an attempt that had been given up, where the job has no newer one.
LATE = STATE_AFTER.keys() - {"lost", "cancelled"}
#: How such an attempt is written down: the last one went down with the cluster.
GIVEN_UP = {"lost", "preempted"}
Key = tuple[str, int]


@dataclass
class LedgerAttempt:
    """One attempt. Times are whoever's who reads the journal; None: it has not happened."""

    number: int
    device: str
    start: float
    started: float | None = None
    end: float | None = None
    outcome: str | None = None


@dataclass
class LedgerJob:
    """One job, as the journal tells it."""

    id: str
    env: Mapping[str, str]
    times: int
    retried_on: frozenset[str]
    attempts: list[LedgerAttempt] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)  # attempts whose *done* counted
    given_up: bool = False
    cancel_asked: bool = False

    @property
    def current(self) -> LedgerAttempt | None:
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.outcome is None else None

    @property
    def state(self) -> str:
        """Where it must be now: *waiting*, *running*, or a final state."""
        if not self.attempts:
            return "cancelled" if self.cancel_asked else "waiting"
        outcome = self.attempts[-1].outcome
        if outcome is None:
            return "running"
        if self.cancel_asked and outcome != "done":
            return "cancelled"
        used = sum(a.outcome in self.retried_on for a in self.attempts)
        again = outcome == "preempted" or (outcome in self.retried_on and used <= self.times)
        return "waiting" if again and not self.given_up else STATE_AFTER[outcome]


class Ledger:
    """All jobs of a journal; :meth:`take` its entries in order."""

    def __init__(self) -> None:
        self.jobs: dict[str, LedgerJob] = {}
        #: What no correct scheduler writes.
        self.wrong: list[str] = []
        self.late_refused = self.late_accepted = self.reattached = 0

    def take(self, kind: str, data: Mapping[str, Any], at: float) -> None:
        """The next entry: its class's name, what is in it, and when."""
        taker = getattr(self, f"_{kind.lower()}", None)
        if taker is not None:
            taker(data, at)

    def running(self, devices: Iterable[str] | None = None) -> list[tuple[LedgerJob, Key]]:
        """The attempts that run now, on some devices or on any."""
        found = []
        for job in self.jobs.values():
            current = job.current
            if current is not None and (devices is None or current.device in devices):
                found.append((job, (job.id, current.number)))
        return found

    def attempt(self, key: Key) -> LedgerAttempt | None:
        job = self.jobs.get(key[0])
        return next((a for a in job.attempts if a.number == key[1]), None) if job else None

    # ----------------------------------------------------------------------------------- entries

    def _submitted(self, data: Mapping[str, Any], at: float) -> None:
        for job in data["jobs"]:
            if job["id"] in self.jobs:
                self.wrong.append(f"job {job['id']} was submitted twice")
            retry = job.get("retry") or {}
            self.jobs[job["id"]] = LedgerJob(
                job["id"], dict(job.get("env") or {}), retry["times"], frozenset(retry["on"])
            )

    def _start(self, data: Mapping[str, Any], at: float) -> None:
        job = self.jobs[data["placement"]["job"]["id"]]
        number, device = data["attempt"], data["placement"]["device"]["id"]
        if job.state != "waiting":
            self.wrong.append(f"job {job.id} was started again while it was {job.state}")
        if number != len(job.attempts) + 1:
            self.wrong.append(f"attempt {number} of job {job.id} came after {len(job.attempts)}")
        job.attempts.append(LedgerAttempt(number, device, at))

    def _started(self, data: Mapping[str, Any], at: float) -> None:
        attempt = self.attempt((data["job_id"], data["attempt"]))
        if attempt is not None and attempt.started is None:
            attempt.started = at

    def _finished(self, data: Mapping[str, Any], at: float) -> None:
        key = (data["job_id"], data["attempt"])
        job, attempt, outcome = self.jobs[key[0]], self.attempt(key), data["outcome"]
        if attempt is None:
            self.wrong.append(f"attempt {key[1]} of job {key[0]} ended and was never started")
        elif attempt.outcome is None:
            self._end(job, attempt, outcome, at)
        elif self._may_yet_count(job, attempt) and outcome in LATE:
            self.late_accepted += 1
            self._end(job, attempt, outcome, at)
        elif outcome == "done":
            self.late_refused += 1

    def _may_yet_count(self, job: LedgerJob, attempt: LedgerAttempt) -> bool:
        is_last = attempt is job.attempts[-1]
        return is_last and attempt.outcome in GIVEN_UP and job.state != "cancelled"

    def _end(self, job: LedgerJob, attempt: LedgerAttempt, outcome: str, at: float) -> None:
        attempt.outcome, attempt.end = outcome, at
        if outcome == "done":
            job.commits.append(attempt.number)

    def _reattached(self, data: Mapping[str, Any], at: float) -> None:
        key = (data["job_id"], data["attempt"])
        job, attempt = self.jobs[key[0]], self.attempt(key)
        if attempt is None or not self._may_yet_count(job, attempt):
            self.wrong.append(f"attempt {key[1]} of job {key[0]} was reattached wrongly")
            return
        attempt.outcome = attempt.end = None
        self.reattached += 1

    def _devicelost(self, data: Mapping[str, Any], at: float) -> None:
        for job, key in self.running([data["device_id"]]):
            attempt = self.attempt(key)
            assert attempt is not None
            self._end(job, attempt, "lost", at)

    _deviceremoved = _devicelost

    def _cancelasked(self, data: Mapping[str, Any], at: float) -> None:
        job = self.jobs[data["job_id"]]
        if job.state in ("waiting", "running"):
            job.cancel_asked = True

    def _givenup(self, data: Mapping[str, Any], at: float) -> None:
        self.jobs[data["job_id"]].given_up = True
