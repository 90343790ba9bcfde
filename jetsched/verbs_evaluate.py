"""`jetsched costs evaluate`: how good the cost model is on what it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jetsched.options import Json, print_json


def evaluate(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A CSV table of measured costs, or a measurements.jsonl.",
            show_default=False,
        ),
    ],
    hold_out: Annotated[
        str,
        typer.Option(
            "--hold-out",
            metavar="COLUMN",
            help="Each of its values in turn is predicted from all others.",
        ),
    ] = "workload",
    as_json: Json = False,
) -> None:
    """Fit on all groups but one, predict that one, and show how far off that is.

    Groups are the values of COLUMN: workload, device, or any other of the file. Rows that cannot
    be right are named with a reason and left out. MAPE: mean of the absolute errors, per cent of
    the measured time. P90 COVERS: share of rows that took at most the predicted p90.

    Example: jetsched costs evaluate measured.csv --hold-out device --json
    """
    from jetsched import evaluate_screen, tables
    from jetsched.profiler.evaluate import evaluate as hold_out_each

    with tables.progress(f"holding out each {hold_out}") as said:
        found = hold_out_each(file, hold_out, said)
    for line in evaluate_screen.flaw_lines(found):
        typer.echo(line, err=True)
    if as_json:
        print_json(evaluate_screen.evaluation_json(found))
        return
    evaluate_screen.print_evaluation(found)
    tables.next_steps("jetsched costs show", "jetsched costs plot")
