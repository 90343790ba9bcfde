"""What came of the jobs in one of the worlds of a question, in figures.

Figures per job are of the jobs that are compared. Those that still run are none of them: they only
take up boards, in what was as in what is simulated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jetsched.cluster.pastjobs import PastJob
from jetsched.cluster.simulating import SimulationRun
from jetsched.cluster.whatif import Came
from jetsched.cluster.whatif_worlds import World
from jetsched.scheduler.state import JobRecord

#: From when to when something ran on a board; None: it still does.
_Ran = tuple[float, float | None]


def was(title: str, world: World) -> Came:
    """What was, of a history."""
    past, origin_s = world.past or {}, world.origin_s
    jobs: list[PastJob] = [job for id, job in past.items() if id not in world.pinned]
    attempts = [a for job in jobs for a in job.attempts]
    ends = [a.end_s for a in attempts if a.end_s is not None]
    makespan_s = max(ends) - origin_s if ends else None
    done = [job for job in jobs if job.outcome == "done"]
    seen = [a.measurement.energy_j for a in attempts if a.measurement is not None]
    known = [energy_j for energy_j in seen if energy_j is not None]
    boards = len(world.scenario.devices)
    ran = [
        (a.start_s - origin_s, None if a.end_s is None else a.end_s - origin_s)
        for job in past.values()
        for a in job.attempts
    ]
    return Came(
        title,
        "measured",
        world.policy,
        boards,
        len(jobs),
        len(done),
        *_times([(job.end_s or 0.0) - job.submitted_s for job in done]),
        makespan_s,
        sum((a.outcome or "").startswith("killed") for a in attempts),
        sum(a.outcome == "lost" for a in attempts),
        sum(_missed(job.job.deadline_s, _end_s(job)) for job in jobs),
        _in_use(ran, makespan_s, boards),
        sum(known) if known else None,
        len(attempts),
        len(known),
    )


def came(title: str, world: World, run: SimulationRun) -> Came:
    """What came of a simulation. Energy is that of all that ran in it."""
    records = [r for r in run.scheduler.jobs.values() if r.job.id not in world.pinned]
    done = [record for record in records if record.state == "done"]
    attempts = [a for record in records for a in record.attempts]
    ends = [a.end_s for a in attempts if a.end_s is not None]
    makespan_s = max(ends) if ends else None
    boards = len(run.devices)
    everything = [(a.start_s, a.end_s) for r in run.scheduler.jobs.values() for a in r.attempts]
    return Came(
        title,
        "estimated",
        run.policy,
        boards,
        len(records),
        len(done),
        *_times([completion_s(record) or 0.0 for record in done]),
        makespan_s,
        sum((a.outcome or "").startswith("killed") for a in attempts),
        sum(a.outcome == "lost" for a in attempts),
        sum(_missed(r.job.deadline_s, _sim_end_s(r)) for r in records),
        _in_use(everything, makespan_s, boards),
        run.metrics.energy_j,
        len(attempts),
    )


def completion_s(record: JobRecord) -> float | None:
    """From submission until it is done; None where it is not."""
    end_s = _sim_end_s(record)
    return None if end_s is None else end_s - record.job.submitted_s


def _sim_end_s(record: JobRecord) -> float | None:
    return record.attempts[-1].end_s if record.state == "done" else None


def _end_s(job: PastJob) -> float | None:
    """On the clock of its deadline."""
    return job.end_s if job.outcome == "done" else None


def _missed(deadline_s: float | None, done_s: float | None) -> bool:
    return deadline_s is not None and (done_s is None or done_s > deadline_s)


def _in_use(ran: Iterable[_Ran], span_s: float | None, boards: int) -> float | None:
    """The part of the boards' time, from 0 to ``span_s``, in which something ran on them."""
    if not span_s or not boards:
        return None
    busy_s = sum(
        max(0.0, min(span_s if end_s is None else end_s, span_s) - max(0.0, start_s))
        for start_s, end_s in ran
    )
    return busy_s / (boards * span_s)


def _times(completions_s: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and 95th percentile."""
    if not completions_s:
        return None, None
    import numpy as np

    return float(np.mean(completions_s)), float(np.percentile(completions_s, 95))
