"""What is to be said about a run once it is over: jobs that did not end well, remarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jetsched.cluster.simulating import SimulationRun
from jetsched.scheduler.state import JobRecord

#: In this order; what they are called, where it is not their own name.
_NOT_DONE = {
    "lost": "lost",
    "killed": "killed",
    "failed": "failed",
    "cancelled": "cancelled",
    "waiting": "waiting",
    "held": "held, as no device suits them",
}


@dataclass(frozen=True)
class Said:
    """What the policy has last said about a job, at ``at_s`` of the simulated time."""

    job: str
    at_s: float
    text: str


def remarks_of(run: SimulationRun) -> list[Said]:
    """The last remark on each job that has one, in the order of time, then of submission."""
    found = [
        Said(job_id, record.remark_s, record.remark)
        for job_id, record in run.scheduler.jobs.items()
        if record.remark
    ]
    return sorted(found, key=lambda said: said.at_s)


def ending_notes(run: SimulationRun) -> list[str]:
    """What a reader must know before trusting the means; nothing where every job is done."""
    if not run.metrics.unfinished:
        return []
    by_state: dict[str, list[JobRecord]] = {}
    for record in run.scheduler.jobs.values():
        if record.state != "done":
            by_state.setdefault(record.state, []).append(record)
    count, jobs = sum(map(len, by_state.values())), run.metrics.jobs
    order = [*_NOT_DONE, *sorted(by_state.keys() - _NOT_DONE.keys())]
    parts = [_part(state, by_state[state]) for state in order if state in by_state]
    means = "means are of the others" if count < jobs else "so there are no means"
    notes = [f"{count:,} of {_jobs(jobs)} did not end done ({', '.join(parts)}): {means}"]
    return [*notes, *_waiting(run, by_state.get("waiting", ()))]


def _part(state: str, records: Sequence[JobRecord]) -> str:
    """``34 lost after 2 retries``."""
    text = f"{len(records):,} {_NOT_DONE.get(state, state)}"
    if state not in ("lost", "killed"):
        return text
    retries = {_retries(record) for record in records}
    least, most = min(retries), max(retries)
    if most == 0:
        return text
    return f"{text} after {most if least == most else f'{least} to {most}'} {_retry(most)}"


def _retries(record: JobRecord) -> int:
    """How often it was started again after an end that counts against its retries."""
    on = record.job.retry.on
    return sum(attempt.outcome in on for attempt in record.attempts[:-1])


def _waiting(run: SimulationRun, waiting: Sequence[JobRecord]) -> list[str]:
    """Nothing happens any more, and yet they wait: by the policy's will, or without devices."""
    groups = run.scheduler.groups
    could = Counter(any(groups.offers(record.group)) for record in waiting)
    notes = []
    if n := could[True]:
        notes.append(
            f"{_jobs(n)} still {_wait(n)} although a device could run {_them(n)}:"
            f" {run.policy} starts nothing more"
        )
    if n := could[False]:
        notes.append(f"{_jobs(n)} still {_wait(n)} for a device that is not there")
    return notes


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"


def _wait(count: int) -> str:
    return "waits" if count == 1 else "wait"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _retry(count: int) -> str:
    return "retry" if count == 1 else "retries"
