"""A cluster in virtual time: a heap of what will happen, and the truth about how runs go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Literal

from jetsched.cluster.moves import Checkpoints, ModelCaches, Transfer
from jetsched.cluster.simulated_run import SimulatedRun, UsualRun, measured
from jetsched.cluster.truth import TrueRun, Truth
from jetsched.errors import InputError
from jetsched.policies.interference import Interference, SharedGpu
from jetsched.records import Device, DeviceClass, Job, Outcome
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

#: Of a job that cannot even start.
_NO_RUN = TrueRun(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Outage:
    """A device that is gone from ``from_s`` on, until ``until_s`` or for good."""

    device_id: str
    from_s: float
    until_s: float = inf


class SimulatedCluster:
    """Devices and jobs in virtual time, from 0; the loop's ``Cluster``.

    The same arguments give the same events in every process: what is random is drawn from the seed
    by job and device model. ``also`` are other things that happen, such as cancellations.
    A Finished event carries a measurement after a memory kill, and with ``measures="all"`` always.
    Without ``reports_started`` nothing tells when a run has loaded: no policy decides upon it.

    With a ``transfer`` boards fetch the models that they do not have, and with ``disk_mib_s`` it
    takes time to write a checkpoint and to read it again; estimates know of neither. A device that
    joins again in another class (``also``: its power mode was changed) goes on as one of that, and
    so does what runs there. What runs beside others on a device runs at the speed that
    ``interference`` says (:class:`SharedGpu` if there is none).
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
        transfer: Transfer | None = None,
        disk_mib_s: float | None = None,
        interference: Interference | None = None,
    ) -> None:
        self.now_s = 0.0
        #: Joules of all runs so far, of those that were killed or lost too.
        self.energy_j = 0.0
        #: Whether the truth has known the energy of every run.
        self.energy_known = True
        self._run = truth.run
        self._seed = seed
        self._measures = measures
        self._reports_started = reports_started
        self._caches = ModelCaches(transfer) if transfer is not None else None
        self._checkpoints = Checkpoints(disk_mib_s) if disk_mib_s is not None else None
        #: Of a run there is nothing to tell but its end.
        self._plain = not reports_started and transfer is None and measures == "kills"
        self._devices = {device.id: device for device in devices}  # as they are, or will be again
        self._gone: set[str] = set()
        self._jobs: Sequence[Job] = sorted(trace, key=_submitted_s)
        self._order: dict[str, int] = {}  # job id -> number, of those that wait
        self._interference = interference if interference is not None else SharedGpu()
        #: By device id: what runs there, or came first.
        self._on: dict[str, UsualRun | SimulatedRun] = {}
        self._together: dict[str, list[SimulatedRun]] = {}  # where several do: all of them
        self._saved: dict[str, float] = {}  # job id -> share of its work in the last checkpoint
        self._ids = count()
        #: (time, rank at that time, counter, what happens, or whose run goes on or ends, or what
        #: is over)
        self._heap: list[tuple[float, int, int, Event | UsualRun | SimulatedRun | Outage]] = []
        for outage in outages:
            self._plan_outage(outage)
        for event in also:
            rank = _JOIN if isinstance(event, DeviceJoined) else _OTHER
            self._push(event.at_s, rank, event)

    # -- what happens ----------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Everything that happens, in order of time; ends when nothing more will."""
        for device in list(self._devices.values()):
            if device.id not in self._gone:
                yield DeviceJoined(0.0, device)
        heap, jobs, order, on = self._heap, self._jobs, self._order, self._on
        at, total = 0, len(jobs)
        while True:
            arrives_s = jobs[at].submitted_s if at < total else inf
            limit = (arrives_s, _ARRIVAL)
            while heap and (heap[0] < limit or at == total):
                self.now_s, _, _, what = heappop(heap)
                if isinstance(what, UsualRun):
                    if what.over:
                        continue  # something happened to it: it goes on as another one
                    del on[what.device_id]
                    if what.joules is None:
                        self.energy_known = False
                    else:
                        self.energy_j += what.joules
                    yield Finished(self.now_s, what.job_id, what.attempt, "done")
                elif isinstance(what, SimulatedRun):
                    if what.over:
                        continue  # it was stopped, or lost with its device
                    if what.loading and what.ready_at_s == self.now_s:
                        yield self._loaded(what)
                    elif what.ends_at_s == self.now_s:
                        yield self._ended(what)  # else it was delayed
                else:
                    event = self._other(what)
                    if event is not None:
                        yield event
            if at == total:
                return
            first = at
            while at < total and jobs[at].submitted_s == arrives_s:
                order[jobs[at].id] = at
                at += 1
            self.now_s = arrives_s
            yield Submitted(arrives_s, tuple(jobs[first:at]))

    def _loaded(self, going: SimulatedRun) -> Started:
        going.loading = False
        return Started(self.now_s, going.job.id, going.attempt)

    def _ended(self, going: SimulatedRun) -> Finished:
        outcome, text = going.outcome, going.text
        if going.timed_out:
            limit_s = going.job.time_limit_s or 0.0
            outcome, text = "killed_time", f"ran into its time limit of {limit_s:,.0f} s"
        self._take_off(going, outcome)
        return self._finished(going, outcome, text)

    def _other(self, what: Event | Outage) -> Event | None:
        if isinstance(what, Outage):
            if self.now_s == what.from_s:
                self._gone.add(what.device_id)
                what = DeviceLost(self.now_s, what.device_id, "simulated outage")
            else:
                self._gone.discard(what.device_id)
                return DeviceJoined(self.now_s, self._devices[what.device_id])
        if isinstance(what, DeviceLost):
            for going in self._runs_on(what.device_id):
                self._take_off(going, "lost")
        elif isinstance(what, DeviceJoined):
            return self._joined(what)
        return what

    def _joined(self, event: DeviceJoined) -> DeviceJoined | None:
        device = event.device
        before = self._devices.get(device.id)
        runs = self._runs_on(device.id)  # as they were until now
        self._devices[device.id] = device
        if device.id in self._gone:
            return None  # it comes back as this
        if before is not None and before.device_class != device.device_class:
            for going in runs:
                others = [other for other in runs if other is not going]
                self._go_on(going, device.device_class, others)
        return event

    def _go_on(
        self, going: SimulatedRun, kind: DeviceClass, others: Sequence[SimulatedRun]
    ) -> None:
        """The device of a run is of another class now."""
        run = self._run(going.job, kind)
        if run is not None and going.halted_s == inf:
            self._book(going, going.own_s(self.now_s))
            going.go_on_as(run, self.now_s)
            self._end(going, kind, others)
            self._schedule(going)

    def _plan_outage(self, outage: Outage) -> None:
        device = self._devices.get(outage.device_id)
        if device is None:
            raise InputError(f"an outage of {outage.device_id!r}, which is not in the fleet")
        if not 0 <= outage.from_s < outage.until_s:
            raise InputError(f"an outage of {device.id} from {outage.from_s} to {outage.until_s}")
        if outage.from_s == 0:
            self._gone.add(device.id)  # it is not there to begin with
        else:
            self._push(outage.from_s, _LOSS, outage)
        if outage.until_s < inf:
            self._push(outage.until_s, _JOIN, outage)

    def _push(self, at_s: float, rank: int, what: Event | SimulatedRun | Outage) -> None:
        heappush(self._heap, (at_s, rank, next(self._ids), what))

    # -- what is done ----------------------------------------------------------------------------

    def perform(self, action: Action) -> None:
        """Start a run, or stop one."""
        if not isinstance(action, Start):
            self._stop(action)
            return
        placement = action.placement
        job, device = placement.job, placement.device
        kind = device.device_class
        run = self._run(job, kind)
        order = self._order.pop(job.id)
        if (
            run is not None
            and self._plain
            and run.peak_memory_mib <= kind.memory_mib
            and job.time_limit_s is None
            and job.checkpoint_every_s is None
            and job.id not in self._saved
            and device.id not in self._on
        ):
            # There may be a million of these: what all the rest below comes to, in one step.
            lasts_s = run.load_s + (run.time_s - run.load_s)
            joules = run.energy_j
            if joules is not None:
                joules = joules * lasts_s / run.time_s if run.time_s > 0 else 0.0
            usual = UsualRun(job.id, device.id, action.attempt, action.at_s, order, joules)
            self._on[device.id] = usual
            heappush(self._heap, (action.at_s + lasts_s, order, next(self._ids), usual))
            return
        going = SimulatedRun(job, device, action.at_s, action.attempt, order, run or _NO_RUN)
        there = self._runs_on(device.id)
        if run is None:
            going.outcome, going.text = "failed", f"it cannot run on {device.model}"
        else:
            self._prepare(going, there)
        self._schedule(going)
        if there:
            self._together[device.id] = [*there, going]
            self._pace(device.id)
        else:
            self._on[device.id] = going

    def _prepare(self, going: SimulatedRun, there: Sequence[SimulatedRun] = ()) -> None:
        """Find out what the run needs before and beside its work, and how it will end."""
        job, device = going.job, going.device
        going.done_before = self._saved.get(job.id, 0.0)
        if self._caches is not None:
            going.fetch_s = self._caches.fetch_s(device.id, job.workload)
            going.ready_s += going.fetch_s
        if self._checkpoints is not None:
            going.write_s = self._checkpoints.seconds(job.workload, going.run)
            if going.done_before:
                going.ready_s += going.write_s  # reading it takes as long
            if job.checkpoint_every_s:
                going.work_s *= 1 + going.write_s / job.checkpoint_every_s
        self._end(going, device.device_class, there)
        going.loading = self._reports_started and going.ready_s <= going.lasts_s

    def _end(
        self, going: SimulatedRun, kind: DeviceClass, others: Sequence[SimulatedRun] = ()
    ) -> None:
        """Find out how the run will end, after how many of its own seconds, and why."""
        run, job = going.run, going.job
        going.lasts_s = going.ready_s + (1 - going.done_before) * going.work_s
        others_mib = sum(other.run.peak_memory_mib for other in others)
        if run.peak_memory_mib + others_mib > kind.memory_mib:
            low, high = KILLED_WITHIN
            draw = uniform("memory kill", self._seed, job.id, kind.model)
            going.lasts_s *= low + (high - low) * draw
            if run.peak_memory_mib > kind.memory_mib:
                going.outcome = "killed_memory"
                needs_mib, has_mib = run.peak_memory_mib, kind.memory_mib
                going.text = f"needs {needs_mib:,.0f} MiB, {kind.model} has {has_mib:,.0f}"
            else:  # it would have fitted alone: no lesson about the workload
                going.outcome = "lost"
                number = len(others)
                going.text = f"memory ran out beside {number} other{'s' if number > 1 else ''}"

    def _pace(self, device_id: str) -> None:
        """Let all that run on a device go at the speeds that they have beside each other."""
        runs = self._runs_on(device_id)
        shares = [100.0 if r.run.gpu_util_pct is None else r.run.gpu_util_pct for r in runs]
        for at, going in enumerate(runs):
            speed = self._interference(shares[at], shares[:at] + shares[at + 1 :])
            going.go_at(speed if len(runs) > 1 else 1.0, self.now_s)
            self._schedule(going)

    def _runs_on(self, device_id: str) -> list[SimulatedRun]:
        """All that runs on the device, because something is to happen to it."""
        together = self._together.get(device_id)
        if together is not None:
            return list(together)
        going = self._on.get(device_id)
        if isinstance(going, UsualRun):
            going = self._on[device_id] = self._unusual(going)
        return [] if going is None else [going]

    def _unusual(self, usual: UsualRun) -> SimulatedRun:
        """The same run, with all that may happen to one."""
        usual.over = True
        job, device = self._jobs[usual.order], self._devices[usual.device_id]
        run = self._run(job, device.device_class)
        assert run is not None
        going = SimulatedRun(job, device, usual.at_s, usual.attempt, usual.order, run)
        self._prepare(going)
        self._schedule(going)
        return going

    def _schedule(self, going: SimulatedRun) -> None:
        """Foresee when the run will be ready and when it ends, from now on."""
        ends_at_s = going.at_own_s(going.lasts_s)
        limit_s = going.job.time_limit_s
        if limit_s is not None:
            going.timed_out = ends_at_s > going.at_s + limit_s
            ends_at_s = min(ends_at_s, going.at_s + limit_s)
        if going.loading:
            going.ready_at_s = going.at_own_s(going.ready_s)
            self._push(going.ready_at_s, going.order, going)
        going.ends_at_s = ends_at_s
        self._push(ends_at_s, going.order, going)

    def _stop(self, stop: Stop) -> None:
        going = next((r for r in self._runs_on(stop.device_id) if r.is_of(stop)), None)
        if going is None:
            return
        own_s = going.own_s(self.now_s)
        if stop.outcome == "preempted" and going.write_s and going.worked_s(own_s):
            going.halt(self.now_s, stop.outcome, stop.text)
            self._schedule(going)
            return
        self._take_off(going, stop.outcome)
        self._push(self.now_s, going.order, self._finished(going, stop.outcome, stop.text))

    def _take_off(self, going: SimulatedRun, outcome: Outcome) -> None:
        """A run ends and leaves its device: book its energy, and what it leaves behind."""
        going.over = True
        job, device_id = going.job, going.device.id
        ends = self.now_s == going.ends_at_s and not going.timed_out
        own_s = going.lasts_s if ends else going.own_s(self.now_s)  # rounding apart, it is the same
        self._leave(going, device_id)
        self._book(going, own_s)
        if self._caches is not None and own_s >= going.fetch_s:
            self._caches.keep(device_id, job.workload)
        if outcome == "done":
            if going.done_before:
                del self._saved[job.id]
            return
        self._order[job.id] = going.order  # it may come again
        if job.workload.kind == "train":
            # A preempted one writes a checkpoint when it is asked to stop.
            every_s = job.checkpoint_every_s
            saved = going.saved(own_s, every_s, all_of_it=outcome == "preempted")
            if saved > going.done_before:
                self._saved[job.id] = saved

    def _leave(self, going: SimulatedRun, device_id: str) -> None:
        del self._on[device_id]
        together = self._together.get(device_id)
        if together is not None:
            together.remove(going)
            self._on[device_id] = together[0]
            if len(together) == 1:
                del self._together[device_id]
            self._pace(device_id)

    def _book(self, going: SimulatedRun, own_s: float) -> None:
        energy_j = going.energy_j(own_s)
        if energy_j is None:
            self.energy_known = False
        else:
            self.energy_j += energy_j

    # -- what is reported ------------------------------------------------------------------------

    def _finished(self, going: SimulatedRun, outcome: Outcome, text: str) -> Finished:
        measurement = None
        if outcome == "killed_memory" or self._measures == "all":
            measurement = measured(going, self.now_s, outcome, text)
        return Finished(self.now_s, going.job.id, going.attempt, outcome, measurement, text)


def _submitted_s(job: Job) -> float:
    return job.submitted_s
