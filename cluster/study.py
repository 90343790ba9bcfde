"""A comparison from what its options say: what is to be run, and what came of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jetsched import policies
from jetsched.cluster.bounds import Bounds
from jetsched.cluster.compare import Comparison, FailedRun, Point, compare
from jetsched.cluster.engines import engine_for
from jetsched.cluster.fanout import Engine
from jetsched.cluster.sweeps import points
from jetsched.cluster.trials import distance
from jetsched.cluster.worldchecks import arguments, describe, exact
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import worlds
from jetsched.errors import InputError
from jetsched.files import to_json
from jetsched.scheduler.checks import policy_name
from jetsched.units import parse_duration_s

#: More are of no use, and would not end.
MOST_RUNS = 1_000_000


@dataclass(frozen=True)
class Study:
    """Policies, worlds and seeds; and where the runs are computed, which changes no result."""

    world: WorldOptions
    #: By the name that they have in the tables, what loads them.
    policies: Mapping[str, str]
    seeds: int
    sweeps: Sequence[str]
    points: Sequence[Point]
    engine: Engine
    #: The part of the time whose jobs count in no figure per job.
    warmup: float = 0.0
    #: What a person should know about the worlds, and how many rows of the trace were left out.
    notes: Sequence[str] = ()
    skipped: int = 0

    @classmethod
    def of(
        cls,
        world: WorldOptions,
        *,
        names: str = "all",
        seeds: int = 1,
        sweeps: Sequence[str] = (),
        at_once: int | None = None,
        on_ray: bool | None = None,
        address: str | None = None,
        run_limit: str = "1h",
        warmup: float = 0.0,
        say: Callable[[str], None] = lambda text: None,
    ) -> Study:
        """What these options ask for. Raises :class:`InputError` before anything is run."""
        named = _named(policies.split(names), world.seed)
        at = points(world, sweeps)
        runs = len(named) * len(at) * seeds
        if runs > MOST_RUNS:
            raise InputError(f"{runs:,} simulations are too many", hint=f"at most {MOST_RUNS:,}")
        if not 0 <= warmup < 1:
            raise InputError(
                f"--warmup {warmup:g} is not a part of the time", hint="0.1 leaves a tenth out"
            )
        limit_s = run_limit_s(run_limit)
        engine = engine_for(
            runs, at_once=at_once, on_ray=on_ray, address=address, limit_s=limit_s, say=say
        )
        notes: list[str] = []
        skipped = 0
        for point in at:
            found = worlds(point.world, seeds)
            notes += found.notes
            skipped = max(skipped, found.skipped)
        told = list(dict.fromkeys(notes))
        return cls(world, named, seeds, sweeps, at, engine, warmup, told, skipped)

    @property
    def runs(self) -> int:
        """How many simulations it takes."""
        return len(self.policies) * len(self.points) * self.seeds

    @property
    def command(self) -> str:
        """The command line that gives the same results, wherever its runs are computed."""
        words = ["jetsched", "compare", *arguments(self.world), "--seeds", str(self.seeds)]
        words += ["--policies", ",".join(self.policies.values())]
        words += ["--warmup", exact(self.warmup)] if self.warmup else []
        for sweep in self.sweeps:
            words += ["--sweep", sweep]
        return shlex.join(words)

    def words(self) -> list[str]:
        """What all the worlds have in common, in sentences."""
        first, last = self.world.seed, self.world.seed + self.seeds - 1
        seeds = f"Seed {first}." if first == last else f"Seeds {first} to {last}."
        told = [describe(point.world) for point in self.points]
        common = [line for line in told[0] if all(line in lines for lines in told)]
        cut = f"Jobs of the first {100 * self.warmup:g} % of the time count in no figure per job."
        return [*common, *([cut] if self.warmup else []), seeds]

    def words_of(self, point: Point) -> list[str]:
        """What is so in this world and not in all, in sentences."""
        common = self.words()
        return [line for line in describe(point.world) if line not in common]

    def run(self, progress: Callable[[int, int], None] = lambda done, total: None) -> Findings:
        """Run them all. Raises :class:`InputError` if none of the runs gave anything."""
        found = compare(
            self.policies,
            self.points,
            self.seeds,
            warmup=self.warmup,
            engine=self.engine,
            progress=progress,
        )
        return Findings(self, found)


@dataclass(frozen=True)
class Findings:
    """What came of a study: a comparison for each of its points."""

    study: Study
    comparisons: Sequence[Comparison]

    @property
    def notes(self) -> list[str]:
        """What a person should know about the worlds, some of it only now."""
        notes = list(self.study.notes)
        if self.study.seeds > 1 and all(_alike(found.bounds) for found in self.comparisons):
            notes.append(
                "All seeds have given the same jobs on the same boards: nothing of this world is"
                " drawn at random, only what some policies do."
            )
        return notes

    @property
    def failed(self) -> list[tuple[Comparison, FailedRun]]:
        """The runs that gave nothing."""
        return [(found, failed) for found in self.comparisons for failed in found.failed]

    def of_sweep(self, name: str) -> list[Comparison]:
        return [found for found in self.comparisons if found.point.sweep == name]

    @property
    def sweeps(self) -> list[str]:
        """The axes that were swept."""
        return list(dict.fromkeys(c.point.sweep for c in self.comparisons if c.point.sweep))

    def to_json(self) -> list[dict[str, Any]]:
        """A row per point and policy."""
        return [
            {**_place(found.point), **to_json(row), "skipped": self.study.skipped}
            for found in self.comparisons
            for row in found.rows
        ]

    def lines(self) -> list[dict[str, Any]]:
        """All figures of every run, a line each, failed ones too: the same wherever they ran."""
        made: list[dict[str, Any]] = []
        for found in self.comparisons:
            place = _place(found.point)
            of = {(run.policy, run.seed): run for run in found.runs}
            failed = {(run.policy, run.seed): run.text for run in found.failed}
            for row in found.rows:
                first = found.point.world.seed
                for seed in range(first, first + self.study.seeds):
                    line: dict[str, Any] = {**place, "policy": row.policy, "seed": seed}
                    run = of.get((row.policy, seed))
                    if run is None:
                        made.append({**line, "failed": failed.get((row.policy, seed), "")})
                        continue
                    bound = found.bounds.get(seed)
                    line |= to_json(run.metrics)
                    line["events"] = run.events
                    line["bound"] = None if bound is None else to_json(bound)
                    line["distance"] = (
                        None if bound is None else to_json(distance(bound, run.metrics))
                    )
                    line["policy_errors"] = list(run.policy_errors)
                    made.append(line)
        return made

    def timings(self) -> list[dict[str, Any]]:
        """How many CPU seconds each run has taken: never the same twice, so they stand apart."""
        return [
            {
                **_place(found.point),
                "policy": run.policy,
                "seed": run.seed,
                "loop_cpu_s": run.loop_cpu_s,
                "jobs_per_cpu_s": run.jobs_per_cpu_s,
            }
            for found in self.comparisons
            for run in found.runs
        ]


def _named(specs: Sequence[str], seed: int) -> dict[str, str]:
    """The policies by name, or by the whole of what was given where two have the same name."""
    named: dict[str, str] = {}
    for spec in dict.fromkeys(specs):
        name = policy_name(policies.load(spec, seed=seed))
        named[spec if name in named else name] = spec
    return named


def _alike(bounds: Mapping[int, Bounds]) -> bool:
    """Whether the worlds of several seeds have all bounds in common: then they are the same one."""
    return len(bounds) > 1 and len(set(bounds.values())) == 1


def _place(point: Point) -> dict[str, str]:
    return {"sweep": point.sweep, "value": point.value} if point.sweep else {}


def run_limit_s(text: str) -> float:
    """Seconds of ``--run-limit``."""
    try:
        limit_s = parse_duration_s(text)
    except InputError as error:
        raise InputError(f"--run-limit: {error}", hint=error.hint) from None
    if not limit_s > 0:
        raise InputError("--run-limit 0 stops everything", hint="--run-limit 1h")
    return limit_s
