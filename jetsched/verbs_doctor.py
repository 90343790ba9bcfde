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
    device: Annotated[
        str,
        typer.Argument(help="A board of the cluster; this machine if none is named."),
    ] = "",
    python: Annotated[
        str,
        typer.Option("--workload-python", help="The interpreter with this board's own torch."),
    ] = sys.executable,
    as_json: Json = False,
) -> None:
    """Look for what makes profiles or jobs go wrong on a board; each finding has its own fix.

    Exit code 0: nothing to do; 1: there are findings (! works, but less than it could; ✗ does not).

    Example: jetsched doctor --workload-python /usr/bin/python3; from the head: jetsched doctor nx-1
    """
    from jetsched import tables
    from jetsched.profiler.doctor import has_findings

    findings, note = _of_board(device, python) if device else _of_this_machine(python)
    if as_json:
        print_json(findings)
    else:
        _print(findings)
        if note:
            typer.echo(note)
        again = f"jetsched doctor {device}".strip()
        tables.next_steps(again if has_findings(findings) else "jetsched profile --quick")
    if has_findings(findings):
        raise typer.Exit(1)


def _of_this_machine(python: str) -> tuple[list[Finding], str]:
    from jetsched.files import home
    from jetsched.profiler.doctor import examine
    from jetsched.profiler.findings import this_world

    return examine(this_world(python, home(), _cluster())), ""


def _of_board(device: str, python: str) -> tuple[list[Finding], str]:
    """What the doctor finds on a board of the cluster, and what could not be looked at."""
    from jetsched.cluster.client import Client
    from jetsched.errors import InputError
    from jetsched.files import from_json
    from jetsched.profiler.findings import Finding

    if python != sys.executable:
        raise InputError(
            f"--workload-python is for this machine: {device} has its own",
            hint=f"jetsched doctor {device}",
        )
    with Client.connect() as client:
        found = client.doctor(device)
    return [from_json(Finding, row) for row in found["findings"]], str(found["note"])


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
