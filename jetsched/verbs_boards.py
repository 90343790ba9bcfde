"""Verbs about what a board can do: run the benchmarks, and look at what was measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from jetsched.options import Json, print_json

if TYPE_CHECKING:
    from jetsched.records import Measurement

_PANEL = "Boards"


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
    online: Annotated[
        bool, typer.Option("--online", help="Let it fetch models and data from the hub.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do not go on with a session that was interrupted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run benchmarks on this board and keep what they cost: time, memory, how they ended.

    A kill is a row, and the next benchmark goes on. Interrupted, it goes on from there the next
    time. Offline, or where no weights are cached, models have random weights: speed and memory do
    not depend on their values.

    Examples: jetsched profile --quick     jetsched profile my-job.yaml
    """
    from jetsched import screens, tables
    from jetsched.profiler.session import this_board
    from jetsched.profiler.suites import load_suite

    benchmarks = load_suite("quick" if quick else suite)
    board = this_board(emulate, python, memory_limit)
    if not as_json:
        typer.echo(f"{board.title}: suite {'quick' if quick else suite}", err=True)
    rows = []
    for row in board.profile(
        benchmarks, suite, online=online, fresh=fresh, say=lambda text: typer.echo(text, err=True)
    ):
        rows.append(row)
    if as_json:
        print_json([row.measurement for row in rows])
        return
    screens.print_measurements([row.measurement for row in rows])
    for problem in board.problems:
        typer.echo(f"  Note: {problem}")
    tables.next_steps("jetsched profiles", "jetsched plan FILE.yaml --fleet FLEET.yaml")


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
    """Measurements, and what has changed on this board since each of them."""
    from jetsched import screens
    from jetsched.files import to_json
    from jetsched.profiler.staleness import Here

    here = Here()
    stale = [here.changes(measurement) for measurement in measurements]
    if as_json:
        rows = zip(measurements, stale, strict=True)
        print_json([{**to_json(m), "stale": changed} for m, changed in rows])
    else:
        screens.print_measurements(measurements, stale)
