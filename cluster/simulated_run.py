"""One run in a simulated cluster: how far it is, when it will end, what it has saved."""

from __future__ import annotations

from math import inf

from jetsched.cluster.truth import TrueRun
from jetsched.records import Device, Job, Measurement, Outcome
from jetsched.scheduler.events import Stop


class UsualRun:
    """A run of which there will be nothing to tell but that it is done, and what it took.

    There are a million of them, ten thousand at a time: it holds as little as can be. When
    something happens to it, a :class:`SimulatedRun` takes its place and it is ``over``.
    """

    __slots__ = ("at_s", "attempt", "device_id", "job_id", "joules", "order", "over")

    def __init__(
        self,
        job_id: str,
        device_id: str,
        attempt: int,
        at_s: float,
        order: int,
        joules: float | None,
    ) -> None:
        self.job_id = job_id
        self.device_id = device_id
        self.attempt = attempt
        self.at_s = at_s
        self.order = order
        self.joules = joules
        self.over = False


class SimulatedRun:
    """A run in progress.

    It goes through *own* seconds: those that it would have needed by itself. Beside others on the
    same device they pass more slowly than the clock's, at ``speed``. First it gets ready (fetches,
    loads, reads its checkpoint), then it works off what a checkpoint had not saved before.
    """

    # What most runs never change stands here once.
    outcome: Outcome = "done"
    text = ""
    #: It will reach its time limit before it can end so.
    timed_out = False
    #: The share of its work that an earlier attempt has saved.
    done_before = 0.0
    #: Own seconds of fetching its model, part of those until it is ready.
    fetch_s = 0.0
    #: Seconds that writing a checkpoint takes, and clock seconds between two.
    write_s = 0.0
    #: Own seconds after which it does no more work, only saves what it has done.
    halted_s = inf
    #: That it is ready has to be told, and when.
    loading = False
    ready_at_s = -inf
    #: It was stopped or lost, or has ended: what the heap still holds of it counts no more.
    over = False
    #: It was not alone all the time, or its device changed under it.
    disturbed = False
    speed = 1.0
    ends_at_s = -inf
    lasts_s = 0.0
    _own_s = 0.0
    _booked_s = 0.0

    def __init__(
        self, job: Job, device: Device, at_s: float, attempt: int, order: int, run: TrueRun
    ) -> None:
        self.job = job
        self.device = device
        self.at_s = at_s
        self.attempt = attempt
        self.order = order
        self.run = run
        self.ready_s = run.load_s
        self.work_s = run.time_s - run.load_s
        self._since_s = at_s

    def is_of(self, stop: Stop) -> bool:
        """Whether this is what is to be stopped."""
        return self.attempt == stop.attempt and self.job.id == stop.job_id

    # -- how far it is ---------------------------------------------------------------------------

    def own_s(self, now_s: float) -> float:
        """Own seconds so far."""
        return self._own_s + (now_s - self._since_s) * self.speed

    def at_own_s(self, own_s: float) -> float:
        """When it will have had so many own seconds, if nothing changes."""
        return self._since_s + (own_s - self._own_s) / self.speed

    def worked_s(self, own_s: float) -> float:
        """Own seconds of work, out of ``work_s`` for all of it."""
        return max(0.0, min(own_s, self.halted_s) - self.ready_s)

    def share(self, worked_s: float) -> float:
        """The part of the whole work that so many seconds of it are."""
        return min(1.0, worked_s / self.work_s) if self.work_s > 0 else 1.0

    def saved(self, own_s: float, every_s: float | None, *, all_of_it: bool) -> float:
        """The share of its work in its last checkpoint, if the run ends now.

        ``all_of_it``: it has just written one. Else it did every ``every_s`` seconds of work, and
        what it did since the last is lost.
        """
        worked_s = self.worked_s(own_s)
        if not all_of_it:
            period_s = every_s + self.write_s if every_s else inf
            worked_s = period_s * (worked_s // period_s) if worked_s >= period_s else 0.0
        return self.done_before + (self.share(worked_s) if worked_s else 0.0)

    # -- what changes it -------------------------------------------------------------------------

    def go_at(self, speed: float, now_s: float) -> None:
        """Change the speed from now on."""
        self._own_s, self._since_s = self.own_s(now_s), now_s
        self.speed = speed
        self.disturbed = True

    def go_on_as(self, run: TrueRun, now_s: float) -> None:
        """The device has become another one under it: what is left goes on as that would.

        What was fetched and read stays so, of loading the same part is done. Its energy until now
        must have been booked.
        """
        own_s = self.own_s(now_s)
        rest = self.ready_s - self.run.load_s  # what has nothing to do with the device's speed
        stretch = self.work_s / (self.run.time_s - self.run.load_s) if self.work_s else 1.0
        part, share = min(1.0, own_s / self.ready_s) if self.ready_s else 1.0, 0.0
        if part == 1.0:
            share = self.share(self.worked_s(own_s))
        self.run = run
        self.ready_s = rest + run.load_s
        self.work_s = stretch * (run.time_s - run.load_s)
        self.outcome, self.text = "done", ""
        self._own_s = self._booked_s = part * self.ready_s + share * self.work_s
        self._since_s = now_s
        self.disturbed = True

    def halt(self, now_s: float, outcome: Outcome, text: str) -> None:
        """Do no more work: write a checkpoint and end so."""
        self.halted_s = self.own_s(now_s)
        self.lasts_s = self.halted_s + self.write_s
        self.outcome, self.text = outcome, text

    # -- what it costs ---------------------------------------------------------------------------

    def energy_j(self, own_s: float) -> float | None:
        """Joules since this was last asked; None where the truth does not know.

        Fetching, and reading and writing checkpoints, take the mean power of the run: assumed.
        """
        run = self.run
        if run.energy_j is None:
            return None
        new_s, self._booked_s = own_s - self._booked_s, own_s
        return run.energy_j * new_s / run.time_s if run.time_s > 0 else 0.0


def measured(going: SimulatedRun, now_s: float, outcome: Outcome, text: str) -> Measurement | None:
    """What was measured; of a disturbed run only that it was killed: its times are no rates."""
    if going.disturbed and outcome != "killed_memory":
        return None
    job, run, kind = going.job, going.run, going.device.device_class
    ran_s = now_s - going.at_s
    loaded = ran_s >= going.ready_s and not going.disturbed
    work_s = ran_s - going.ready_s if loaded else None
    energy_j = run.energy_j
    return Measurement(
        workload=job.workload,
        device_class=kind,
        outcome=outcome,
        amount=job.amount * going.share(work_s or 0.0),
        time_s=ran_s,
        load_s=run.load_s if loaded else None,
        work_s=work_s,
        peak_memory_mib=min(run.peak_memory_mib, kind.memory_mib),
        gpu_util_pct=run.gpu_util_pct,
        energy_j=energy_j * ran_s / run.time_s if energy_j is not None and run.time_s else None,
        evidence=() if outcome == "done" else ("simulated",),
        text=text,
        identity={"simulated": True},
        device=going.device.id,
        job_id=job.id,
        source="assumed",
        emulated=kind.emulated,
    )
