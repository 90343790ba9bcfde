"""The verb `estimate`: what a job would cost, before there is any cluster."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from jetsched.options import Json, print_json


def add_to(app: typer.Typer) -> None:
    """Put the verb into the command."""
    app.command(rich_help_panel="Without a cluster")(estimate)


def estimate(
    file: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="One job file; - is the standard input.", show_default=False
        ),
    ],
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="MODEL",
            help="A device model, with a power mode if wished (orin-nano@15W). cpu is this machine,"
            " xavier-nx:0.5 a board emulated on it with half the memory. May be given again;"
            " without it: all models.",
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a field of the file for this estimate. May be given again.",
            show_default=False,
        ),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Show what the memory goes to as well.")
    ] = False,
    python: Annotated[
        str,
        typer.Option(
            "--workload-python",
            help="The interpreter with torch, to count a model of a type that is not known here.",
        ),
    ] = sys.executable,
    as_json: Json = False,
) -> None:
    """Estimate time, memory, energy and fit of a job on each device model. Runs nothing.

    Needs no cluster, no network and, for known models, no torch. Exit code 3: none of the devices
    can ever run it.

    Examples: jetsched estimate examples/train-gpt2.yaml --device orin-nano --device cpu
    jetsched estimate examples/train-gpt2.yaml --set work.batch_size=16 --set work.head=lm
    """
    from jetsched import estimate_screen
    from jetsched.profiler.estimating import estimate_file

    found = estimate_file(
        file, device or [], set_ or [], python=python, say=lambda text: typer.echo(text, err=True)
    )
    if as_json:
        print_json(found.rows)
    else:
        estimate_screen.print_estimated(found, memory=memory)
    if found.hopeless:
        raise typer.Exit(3)
