"""Verbs that need no cluster: look at files and policies, simulate, compare, the demo."""

from __future__ import annotations

import typer

from jetsched.options import JobFiles, Json, print_json

_PANEL = "Without a cluster"


def add_to(app: typer.Typer) -> None:
    """Put the verbs into the command."""
    for verb in (demo, simulate, compare, policies, check, schema):
        app.command(rich_help_panel=_PANEL)(verb)


def check(files: JobFiles, as_json: Json = False) -> None:
    """Check job files and say everything that is wrong with them. Submits nothing.

    Example: jetsched check examples/train-distilgpt2.yaml
    """
    from jetsched.jobfile import load_jobs
    from jetsched.problems import FileProblems

    try:
        specs = load_jobs(files)
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


def schema() -> None:
    """Print the JSON schema of job files, for an editor that completes and checks them.

    Example: jetsched schema > job.schema.json
    """
    from jetsched.jobfile import json_schema

    print_json(json_schema())


def policies(as_json: Json = False) -> None:
    """List the placement policies: the built-in ones and those of installed packages."""
    from jetsched import tables
    from jetsched.policies import describe

    found = describe()
    if as_json:
        print_json(found)
        return
    columns = [
        tables.Column("POLICY"),
        tables.Column("WHAT IT DOES", most=80),
        tables.Column("FROM", drop=1),
    ]
    rows = [[p.name + (" *" if p.default else ""), p.summary, p.source] for p in found]
    tables.print_table(columns, rows)
    typer.echo("  * the default. A policy of your own is a FILE.py: see docs/policies.md")
    tables.next_steps("jetsched compare --policies all", "jetsched up --policy NAME")
