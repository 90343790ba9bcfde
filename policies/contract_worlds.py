"""The small random worlds in which a policy's contract is tested, and how they are played."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random

from jetsched.records import (
    Device,
    DeviceClass,
    Estimate,
    Job,
    Measurement,
    Needs,
    Never,
    Outcome,
    Verdict,
    Workload,
)
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.draws import uniform
from jetsched.scheduler.events import (
    Action,
    CancelAsked,
    DeviceJoined,
    DeviceLost,
    Event,
    Finished,
    Start,
    Stop,
    Submitted,
)
from jetsched.scheduler.table import VerdictTable, known_run
from jetsched.scheduler.view import Policy

_MODELS = ("slow-board", "fast-board", "large-board")


class World:
    """A random fleet, random jobs and random mishaps, the same ones for the same seed.

    ``calm``: no mishaps, and every job arrives. ``only_tight``: every job is tight everywhere.
    """

    def __init__(self, seed: int, *, calm: bool = False, only_tight: bool = False) -> None:
        random = Random(seed)
        self.seed = seed
        self.calm = calm
        classes = [
            DeviceClass(model, "", "", 4000.0 * (number + 1))
            for number, model in enumerate(_MODELS[: random.randint(1, len(_MODELS))])
        ]
        self.devices = tuple(
            Device(f"{kind.model}-{number}", kind, ("lab",) if random.random() < 0.3 else ())
            for kind in classes
            for number in range(1, random.randint(1, 3) + 1)
        )
        self.verdicts: dict[str, dict[str, Verdict]] = {}
        self.jobs = tuple(
            self._job(str(n), random, only_tight) for n in range(random.randint(1, 25))
        )
        self.arrivals = self._arrivals(random)
        self.mishaps: list[Event] = [] if calm else self._mishaps(random)

    def costs(self) -> VerdictTable:
        """A new cost model, which has learnt nothing yet."""
        return VerdictTable(self.verdicts)

    def _job(self, job_id: str, random: Random, only_tight: bool) -> Job:
        size_s = random.choice([10.0, 60.0, 600.0]) * random.uniform(0.5, 1.5)
        row: dict[str, Verdict] = {}
        for model in _MODELS:
            roll = 0.5 if only_tight else random.random()
            time_s = size_s * random.uniform(0.2, 2.0)
            if roll < 0.2:
                row[model] = Never("NeverFits", "too large")
            else:
                row[model] = known_run(
                    time_s,
                    energy_j=None if random.random() < 0.2 else 10 * time_s,  # not always known
                    fit="tight" if 0.4 < roll < 0.6 else "fits",
                )
        self.verdicts[job_id] = row
        wish = random.choice([(), (), (), (self.devices[0].id,), ("lab", self.devices[-1].model)])
        return Job(
            job_id,
            Workload("command", f"work-{job_id}"),
            priority=random.choice([50, 50, 50, 90]),
            needs=Needs(device=wish),
        )

    def _arrivals(self, random: Random) -> list[Submitted]:
        groups: list[Submitted] = []
        at_s, left = 0.0, list(self.jobs)
        while left:
            size = random.choice([1, 1, 2, 5, len(left)])
            jobs = tuple(left[:size])
            groups.append(Submitted(at_s, jobs))
            left = left[size:]
            at_s += random.choice([0.0, 5.0, 100.0])
        return groups

    def _mishaps(self, random: Random) -> list[Event]:
        events: list[Event] = []
        for device in self.devices:
            if random.random() < 0.3:
                lost_s = random.uniform(0.0, 500.0)
                events.append(DeviceLost(lost_s, device.id))
                events.append(DeviceJoined(lost_s + random.uniform(1.0, 300.0), device))
        for job in self.jobs:
            if random.random() < 0.1:
                events.append(CancelAsked(random.uniform(0.0, 500.0), job.id))
        return events

    def ending(self, start: Start) -> tuple[float, Outcome]:
        """How long the attempt really takes, and how it ends."""
        job_id, model = start.placement.job.id, start.placement.device.model
        key = ("contract", self.seed, job_id, model, start.attempt)
        time_s = start.placement.estimate.time_s * (0.5 + uniform(*key))
        roll = 1.0 if self.calm else uniform(*key, "outcome")
        if roll < 0.1:
            return time_s / 2, "killed_memory"
        return time_s, "failed" if roll < 0.15 else "done"


@dataclass
class Played:
    """What came of a world: every action, and what should not have been."""

    scheduler: Scheduler
    actions: list[Action] = field(default_factory=list)
    bad_starts: list[str] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)  # when they were


def play(policy: Policy, world: World) -> Played:
    """Let the scheduler run the world with the policy until nothing happens any more."""
    played = Played(Scheduler(policy, world.costs(), explain=False))
    scheduler, order = played.scheduler, count()
    joins = [DeviceJoined(0.0, device) for device in world.devices]
    heap: list[tuple[float, int, Event]] = []
    for event in [*joins, *world.arrivals, *world.mishaps]:
        heappush(heap, (event.at_s, next(order), event))
    while heap:
        at_s, _, event = heappop(heap)
        actions = scheduler.handle(event)
        for action in actions:
            if isinstance(action, Start):
                _judge(played, action)
                time_s, outcome = world.ending(action)
                end = _end(action, at_s + time_s, outcome)
                heappush(heap, (end.at_s, next(order), end))
            elif isinstance(action, Stop):
                end = Finished(at_s, action.job_id, action.attempt, action.outcome)
                heappush(heap, (at_s, next(order), end))
        played.actions += actions
        if not scheduler.fleet.job_on and _could_start(scheduler, at_s):
            played.stalls.append(at_s)
    return played


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
        for other in fleet.devices.values():
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
