"""`jetsched doctor`: is this board ready, and if not, what to do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from jetsched.options import Json, print_json

if TYPE_CHECKING:
    from jetsched.profiler.findings import Cluster, Finding

_SIGNS = {"ok": "✓", "warn": "!", "fail": "✗"}


def add_to(app: typer.Typer) -> None:
    """Put the verb into the command."""
    app.command(rich_help_panel="Boards")(doctor)


def doctor(
    python: Annotated[
        str,
        typer.Option("--workload-python", help="The interpreter with the board's own torch."),
    ] = sys.executable,
    as_json: Json = False,
) -> None:
    """Look for what makes profiles or jobs go wrong on this board; each finding has its own fix.

    Exit code 0: nothing to do; 1: there are findings (! works, but less than it could; ✗ does not).

    Example: jetsched doctor --workload-python /usr/bin/python3
    """
    from jetsched import tables
    from jetsched.files import home
    from jetsched.profiler.doctor import examine, has_findings
    from jetsched.profiler.findings import this_world

    findings = examine(this_world(python, home(), _cluster()))
    if as_json:
        print_json(findings)
    else:
        _print(findings)
        after = "jetsched doctor" if has_findings(findings) else "jetsched profile --quick"
        tables.next_steps(after)
    if has_findings(findings):
        raise typer.Exit(1)


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        typer.echo(f"{_SIGNS[finding.level]} {finding.check:{width}}  {finding.text}")
        if finding.fix:
            typer.echo(f"  {'':{width}}  fix: {finding.fix}")


def _cluster() -> Cluster | None:
    """The cluster that was started here, with the Python that its head runs on."""
    from jetsched.cluster.state import read_state
    from jetsched.files import home
    from jetsched.profiler.findings import Cluster
    from jetsched.profiler.identity import software_of

    state = read_state(home())
    if state is None:
        return None
    head = next((process for process in state.of_role("service") if process.alive), None)
    try:
        python = os.readlink(f"/proc/{head.pid}/exe") if head else ""
    except OSError:
        python = ""
    return Cluster(state.token_file, software_of(python).python if python else "")
