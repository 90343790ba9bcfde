"""One run in simulation, and many: the same jobs under several policies and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import sqrt
from time import process_time

from jetsched import policies
from jetsched.cluster.simulated import Outage, SimulatedCluster
from jetsched.cluster.truth import Truth
from jetsched.records import Device, Job
from jetsched.scheduler.checks import policy_name
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.journal import Journal, NoJournal
from jetsched.scheduler.loop import run
from jetsched.scheduler.metrics import Metrics, measure
from jetsched.scheduler.view import Costs, Policy


@dataclass(frozen=True)
class Scenario:
    """A world to simulate: what comes, on what it runs, how it really goes, and what is believed.

    ``estimates`` makes a cost model that has learnt nothing yet; it is called once per run.
    """

    jobs: Sequence[Job]
    devices: Sequence[Device]
    truth: Truth
    estimates: Callable[[], Costs]
    seed: int = 0
    outages: Sequence[Outage] = ()


@dataclass(frozen=True)
class SimulationRun:
    """What came of a scenario under a policy.

    Everything but ``loop_cpu_s`` is the same each time: CPU seconds of the loop alone.
    """

    policy: str
    seed: int
    metrics: Metrics
    scheduler: Scheduler
    devices: Sequence[Device]
    events: int
    loop_cpu_s: float

    @property
    def jobs_per_cpu_s(self) -> float:
        return self.metrics.jobs / self.loop_cpu_s if self.loop_cpu_s > 0 else 0.0


def simulate(
    policy: str | Policy,
    scenario: Scenario,
    *,
    journal: Journal | None = None,
    explain: bool = False,
) -> SimulationRun:
    """Run a scenario to its end under a policy: a spec for :func:`jetsched.policies.load`, or one.

    The default policy steps in where this one breaks its contract; ``scheduler.policy_errors`` of
    the result says so.
    """
    chosen = policies.load(policy, seed=scenario.seed) if isinstance(policy, str) else policy
    scheduler = Scheduler(
        chosen,
        scenario.estimates(),
        fallback=policies.load(policies.DEFAULT),
        journal=journal if journal is not None else NoJournal(),
        explain=explain,
    )
    cluster = SimulatedCluster(
        scenario.devices,
        scenario.jobs,
        scenario.truth,
        seed=scenario.seed,
        outages=scenario.outages,
    )
    started_s = process_time()
    events = sum(1 for _ in run(scheduler, cluster))
    loop_cpu_s = process_time() - started_s
    metrics = measure(
        scheduler,
        scenario.devices,
        fastest_s=_fastest_s(scenario),
        energy_j=cluster.energy_j if cluster.energy_known else None,
    )
    return SimulationRun(
        policy_name(chosen),
        scenario.seed,
        metrics,
        scheduler,
        scenario.devices,
        events,
        loop_cpu_s,
    )


def _fastest_s(scenario: Scenario) -> Callable[[Job], float | None]:
    """The true run time of a job on its best device, of those where it is not killed."""
    devices = list({d.device_class: d for d in scenario.devices}.values())

    def fastest_s(job: Job) -> float | None:
        candidates = devices if not job.needs.device else scenario.devices
        kinds = {d.device_class: None for d in candidates if d.satisfies(job.needs)}
        runs = ((kind, scenario.truth.run(job, kind)) for kind in kinds)
        return min(
            (r.time_s for kind, r in runs if r and r.peak_memory_mib <= kind.memory_mib),
            default=None,
        )

    return fastest_s


# ------------------------------------------------------------------------------ many runs, compared


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds; the true one lies within ± ``half`` of it with 95 % confidence.

    Student's t; None for a single run, which says nothing about how much runs differ.
    """

    mean: float
    half: float | None


@dataclass(frozen=True)
class PolicyRow:
    """How a policy did over all seeds: per figure of :class:`Metrics`, where all runs have it."""

    policy: str
    runs: int
    figures: Mapping[str, Interval]
    policy_errors: int


@dataclass(frozen=True)
class Comparison:
    """The runs, policy by policy and seed by seed, and a row for each policy."""

    rows: Sequence[PolicyRow]
    runs: Sequence[SimulationRun]


def compare(
    specs: Sequence[str],
    scenarios: Iterable[Scenario],
    *,
    progress: Callable[[SimulationRun], None] | None = None,
) -> Comparison:
    """Run every scenario under every policy: one scenario per seed, the same ones for all.

    The policies meet the same jobs and the same luck, so their differences are the policies'.
    """
    worlds = list(scenarios)
    runs: list[SimulationRun] = []
    rows: list[PolicyRow] = []
    for spec in specs:
        own = []
        for world in worlds:
            own.append(simulate(spec, world))
            if progress is not None:
                progress(own[-1])
        runs += own
        rows.append(_row(own))
    return Comparison(rows, runs)


#: The figures of a run that are one number each.
FIGURES = tuple(field.name for field in fields(Metrics) if field.name != "utilisation")


def _row(runs: Sequence[SimulationRun]) -> PolicyRow:
    figures: dict[str, Interval] = {}
    for name in FIGURES:
        values = [getattr(run.metrics, name) for run in runs]
        if values and all(value is not None for value in values):
            figures[name] = interval(values)
    errors = sum(len(run.scheduler.policy_errors) for run in runs)
    return PolicyRow(runs[0].policy if runs else "", len(runs), figures, errors)


def interval(values: Sequence[float]) -> Interval:
    """The mean of the values and the half width of its 95 % confidence interval."""
    count = len(values)
    mean = sum(values) / count
    if count < 2:
        return Interval(mean, None)
    from scipy.special import stdtrit

    spread = sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    return Interval(mean, float(stdtrit(count - 1, 0.975)) * spread / sqrt(count))
