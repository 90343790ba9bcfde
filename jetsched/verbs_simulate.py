"""The verb that simulates one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from jetsched.cluster.worldoptions import WorldOptions
from jetsched.options import Json, PolicyName, print_json
from jetsched.world_options import Warmup, takes_world

Objective = Literal["mean", "makespan", "deadline", "energy"]


def add_to(app: typer.Typer) -> None:
    """Put the verb into the command."""
    app.command(rich_help_panel="Without a cluster")(takes_world(simulate))


def simulate(
    world: WorldOptions,
    policy: PolicyName = None,
    objective: Annotated[
        Objective | None,
        typer.Option("--objective", help="What policy auto is to be best at.", show_default=False),
    ] = None,
    warmup: Warmup = 0.0,
    bound: Annotated[
        bool, typer.Option("--bound/--no-bound", help="Compute what no schedule can beat.")
    ] = True,
    trace_out: Annotated[
        Path | None,
        typer.Option(
            "--trace-out",
            metavar="FILE.json",
            help="Write the run for a trace viewer: ui.perfetto.dev.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate jobs on a fleet under one policy, by the code that dispatches live.

    Example: jetsched simulate --generate 200 --load 0.9 --fleet examples/fleet.yaml
    """
    from jetsched import simulate_screen
    from jetsched.cluster.onerun import run_once

    done = run_once(
        world,
        policy=policy,
        objective=objective,
        warmup=warmup,
        bounded=bound,
        trace_out=trace_out,
        progress=simulate_screen.progress,
    )
    if as_json:
        print_json(simulate_screen.one_run_json(done))
    else:
        simulate_screen.print_one_run(done)
