"""A cluster in virtual time: a heap of what will happen, and the truth about how runs go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Literal

from jetsched.cluster.truth import TrueRun, Truth
from jetsched.errors import InputError
from jetsched.records import Device, Job, Measurement, Outcome
from jetsched.scheduler.draws import uniform
from jetsched.scheduler.events import (
    Action,
    DeviceJoined,
    DeviceLost,
    Event,
    Finished,
    Start,
    Started,
    Stop,
    Submitted,
)

# At equal times, ends come in the order of submission; then losses, (re)joins, arrivals, the rest.
_LOSS, _JOIN, _ARRIVAL, _OTHER = range(1 << 60, (1 << 60) + 4)

#: A run that is killed for memory is killed within this part of it. Assumed: the peak is reached in
#: the first steps, but fragmentation and longer inputs can bring it later.
KILLED_WITHIN = (0.02, 0.5)


@dataclass(frozen=True, slots=True)
class Outage:
    """A device that is gone from ``from_s`` on, until ``until_s`` or for good."""

    device_id: str
    from_s: float
    until_s: float = inf


class _Attempt:
    """A run in progress: how it goes by nature, and how it will end here.

    ``done_before`` is the share of the work that a checkpoint has saved. It is over when it was
    stopped, lost or has ended; what is still in the heap about it then counts no more.
    """

    __slots__ = ("done_before", "loading", "order", "outcome", "over", "run", "start", "text")

    def __init__(self, start: Start, order: int, run: TrueRun, done_before: float) -> None:
        self.start = start
        self.order = order
        self.run = run
        self.done_before = done_before
        self.outcome: Outcome = "done"
        self.text = ""
        self.loading = False  # that it has loaded will be told first
        self.over = False


class SimulatedCluster:
    """Devices and jobs in virtual time, from 0; the loop's ``Cluster``.

    The same arguments give the same events in every process: what is random is drawn from the seed
    by job and device model. ``also`` are other things that happen, such as cancellations.
    A Finished event carries a measurement after a memory kill, and with ``measures="all"`` always.
    Without ``reports_started`` nothing tells when a run has loaded: no policy decides upon it.
    """

    def __init__(
        self,
        devices: Iterable[Device],
        trace: Iterable[Job],
        truth: Truth,
        *,
        seed: int,
        outages: Iterable[Outage] = (),
        also: Iterable[Event] = (),
        measures: Literal["kills", "all"] = "kills",
        reports_started: bool = True,
    ) -> None:
        self.now_s = 0.0
        #: Joules of all runs so far, of those that were killed or lost too.
        self.energy_j = 0.0
        #: Whether the truth has known the energy of every run.
        self.energy_known = True
        self._truth = truth
        self._seed = seed
        self._measures = measures
        self._devices = {device.id: device for device in devices}
        self._reports_started = reports_started
        self._jobs: Sequence[Job] = sorted(trace, key=_submitted_s)
        self._order: dict[str, int] = {}  # job id -> number, of those that have come and not ended
        self._on: dict[str, _Attempt] = {}  # device id -> what runs there
        self._saved: dict[str, float] = {}  # job id -> share of its work in the last checkpoint
        self._ids = count()
        #: (time, rank at that time, counter, what happens or whose run goes on or ends)
        self._heap: list[tuple[float, int, int, Event | _Attempt]] = []
        for device in self._devices.values():
            self._push(_JOIN, DeviceJoined(0.0, device))
        for outage in outages:
            self._plan_outage(outage)
        for event in also:
            self._push(_OTHER, event)

    # -- what happens ----------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Everything that happens, in order of time; ends when nothing more will."""
        heap, jobs, order = self._heap, self._jobs, self._order
        at, total = 0, len(jobs)
        while heap or at < total:
            arrives_s = jobs[at].submitted_s if at < total else inf
            limit = (arrives_s, _ARRIVAL)
            while heap and (heap[0] < limit or at == total):
                self.now_s, _, _, what = heappop(heap)
                if not isinstance(what, _Attempt):
                    if isinstance(what, DeviceLost):
                        self._drop(what.device_id)
                    yield what
                elif not what.over:
                    yield self._goes_on(what) if what.loading else self._ends(what)
            if at < total:
                first = at
                while at < total and jobs[at].submitted_s == arrives_s:
                    order[jobs[at].id] = at
                    at += 1
                self.now_s = arrives_s
                yield Submitted(arrives_s, tuple(jobs[first:at]))

    def _goes_on(self, attempt: _Attempt) -> Started:
        attempt.loading = False
        return Started(self.now_s, attempt.start.placement.job.id, attempt.start.attempt)

    def _ends(self, attempt: _Attempt) -> Finished:
        self._account(attempt, attempt.outcome)
        return self._finished(attempt, attempt.outcome, attempt.text)

    def _plan_outage(self, outage: Outage) -> None:
        device = self._devices.get(outage.device_id)
        if device is None:
            raise InputError(f"an outage of {outage.device_id!r}, which is not in the fleet")
        if not 0 <= outage.from_s < outage.until_s:
            raise InputError(f"an outage of {device.id} from {outage.from_s} to {outage.until_s}")
        self._push(_LOSS, DeviceLost(outage.from_s, device.id, "simulated outage"))
        if outage.until_s < inf:
            self._push(_JOIN, DeviceJoined(outage.until_s, device))

    def _push(self, rank: int, event: Event) -> None:
        heappush(self._heap, (event.at_s, rank, next(self._ids), event))

    # -- what is done ----------------------------------------------------------------------------

    def perform(self, action: Action) -> None:
        """Start a run, or stop one."""
        if isinstance(action, Start):
            self._start(action)
        else:
            self._stop(action)

    def _start(self, start: Start) -> None:
        placement, at_s = start.placement, start.at_s
        job, device = placement.job, placement.device
        order = self._order[job.id]
        run = self._truth.run(job, device.device_class)
        if run is None:
            attempt = _Attempt(start, order, _NO_RUN, 0.0)
            attempt.outcome, attempt.text = "failed", f"it cannot run on {device.model}"
            lasts_s = 0.0
        else:
            attempt = _Attempt(start, order, run, self._saved.get(job.id, 0.0))
            lasts_s = self._ending(attempt)
            if self._reports_started and run.load_s <= lasts_s:
                attempt.loading = True
                heappush(self._heap, (at_s + run.load_s, order, next(self._ids), attempt))
        self._on[device.id] = attempt
        heappush(self._heap, (at_s + lasts_s, order, next(self._ids), attempt))

    def _ending(self, attempt: _Attempt) -> float:
        """How long the run will last; how it ends and what is said of it is noted with it."""
        run, placement = attempt.run, attempt.start.placement
        job, kind = placement.job, placement.device.device_class
        lasts_s = run.load_s + (1 - attempt.done_before) * (run.time_s - run.load_s)
        has_mib = kind.memory_mib
        if run.peak_memory_mib > has_mib:
            low, high = KILLED_WITHIN
            draw = uniform("memory kill", self._seed, job.id, kind.model)
            lasts_s *= low + (high - low) * draw
            attempt.outcome = "killed_memory"
            attempt.text = f"needs {run.peak_memory_mib:,.0f} MiB, {kind.model} has {has_mib:,.0f}"
        if job.time_limit_s is not None and lasts_s > job.time_limit_s:
            lasts_s = job.time_limit_s
            attempt.outcome = "killed_time"
            attempt.text = f"ran into its time limit of {lasts_s:,.0f} s"
        return lasts_s

    def _stop(self, stop: Stop) -> None:
        attempt = self._on.get(stop.device_id)
        if attempt is None or attempt.start.attempt != stop.attempt:
            return
        self._account(attempt, stop.outcome)
        self._push(attempt.order, self._finished(attempt, stop.outcome, stop.text))

    def _drop(self, device_id: str) -> None:
        attempt = self._on.get(device_id)
        if attempt is not None:
            self._account(attempt, "lost")

    def _account(self, attempt: _Attempt, outcome: Outcome) -> None:
        """Take a run off its device; book its energy, and what its checkpoint has saved."""
        attempt.over = True
        placement = attempt.start.placement
        job = placement.job
        del self._on[placement.device.id]
        ran_s = self.now_s - attempt.start.at_s
        if attempt.run.energy_j is None:
            self.energy_known = False
        elif attempt.run.time_s > 0:
            self.energy_j += attempt.run.energy_j * ran_s / attempt.run.time_s
        if outcome == "done":
            del self._order[job.id]
            self._saved.pop(job.id, None)
            return
        if job.workload.kind != "train":
            return
        worked_s = max(0.0, ran_s - attempt.run.load_s)
        if outcome != "preempted":  # a preempted one writes a checkpoint when it is asked to stop
            every_s = job.checkpoint_every_s
            worked_s = every_s * (worked_s // every_s) if every_s else 0.0
        if worked_s:
            self._saved[job.id] = attempt.done_before + _share(attempt.run, worked_s)

    # -- what is reported ------------------------------------------------------------------------

    def _finished(self, attempt: _Attempt, outcome: Outcome, text: str) -> Finished:
        measurement = None
        if outcome == "killed_memory" or self._measures == "all":
            measurement = self._measurement(attempt, self.now_s, outcome, text)
        start = attempt.start
        return Finished(
            self.now_s, start.placement.job.id, start.attempt, outcome, measurement, text
        )

    def _measurement(
        self, attempt: _Attempt, at_s: float, outcome: Outcome, text: str
    ) -> Measurement:
        placement, run = attempt.start.placement, attempt.run
        job, kind = placement.job, placement.device.device_class
        ran_s = at_s - attempt.start.at_s
        loaded = ran_s >= run.load_s
        work_s = ran_s - run.load_s if loaded else None
        share = _share(run, work_s or 0.0)
        peak_mib = min(run.peak_memory_mib, kind.memory_mib)
        energy_j = run.energy_j
        return Measurement(
            workload=job.workload,
            device_class=kind,
            outcome=outcome,
            amount=job.amount * share,
            time_s=ran_s,
            load_s=run.load_s if loaded else None,
            work_s=work_s,
            peak_memory_mib=peak_mib,
            gpu_util_pct=run.gpu_util_pct,
            energy_j=energy_j * ran_s / run.time_s if energy_j is not None and run.time_s else None,
            evidence=() if outcome == "done" else ("simulated",),
            text=text,
            identity={"simulated": True},
            device=placement.device.id,
            job_id=job.id,
            source="assumed",
            emulated=kind.emulated,
        )


#: Of a job that cannot even start.
_NO_RUN = TrueRun(0.0, 0.0, 0.0, 0.0)


def _submitted_s(job: Job) -> float:
    return job.submitted_s


def _share(run: TrueRun, worked_s: float) -> float:
    """The part of the whole work that is done in so many seconds after loading."""
    work_s = run.time_s - run.load_s
    return min(1.0, worked_s / work_s) if work_s > 0 else 1.0
