"""What a finished run was like, in the figures that policies are compared by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from jetsched.records import Device, Estimate, Job
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.state import JobRecord


@dataclass(frozen=True, slots=True)
class Metrics:
    """Figures of one run. None means that there is nothing to take it from.

    Completion is from submission to the end of the last attempt, of jobs that are *done*; slowdown
    is that divided by the run time on the fastest device of the fleet that can run the job. Jobs
    that ended otherwise, or not at all, count in ``unfinished`` and nowhere else: look there first.
    """

    jobs: int
    done: int
    unfinished: int
    mean_completion_s: float | None
    p50_completion_s: float | None
    p95_completion_s: float | None
    p99_completion_s: float | None
    mean_slowdown: float | None
    p99_slowdown: float | None
    #: From the first submission to the last end of an attempt.
    makespan_s: float | None
    #: Of deadlines: done too late, or not done at all.
    missed_deadlines: int
    #: Attempts that ended in killed_memory, killed_time or killed_heat.
    killed: int
    #: Attempts that were lost with their device.
    lost: int
    attempts: int
    energy_j: float | None
    #: Device model -> share of its device-seconds within the makespan that something ran.
    utilisation: Mapping[str, float]


def measure(
    scheduler: Scheduler,
    devices: Iterable[Device],
    *,
    fastest_s: Callable[[Job], float | None] | None = None,
    energy_j: float | None = None,
) -> Metrics:
    """The figures of a run that is over, or of what there is of it by now. Changes nothing.

    ``devices`` are all that belonged to the fleet, lost ones included. ``fastest_s`` gives the run
    time of a job on its best device, ``energy_j`` is what the whole run has used; where they are
    not given, the scheduler's own estimates stand in.
    """
    records = list(scheduler.jobs.values())
    fleet = list(devices)
    fastest = fastest_s or (lambda job: _estimated_fastest_s(scheduler, fleet, job))
    done = [r for r in records if r.state == "done"]
    completions = [_ended_s(r) - r.job.submitted_s for r in done]
    slowdowns = [
        completion / best_s
        for record, completion in zip(done, completions, strict=True)
        if (best_s := fastest(record.job))
    ]
    attempts = [a for r in records for a in r.attempts]
    killed = {"killed_memory", "killed_time", "killed_heat"}
    first_s = min((r.job.submitted_s for r in records), default=0.0)
    last_s = max((a.end_s for a in attempts if a.end_s is not None), default=first_s)
    makespan_s = last_s - first_s if attempts else None
    return Metrics(
        jobs=len(records),
        done=len(done),
        unfinished=len(records) - len(done),
        mean_completion_s=_mean(completions),
        p50_completion_s=_percentile(completions, 50),
        p95_completion_s=_percentile(completions, 95),
        p99_completion_s=_percentile(completions, 99),
        mean_slowdown=_mean(slowdowns),
        p99_slowdown=_percentile(slowdowns, 99),
        makespan_s=makespan_s,
        missed_deadlines=sum(_missed(record, scheduler.now_s) for record in records),
        killed=sum(a.outcome in killed for a in attempts),
        lost=sum(a.outcome == "lost" for a in attempts),
        attempts=len(attempts),
        energy_j=energy_j if energy_j is not None else _estimated_energy_j(records),
        utilisation=_utilisation(records, fleet, makespan_s),
    )


def _ended_s(record: JobRecord) -> float:
    return record.attempts[-1].end_s or 0.0


def _missed(record: JobRecord, now_s: float) -> bool:
    """Whether the deadline has passed without the job being done in time."""
    deadline_s = record.job.deadline_s
    if deadline_s is None or record.state == "cancelled":
        return False
    if record.state == "done":
        return _ended_s(record) > deadline_s
    return record.state in ("failed", "killed", "lost") or now_s > deadline_s


def _utilisation(
    records: Iterable[JobRecord], devices: list[Device], makespan_s: float | None
) -> dict[str, float]:
    model_of = {device.id: device.model for device in devices}
    busy_s = dict.fromkeys(sorted(model_of.values()), 0.0)
    has_s = dict.fromkeys(busy_s, 0.0)
    for model in model_of.values():
        has_s[model] += makespan_s or 0.0
    for record in records:
        for attempt in record.attempts:
            if attempt.end_s is not None and attempt.device in model_of:
                busy_s[model_of[attempt.device]] += attempt.end_s - attempt.start_s
    return {model: busy_s[model] / has_s[model] if has_s[model] else 0.0 for model in busy_s}


def _estimated_fastest_s(scheduler: Scheduler, devices: list[Device], job: Job) -> float | None:
    record = scheduler.jobs[job.id]
    kinds = {d.device_class: None for d in devices if d.satisfies(job.needs)}
    verdicts = (scheduler.verdict(record, kind) for kind in kinds)
    return min((v.time_s for v in verdicts if isinstance(v, Estimate)), default=None)


def _estimated_energy_j(records: Iterable[JobRecord]) -> float | None:
    """Each attempt's estimated energy in proportion to how long it ran; None if none is known."""
    total_j, known = 0.0, False
    for record in records:
        for attempt in record.attempts:
            estimate = attempt.estimate
            if attempt.end_s is not None and estimate.energy_j is not None and estimate.time_s:
                ran_s = attempt.end_s - attempt.start_s
                total_j += estimate.energy_j * ran_s / estimate.time_s
                known = True
    return total_j if known else None


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _percentile(values: list[float], percent: float) -> float | None:
    """Linear between the two nearest ranks, as numpy does it by default."""
    if not values:
        return None
    import numpy as np

    return float(np.percentile(values, percent))
