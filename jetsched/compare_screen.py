"""What `compare` and `plan-fleet` print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jetsched.cluster.compare import BY, Comparison, PolicyRow
from jetsched.cluster.plan_fleet import PlannedFleet, Tried
from jetsched.cluster.rowwords import Show, distances, remarks, versus, with_interval
from jetsched.cluster.study import Findings
from jetsched.tables import Column, console, next_steps, print_table
from jetsched.units import format_duration, format_energy, number

#: So many failed runs are told one by one.
_MOST_TOLD = 5


def say(text: str) -> None:
    """A word on the way, where it disturbs no output."""
    print(text, file=sys.stderr)


def print_study(found: Findings, written: Sequence[Path]) -> None:
    """A table per point, what failed, what was written, and what to do next."""
    out = console()
    for line in found.notes:
        out.print(f"  Note: {line}")
    for comparison in found.comparisons:
        if comparison.point.sweep:
            out.print(f"{comparison.point.sweep} {comparison.point.value}", style="bold")
        print_comparison(comparison)
        print_policy_errors(comparison)
        if comparison.point.sweep:
            out.print()
    print_legend(found)
    _print_failed(found)
    if written:
        out.print(f"  Written: {', '.join(str(path) for path in written)}")
    next_steps("jetsched up --policy NAME", "jetsched policies")


def print_comparison(comparison: Comparison) -> None:
    """A row per policy, best first; with several seeds each figure has its 95 % interval."""
    columns = [
        Column("POLICY"),
        Column("MEAN DONE", right=True),
        Column("VS BEST", right=True, drop=4),
        Column("P95", right=True, drop=3),
        Column("ALL DONE", right=True),
        Column("SLOWDOWN", right=True, drop=7),
        Column("KILLED", right=True, drop=5),
        Column("MISSED", right=True, drop=6),
        Column("ENERGY", right=True, drop=2),
        Column("x BOUND", right=True, drop=1),
        Column("NOTE", drop=8),
    ]
    print_table(columns, [_cells(row) for row in comparison.ranked])


def print_legend(found: Findings) -> None:
    """What the columns mean that are not plain."""
    out = console()
    if found.study.seeds > 1:
        out.print(
            f"  ± is the 95 % interval over {found.study.seeds} seeds. VS BEST compares the same"
            " jobs with the best policy's; ≈ is no certain difference."
        )
    if any(row.distance for comparison in found.comparisons for row in comparison.rows):
        out.print(
            "  x BOUND: mean completion and all done, as multiples of what no schedule can beat."
        )


def print_policy_errors(comparison: Comparison) -> None:
    """The first mistake of each policy that broke its contract: the default one decided then."""
    told: set[str] = set()
    for run in comparison.runs:
        if run.policy_errors and run.policy not in told:
            told.add(run.policy)
            console().print(f"  ✗ {run.policy_errors[0]}")


def _print_failed(found: Findings) -> None:
    out = console()
    failed = found.failed
    for comparison, run in failed[:_MOST_TOLD]:
        point = comparison.point
        where = f", {point.sweep} {point.value}" if point.sweep else ""
        out.print(f"  ✗ {run.policy}, seed {run.seed}{where}: {run.text}")
    if len(failed) > _MOST_TOLD:
        out.print(f"  ✗ and {len(failed) - _MOST_TOLD:,} more runs failed")


def _cells(row: PolicyRow) -> list[str]:
    def cell(name: str, show: Show) -> str:
        return with_interval(row.figures.get(name), show)

    return [
        row.policy,
        cell(BY, format_duration),
        versus(row),
        cell("p95_completion_s", format_duration),
        cell("makespan_s", format_duration),
        cell("mean_slowdown", lambda value: number(value, 1)),
        cell("killed", lambda value: number(value, 1)),
        cell("missed_deadlines", lambda value: number(value, 1)),
        cell("energy_j", format_energy),
        distances(row),
        ", ".join(remarks(row)),
    ]


# ------------------------------------------------------------------------------------- plan-fleet


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Shows how many there are by now, if somebody looks; nobody knows how many there will be."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    with console(stderr=True).status(f"0 {what}") as status:
        yield lambda count: status.update(f"{count} {what}")


def print_planned(found: PlannedFleet) -> None:
    """The mixes that the choice rests on, the chosen one marked, and what to do next."""
    asked, out = found.asked, console()
    columns = [
        Column("MIX", most=80),
        Column(_COST_TITLES[asked.cost], right=True),
        *(Column(target.name.upper(), right=True) for target in asked.targets),
        Column("ENERGY", right=True, drop=1),
        Column("VERDICT", most=60),
    ]
    frontier = found.frontier
    shown = _around(frontier, frontier.index(found.best))
    print_table(columns, [_mix_cells(found, tried) for tried in shown])
    if len(shown) < len(frontier):
        out.print(f"  ... and {len(frontier) - len(shown)} more: --json has all.")
    wanted = ", ".join(str(target) for target in asked.targets)
    seeds = "" if asked.seeds == 1 else f" with each of {asked.seeds} seeds"
    out.print(
        f"  {asked.words(found.best.mix)} meets {wanted}{seeds}, under {asked.policy};"
        f" {len(found.tried)} mixes were tried."
    )
    if found.doubtful:
        out.print(
            "  No cheaper mix does, if with more boards a mix that will do still will:"
            f" {found.doubtful:,} were not tried, because a larger one will not do (--sure: all)."
        )
    else:
        out.print("  No cheaper mix does: all were tried, or bounds rule them out. All simulated.")
    fleet = ",".join(
        f"{model}:{n}" for model, n in zip(asked.models, found.best.mix, strict=True) if n
    )
    next_steps(f"jetsched compare --fleet {fleet} ...", "jetsched simulate ...")


def _around(frontier: Sequence[Tried], best: int) -> Sequence[Tried]:
    """The chosen mix and its neighbours by cost."""
    first = max(0, min(best - _MOST_MIXES // 2, len(frontier) - _MOST_MIXES))
    return frontier[first : first + _MOST_MIXES]


#: So many mixes are worth reading.
_MOST_MIXES = 20
_COST_TITLES = {"count": "BOARDS", "price": "PRICE", "energy": "COST"}


def _mix_cells(found: PlannedFleet, tried: Tried) -> list[str]:
    asked = found.asked
    cost = asked.cost_of(tried)
    if tried.mix == found.best.mix:
        verdict = "✓ chosen"
    elif tried.will_do:
        verdict = "will do"
    else:
        verdict = tried.bound or (
            f"{tried.unfinished} not done" if tried.unfinished else "too slow"
        )
    values = tried.values or (None,) * len(asked.targets)
    return [
        asked.words(tried.mix),
        format_energy(cost) if asked.cost == "energy" else number(cost),
        *(target.show(value) for target, value in zip(asked.targets, values, strict=True)),
        format_energy(tried.energy_j),
        verdict,
    ]
