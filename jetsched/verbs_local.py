"""Verbs that need no cluster: look at files, the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jetsched.options import JobFiles, Json, print_json

_DEMO_FOLDER = Path("jetsched-demo")
_PANEL = "Without a cluster"


def add_to(app: typer.Typer) -> None:
    """Put the verbs into the command."""
    for verb in (demo, check, schema):
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
    tables.next_steps(f"jetsched estimate {files[0]}", "jetsched submit FILE...")


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
    from jetsched import compare_screen, results
    from jetsched.cluster.compare import Comparison
    from jetsched.cluster.demo import run_demo

    def say(text: str) -> None:
        typer.echo(text, err=as_json)

    def simulated(comparison: Comparison, picture: Path) -> None:
        if not as_json:
            compare_screen.print_comparison(comparison)
            results.demo_simulated(picture)

    if not as_json:
        results.demo_intro(simulate_only)
    done = run_demo(
        folder,
        simulate_only=simulate_only,
        say=say,
        simulated=simulated,
        live=lambda: results.demo_live_intro(say),
    )
    if as_json:
        typer.echo(done.summary.read_text())
    else:
        results.demo_end(done)
