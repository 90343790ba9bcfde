"""What is left of a job that was interrupted: a training run goes on from its checkpoint."""

from __future__ import annotations

from jetsched.records import Attempt, Estimate, Fit, Job
from jetsched.scheduler.costs import UnitCost

#: An estimate may have been too low: what comes back is never thought to be as good as done.
MOST_SAVED = 0.95


def saved_share(job: Job, ran: Attempt, saved_before: float) -> float:
    """The part of a job's work that its checkpoint should hold after an attempt, as estimated.

    ``ran`` is an attempt that has ended, at something that was left to do after ``saved_before``. A
    training run that is preempted saves all that it has done; one that ends otherwise has what it
    saved every ``checkpoint_every_s`` seconds, if it did. Nothing else can go on.
    """
    if job.workload.kind != "train" or ran.end_s is None:
        return saved_before
    work_s = ran.estimate.time_s - ran.estimate.load_s
    worked_s = max(0.0, ran.end_s - ran.start_s - ran.estimate.load_s)
    if ran.outcome != "preempted":
        every_s = job.checkpoint_every_s
        worked_s = every_s * (worked_s // every_s) if every_s else 0.0
    if not worked_s or not work_s > 0:
        return saved_before
    return min(MOST_SAVED, saved_before + (1 - saved_before) * worked_s / work_s)


class RestCost:
    """What is left to pay of a job of which a part is saved: it loads again, and does the rest."""

    __slots__ = ("_cost", "_left", "fit", "load_s", "rate_s")

    def __init__(self, cost: UnitCost, amount: float, saved: float) -> None:
        whole = cost.of(amount)
        self._cost = cost
        self._left = 1 - saved
        self.fit: Fit = cost.fit
        self.load_s = whole.load_s
        self.rate_s = (whole.time_s - whole.load_s) * self._left / amount if amount else 0.0

    def of(self, amount: float) -> Estimate:
        """The estimate for what is left of so many units of work."""
        whole = self._cost.of(amount)
        time_s = whole.load_s + amount * self.rate_s
        part = time_s / whole.time_s if whole.time_s > 0 else 1.0
        return Estimate(
            time_s,
            whole.time_p90_s * part,
            whole.load_s,
            whole.peak_memory_mib,
            whole.admitted_mib,
            whole.gpu_util_pct,
            None if whole.energy_j is None else whole.energy_j * part,
            whole.source,
            whole.method,
            whole.fit,
            whole.measurements,
            whole.emulated,
            whole.runtime_mib,
            whole.note,
        )
