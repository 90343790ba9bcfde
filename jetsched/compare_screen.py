"""What `compare` and `plan-fleet` print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jetsched.cluster.compare import BY, Comparison, PolicyRow
from jetsched.cluster.rowwords import Show, distances, remarks, versus, with_interval
from jetsched.cluster.study import Findings
from jetsched.tables import Column, console, next_steps, number, print_table
from jetsched.units import format_duration, format_energy

#: So many failed runs are told one by one.
_MOST_TOLD = 5


def say(text: str) -> None:
    """A word on the way, where it disturbs no output."""
    print(text, file=sys.stderr)


def print_study(found: Findings, written: Sequence[Path]) -> None:
    """A table per point, what failed, what was written, and what to do next."""
    out = console()
    for line in found.study.notes:
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
