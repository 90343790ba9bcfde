"""Verbs about placement policies: which there are, and how to write, test and use one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jetsched.options import Json, print_json

_HELP = "Placement policies: which there are, and how to write, test and use your own."

policies = typer.Typer(help=_HELP, invoke_without_command=True)
Name = Annotated[
    str,
    typer.Argument(metavar="NAME|FILE.py", help="A name from `jetsched policies`, or a file."),
]


def add_to(app: typer.Typer) -> None:
    """Put the group into the command."""
    app.add_typer(policies, name="policies", rich_help_panel="Without a cluster")


@policies.callback()
def policies_default(context: typer.Context, as_json: Json = False) -> None:
    """Placement policies: which there are, and how to write, test and use your own."""
    if context.invoked_subcommand is None:
        ls(as_json=as_json)


@policies.command()
def ls(as_json: Json = False) -> None:
    """List the placement policies: the built-in ones and those of installed packages."""
    from jetsched import policies_screen
    from jetsched.policies import describe

    found = describe()
    if as_json:
        print_json(found)
    else:
        policies_screen.print_policies(found)


@policies.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show what a policy does, where the idea comes from, and its options.

    Example: jetsched policies show comparative_advantage
    """
    from jetsched import policies_screen
    from jetsched.policies import details

    found = details(name)
    if as_json:
        print_json(found)
    else:
        policies_screen.print_details(found)


@policies.command()
def new(
    name: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits and _.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to write it.")] = Path("."),
    tests: Annotated[
        bool, typer.Option("--tests", help="Write test_NAME.py too, the contract for pytest.")
    ] = False,
) -> None:
    """Write a policy of your own that runs: NAME.py, to be changed.

    Example: jetsched policies new cool_first
    """
    from jetsched import policies_screen
    from jetsched.cluster.newpolicy import write_policy

    policies_screen.print_written(write_policy(name, folder, tests=tests))


@policies.command()
def test(
    name: Name,
    worlds: Annotated[
        int, typer.Option("--worlds", min=1, max=1000, help="How many worlds a rule is tried in.")
    ] = 25,
    benchmark: Annotated[
        bool, typer.Option("--benchmark/--no-benchmark", help="Measure it beside others, too.")
    ] = True,
    budget_s: Annotated[
        float,
        typer.Option("--budget", metavar="S", min=0.001, help="CPU seconds a decision may take."),
    ] = 5.0,
    as_json: Json = False,
) -> None:
    """Test whether a policy keeps its contract, and measure it beside others.

    Exit code 1 when it breaks a rule. Example: jetsched policies test cool_first.py
    """
    from jetsched import policies_screen, tables
    from jetsched.cluster.policytest import try_policy

    with tables.progress(f"Testing {name}") as progress:
        report = try_policy(
            name, worlds=worlds, benchmark=benchmark, budget_s=budget_s, progress=progress
        )
    if as_json:
        print_json(report)
    else:
        policies_screen.print_report(report, name)
    if report.errors:
        raise typer.Exit(1)


@policies.command()
def use(name: Name, as_json: Json = False) -> None:
    """Make a policy that of the running cluster, at once, if it keeps its contract.

    Exit code 1 when it breaks a rule: then nothing changes. Example: jetsched policies use mine.py
    """
    from jetsched import policies_screen, tables
    from jetsched.cluster.switching import switch_policy

    with tables.progress(f"Testing {name}") as progress:
        change = switch_policy(name, progress=progress)
    if as_json:
        print_json(change)
    else:
        policies_screen.print_switched(change)
    if not change.done:
        raise typer.Exit(1)
