"""Many runs in simulation, compared: the same jobs under several policies and seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf, sqrt

from jetsched.cluster.bounds import Bounds
from jetsched.cluster.fanout import Engine, Failed, Here, Task, fan_out
from jetsched.cluster.summaries import RunSummary
from jetsched.cluster.trials import BoundTrial, Trial, distance
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.errors import InputError
from jetsched.scheduler.metrics import Metrics

#: The figures of a run that are one number each.
FIGURES = tuple(field.name for field in fields(Metrics) if field.name != "utilisation")
#: Those of which less is better.
LOWER = (
    *("mean_completion_s", "p50_completion_s", "p95_completion_s", "p99_completion_s"),
    *("makespan_s", "mean_slowdown", "p99_slowdown", "missed_deadlines"),
    *("killed", "lost", "preempted", "energy_j", "worst_user_slowdown"),
)
#: Those that a lower bound is computed for.
BOUNDED = ("makespan_s", "mean_completion_s")
#: What policies are ranked by, unless somebody asks for another figure.
BY = "mean_completion_s"
#: So many lanes in all are worth drawing in one picture.
MOST_LANES = 72


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds; the true one lies within ± ``half`` of it with 95 % confidence.

    Student's t; None for a single run, which says nothing about how much runs differ.
    """

    mean: float
    half: float | None


@dataclass(frozen=True)
class PolicyRow:
    """How a policy did over all seeds.

    ``figures`` are those of :class:`Metrics` that every run has; ``distance`` is how many times the
    lower bound they are, where there is one; ``worse`` is by how much a figure of
    :data:`LOWER` is above the best policy's, as a share of that, from the differences within each
    world: where its interval holds 0, the two cannot be told apart.
    """

    policy: str
    runs: int
    figures: Mapping[str, Interval]
    distance: Mapping[str, Interval]
    worse: Mapping[str, Interval]
    policy_errors: int
    failed: int


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A run that gave nothing: which, and why."""

    policy: str
    seed: int
    text: str


@dataclass(frozen=True)
class Point:
    """A world to compare policies in; in a sweep, where on it: ``load``, ``0.9``."""

    world: WorldOptions
    sweep: str = ""
    value: str = ""


@dataclass(frozen=True)
class Comparison:
    """The runs in one world, policy by policy and seed by seed, and a row for each policy.

    ``bounds`` are by seed, where they could be computed; ``best`` is per figure the policy that the
    others' ``worse`` are against.
    """

    point: Point
    rows: Sequence[PolicyRow]
    runs: Sequence[RunSummary]
    bounds: Mapping[int, Bounds]
    best: Mapping[str, str]
    failed: Sequence[FailedRun] = ()

    @property
    def drawn(self) -> list[RunSummary]:
        """The runs that have kept their lanes, one for each policy, best policy first."""
        with_lanes = {run.policy: run for run in self.runs if run.lanes}
        return [with_lanes[row.policy] for row in self.ranked if row.policy in with_lanes]

    @property
    def ranked(self) -> list[PolicyRow]:
        """Best first: no run failed, the fewest jobs undone, then the lowest mean completion."""

        def mean(row: PolicyRow, name: str) -> float:
            return row.figures[name].mean if name in row.figures else inf

        return sorted(
            self.rows, key=lambda row: (row.failed, mean(row, "unfinished"), mean(row, BY))
        )

    def runs_of(self, policy: str) -> list[RunSummary]:
        return [run for run in self.runs if run.policy == policy]


def compare(
    policies: Sequence[str] | Mapping[str, str],
    points: Sequence[Point],
    seeds: int = 1,
    *,
    warmup: float = 0.0,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Comparison]:
    """Run every world under every policy with so many seeds, from the world's own on; one by point.

    The policies, what :func:`jetsched.policies.load` takes or that by name, meet the same jobs and
    the same luck, so their differences are the policies'. The first world's first runs keep their
    lanes. Where ``engine`` runs them makes no difference to the result. Raises :class:`InputError`
    if no run gave anything.
    """
    specs = policies if isinstance(policies, Mapping) else {spec: spec for spec in policies}
    lanes = max(1, MOST_LANES // max(1, len(policies)))
    tasks: list[Task] = []
    where: list[tuple[int, int, str]] = []  # of each task: point, seed and policy, "" for bounds
    for number, point in enumerate(points):
        world = point.world
        for seed in range(world.seed, world.seed + seeds):  # a world's runs together: made once
            tasks.append(BoundTrial(world, seed, warmup))
            where.append((number, seed, ""))
            shown = lanes if not number and seed == world.seed else 0
            for policy, spec in specs.items():
                tasks.append(Trial(world, seed, spec, policy, shown, warmup))
                where.append((number, seed, policy))
    results = dict(zip(where, fan_out(tasks, engine or Here(), progress), strict=True))
    _refuse_nothing(results)
    return [_comparison(list(specs), seeds, n, point, results) for n, point in enumerate(points)]


def _refuse_nothing(results: Mapping[tuple[int, int, str], object]) -> None:
    runs = [result for (_, _, policy), result in results.items() if policy]
    texts = {run.text for run in runs if isinstance(run, Failed)}
    if runs and all(isinstance(run, Failed) for run in runs):
        raise InputError("; ".join(sorted(texts)[:3]), hint="none of the runs gave anything")


def _comparison(
    policies: Sequence[str],
    count: int,
    number: int,
    point: Point,
    results: Mapping[tuple[int, int, str], object],
) -> Comparison:
    seeds = range(point.world.seed, point.world.seed + count)
    bounds = {s: b for s in seeds if isinstance(b := results[number, s, ""], Bounds)}
    runs: dict[str, list[RunSummary]] = {}
    failed = []
    for policy in policies:
        runs[policy] = []
        for seed in seeds:
            result = results[number, seed, policy]
            if isinstance(result, RunSummary):
                runs[policy].append(result)
            elif isinstance(result, Failed):
                failed.append(FailedRun(policy, seed, result.text))
    best = {name: _best(runs, name) for name in LOWER}
    rows = [
        PolicyRow(
            policy,
            len(own),
            _figures(own),
            _distances(own, bounds),
            _worse(own, runs, best),
            sum(len(run.policy_errors) for run in own),
            len(seeds) - len(own),
        )
        for policy, own in runs.items()
    ]
    return Comparison(
        point,
        rows,
        [run for own in runs.values() for run in own],
        bounds,
        {name: policy for name, policy in best.items() if policy},
        failed,
    )


# ----------------------------------------------------------------------------- what it amounts to


def interval(values: Sequence[float]) -> Interval:
    """The mean of the values and the half width of its 95 % confidence interval."""
    count = len(values)
    mean = sum(values) / count
    if count < 2:
        return Interval(mean, None)
    from scipy.special import stdtrit

    spread = sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    return Interval(mean, float(stdtrit(count - 1, 0.975)) * spread / sqrt(count))


def _figures(runs: Sequence[RunSummary]) -> dict[str, Interval]:
    found = {}
    for name in FIGURES:
        values = [getattr(run.metrics, name) for run in runs]
        if values and all(value is not None for value in values):
            found[name] = interval(values)
    return found


def _distances(runs: Sequence[RunSummary], bounds: Mapping[int, Bounds]) -> dict[str, Interval]:
    """The mean of figure / bound, where every run can be compared with its bound."""
    found: dict[str, list[float]] = {}
    for run in runs:
        if (bound := bounds.get(run.seed)) is None:
            return {}
        far = distance(bound, run.metrics)
        for name, value in zip(BOUNDED, (far.makespan, far.mean_completion), strict=True):
            if value is not None:
                found.setdefault(name, []).append(value)
    return {name: interval(found[name]) for name in found if len(found[name]) == len(runs)}


def _best(runs: Mapping[str, Sequence[RunSummary]], name: str) -> str:
    """The policy with the lowest mean, of those that have left the fewest jobs undone; "": none.

    Who leaves the long jobs undone would have the best mean completion.
    """
    most = max(map(len, runs.values()), default=0)
    ranked = []
    for order, (policy, own) in enumerate(runs.items()):
        values = [getattr(run.metrics, name) for run in own]
        if own and len(own) == most and None not in values:
            undone = sum(run.metrics.unfinished for run in own)
            ranked.append((undone, sum(values) / len(values), order, policy))
    return min(ranked)[-1] if ranked else ""


def _worse(
    own: Sequence[RunSummary],
    runs: Mapping[str, Sequence[RunSummary]],
    best: Mapping[str, str],
) -> dict[str, Interval]:
    found = {}
    for name in LOWER:
        against = {run.seed: getattr(run.metrics, name) for run in runs.get(best[name], ())}
        pairs = [
            (value, other)
            for run in own
            if (value := getattr(run.metrics, name)) is not None
            and (other := against.get(run.seed)) is not None
        ]
        if not pairs or len(pairs) < len(own):
            continue
        base = sum(other for _, other in pairs) / len(pairs)
        if base > 0:
            mean = interval([value - other for value, other in pairs])
            half = None if mean.half is None else mean.half / base
            found[name] = Interval(mean.mean / base, half)
    return found
