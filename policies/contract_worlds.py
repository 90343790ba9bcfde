"""The small worlds in which a policy's contract is tested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from jetsched.records import (
    Device,
    DeviceClass,
    Job,
    Needs,
    Never,
    Outcome,
    Placement,
    Verdict,
    Workload,
)
from jetsched.scheduler.draws import uniform
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceClosed,
    DeviceJoined,
    DeviceLost,
    DeviceOpened,
    Event,
    Submitted,
)
from jetsched.scheduler.table import VerdictTable, known_run

_MODELS = ("slow-board", "fast-board", "large-board")
_USERS = ("", "ann", "ben")

#: What stands in a queue before the job that must get its turn.
Ahead = Literal["nothing", "absent", "busy"]

#: What is paid again with each start.
LOAD_S = 3.0


@dataclass(frozen=True)
class World:
    """A fleet, jobs and mishaps. ``verdicts``: job id -> device model -> what is believed.

    ``calm``: runs take what was estimated, up to a factor, and nothing ends badly.
    """

    seed: int
    devices: Sequence[Device]
    jobs: Sequence[Job]
    verdicts: Mapping[str, Mapping[str, Verdict]]
    events: Sequence[Event]  # arrivals and mishaps; devices join at 0
    calm: bool

    def costs(self) -> VerdictTable:
        """A new cost model, which has learnt nothing yet."""
        return VerdictTable(self.verdicts)

    def ending(self, placement: Placement, attempt: int) -> tuple[float, Outcome]:
        """How long the whole work really takes there, loading included, and how it ends."""
        job_id, model = placement.job.id, placement.device.model
        key = ("contract", self.seed, job_id, model, attempt)
        whole = self.verdicts[job_id][model]  # of what is left, the placement knows
        assert not isinstance(whole, Never)
        time_s = LOAD_S + (whole.time_s - LOAD_S) * (0.5 + uniform(*key))
        roll = 1.0 if self.calm else uniform(*key, "outcome")
        if roll < 0.1:
            return time_s / 2, "killed_memory"
        return time_s, "failed" if roll < 0.15 else "done"


# ---------------------------------------------------------------------------------- random worlds


def random_world(seed: int, *, calm: bool = False, only_tight: bool = False) -> World:
    """A few kinds of devices, some users, jobs of all sorts that arrive in groups.

    Some have deadlines, priorities, wishes, or checkpoints, so that they may be preempted. Unless
    ``calm``, devices are lost and come back, jobs are cancelled, fail or are killed for memory.
    ``only_tight``: every job is tight everywhere.
    """
    random = Random(seed)
    classes = [
        DeviceClass(model, "", "", 4000.0 * (number + 1))
        for number, model in enumerate(_MODELS[: random.randint(1, len(_MODELS))])
    ]
    devices = tuple(
        Device(f"{kind.model}-{number}", kind, ("lab",) if random.random() < 0.3 else ())
        for kind in classes
        for number in range(1, random.randint(1, 3) + 1)
    )
    verdicts: dict[str, dict[str, Verdict]] = {}
    groups: list[Submitted] = []
    at_s, left = 0.0, random.randint(1, 25)
    while left:
        size = min(left, random.choice([1, 1, 2, 5, left]))
        jobs = []
        for _ in range(size):
            job_id = str(len(verdicts))
            verdicts[job_id] = _verdicts(random, only_tight)
            jobs.append(_job(job_id, at_s, devices, verdicts[job_id], random))
        groups.append(Submitted(at_s, tuple(jobs)))
        left -= size
        at_s += random.choice([0.0, 5.0, 100.0])
    every = tuple(job for group in groups for job in group.jobs)
    mishaps = [] if calm else list(_mishaps(devices, every, random))
    return World(seed, devices, every, verdicts, (*groups, *mishaps), calm)


def _verdicts(random: Random, only_tight: bool) -> dict[str, Verdict]:
    size_s = random.choice([10.0, 60.0, 600.0]) * random.uniform(0.5, 1.5)
    row: dict[str, Verdict] = {}
    for model in _MODELS:
        roll = 0.5 if only_tight else random.random()
        time_s = LOAD_S + size_s * random.uniform(0.2, 2.0)
        if roll < 0.2:
            row[model] = Never("NeverFits", "too large")
            continue
        row[model] = known_run(
            time_s,
            load_s=LOAD_S,
            energy_j=None if random.random() < 0.2 else 10 * time_s,  # not always known
            fit="tight" if 0.4 < roll < 0.6 else "fits",
        )
    return row


def _job(
    job_id: str,
    at_s: float,
    devices: Sequence[Device],
    verdicts: Mapping[str, Verdict],
    random: Random,
) -> Job:
    times_s = [v.time_s for v in verdicts.values() if not isinstance(v, Never)]
    trains = random.random() < 0.5
    return Job(
        job_id,
        Workload("train" if trains else "command", f"work-{job_id}"),
        submitted_s=at_s,
        user=random.choice(_USERS),
        priority=random.choice([50, 50, 50, 90]),
        deadline_s=(
            at_s + random.uniform(0.3, 4.0) * min(times_s, default=60.0)
            if random.random() < 0.4
            else None
        ),
        needs=Needs(
            device=random.choice([(), (), (), (devices[0].id,), ("lab", devices[-1].model)])
        ),
        checkpoint_every_s=60.0 if trains else None,
    )


def _mishaps(devices: Sequence[Device], jobs: Sequence[Job], random: Random) -> Iterator[Event]:
    for device in devices:
        if random.random() < 0.3:
            lost_s = random.uniform(0.0, 500.0)
            yield DeviceLost(lost_s, device.id)
            yield DeviceJoined(lost_s + random.uniform(1.0, 300.0), device)
    for job in jobs:
        if random.random() < 0.1:
            yield CancelAsked(random.uniform(0.0, 500.0), job.id)
    for device in devices:
        if random.random() < 0.3:  # takes no jobs for a while, and may be away meanwhile
            closed_s = random.uniform(0.0, 500.0)
            yield DeviceClosed(closed_s, device.id, "Draining")
            yield DeviceOpened(closed_s + random.uniform(1.0, 300.0), device.id, "Draining")


# ------------------------------------------------------------------------- worlds of one question


def stream_world(seed: int, ahead: Ahead = "nothing") -> tuple[World, Job]:
    """Short jobs that keep coming, a little faster than they can be done, and one long job.

    Returns that job too. When the last one comes, it has waited for some 100 times its run time.
    ``ahead``: what stands before it in the queue all that time. *absent*: jobs that name a board
    that is not there. *busy*: jobs for another kind of device, which is busy for longer.
    """
    random = Random(seed)
    models = _MODELS[: 1 + seed % 2]
    devices = [_a_device(model) for model in models]
    gap_s = 10.0 / len(devices) / 1.05
    long = Job("long", Workload("train", "long"), submitted_s=gap_s / 2, checkpoint_every_s=60.0)
    shorts = [
        Job(f"s{number}", Workload("command", f"short-{number % 10}"), submitted_s=number * gap_s)
        for number in range(2000)
    ]
    first = [Job(f"f{n}", Workload("command", "first")) for n in range(5)]
    verdicts: dict[str, dict[str, Verdict]] = {"long": dict.fromkeys(models, _run(200.0))}
    for job in shorts:
        verdicts[job.id] = dict.fromkeys(models, _run(random.uniform(8.0, 12.0)))
    verdicts |= {job.id: dict.fromkeys(models, _run(10.0)) for job in first}
    if ahead == "absent":
        work, needs = Workload("command", "absent"), Needs(device=("absent",))
        absent = [Job(f"a{number}", work, needs=needs) for number in range(40)]
        verdicts |= {job.id: dict.fromkeys(models, _run(10.0)) for job in absent}
        first = [*absent, *first]
    elif ahead == "busy":
        other, never = _MODELS[-1], Never("NeverFits", "made for other devices")
        devices.append(_a_device(other))
        for row in verdicts.values():
            row[other] = never
        large = [Job(f"b{number}", Workload("command", "large")) for number in range(3)]
        for job in large:
            time_s = 100_000.0 if job is large[0] else 10.0
            verdicts[job.id] = {**dict.fromkeys(models, never), other: _run(time_s)}
        first = [*large, *first]
    begin = [Submitted(0.0, (job,)) for job in first[:1]]  # which has started when the others come
    begin.append(Submitted(0.0, tuple(first[1:])))
    events = [Submitted(job.submitted_s, (job,)) for job in (*shorts, long)]
    jobs = (*first, *shorts, long)
    return World(seed, devices, jobs, verdicts, (*begin, *events), calm=True), long


def _a_device(model: str) -> Device:
    return Device(f"{model}-1", DeviceClass(model, "", "", 4000.0))


def equal_world(seed: int) -> World:
    """Jobs that differ in nothing but their priority, on devices that differ in nothing."""
    random = Random(seed)
    kind = DeviceClass(_MODELS[0], "", "", 4000.0)
    devices = tuple(Device(f"{kind.model}-{n}", kind) for n in range(1, random.randint(1, 3) + 1))
    work = Workload("command", "equal")
    jobs = tuple(
        Job(str(number), work, priority=random.choice([10, 50, 90])) for number in range(12)
    )
    verdicts = {job.id: {kind.model: _run(30.0)} for job in jobs}
    return World(seed, devices, jobs, verdicts, (Submitted(0.0, jobs),), calm=True)


def _run(time_s: float) -> Verdict:
    return known_run(time_s, load_s=LOAD_S, energy_j=10 * time_s)
