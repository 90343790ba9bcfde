"""Verbs that need no cluster: look at files, compare, the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jetsched.cluster.worldoptions import WorldOptions
from jetsched.options import JobFiles, Json, Seed, print_json

_DEMO_FOLDER = Path("jetsched-demo")
_PANEL = "Without a cluster"


def add_to(app: typer.Typer) -> None:
    """Put the verbs into the command."""
    for verb in (demo, compare, check, schema):
        app.command(rich_help_panel=_PANEL)(verb)


def check(files: JobFiles, as_json: Json = False) -> None:
    """Check job files and say everything that is wrong with them. Submits nothing.

    Example: jetsched check examples/train-distilgpt2.yaml
    """
    from jetsched import tables
    from jetsched.errors import InputError
    from jetsched.jobfile import load_jobs
    from jetsched.problems import FileProblems
    from jetsched.profiler.models import positions, shape, suggest

    try:
        specs = load_jobs(files, positions=positions)
    except FileProblems as problems:
        if as_json:
            print_json(problems.to_json())
        else:
            typer.echo(problems.text(), err=True)
        raise typer.Exit(problems.exit_code) from None
    if as_json:
        print_json([])
        return
    for spec in specs:
        typer.echo(f"✓ {spec.file}: {spec.workload.label}, {spec.amount:,.0f} units of work")
        try:
            known = not spec.workload.model or shape(spec.workload.model) is not None
        except InputError as error:  # it can be counted, or its config mended
            typer.echo(f"  Note: {spec.workload.model}: {error}. {error.hint}")
            continue
        if not known:
            close = suggest(spec.workload.model)
            typer.echo(
                f"  Note: '{spec.workload.model}' is not known here: profile the job file first"
                + (f", or did you mean '{close}'?" if close else "")
            )
    tables.next_steps(f"jetsched estimate {specs[0].file}", "jetsched submit FILE...")


def schema() -> None:
    """Print the JSON schema of job files, for an editor that completes and checks them.

    Example: jetsched schema > job.schema.json
    """
    from jetsched.jobfile import json_schema

    print_json(json_schema())


def demo(
    folder: Annotated[
        Path, typer.Option("--out", help="Where to write summary.json and compare.png.")
    ] = _DEMO_FOLDER,
    simulate_only: Annotated[
        bool, typer.Option("--simulate-only", help="Leave the live part out: a few seconds.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the whole way on this machine: compare policies, then run real jobs on two boards.

    No Jetson is needed: the boards are emulated, and every figure says so. The live part takes two
    to four minutes on two cores and 8 GB of memory; it stops everything that it started.
    """
    from jetsched import results
    from jetsched.cluster.demo import run_demo

    def say(text: str) -> None:
        typer.echo(text, err=as_json)

    if not as_json:
        results.demo_intro(simulate_only)
    done = run_demo(
        folder,
        simulate_only=simulate_only,
        say=say,
        simulated=(lambda *_: None) if as_json else results.demo_simulated,
        live=lambda: results.demo_live_intro(say),
    )
    if as_json:
        typer.echo(done.summary.read_text())
    else:
        results.demo_end(done)


TraceFile = Annotated[
    Path | None,
    typer.Option("--trace", help="Jobs from a file: .csv or .jsonl.", show_default=False),
]
Generate = Annotated[
    int | None,
    typer.Option("--generate", metavar="N", help="N jobs of the paper's mix instead of a trace."),
]
Load = Annotated[
    float | None,
    typer.Option("--load", help="Let generated jobs arrive so that the fleet is this busy: 0.9."),
]
FleetFile = Annotated[
    Path | None,
    typer.Option("--fleet", help="A fleet file; without it one Xavier NX and one Orin Nano."),
]
EstimateError = Annotated[
    float,
    typer.Option("--estimate-error", metavar="SIGMA", help="Lognormal error of the estimates."),
]


def compare(
    trace: TraceFile = None,
    generate: Generate = None,
    load: Load = None,
    fleet: FleetFile = None,
    names: Annotated[
        str, typer.Option("--policies", metavar="all|A,B", help="Which policies to compare.")
    ] = "all",
    seed: Seed = 0,
    seeds: Annotated[
        int, typer.Option("--seeds", help="How many draws of the jobs, for confidence intervals.")
    ] = 5,
    estimate_error: EstimateError = 0.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A folder for gantt.png and runs.jsonl.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare placement policies on the same jobs in simulation.

    Example: jetsched compare --generate 24 --out report
    """
    from jetsched import policies, results, tables
    from jetsched.cluster import compare as comparing
    from jetsched.cluster.worlds import worlds

    specs = list(policies.BUILT_IN) if names == "all" else names.split(",")
    options = WorldOptions(
        trace=trace,
        generate=generate,
        load=load,
        fleet=None if fleet is None else str(fleet),
        seed=seed,
        estimate_error=estimate_error,
    )
    found = comparing.compare(specs, worlds(options, seeds))
    if out is not None:
        results.write_report(found, out)
    if as_json:
        print_json(found.rows)
        return
    results.print_comparison(found.rows)
    results.print_policy_errors(found.runs)
    if out is not None:
        typer.echo(f"  Written: {out / 'gantt.png'}, {out / 'runs.jsonl'}")
    tables.next_steps("jetsched up --policy NAME", "jetsched policies")
