"""`costs evaluate`: how far off predictions of held-out rows are, as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from jetsched.problems import printable
from jetsched.profiler.evaluate import Evaluation
from jetsched.profiler.flaws import Flaw
from jetsched.profiler.scoring import Score
from jetsched.tables import Column, console, print_table
from jetsched.units import NOTHING, number

#: So many bad rows are named one by one; ``--json`` has them all.
MOST_FLAWS = 20


def evaluation_json(found: Evaluation) -> dict[str, Any]:
    """Scores over all and per group, and each row. ``row`` counts the data rows from 1.

    ``p90_coverage`` is a share from 0 to 1, the other figures are per cent. null: not known.
    """
    return {
        "column": found.column,
        "overall": _score_json(found.overall),
        "groups": {
            name: {**_score_json(each), "problem": found.problems.get(name)}
            for name, each in found.groups.items()
        },
        "rows": [
            {
                "row": each.row,
                "group": each.group,
                "device": each.device,
                "time_s": each.time_s,
                "predicted_s": each.predicted_s,
                "predicted_p90_s": each.predicted_p90_s,
                "note": each.note,
            }
            for each in found.rows
        ],
        "left_out": _flaws_json(found.left_out),
        "warnings": _flaws_json(found.warnings),
    }


def _score_json(found: Score) -> dict[str, Any]:
    interval = found.p90_coverage_95
    return {
        "rows": found.rows,
        "predicted": found.predicted,
        "mape_pct": found.mape_pct,
        "median_ape_pct": found.median_ape_pct,
        "p90_coverage": found.p90_coverage,
        "p90_coverage_95": None if interval is None else list(interval),
        "pairs": found.pairs,
        "pairs_ordered_pct": found.pairs_ordered_pct,
        "peer_mape_pct": found.peer_mape_pct,
    }


def _flaws_json(flaws: Sequence[Flaw]) -> list[dict[str, Any]]:
    return [{"row": flaw.row, "code": flaw.code, "text": flaw.text} for flaw in flaws]


def print_evaluation(found: Evaluation) -> None:
    """A line per held-out group, and one for all of them."""
    columns = [
        Column(found.column.upper(), most=36),
        Column("ROWS", right=True),
        Column("MAPE", right=True),
        Column("MEDIAN", right=True),
        Column("P90 COVERS", right=True),
        Column("(95 %)", right=True, drop=2),
        Column("PAIRS ORDERED", right=True, drop=1),
    ]
    scores = [found.overall, *found.groups.values()]
    peers = any(each.peer_mape_pct is not None for each in scores)
    if peers:
        columns.append(Column("PEER'S MAPE", right=True, drop=3))
    lines = [_cells(name, each, peers) for name, each in found.groups.items()]
    print_table(columns, [*lines, _cells("all", found.overall, peers)])
    out = console()
    for name, problem in found.problems.items():
        out.print(f"  {printable(name)}: nothing was predicted: {problem}", markup=False)
    for note, count in Counter(each.note for each in found.rows if each.note).most_common(6):
        out.print(f"  {count} row{'s' if count > 1 else ''}: {printable(note)}", markup=False)
    if found.left_out:
        count = len({flaw.row for flaw in found.left_out})
        out.print(f"  {count} row{'s were' if count > 1 else ' was'} left out.")


def _cells(name: str, found: Score, peers: bool) -> list[str]:
    interval = NOTHING
    if found.p90_coverage_95 is not None:
        low, high = found.p90_coverage_95
        interval = f"{100 * low:.0f}-{100 * high:.0f}"
    share = None if found.p90_coverage is None else 100 * found.p90_coverage
    pairs = NOTHING
    if found.pairs_ordered_pct is not None:
        pairs = f"{found.pairs_ordered_pct:.1f} % of {found.pairs:,}"
    cells = [
        printable(name),
        str(found.rows),
        number(found.mape_pct, 1, " %"),
        number(found.median_ape_pct, 1, " %"),
        number(share, 0, " %"),
        interval,
        pairs,
    ]
    return [*cells, number(found.peer_mape_pct, 1, " %")] if peers else cells


def flaw_lines(found: Evaluation) -> Iterator[str]:
    """What was left out and what is odd, for standard error."""
    yield from _named("✗", "left out: ", found.left_out)
    yield from _named("!", "", found.warnings)


def _named(sign: str, what: str, flaws: Sequence[Flaw]) -> Iterator[str]:
    for flaw in flaws[:MOST_FLAWS]:
        yield f"{sign} row {flaw.row} {what}{printable(flaw.text)}"
    if len(flaws) > MOST_FLAWS:
        yield f"{sign} and {len(flaws) - MOST_FLAWS} more: --json names them all"
