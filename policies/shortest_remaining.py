"""Shortest remaining time first: long training runs make room for short jobs, and go on later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jetsched.policies.comparative_advantage import advantages
from jetsched.policies.ranked import Ranked
from jetsched.records import Job, Placement, Preempt
from jetsched.scheduler.state import ClassState, JobRecord
from jetsched.scheduler.view import View
from jetsched.units import format_duration


class ShortestRemaining(Ranked):
    """Start what has the least left to do; stop a training run that has much more left.

    SRPT is optimal for the mean completion on one machine when stopping is free (Schrage, *A proof
    of the optimality of the shortest remaining processing time discipline*, Operations Research 16,
    1968). Here it is not free: the run writes a checkpoint, and later loads and reads it again. Who
    is stopped is the run that would end last on its kind of device, and only where that pays:

    - it trains, so that its work is saved: anything else would begin anew;
    - it has at least ``factor`` times as much left as the waiting job takes, beside the costs;
    - the job starts sooner, by more than the costs, than on the next device that is free anyway;
    - the run has worked ``patience`` times the costs since it was started, so that no more than one
      part in ``patience + 1`` of a device's time goes into stopping.

    A checkpoint is at most all the memory that is live in the run; ``disk_mib_s`` is how fast it is
    written and read (assumed: a cheap NVMe drive). Free devices take jobs as in
    :class:`~jetsched.policies.comparative_advantage.ComparativeAdvantage` with ``bias``. Good: mean
    completion where a few long trainings would block many short jobs. Bad: those few; and where no
    run can be stopped it is comparative advantage.
    """

    name = "shortest_remaining"

    def __init__(
        self,
        bias: float = 2.0,
        factor: float = 2.0,
        patience: float = 4.0,
        disk_mib_s: float = 200.0,
    ) -> None:
        if not 0 <= bias <= 16:
            raise ValueError(f"bias must lie in 0..16, not {bias}")
        if not (factor >= 1 and patience >= 1 and disk_mib_s > 0):
            raise ValueError("factor and patience are 1 or more, disk_mib_s is above 0")
        self.bias = bias
        self.factor = factor
        self.patience = patience
        self.disk_mib_s = disk_mib_s
        #: By the index of a kind: the attempt that was stopped there last, to make room.
        self._stopped: dict[int, tuple[str, int]] = {}

    def ranks(self, job: Job, view: View) -> Sequence[float | None]:
        return advantages(view.times(job), self.bias)  # of what is left of it

    def decide(self, view: View) -> Iterator[Placement | Preempt]:  # type: ignore[override]
        """Starts, then runs to be stopped for those that still wait: one per kind at a time."""
        yield from super().decide(view)
        if view.planning or not view.queue_length or view.mark[0] < 0:
            return
        index = self._followed(view)
        for kind in view.kinds:
            key = index.first(kind, view)
            if key is None or view.free_in(kind) or self._makes_room(view, kind):
                continue
            found = self._victim(view, kind, key[-1])
            if found is not None:
                record, text = found
                attempt = record.attempts[-1].number
                self._stopped = {**self._stopped, kind.index: (record.job.id, attempt)}
                yield Preempt(record.job.id, text)

    def _makes_room(self, view: View, kind: ClassState) -> bool:
        """Whether a run on this kind was told to stop and has not ended yet."""
        job_id, attempt = self._stopped.get(kind.index, ("", 0))
        if not job_id:
            return False
        record = view.record(job_id)
        current = record.current
        return record.stopping and current is not None and current.number == attempt

    def _victim(self, view: View, kind: ClassState, job: Job) -> tuple[JobRecord, str] | None:
        """The run to be stopped for the job, and why; None if none is worth it."""
        latest = view.latest(kind)
        estimate = view.costs(job)[kind.position]
        if latest is None or estimate is None:
            return None
        running, device, _ = latest
        record = view.record(running.id)
        if not self._may_stop(record, job) or not device.satisfies(job.needs):
            return None
        ran = record.attempts[-1]
        saving_s = ran.estimate.peak_memory_mib / self.disk_mib_s
        swap_s = 2 * saving_s + ran.estimate.load_s
        ready_s = ran.estimate.load_s + (saving_s if record.group.saved else 0.0)
        worked_s = view.now_s - ran.start_s - ready_s
        rest_s = ran.estimate.time_s - ran.estimate.load_s - worked_s
        takes_s = estimate.time_s
        if worked_s < self.patience * swap_s or rest_s < self.factor * takes_s + swap_s + saving_s:
            return None
        otherwise_s = min(
            view.earliest_s(other) - view.now_s + cost.time_s
            for other, cost in zip(view.kinds, view.costs(job), strict=True)
            if cost is not None
        )
        if otherwise_s - (saving_s + takes_s) <= swap_s:
            return None
        return record, (
            f"{job.id} takes {format_duration(takes_s)}, this has {format_duration(rest_s)} left;"
            f" stopping costs about {format_duration(swap_s)}"
        )

    def _may_stop(self, record: JobRecord, job: Job) -> bool:
        victim = record.job
        if victim.workload.kind != "train" or victim.priority > job.priority:
            return False
        return not record.stopping and not record.cancel_asked
