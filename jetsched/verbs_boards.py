"""Verbs about what a board can do: run the benchmarks, and look at what was measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetsched.options import Json, Picture, print_json

if TYPE_CHECKING:
    from jetsched.profiler.calibration import Calibration
    from jetsched.profiler.profiling import Row
    from jetsched.profiler.session import Board
    from jetsched.records import Measurement

_PANEL = "Boards"
_PICTURE = Path("profile.png")


def add_to(app: typer.Typer) -> None:
    """Put the verbs into the command."""
    app.command(rich_help_panel=_PANEL)(profile)
    app.add_typer(profiles, name="profiles", rich_help_panel=_PANEL)


def profile(
    suite: Annotated[
        str,
        typer.Option("--suite", metavar="NAME|FILE", help="demo, quick, paper, or a job file."),
    ] = "quick",
    quick: Annotated[bool, typer.Option("--quick", help="The same as --suite quick.")] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Only the minute that measures the board's constants."),
    ] = False,
    emulate: Annotated[
        str | None,
        typer.Option(
            "--emulate",
            metavar="BOARD",
            help="Profile an emulated board, e.g. xavier-nx:0.5 (half its memory).",
        ),
    ] = None,
    python: Annotated[
        str,
        typer.Option("--workload-python", help="The interpreter with the board's own torch."),
    ] = sys.executable,
    memory_limit: Annotated[
        str | None,
        typer.Option("--memory-limit", metavar="SIZE", help="Cap a benchmark's memory: 5GiB."),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="End a benchmark after so long: 30m."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Train for at most so many epochs.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", help="At most so many samples, or prompts.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="At most so many steps after the one of warm-up.")
    ] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", help="Run each so often: median and spread.")
    ] = 1,
    online: Annotated[
        bool, typer.Option("--online", help="Let it fetch models and data from the hub.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do not go on with a session that was interrupted.")
    ] = False,
    form: Annotated[
        str, typer.Option("--format", metavar="table|md|csv|json", help="How to print the rows.")
    ] = "table",
    as_json: Json = False,
) -> None:
    """Run benchmarks on this board and keep what they cost: time, memory, how they ended.

    A kill, a failure or a time-out is a row, and the next benchmark goes on. Interrupted, it goes
    on from there the next time. A bounded run measures a steady rate and extrapolates the whole
    benchmark. Offline, or where no weights are cached, models have random weights: speed and memory
    do not depend on their values.

    Examples: jetsched profile --quick     jetsched profile --suite paper --steps 20
    """
    from jetsched import profile_screen, tables
    from jetsched.errors import InputError
    from jetsched.profiler.session import this_board
    from jetsched.profiler.suites import load_suite, repeated, require_models

    name = "quick" if quick else suite
    form = "json" if as_json else form
    if form not in profile_screen.FORMATS:
        raise InputError(f"--format {form} is not one of {', '.join(profile_screen.FORMATS)}")
    bounds = {"epochs": epochs, "samples": samples, "steps": steps}
    wanted = load_suite(name)
    if not online and not calibrate:
        require_models(wanted)
    board = this_board(emulate, python, memory_limit, timeout)
    kind = board.device.device_class
    benchmarks = repeated([b.bounded(**bounds).on(kind) for b in wanted], repeat)
    session = name + "".join(f"-{k}{v}" for k, v in bounds.items() if v is not None)
    typer.echo(f"{board.title}: {'calibration' if calibrate else f'suite {name}'}", err=True)
    if calibrate or name != "demo":  # which must be short
        found = _calibrated(board, fresh=calibrate or fresh, must=calibrate)
    if calibrate:
        _show_calibration(found, form)
        return
    rows: list[Row] = []
    try:
        for row in board.profile(
            benchmarks,
            session,
            online=online,
            fresh=fresh,
            say=lambda text: typer.echo(text, err=True),
        ):
            rows.append(row)
    except OSError:  # a full disk, most likely: what was measured before it is still shown
        if rows:
            _show_rows(rows, form)
        typer.echo("  What is finished is kept: the same command goes on from here.", err=True)
        raise
    _show_rows(rows, form)
    for problem in (*board.problems, *profile_screen.sensor_notes(rows)):
        typer.echo(f"  Note: {problem}", err=form != "table")
    if form == "table":
        tables.next_steps("jetsched profiles plot", "jetsched plan FILE.yaml --fleet FLEET.yaml")


def _show_rows(rows: Sequence[Row], form: str) -> None:
    from jetsched import profile_screen

    if form == "json":
        print_json(profile_screen.profile_json(rows))
    else:
        profile_screen.print_profile(rows, form)


def _calibrated(board: Board, *, fresh: bool, must: bool) -> Calibration | None:
    """The board's constants, part of every profile; without them the benchmarks still run."""
    from jetsched.errors import JobFailedError

    try:
        return board.calibration(fresh=fresh, say=lambda text: typer.echo(text, err=True))
    except JobFailedError as error:
        if must:
            raise
        typer.echo(f"  Note: not calibrated: {error}", err=True)
        return None


def _show_calibration(found: Calibration | None, form: str) -> None:
    from jetsched import screens

    if form == "json":
        print_json(found)
    elif found is not None:
        screens.print_calibration(found)


profiles = typer.Typer(
    help="What was measured: on this machine, and by the paper.", invoke_without_command=True
)


@profiles.callback()
def profiles_default(context: typer.Context, as_json: Json = False) -> None:
    """What was measured: on this machine, and by the paper."""
    if context.invoked_subcommand is None:
        profiles_ls(as_json=as_json)


@profiles.command("ls")
def profiles_ls(as_json: Json = False) -> None:
    """List all measurements of this machine, oldest first."""
    from jetsched import tables
    from jetsched.profiler.store import MeasurementStore

    store = MeasurementStore()
    found = store.read()
    for bad in store.bad:
        typer.echo(f"✗ {bad}", err=True)
    if found or as_json:
        _print_stored(found, as_json)
    else:
        typer.echo(f"Nothing was measured yet ({store.path}).")
    if not as_json:
        tables.next_steps("jetsched profile --quick", "jetsched profiles show paper")


@profiles.command("show")
def profiles_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A device's id or model, or: paper.")],
    as_json: Json = False,
) -> None:
    """Show the measurements of one board, or what the paper reports.

    Example: jetsched profiles show paper
    """
    from jetsched import tables
    from jetsched.errors import InputError
    from jetsched.profiler.store import MeasurementStore

    if name == "paper":
        from jetsched.paper_screen import paper_json, print_paper

        if as_json:
            print_json(paper_json())
        else:
            print_paper()
        return
    measured = MeasurementStore().read()
    found = [m for m in measured if name in (m.device, m.device_class.model)]
    if not found:
        known = sorted({m.device for m in measured if m.device} | {"paper"})
        raise InputError(f"nothing was measured on {name!r}", hint=f"there is: {', '.join(known)}")
    _print_stored(found, as_json)
    if not as_json:
        tables.next_steps("jetsched profiles ls", "jetsched profile")


def _print_stored(measurements: Sequence[Measurement], as_json: bool) -> None:
    """Measurements, what is odd about each, and what has changed on this board since."""
    from jetsched import screens
    from jetsched.files import to_json
    from jetsched.profiler.staleness import Here

    here = Here()
    stale = [here.changes(measurement) for measurement in measurements]
    if as_json:
        rows = zip(measurements, stale, strict=True)
        print_json(
            [
                {**to_json(m), "warnings": screens.warnings_json(m), "stale": changed}
                for m, changed in rows
            ]
        )
    else:
        screens.print_measurements(measurements, stale)
        screens.print_warnings(measurements)


@profiles.command("plot")
def profiles_plot(
    out: Picture = _PICTURE,
) -> None:
    """Draw what was measured: time and GPU use per benchmark, and what fits on which board.

    Example: jetsched profiles plot --out profile.png
    """
    from jetsched import tables
    from jetsched.errors import InputError
    from jetsched.profiler.plots import draw
    from jetsched.profiler.store import MeasurementStore

    measurements = MeasurementStore().read()
    if not measurements:
        raise InputError("nothing was measured yet", hint="first: jetsched profile --quick")
    draw(measurements, out)
    typer.echo(f"Written: {out}")
    tables.next_steps("jetsched profiles")
