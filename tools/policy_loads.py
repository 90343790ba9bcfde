"""The bars of streams: Gavel's loads, the Philly stream, estimates that are wrong."""

from __future__ import annotations

import csv
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from policy_bars import Asked, Row, a_fleet, all_done, has, left_out, mean_s, missing, p99_s

from jetsched import policies
from jetsched.cluster.bounds import bounds, bounds_of_run
from jetsched.cluster.scenarios import trace_scenario
from jetsched.cluster.simulating import Scenario, SimulationRun
from jetsched.cluster.traces import read_trace
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import scenario
from jetsched.errors import InputError

#: Gavel's loads that have a bar: name -> devices of each of the three models.
GAVEL = {"gen_50_static": 4, "gen_100_lam400": 12, "gen_300_lam250": 12}
#: Gavel's defaults: rounds of so many seconds, and so many that a move costs.
_ROUND_S, _RESET_S = "360", "1920"
#: So much better in both a policy outside `auto` must not be.
_BETTER = 0.97
_ERROR = 0.5
_LOAD = 0.9
#: Wrong sizes cost capacity, which near saturation costs most: the bar is the first of these.
_ERROR_LOADS = (0.9, 0.8)
_WITH_ERROR = ("auto", "earliest_finish", "comparative_advantage", "response_ratio", "matching")
#: Plans whole batches, for seconds each time; of a stream it sees a few jobs at a time.
BATCH_ONLY = ("makespan",)


def gavel(asked: Asked) -> Iterator[Row]:
    """`auto` on the jobs of Gavel's simulator, beside what Gavel reaches on them."""
    folder = asked.data / "gavel"
    results = folder / "gavel_results.csv"
    if not results.is_file():
        yield left_out("Gavel's loads", f"no {results}")
        return
    yield from missing("Gavel's loads", "auto")
    if not has("auto"):
        return
    with results.open(newline="") as file:
        reached = list(csv.DictReader(file))
    for name, count in GAVEL.items():
        own = [row for row in reached if row["trace"] == name]
        default = min(
            (float(row["mean_jct_s"]), row["policy"])
            for row in own
            if (row["round_s"], row["reset_s"]) == (_ROUND_S, _RESET_S)
        )
        tuned = min((float(row["mean_jct_s"]), row["policy"]) for row in own)
        yield from _gavel(folder / f"{name}.csv", count, default, tuned)


def _gavel(
    file: Path, count: int, default: tuple[float, str], tuned: tuple[float, str]
) -> Iterator[Row]:
    world = trace_scenario(read_trace(file), a_fleet(v100=count, p100=count, k80=count))
    run = all_done("auto", world)
    found_s = mean_s([run])
    bound_s = bounds_of_run(world, run).of(run.metrics)[1] or 0.0
    yield Row(
        f"{file.stem}, {count}:{count}:{count}, mean of auto",
        f"{found_s:,.0f} s",
        f"<= {default[0]:,.0f} s",
        f"Gavel's best at its defaults, {default[1]}; the bound {bound_s:,.0f} s",
        found_s <= default[0],
    )
    yield Row(
        "  beside Gavel's best tuned one",
        f"{found_s / tuned[0]:.3f}",
        "<= 1.03",
        f"{tuned[0]:,.0f} s, {tuned[1]}; its moves are free",
        found_s <= 1.03 * tuned[0],
    )
    yield _best_single([world], [run])


def philly(asked: Asked) -> Iterator[Row]:
    """Every policy on real durations: drawn at random, as recorded, and in their real bursts.

    What was recorded is not steady: its last jobs are ten times as long as its first ones.
    """
    file = asked.data / "traces" / "philly_a.csv"
    if not file.is_file():
        yield left_out("Philly stream", f"no {file}")
        return
    yield from missing("Philly stream", "auto")
    if not has("auto"):
        return
    for words, world in (("drawn, Poisson", _drawn), ("Poisson", _poisson), ("bursts", _bursts)):
        yield from _philly_rows(words, [world(file, seed) for seed in range(asked.seeds)])


def _drawn(file: Path, seed: int, error: float = 0.0, load: float = _LOAD) -> Scenario:
    """Jobs at random times, their durations in a random order: a steady stream."""
    head, *lines = file.read_text().splitlines()
    cells = [line.split(",") for line in lines]
    durations = [duration for _, duration in cells]
    random.Random(f"order {seed}").shuffle(durations)
    pairs = zip(cells, durations, strict=True)
    with tempfile.TemporaryDirectory(prefix="jetsched-bench-") as folder:
        drawn = Path(folder) / "drawn.csv"
        drawn.write_text("\n".join([head, *(f"{at},{lasts}" for (at, _), lasts in pairs)]) + "\n")
        return _poisson(drawn, seed, error, load)


def _poisson(file: Path, seed: int, error: float = 0.0, load: float = _LOAD) -> Scenario:
    return scenario(_options(file, error, "poisson", load), seed)


def _bursts(file: Path, seed: int) -> Scenario:
    return scenario(_options(file, 0.0, None, _LOAD), seed)


def _options(
    file: Path, error: float, arrivals: Literal["poisson"] | None, load: float
) -> WorldOptions:
    return WorldOptions(
        trace=file,
        mix="paper",
        fleet="orin-nano:4,xavier-nx:4",
        load=load,
        arrivals=arrivals,
        estimate_error=error,
    )


def _philly_rows(words: str, worlds: list[Scenario]) -> Iterator[Row]:
    runs, broken = every_policy(worlds)
    yield from broken
    own = mean_s(runs["auto"]), p99_s(runs["auto"])
    others = {name: (mean_s(r), p99_s(r)) for name, r in runs.items() if name != "auto"}
    better = [
        name
        for name, (mean, p99) in others.items()
        if mean < _BETTER * own[0] and p99 < _BETTER * own[1]
    ]
    found = [bounds(world) for world in worlds]
    bound_s = sum(each.whole_mean_completion_s or 0.0 for each in found) / len(found)
    yield Row(
        f"Philly, {words}, load 0.9, 4 + 4: better than auto in mean and p99 by 3 %",
        ", ".join(better) or "none",
        "none",
        f"auto: mean {own[0]:,.0f}, p99 {own[1]:,.0f} s; the bound on the mean {bound_s:,.0f} s",
        not better,
    )
    yield _best_single(
        worlds, runs["auto"], {name: r for name, r in runs.items() if name != "auto"}
    )
    for name, (mean, p99) in sorted(others.items(), key=lambda each: each[1]):
        yield Row(f"  {name}", f"mean {mean:,.0f}, p99 {p99:,.0f} s")


def every_policy(
    worlds: list[Scenario], but: str = ""
) -> tuple[dict[str, list[SimulationRun]], list[Row]]:
    """The runs of every policy on the same worlds; one that breaks is a row, and left out."""
    runs, broken = {}, []
    for name in policies.BUILT_IN:
        if name in (but, *BATCH_ONLY):
            continue
        try:
            runs[name] = [all_done(name, world) for world in worlds]
        except (RuntimeError, InputError) as error:
            broken.append(Row(f"  {name}", f"broke: {str(error)[:90]}", met=False))
    return runs, broken


def _best_single(
    worlds: list[Scenario],
    auto: list[SimulationRun],
    others: dict[str, list[SimulationRun]] | None = None,
) -> Row:
    """`auto` promises to be at most 5 % worse than the best single policy for its objective."""
    if others is None:
        others, _ = every_policy(worlds, but="auto")
    # A policy that interrupts jobs is compared by the bars alone: `auto` does not.
    whole = {n: r for n, r in others.items() if not any(run.metrics.preempted for run in r)}
    best = min(whole, key=lambda name: mean_s(whole[name]))
    ratio = mean_s(auto) / mean_s(whole[best])
    return Row(
        "  mean of auto beside the best single policy",
        f"{ratio:.3f}",
        "<= 1.05",
        f"{best} {mean_s(whole[best]):,.0f} s",
        ratio <= 1.05,
    )


def error(asked: Asked) -> Iterator[Row]:
    """What wrong estimates cost: the same jobs with and without a lognormal error of 0.5."""
    file = asked.data / "traces" / "philly_a.csv"
    if not file.is_file():
        yield left_out("estimate error", f"no {file}")
        return
    yield from missing("estimate error", "auto")
    for load in _ERROR_LOADS:
        for name in [name for name in _WITH_ERROR if has(name)]:
            yield _loss(file, name, load, asked.seeds)


def _loss(file: Path, name: str, load: float, seeds: int) -> Row:
    right = [all_done(name, _drawn(file, seed, 0.0, load)) for seed in range(seeds)]
    wrong = [all_done(name, _drawn(file, seed, _ERROR, load)) for seed in range(seeds)]
    loss = mean_s(wrong) / mean_s(right) - 1
    barred = name == "auto" and load == _LOAD
    return Row(
        f"estimate error {_ERROR}, Philly drawn, load {load}: {name} loses",
        f"{100 * loss:.1f} %",
        "< 8 %" if barred else "",
        f"mean {mean_s(right):,.0f} s without" + ("; MCT 14 % expected" if barred else ""),
        loss < 0.08 if barred else None,
    )
