"""What a finished run was like, in the figures that policies are compared by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from jetsched.records import Attempt, Device, Estimate, Job
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.state import JobRecord

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

_KILLED = frozenset({"killed_memory", "killed_time", "killed_heat"})


@dataclass(frozen=True, slots=True)
class Metrics:
    """Figures of one run. None means that there is nothing to take it from.

    Completion is from submission to the end of the last attempt, of jobs that are *done*; slowdown
    is that divided by the run time on the fastest device of the fleet that can run the job. Jobs
    that ended otherwise, or not at all, count in ``unfinished`` and nowhere else: look there first.

    A warm-up leaves the jobs that were submitted during it out of all figures per job (completion,
    slowdown, deadlines, users) and its time out of the utilisation. Jobs, attempts, kills, losses,
    energy and makespan are those of the whole run.
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
    #: Attempts that were stopped to let another job run.
    preempted: int = 0
    #: Attempts that may have gone on from where an earlier one was, by its checkpoint.
    resumed: int = 0
    #: Jobs that the figures per job are of: done, and submitted after the warm-up.
    counted: int = 0
    #: Jain's index of the speed that each user got: 1 when all got the same, 1/n when one got all.
    fairness: float | None = None
    #: The mean slowdown of the user who fared worst.
    worst_user_slowdown: float | None = None


def measure(
    scheduler: Scheduler,
    devices: Iterable[Device],
    *,
    fastest_s: Callable[[Job], float | None] | None = None,
    energy_j: float | None = None,
    warmup: float = 0.0,
    cooldown: float = 0.0,
) -> Metrics:
    """The figures of a run that is over, or of what there is of it by now. Changes nothing.

    ``devices`` are all that belonged to the fleet, lost ones included. ``fastest_s`` gives the run
    time of a job on its best device, ``energy_j`` is what the whole run has used; where they are
    not given, the scheduler's own estimates stand in. ``warmup`` and ``cooldown`` are parts, from
    0 to less than 1 together, of the time between the first and the last submission: jobs of the
    first part met a fleet that was still empty, those of the last part one that nobody else came
    to. Fairness is measured where there are at least two users.
    """
    records = list(scheduler.jobs.values())
    fleet = list(devices)
    fastest = fastest_s or (lambda job: _estimated_fastest_s(scheduler, fleet, job))
    from_s, until_s = counted_window([r.job.submitted_s for r in records], warmup, cooldown)
    done, counted, missed = 0, list[JobRecord](), 0
    for record in records:
        if record.state == "done":
            done += 1
        if from_s <= record.job.submitted_s <= until_s:
            missed += _missed(record, scheduler.now_s)
            if record.state == "done":
                counted.append(record)
    completions = _array(_ended_s(r) - r.job.submitted_s for r in counted)
    best = _array(fastest(r.job) or 0.0 for r in counted)
    known = best > 0
    slowdowns = completions[known] / best[known]
    users = _by_user([r.job.user for r in counted], known, slowdowns)
    tally = _Tally(records, fleet, from_s if warmup else -inf, until_s if cooldown else inf)
    if scheduler.fleet.sharing is not None:
        tally.take_out(_shared_s(records, tally.from_s, tally.until_s))
    return Metrics(
        jobs=len(records),
        done=done,
        unfinished=len(records) - done,
        mean_completion_s=_mean(completions),
        p50_completion_s=_percentile(completions, 50),
        p95_completion_s=_percentile(completions, 95),
        p99_completion_s=_percentile(completions, 99),
        mean_slowdown=_mean(slowdowns),
        p99_slowdown=_percentile(slowdowns, 99),
        makespan_s=tally.makespan_s,
        missed_deadlines=missed,
        killed=tally.killed,
        lost=tally.lost,
        attempts=tally.attempts,
        energy_j=energy_j if energy_j is not None else tally.energy_j,
        utilisation=tally.utilisation,
        preempted=tally.preempted,
        resumed=tally.resumed,
        counted=len(counted),
        fairness=_jain(users),
        worst_user_slowdown=max(users) if users else None,
    )


def counted_window(
    submitted_s: Collection[float], warmup: float, cooldown: float = 0.0
) -> tuple[float, float]:
    """From when to when jobs must be submitted to count in the figures per job."""
    if not submitted_s:
        return -inf, inf
    first_s, last_s = min(submitted_s), max(submitted_s)
    span_s = last_s - first_s
    return first_s + warmup * span_s, last_s - cooldown * span_s


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


class _Tally:
    """What is summed over all attempts, in one pass: there may be millions."""

    def __init__(
        self, records: Sequence[JobRecord], devices: Sequence[Device], from_s: float, until_s: float
    ) -> None:
        self.from_s, self.until_s = from_s, until_s
        self.attempts = self.killed = self.lost = self.preempted = self.resumed = 0
        self.makespan_s: float | None = None
        #: By the estimates: each attempt's in proportion to how long it ran; None if none is known.
        self.energy_j: float | None = None
        first_s = min((r.job.submitted_s for r in records), default=0.0)
        last_s = first_s
        self._model_of = model_of = {device.id: device.model for device in devices}
        self._busy_s = busy_s = dict.fromkeys(sorted(set(model_of.values())), 0.0)
        for record in records:
            if len(record.attempts) > 1:
                self.resumed += _resumed(record)
            for attempt in record.attempts:
                self.attempts += 1
                if attempt.end_s is None:
                    continue
                last_s = max(last_s, attempt.end_s)
                self._note_end(attempt)
                model = model_of.get(attempt.device)
                if model is not None:
                    inside_s = min(attempt.end_s, until_s) - max(attempt.start_s, from_s)
                    busy_s[model] += max(0.0, inside_s)
        if self.attempts:
            self.makespan_s = last_s - first_s
        self._has_s = dict.fromkeys(busy_s, 0.0)
        for name in model_of.values():
            self._has_s[name] += max(0.0, min(last_s, until_s) - max(first_s, from_s))

    @property
    def utilisation(self) -> dict[str, float]:
        has_s = self._has_s
        return {m: busy / has_s[m] if has_s[m] else 0.0 for m, busy in self._busy_s.items()}

    def take_out(self, shared_s: Mapping[str, float]) -> None:
        """Seconds, by device, that were counted for each of several jobs on it."""
        for device, seconds in shared_s.items():
            if device in self._model_of:
                self._busy_s[self._model_of[device]] -= seconds

    def _note_end(self, attempt: Attempt) -> None:
        outcome, estimate = attempt.outcome, attempt.estimate
        if outcome != "done":
            self.killed += outcome in _KILLED
            self.lost += outcome == "lost"
            self.preempted += outcome == "preempted"
        if estimate.energy_j is not None and estimate.time_s and attempt.end_s is not None:
            ran_s = attempt.end_s - attempt.start_s
            self.energy_j = (self.energy_j or 0.0) + estimate.energy_j * ran_s / estimate.time_s


def _resumed(record: JobRecord) -> int:
    """Attempts after one that has left a checkpoint, or may have."""
    if record.job.workload.kind != "train":
        return 0
    first = next((a.number for a in record.attempts if a.outcome == "preempted"), None)
    if record.job.checkpoint_every_s:
        first = 1
    return 0 if first is None else len(record.attempts) - first


def _shared_s(records: Iterable[JobRecord], from_s: float, until_s: float) -> dict[str, float]:
    """By device: how much longer all its attempts took together than any of them ran there."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for attempt in record.attempts:
            if attempt.end_s is not None:
                span = max(attempt.start_s, from_s), min(attempt.end_s, until_s)
                spans.setdefault(attempt.device, []).append(span)
    shared_s = dict.fromkeys(spans, 0.0)
    for device, own in spans.items():
        busy_until_s = -inf
        for start_s, end_s in sorted(own):
            if start_s < end_s:
                shared_s[device] += max(0.0, min(end_s, busy_until_s) - start_s)
                busy_until_s = max(busy_until_s, end_s)
    return shared_s


def _estimated_fastest_s(scheduler: Scheduler, devices: list[Device], job: Job) -> float | None:
    record = scheduler.jobs[job.id]
    kinds = {d.device_class: None for d in devices if d.satisfies(job.needs)}
    verdicts = (scheduler.verdict(record, kind) for kind in kinds)
    return min((v.time_s for v in verdicts if isinstance(v, Estimate)), default=None)


# ------------------------------------------------------------------------------------------- users


def _by_user(users: Sequence[str], known: Bools, slowdowns: Numbers) -> list[float]:
    """The mean slowdown of each user, in the order of their names; empty for fewer than two."""
    import numpy as np

    if len(set(users)) < 2:
        return []
    names, of = np.unique(np.array(users, dtype=object)[known], return_inverse=True)
    sums = np.bincount(of, weights=slowdowns, minlength=len(names))
    means = sums / np.bincount(of, minlength=len(names))
    return [float(mean) for mean in means] if len(names) > 1 else []


def _jain(slowdowns: Sequence[float]) -> float | None:
    """Jain's fairness index of speeds, the inverse of slowdowns (Jain, Chiu and Hawe 1984)."""
    if not slowdowns:
        return None
    speeds = [1 / slowdown for slowdown in slowdowns]
    return sum(speeds) ** 2 / (len(speeds) * sum(speed**2 for speed in speeds))


# ------------------------------------------------------------------------------------- arithmetic


def _array(values: Iterable[float]) -> Numbers:
    import numpy as np

    return np.fromiter(values, dtype=np.float64)


def _mean(values: Numbers) -> float | None:
    return float(values.mean()) if len(values) else None


def _percentile(values: Numbers, percent: float) -> float | None:
    """Linear between the two nearest ranks, as numpy does it by default."""
    if not len(values):
        return None
    import numpy as np

    return float(np.percentile(values, percent))
