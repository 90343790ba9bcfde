"""Many runs in simulation, compared: the same jobs under several policies and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import sqrt

from jetsched.cluster.simulating import Scenario, SimulationRun, simulate
from jetsched.scheduler.metrics import Metrics


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
