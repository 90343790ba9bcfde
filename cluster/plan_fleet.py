"""Which boards to buy: the cheapest mix that meets a target, found by simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any

from jetsched import policies
from jetsched.cluster.fanout import LIMIT_S, Crew, Engine, Failed, fan_out
from jetsched.cluster.mixes import DOUBTS, CheapestMix, Mix
from jetsched.cluster.plan_options import (
    Cost,
    check_size,
    cost_of,
    limit_of,
    models_of,
    name_of,
    prices_of,
    same_entries,
)
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.targets import Target, hopeless_jobs, out_of_reach, parse_targets
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import scenario, worlds
from jetsched.errors import InputError, JetschedError, NeverFitsError
from jetsched.files import to_json
from jetsched.records import DeviceClass, Job
from jetsched.scheduler.metrics import Metrics

#: Boards of each model, at most, unless somebody asks for more; where energy counts, every mix is
#: tried that could be better, so there are fewer.
MOST_BOARDS, MOST_BOARDS_FOR_ENERGY = 64, 8


@dataclass(frozen=True)
class Tried:
    """A mix that was tried: of all seeds the figures of the worst, for each target.

    ``bound`` says why no schedule can do it, where no simulation was needed.
    """

    mix: Mix
    will_do: bool
    values: tuple[float | None, ...] = ()
    energy_j: float | None = None
    unfinished: int = 0
    bound: str = ""

    @property
    def certain(self) -> bool:
        """Whether no smaller mix will do either, whatever the policy."""
        return bool(self.bound)


@dataclass(frozen=True)
class MixTrial:
    """What a mix does in all seeds: a task for :mod:`fanout`."""

    world: WorldOptions
    mix: Mix
    seeds: int
    policy: str
    targets: tuple[Target, ...]
    jobs: int

    def __call__(self) -> Tried:
        world = replace(self.world, counts=self.mix)
        runs: list[Metrics] = []
        for seed in range(world.seed, world.seed + self.seeds):
            try:
                found = scenario(world, seed)
            except InputError as error:
                return Tried(self.mix, False, bound=str(error).splitlines()[0])
            if len(found.jobs) < self.jobs:
                left_out = self.jobs - len(found.jobs)
                return Tried(self.mix, False, bound=f"{left_out:,} jobs can run on none of it")
            if why := out_of_reach(found, self.targets):
                return Tried(self.mix, False, bound=why)
            runs.append(simulate(self.policy, found).metrics)
        return Tried(
            self.mix,
            all(target.met(metrics) for target in self.targets for metrics in runs),
            tuple(_worst(target, runs) for target in self.targets),
            _mean_energy(runs),
            sum(metrics.unfinished for metrics in runs),
        )


def _worst(target: Target, runs: Sequence[Metrics]) -> float | None:
    values = [target.value(metrics) for metrics in runs]
    return None if None in values else max(value for value in values if value is not None)


def _mean_energy(runs: Sequence[Metrics]) -> float | None:
    found = [metrics.energy_j for metrics in runs if metrics.energy_j is not None]
    return sum(found) / len(found) if found and len(found) == len(runs) else None


@dataclass(frozen=True)
class FleetPlanning:
    """What is asked: a target, boards to choose from, and what they cost."""

    world: WorldOptions
    models: Sequence[str]
    targets: Sequence[Target]
    cost: Cost
    prices: Sequence[float]  # of a board of each model; 1 where they are counted
    limits: Sequence[int]
    policy: str
    seeds: int
    count: int  # processes
    limit_s: float
    jobs: int

    @classmethod
    def of(
        cls,
        world: WorldOptions,
        *,
        target: str,
        models: str | None = None,
        cost: str | None = None,
        price: str | None = None,
        most: int | None = None,
        policy: str | None = None,
        seeds: int = 1,
        at_once: int = 1,
        limit_s: float = LIMIT_S,
    ) -> FleetPlanning:
        """What these options ask for. Raises :class:`InputError` before anything is simulated."""
        targets = parse_targets(target)
        if world.load is not None:
            raise InputError(
                "--load is relative to the fleet, which is what is looked for",
                hint="leave it out: the jobs of a trace come when they come",
            )
        if world.counts:
            raise InputError("--counts is what is looked for", hint="--most 8 limits it")
        if (models is None) == (world.fleet is None):
            raise InputError(
                "say what boards there are to choose from: --models xavier-nx,orin-nano",
                hint="or --fleet FILE, whose entries and prices are taken, and not its counts",
            )
        names = models_of(models) if models is not None else []
        if models is not None:
            world = replace(world, fleet=",".join(f"{name}:1" for name in names))
        found = worlds(world, seeds)
        if not names:
            names = list(dict.fromkeys(name_of(d.device_class) for d in found.devices))
            same_entries(world, names)
        chosen = cost_of(cost, price)
        prices = (
            prices_of(names, price, found.plan.prices) if chosen == "price" else [1.0] * len(names)
        )
        usual = MOST_BOARDS_FOR_ENERGY if chosen == "energy" else MOST_BOARDS
        limit = usual if most is None else most
        limits = [limit_of(limit)] * len(names)
        check_size(limits, chosen)
        spec = policy or policies.DEFAULT
        policies.load(spec, seed=world.seed)
        jobs = len(found.scenario(world.seed).jobs)
        return cls(
            world, names, targets, chosen, prices, limits, spec, seeds, at_once, limit_s, jobs
        )

    def run(
        self,
        progress: Callable[[int], None] = lambda tried: None,
        engine: Engine | None = None,
        *,
        sure: bool = False,
    ) -> PlannedFleet:
        """Search. Raises :class:`NeverFitsError` where no mix within the limits will do.

        With ``sure`` every mix is tried that nothing but the search's assumption rules out.
        ``engine`` runs the trials, child processes by default; it makes no difference otherwise.
        """
        with Crew(self.count, self.limit_s) as crew:  # which starts nobody before there is work
            trial = partial(self._try, engine or crew, progress, {})
            search = CheapestMix(self.limits, self.prices, trial)
            best = search.run(None if sure else DOUBTS)
            tried = dict(search.tried)
            if best is not None and self.cost == "energy":
                best = self._least_energy(trial, tried)
        if best is None:
            raise NeverFitsError(self._why_none(next(iter(tried.values()))))
        doubtful = search.doubtful if self.cost != "energy" else 0
        return PlannedFleet(self, tried[best], list(tried.values()), doubtful)

    def cost_of(self, tried: Tried) -> float | None:
        """What a mix costs: boards, money, or joules for the work."""
        if self.cost == "energy":
            return tried.energy_j
        return sum(n * price for n, price in zip(tried.mix, self.prices, strict=True))

    def _try(
        self,
        engine: Engine,
        progress: Callable[[int], None],
        seen: dict[Mix, Tried],
        mixes: Sequence[Mix],
    ) -> list[Tried]:
        """Try mixes in parallel; a run that fails is an error of the whole search."""
        targets = tuple(self.targets)
        tasks = [
            MixTrial(self.world, mix, self.seeds, self.policy, targets, self.jobs) for mix in mixes
        ]
        results = fan_out(tasks, engine)
        for mix, result in zip(mixes, results, strict=True):
            if isinstance(result, Failed):
                raise JetschedError(f"{self.words(mix)}: {result.text}")
            seen[mix] = result
        progress(len(seen))
        return results

    def words(self, mix: Mix) -> str:
        """``4 x orin-nano, 2 x xavier-nx``."""
        parts = [f"{n} x {model}" for n, model in zip(mix, self.models, strict=True) if n]
        return ", ".join(parts)

    # -- where energy counts ---------------------------------------------------------------------

    def _least_energy(
        self, trial: Callable[[Sequence[Mix]], Sequence[Tried]], tried: dict[Mix, Tried]
    ) -> Mix | None:
        """The mix of least energy: every one that will do, as far as bounds do not rule it out.

        More boards may take less energy or more. What is certain: no mix takes less than every job
        on the thriftiest of the models that it has.
        """
        least = self._least_by_models()
        if not all(found.energy_j is not None for found in tried.values() if found.will_do):
            raise InputError(
                "nothing tells the energy of these jobs, so it cannot be what counts",
                hint="--cost count or --cost price",
            )
        best: Mix | None = None
        while True:
            for mix, found in tried.items():
                if found.will_do and (
                    best is None or self._energy_key(found) < self._energy_key(tried[best])
                ):
                    best = mix
            assert best is not None
            todo = [
                mix
                for mix in _all(self.limits)
                if mix not in tried
                and least[_support(mix)] < (tried[best].energy_j or 0.0)
                and not any(
                    not t.will_do and all(a <= b for a, b in zip(mix, other, strict=True))
                    for other, t in tried.items()
                )
            ]
            if not todo:
                return best
            for found in trial(todo[:16]):
                tried[found.mix] = found

    def _energy_key(self, found: Tried) -> tuple[float, int, Mix]:
        return (found.energy_j or 0.0, sum(found.mix), found.mix)

    def _least_by_models(self) -> dict[Mix, float]:
        """For each set of models: joules of all jobs, each on the thriftiest one; 0 if unknown."""
        world = scenario(replace(self.world, counts=tuple([1] * len(self.models))), self.world.seed)
        kinds = list(dict.fromkeys(device.device_class for device in world.devices))
        table = [[_energy(world, job, kind) for kind in kinds] for job in world.jobs]
        found = {}
        for support in _all([1] * len(self.models)):
            least = [
                min((row[k] for k in range(len(kinds)) if support[k]), default=0.0) for row in table
            ]
            found[support] = (1 - 1e-9) * sum(least)
        return found if self.seeds == 1 else dict.fromkeys(found, 0.0)  # other seeds, other jobs

    # -- where nothing will do -------------------------------------------------------------------

    def _why_none(self, largest: Tried) -> str:
        """What to say: the largest mix that is allowed will not do."""
        lines = []
        if largest.bound:
            lines.append(f"  {self.words(largest.mix)}: {largest.bound}")
        else:
            figures = ", ".join(
                f"{target.name} {target.show(value)}"
                for target, value in zip(self.targets, largest.values, strict=True)
            )
            undone = f", {largest.unfinished} jobs not done" if largest.unfinished else ""
            lines.append(f"  with {self.words(largest.mix)}: {figures}{undone}")
        wanted = ", ".join(str(target) for target in self.targets)
        hopeless: list[str] = []
        for seed in range(self.world.seed, self.world.seed + self.seeds):
            world = scenario(replace(self.world, counts=largest.mix), seed)
            hopeless = hopeless or hopeless_jobs(world, self.targets)
        lines += [f"  {line}" for line in hopeless]
        return "\n".join([f"no mix up to {self.words(largest.mix)} meets {wanted}", *lines])


@dataclass(frozen=True)
class PlannedFleet:
    """The cheapest mix, and all that were tried, in their order."""

    asked: FleetPlanning
    best: Tried
    tried: Sequence[Tried]
    #: Cheaper mixes that were not tried, because a larger one will not do.
    doubtful: int = 0

    @property
    def frontier(self) -> list[Tried]:
        """What the choice rests on: the mixes that just will do, and those that just will not.

        Of those that will do: the ones that none with fewer boards undercuts. Where energy counts,
        more boards may cost less, so that fewer alone do not make a mix the better one.
        """
        cost = self.asked.cost_of

        def below(a: Mix, b: Mix) -> bool:
            return a != b and all(x <= y for x, y in zip(a, b, strict=True))

        def beats(a: Tried, b: Tried) -> bool:
            return below(a.mix, b.mix) and (cost(a) or 0.0) <= (cost(b) or 0.0)

        good = [t for t in self.tried if t.will_do]
        bad = [t for t in self.tried if not t.will_do]
        kept = [t for t in good if not any(beats(o, t) for o in good)]
        kept += [t for t in bad if not any(below(t.mix, o.mix) for o in bad)]
        return sorted(kept, key=lambda t: (cost(t) or 0.0, sum(t.mix), t.mix))

    def to_json(self) -> dict[str, Any]:
        asked = self.asked
        return {
            "mix": dict(zip(asked.models, self.best.mix, strict=True)),
            "cost": asked.cost_of(self.best),
            "cost_is": asked.cost,
            "targets": [to_json(target) for target in asked.targets],
            "policy": asked.policy,
            "seeds": list(range(asked.world.seed, asked.world.seed + asked.seeds)),
            "doubtful": self.doubtful,
            "tried": [
                {
                    "mix": dict(zip(asked.models, found.mix, strict=True)),
                    "will_do": found.will_do,
                    "cost": asked.cost_of(found),
                    **{
                        target.name: value
                        for target, value in zip(asked.targets, found.values, strict=False)
                    },
                    "energy_j": found.energy_j,
                    "unfinished": found.unfinished,
                    "bound": found.bound or None,
                }
                for found in self.tried
            ],
        }


def _all(limits: Sequence[int]) -> list[Mix]:
    found: list[Mix] = [()]
    for limit in limits:
        found = [(*mix, n) for mix in found for n in range(limit + 1)]
    return [mix for mix in found if any(mix)]


def _support(mix: Mix) -> Mix:
    return tuple(min(1, n) for n in mix)


def _energy(world: Scenario, job: Job, kind: DeviceClass) -> float:
    """Joules of a run there without loading; infinite where it cannot be, 0 if not known."""
    run = world.truth.run(job, kind)
    if run is None or run.peak_memory_mib > kind.memory_mib > 0:
        return inf
    return (run.energy_j or 0.0) * (1 - run.load_s / run.time_s) if run.time_s else 0.0
