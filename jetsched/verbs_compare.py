"""Verbs that simulate many times: compare policies, and plan a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jetsched.cluster.worldoptions import WorldOptions
from jetsched.options import Json, PolicyName, print_json
from jetsched.world_options import Warmup, takes_world

_PANEL = "Without a cluster"


def add_to(app: typer.Typer) -> None:
    """Put the verbs into the command."""
    app.command(rich_help_panel=_PANEL)(takes_world(compare))
    app.command("plan-fleet", rich_help_panel=_PANEL)(takes_world(plan_fleet))


AtOnce = Annotated[
    int | None,
    typer.Option(
        "--jobs-parallel",
        metavar="N",
        help="So many simulations at a time; without it one per processor.",
        show_default=False,
    ),
]
OnRay = Annotated[
    bool | None,
    typer.Option(
        "--on-ray/--no-on-ray",
        help="Run them on a Ray of their own; without it, that is done from 1,000 runs on.",
        show_default=False,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="HOST:PORT",
        help="Run them on this Ray cluster, whose nodes see the same files.",
        show_default=False,
    ),
]
RunLimit = Annotated[
    str,
    typer.Option("--run-limit", metavar="DURATION", help="A simulation that takes longer fails."),
]


def compare(
    world: WorldOptions,
    names: Annotated[
        str, typer.Option("--policies", metavar="all|A,B", help="Which policies to compare.")
    ] = "all",
    seeds: Annotated[
        int, typer.Option("--seeds", help="How many draws of the jobs, for confidence intervals.")
    ] = 5,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            metavar="AXIS=A,B,...",
            help="Compare at several points: load=0.5,0.9, error=0,0.5 or fleet=4:4,6:2"
            " (boards of each entry of the fleet). Can be given again.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="A folder for index.html, its pictures and runs.jsonl.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="NAME",
            help="Keep the report in the data home, for the page What if of the dashboard.",
            show_default=False,
        ),
    ] = None,
    warmup: Warmup = 0.0,
    at_once: AtOnce = None,
    on_ray: OnRay = None,
    ray_address: RayAddress = None,
    run_limit: RunLimit = "1h",
    as_json: Json = False,
) -> None:
    """Compare placement policies on the same jobs in simulation.

    Example: jetsched compare --generate 200 --load 0.9 --seeds 20 --out report
    """
    from jetsched import compare_screen, tables
    from jetsched.cluster.keptreports import report_folder
    from jetsched.cluster.report import check_folder, write_report
    from jetsched.cluster.study import Study
    from jetsched.files import home

    folders = [out] if out is not None else []
    folders += [report_folder(home(), keep)] if keep is not None else []
    for folder in folders:
        check_folder(folder)
    study = Study.of(
        world,
        names=names,
        seeds=seeds,
        sweeps=sweep or (),
        at_once=at_once,
        on_ray=on_ray,
        address=ray_address,
        run_limit=run_limit,
        warmup=warmup,
        say=compare_screen.say,
    )
    with tables.progress(f"{study.runs:,} simulations") as hears:
        found = study.run(hears)
    written = [path for folder in folders for path in write_report(found, folder)]
    if as_json:
        print_json(found.to_json())
    else:
        compare_screen.print_study(found, written)
    if found.failed:
        raise typer.Exit(1)


def plan_fleet(
    world: WorldOptions,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar='"p95<=30m,..."',
            help="What is to be met: mean, p50, p95, p99, makespan, missed; several with commas.",
        ),
    ],
    models: Annotated[
        str | None,
        typer.Option(
            "--models",
            metavar="A,B",
            help="Boards to choose from: xavier-nx,orin-nano@15W. Or --fleet FILE with prices.",
            show_default=False,
        ),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            "--cost",
            metavar="count|energy|price",
            help="What is to be least; price where --price is given, else count.",
            show_default=False,
        ),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(
            "--price",
            metavar="A=399,B=249",
            help="What a board of each model costs.",
            show_default=False,
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            "--most",
            metavar="N",
            help="Of each model at most so many boards; 64, with energy 8.",
            show_default=False,
        ),
    ] = None,
    sure: Annotated[
        bool,
        typer.Option("--sure", help="Try every cheaper mix that no bound rules out; takes longer."),
    ] = False,
    policy: PolicyName = None,
    seeds: Annotated[
        int, typer.Option("--seeds", help="The target is to be met with each of so many seeds.")
    ] = 1,
    at_once: AtOnce = None,
    run_limit: RunLimit = "1h",
    as_json: Json = False,
) -> None:
    """Find the cheapest mix of boards that meets a target, by simulation.

    Example: jetsched plan-fleet --trace jobs.csv --target "p95<=30m" --models xavier-nx,orin-nano
    """
    from jetsched import compare_screen
    from jetsched.cluster.engines import processes
    from jetsched.cluster.plan_fleet import FleetPlanning
    from jetsched.cluster.study import run_limit_s

    asked = FleetPlanning.of(
        world,
        target=target,
        models=models,
        cost=cost,
        price=price,
        most=most,
        policy=policy,
        seeds=seeds,
        at_once=processes(at_once),
        limit_s=run_limit_s(run_limit),
    )
    with compare_screen.counting("mixes tried") as hears:
        found = asked.run(hears, sure=sure)
    if as_json:
        print_json(found.to_json())
    else:
        compare_screen.print_planned(found)
