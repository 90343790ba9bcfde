"""One run in a simulated cluster: how far it is, when it will end, what it has saved."""

from __future__ import annotations

from math import inf

from jetsched.cluster.truth import TrueRun
from jetsched.records import Outcome
from jetsched.scheduler.events import Start, Stop


class SimulatedRun:
    """A run in progress.

    It goes through *own* seconds: those that it would have needed by itself. Beside others on the
    same device they pass more slowly than the clock's, at ``speed``. First it gets ready (fetches,
    loads, reads its checkpoint), then it works off what a checkpoint had not saved before.
    """

    # What most runs never change stands here once: there are a million of them.
    #: Nothing is to be told of it but that it is done, and nothing has happened to it.
    usual = False
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

    def __init__(self, start: Start, order: int, run: TrueRun) -> None:
        self.start = start
        self.order = order
        self.run = run
        self.ready_s = run.load_s
        self.work_s = run.time_s - run.load_s
        self._since_s = start.at_s

    def is_of(self, stop: Stop) -> bool:
        """Whether this is what is to be stopped."""
        return self.start.attempt == stop.attempt and self.start.placement.job.id == stop.job_id

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
        self.disturbed, self.usual = True, False

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
        self.disturbed, self.usual = True, False

    def halt(self, now_s: float, outcome: Outcome, text: str) -> None:
        """Do no more work: write a checkpoint and end so."""
        self.halted_s = self.own_s(now_s)
        self.lasts_s = self.halted_s + self.write_s
        self.outcome, self.text, self.usual = outcome, text, False

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
