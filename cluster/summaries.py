"""What is kept of a run in simulation once it is over: small, and fit to be sent elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jetsched.cluster.simulating import SimulationRun
from jetsched.records import Device, Job, Outcome
from jetsched.scheduler.metrics import Metrics, counted_window
from jetsched.scheduler.state import JobRecord

#: How many points of its distribution a run is remembered by, from the quickest job to the slowest.
POINTS = 201
#: Attempts that are remembered one by one for a picture; with more of them neighbours are joined.
MOST_BARS = 3000


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that ran on a device. ``label`` is its workload's, ``job`` "" where it is several.

    ``end_s`` and ``outcome`` are None for what still runs.
    """

    job: str
    label: str
    start_s: float
    end_s: float | None
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Lane:
    """What a device did, in the order of time."""

    device: str
    model: str
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run's figures, and what pictures of it need.

    Everything but ``loop_cpu_s`` is the same each time. ``completions_s`` are :data:`POINTS` evenly
    spaced quantiles of the completion times of jobs that are done and count; empty if there are
    none.
    ``lanes`` are empty unless they were asked for, and then of some devices only: ``devices`` are
    all there are.
    """

    policy: str
    seed: int
    metrics: Metrics
    events: int
    loop_cpu_s: float
    devices: int
    completions_s: Sequence[float]
    policy_errors: Sequence[str]
    lanes: Sequence[Lane] = ()

    @property
    def jobs_per_cpu_s(self) -> float:
        return self.metrics.jobs / self.loop_cpu_s if self.loop_cpu_s > 0 else 0.0


def summarise(run: SimulationRun, *, policy: str = "", lanes: int = 0) -> RunSummary:
    """What is kept of a run: under the name ``policy``, if one is given, with so many lanes."""
    return RunSummary(
        policy=policy or run.policy,
        seed=run.seed,
        metrics=run.metrics,
        events=run.events,
        loop_cpu_s=run.loop_cpu_s,
        devices=len(run.devices),
        completions_s=_quantiles(run),
        policy_errors=tuple(run.scheduler.policy_errors),
        lanes=lanes_of(run, chosen(run.devices, lanes)),
    )


def _quantiles(run: SimulationRun) -> tuple[float, ...]:
    records = run.scheduler.jobs.values()
    from_s, _ = counted_window([record.job.submitted_s for record in records], run.warmup)
    times = [
        (record.attempts[-1].end_s or 0.0) - record.job.submitted_s
        for record in records
        if record.state == "done" and record.job.submitted_s >= from_s
    ]
    if not times:
        return ()
    import numpy as np

    return tuple(np.quantile(times, np.linspace(0, 1, POINTS)).tolist())


def label(job: Job) -> str:
    """The workload as a picture's legend names it: ``train gpt2``."""
    return f"{job.workload.kind} {job.workload.model.rsplit('/', 1)[-1]}".strip()


# -------------------------------------------------------------------------------------------- lanes


def chosen(devices: Sequence[Device], most: int) -> list[Device]:
    """At most so many devices, as many of each model as can be, by model and number."""
    of_model: dict[str, list[Device]] = {}
    for device in sorted(devices, key=lambda d: (d.model, len(d.id), d.id)):
        of_model.setdefault(device.model, []).append(device)
    take = dict.fromkeys(of_model, 0)
    left = min(most, len(devices))
    while left > 0:
        for model, there in of_model.items():
            if left > 0 and take[model] < len(there):
                take[model] += 1
                left -= 1
    return [device for model, there in of_model.items() for device in there[: take[model]]]


def lanes_of(run: SimulationRun, devices: Sequence[Device]) -> tuple[Lane, ...]:
    """What these devices did; of very many attempts those too thin to be told apart are joined."""
    bars: dict[str, list[Bar]] = {device.id: [] for device in devices}
    for record in run.scheduler.jobs.values():
        _add_bars(record, bars)
    span_s = run.metrics.makespan_s or 0.0
    joins = sum(len(there) for there in bars.values()) > MOST_BARS
    lanes = []
    for device in devices:
        there = sorted(bars[device.id], key=lambda bar: bar.start_s)
        if joins:
            there = join_thin(there, span_s / 1000)
        lanes.append(Lane(device.id, device.model, tuple(there)))
    return tuple(lanes)


def _add_bars(record: JobRecord, bars: dict[str, list[Bar]]) -> None:
    text = ""
    for attempt in record.attempts:
        there = bars.get(attempt.device)
        if there is not None:
            text = text or label(record.job)
            there.append(Bar(record.job.id, text, attempt.start_s, attempt.end_s, attempt.outcome))


def join_thin(bars: Sequence[Bar], least_s: float) -> list[Bar]:
    """Neighbours that are too thin to be told apart, as one; what ended badly stays by itself.

    Several workloads become that of the first: a picture cannot show more at this width.
    """
    kept: list[Bar] = []
    for bar in bars:
        last = kept[-1] if kept else None
        if (
            last is not None
            and last.end_s is not None
            and bar.end_s is not None
            and {last.outcome, bar.outcome} == {"done"}
            and bar.end_s - last.start_s < least_s
        ):
            kept[-1] = Bar("", last.label, last.start_s, bar.end_s, "done")
        else:
            kept.append(bar)
    return kept
