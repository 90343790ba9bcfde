"""A cluster in virtual time: a heap of what will happen, and the truth about how runs go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count, groupby
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

# At equal times, completions come before losses, (re)joins and arrivals; the rest comes last.
_END, _LOSS, _JOIN, _ARRIVAL, _OTHER = range(5)

#: A run that is killed for memory is killed within this part of it. Assumed: the peak is reached in
#: the first steps, but fragmentation and longer inputs can bring it later.
KILLED_WITHIN = (0.02, 0.5)


@dataclass(frozen=True, slots=True)
class Outage:
    """A device that is gone from ``from_s`` on, until ``until_s`` or for good."""

    device_id: str
    from_s: float
    until_s: float = inf


@dataclass(slots=True)
class _Attempt:
    """A run in progress. ``done_before`` is the share of the work that a checkpoint has saved."""

    start: Start
    order: int
    run: TrueRun
    done_before: float


class SimulatedCluster:
    """Devices and jobs in virtual time, from 0; the loop's ``Cluster``.

    The same arguments give the same events in every process: what is random is drawn from the seed
    by job and device model. ``also`` are other things that happen, such as cancellations.
    A Finished event carries a measurement after a memory kill, and with ``measures="all"`` always.
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
        self._jobs: Sequence[Job] = sorted(trace, key=lambda job: job.submitted_s)
        self._order = {job.id: number for number, job in enumerate(self._jobs)}
        self._on: dict[str, _Attempt] = {}  # device id -> what runs there
        self._saved: dict[str, float] = {}  # job id -> share of its work in the last checkpoint
        self._ids = count()
        #: (time, kind, order of the job, counter, event, the attempt it is about)
        self._heap: list[tuple[float, int, int, int, Event, _Attempt | None]] = []
        for device in self._devices.values():
            self._push(_JOIN, DeviceJoined(0.0, device))
        for outage in outages:
            self._plan_outage(outage)
        for event in also:
            self._push(_OTHER, event)

    # -- what happens ----------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Everything that happens, in order of time; ends when nothing more will."""
        for at_s, group in groupby(self._jobs, key=lambda job: job.submitted_s):
            yield from self._until((at_s, _ARRIVAL))
            self.now_s = at_s
            yield Submitted(at_s, tuple(group))
        yield from self._until((inf, _ARRIVAL))

    def _until(self, limit: tuple[float, int]) -> Iterator[Event]:
        heap = self._heap
        while heap and heap[0][:2] < limit:
            self.now_s, kind, _, _, event, attempt = heappop(heap)
            if attempt is not None:
                device_id = attempt.start.placement.device.id
                if self._on.get(device_id) is not attempt:
                    continue  # it was stopped, or lost with its device
                if kind == _END and isinstance(event, Finished):
                    del self._on[device_id]
                    self._account(attempt, event.outcome)
            elif isinstance(event, DeviceLost):
                self._drop(event.device_id)
            yield event

    def _plan_outage(self, outage: Outage) -> None:
        device = self._devices.get(outage.device_id)
        if device is None:
            raise InputError(f"an outage of {outage.device_id!r}, which is not in the fleet")
        if not 0 <= outage.from_s < outage.until_s:
            raise InputError(f"an outage of {device.id} from {outage.from_s} to {outage.until_s}")
        self._push(_LOSS, DeviceLost(outage.from_s, device.id, "simulated outage"))
        if outage.until_s < inf:
            self._push(_JOIN, DeviceJoined(outage.until_s, device))

    def _push(self, kind: int, event: Event, attempt: _Attempt | None = None) -> None:
        order = attempt.order if attempt is not None else 0
        heappush(self._heap, (event.at_s, kind, order, next(self._ids), event, attempt))

    # -- what is done ----------------------------------------------------------------------------

    def perform(self, action: Action) -> None:
        """Start a run, or stop one."""
        if isinstance(action, Start):
            self._start(action)
        else:
            self._stop(action)

    def _start(self, start: Start) -> None:
        job, device = start.placement.job, start.placement.device
        run = self._truth.run(job, device.device_class)
        order = self._order[job.id]
        outcome: Outcome
        if run is None:
            attempt = _Attempt(start, order, TrueRun(0.0, 0.0, 0.0, 0.0), 0.0)
            outcome, lasts_s, text = "failed", 0.0, f"it cannot run on {device.model}"
        else:
            attempt = _Attempt(start, order, run, self._saved.get(job.id, 0.0))
            outcome, lasts_s, text = self._ending(job, device, attempt)
            if run.load_s <= lasts_s:
                loaded = Started(start.at_s + run.load_s, job.id, start.attempt)
                self._push(_END, loaded, attempt)
        self._on[device.id] = attempt
        end = self._finished(attempt, start.at_s + lasts_s, outcome, text)
        self._push(_END, end, attempt)

    def _ending(self, job: Job, device: Device, attempt: _Attempt) -> tuple[Outcome, float, str]:
        """How the run will end, how long it will have lasted, and what is said about it."""
        run = attempt.run
        lasts_s = run.load_s + (1 - attempt.done_before) * (run.time_s - run.load_s)
        outcome: Outcome = "done"
        text = ""
        has_mib = device.device_class.memory_mib
        if run.peak_memory_mib > has_mib:
            low, high = KILLED_WITHIN
            draw = uniform("memory kill", self._seed, job.id, device.model)
            outcome, lasts_s = "killed_memory", lasts_s * (low + (high - low) * draw)
            text = f"needs {run.peak_memory_mib:,.0f} MiB, {device.model} has {has_mib:,.0f}"
        if job.time_limit_s is not None and lasts_s > job.time_limit_s:
            outcome, lasts_s = "killed_time", job.time_limit_s
            text = f"ran into its time limit of {job.time_limit_s:,.0f} s"
        return outcome, lasts_s, text

    def _stop(self, stop: Stop) -> None:
        attempt = self._on.get(stop.device_id)
        if attempt is None or attempt.start.attempt != stop.attempt:
            return
        del self._on[stop.device_id]
        self._account(attempt, stop.outcome)
        self._push(_END, self._finished(attempt, self.now_s, stop.outcome, stop.text))

    def _drop(self, device_id: str) -> None:
        attempt = self._on.pop(device_id, None)
        if attempt is not None:
            self._account(attempt, "lost")

    def _account(self, attempt: _Attempt, outcome: Outcome) -> None:
        """Book the energy of a run that ends now, and what its checkpoint has saved."""
        job = attempt.start.placement.job
        ran_s = self.now_s - attempt.start.at_s
        if attempt.run.energy_j is None:
            self.energy_known = False
        elif attempt.run.time_s > 0:
            self.energy_j += attempt.run.energy_j * ran_s / attempt.run.time_s
        if outcome == "done" or job.workload.kind != "train":
            return
        worked_s = max(0.0, ran_s - attempt.run.load_s)
        if outcome != "preempted":  # a preempted one writes a checkpoint when it is asked to stop
            every_s = job.checkpoint_every_s
            worked_s = every_s * (worked_s // every_s) if every_s else 0.0
        if worked_s:
            self._saved[job.id] = attempt.done_before + _share(attempt.run, worked_s)

    # -- what is reported ------------------------------------------------------------------------

    def _finished(self, attempt: _Attempt, at_s: float, outcome: Outcome, text: str) -> Finished:
        measurement = None
        if outcome == "killed_memory" or self._measures == "all":
            measurement = self._measurement(attempt, at_s, outcome, text)
        start = attempt.start
        return Finished(at_s, start.placement.job.id, start.attempt, outcome, measurement, text)

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


def _share(run: TrueRun, worked_s: float) -> float:
    """The part of the whole work that is done in so many seconds after loading."""
    work_s = run.time_s - run.load_s
    return min(1.0, worked_s / work_s) if work_s > 0 else 1.0
