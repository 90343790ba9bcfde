"""Verbs about the cost model: what it knows, how good that is, and the picture of both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetsched.options import Json, Picture, print_json
from jetsched.verbs_evaluate import evaluate
from jetsched.verbs_paper import paper

if TYPE_CHECKING:
    from jetsched.profiler.calibration import Calibration
    from jetsched.records import Measurement

_PICTURE = Path("costs.png")

costs = typer.Typer(
    help="What the cost model knows: estimates, where they come from, how good they are.",
    invoke_without_command=True,
)
Device = Annotated[
    str,
    typer.Option("--device", metavar="NAME", help="Only this model, mode or device id."),
]
Work = Annotated[
    str,
    typer.Option(
        "--workload", "--model", metavar="TEXT", help="Only workloads with these words in them."
    ),
]
Everything = Annotated[
    bool, typer.Option("--all", help="All boards that have a data sheet, and all workloads.")
]
Long = Annotated[
    bool, typer.Option("--long", help="A line for each workload and device, with all figures.")
]


def add_to(app: typer.Typer) -> None:
    """Put the group into the command."""
    app.add_typer(costs, name="costs", rich_help_panel="Boards")


@costs.callback()
def costs_default(context: typer.Context, as_json: Json = False) -> None:
    """What the cost model knows: estimates, where they come from, how good they are."""
    if context.invoked_subcommand is None:
        show(as_json=as_json)


@costs.command()
def show(
    device: Device = "",
    workload: Work = "",
    everything: Everything = False,
    long: Long = False,
    as_json: Json = False,
) -> None:
    """Show what each workload costs on each kind of device, and whether it was measured.

    Example: jetsched costs show --model gpt2 --device orin-nano
    """
    from jetsched import costs_screen
    from jetsched.profiler.costs import CostModel
    from jetsched.profiler.known import known

    measured, calibrations = _read()
    found = known(
        measured,
        CostModel(measured, calibrations),
        [calibration.device_class for calibration in calibrations],
        device=device,
        workload=workload,
        everything=everything,
    )
    if as_json:
        print_json(costs_screen.known_json(found))
    else:
        costs_screen.print_known(found, long=long)


@costs.command()
def plot(
    out: Picture = _PICTURE,
) -> None:
    """Draw predicted against measured times, and what fits on which board.

    Each workload is predicted by a model that has not seen its own runs: the error is that of a job
    of a new kind.

    Example: jetsched costs plot --out costs.png
    """
    from jetsched import tables
    from jetsched.errors import InputError
    from jetsched.profiler.costs import CostModel
    from jetsched.profiler.heldout import held_out
    from jetsched.profiler.known import known
    from jetsched.profiler.plots_costs import draw

    measured, calibrations = _read()
    with tables.progress("holding out each workload") as said:
        guesses = held_out(measured, calibrations, said)
    if not guesses:
        raise InputError(
            "no time was measured yet: there is nothing to compare predictions with",
            hint="first: jetsched profile --quick",
        )
    devices = [calibration.device_class for calibration in calibrations]
    draw(guesses, known(measured, CostModel(measured, calibrations), devices), out)
    typer.echo(f"Written: {out}")
    tables.next_steps("jetsched costs show", "jetsched profile")


for verb in (evaluate, paper):
    costs.command()(verb)


def _read() -> tuple[list[Measurement], list[Calibration]]:
    """What was measured here; lines that cannot be read or believed are said."""
    from jetsched.profiler.calibrating import CalibrationStore
    from jetsched.profiler.judged import read_and_say
    from jetsched.profiler.store import MeasurementStore

    calibrations = CalibrationStore()
    measured = read_and_say(MeasurementStore(), lambda text: typer.echo(text, err=True))
    found = measured, calibrations.read()
    for bad in calibrations.bad:
        typer.echo(f"✗ {bad}", err=True)
    return found
