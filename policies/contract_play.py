"""How the worlds of the contract are played: the scheduler and the policy, and what is noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from jetsched.policies.contract_worlds import World
from jetsched.records import Estimate, Measurement, Outcome
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    Action,
    DeviceJoined,
    Event,
    Finished,
    Start,
    Stop,
)
from jetsched.scheduler.view import Policy

#: Called after each event, with the scheduler as it is then.
Probe = Callable[[Scheduler], object]

#: So many starts, and so many more for each job, are enough to tell that there is no end to it.
_STARTS, _STARTS_PER_JOB = 300, 5


@dataclass
class Played:
    """What came of a world: every action, and what should not have been."""

    scheduler: Scheduler
    actions: list[Action] = field(default_factory=list)
    bad_starts: list[str] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)  # when they were
    endless: bool = False  # it preempts and starts, and never comes to an end

    def lines(self) -> list[str]:
        """The actions in words, to be compared."""
        return [
            f"at {a.at_s!r} start {a.placement.job.id} on {a.placement.device.id}"
            if isinstance(a, Start)
            else f"at {a.at_s!r} stop {a.job_id} on {a.device_id}"
            for a in self.actions
        ]


def play(
    policy: Policy,
    world: World,
    *,
    probe: Probe = lambda scheduler: None,
    until_s: float = float("inf"),
) -> Played:
    """Let the scheduler run the world with the policy until nothing happens any more."""
    played = Played(Scheduler(policy, world.costs(), explain=False))
    runs, scheduler, order = _Runs(world), played.scheduler, count()
    heap: list[tuple[float, int, Event]] = []
    for event in [*(DeviceJoined(0.0, device) for device in world.devices), *world.events]:
        heappush(heap, (event.at_s, next(order), event))
    starts, most = 0, _STARTS + _STARTS_PER_JOB * len(world.jobs)
    while heap and heap[0][0] <= until_s:
        at_s, _, event = heappop(heap)
        actions = scheduler.handle(event)
        for action in actions:
            if isinstance(action, Start):
                starts += 1
                if not world.calm:
                    _judge(played, action)
                end = runs.start(action)
            else:
                end = runs.stop(action)
            heappush(heap, (end.at_s, next(order), end))
        played.actions += actions
        if not scheduler.fleet.job_on and len(scheduler.queue) and _could_start(scheduler, at_s):
            played.stalls.append(at_s)
        if starts > most:
            played.endless = True
            break
        probe(scheduler)
    return played


class _Runs:
    """The truth about attempts: what is preempted keeps its progress, and loads anew."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._started: dict[tuple[str, int], tuple[Start, float]] = {}
        self._done: dict[str, float] = {}  # job id -> the share of its work that is saved

    def start(self, start: Start) -> Finished:
        """How the attempt ends if nobody stops it."""
        job, load_s = start.placement.job, start.placement.estimate.load_s
        time_s, outcome = self._world.ending(start.placement, start.attempt)
        work_s = max(0.0, time_s - load_s)
        self._started[job.id, start.attempt] = start, work_s
        lasts_s = time_s - work_s * self._done.get(job.id, 0.0)
        return _end(start, start.at_s + lasts_s, outcome)

    def stop(self, stop: Stop) -> Finished:
        """How it ends if it is stopped now."""
        start, work_s = self._started[stop.job_id, stop.attempt]
        worked_s = stop.at_s - start.at_s - start.placement.estimate.load_s
        if stop.outcome == "preempted" and work_s > 0 and worked_s > 0:
            done = self._done.get(stop.job_id, 0.0) + worked_s / work_s
            self._done[stop.job_id] = min(1.0, done)
        return Finished(stop.at_s, stop.job_id, stop.attempt, stop.outcome)


def _end(start: Start, at_s: float, outcome: Outcome) -> Finished:
    job, device = start.placement.job, start.placement.device
    kill = None
    if outcome == "killed_memory":
        kill = Measurement(job.workload, device.device_class, outcome, job_id=job.id)
    return Finished(at_s, job.id, start.attempt, outcome, kill)


def _judge(played: Played, start: Start) -> None:
    """Note a start that the memory rule forbids, whatever the scheduler thought of it."""
    job, device = start.placement.job, start.placement.device
    record, fleet = played.scheduler.jobs[job.id], played.scheduler.fleet
    verdict = played.scheduler.verdict(record, device.device_class)
    if not isinstance(verdict, Estimate):
        played.bad_starts.append(f"starts job {job.id} on {device.id}, where it never fits")
    elif verdict.fit == "tight":
        for other in fleet.open.values():
            elsewhere = played.scheduler.verdict(record, other.device_class)
            fits = isinstance(elsewhere, Estimate) and elsewhere.fit == "fits"
            if fits and other.satisfies(job.needs):
                played.bad_starts.append(
                    f"starts job {job.id} on {device.id}, where it is tight; it fits {other.id}"
                )
                return


def _could_start(scheduler: Scheduler, now_s: float) -> bool:
    view = scheduler.view(now_s)
    return any(view.options(job) for job in view.queue())
