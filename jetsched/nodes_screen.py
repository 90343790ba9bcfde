"""What is said of boards: how each is doing, and what one says before it joins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import typer

from jetsched.errors import InputError
from jetsched.tables import Column, console, print_table, width
from jetsched.words import board_cells, troubles

if TYPE_CHECKING:
    from jetsched.profiler.findings import Finding

Json = Mapping[str, Any]


def print_devices(devices: Sequence[Json]) -> None:
    """`devices`: a row per board, and lines below for those that are not as they should be."""
    columns = [
        Column("DEVICE"),
        Column("MODEL", drop=8),
        Column("STATE"),
        Column("MEMORY jobs/for jobs", right=True, drop=4),
        Column("FREE/TOTAL", right=True, drop=9),
        Column("GPU", right=True, drop=3),
        Column("POWER", right=True, drop=6),
        Column("TEMP", right=True, drop=5),
        Column("MODE", most=14, drop=10),
        Column("JOB", most=28),
        Column("DONE", right=True, drop=2),
        Column("SPEED", drop=1),
        Column("NOTE", most=40, drop=11, least=20),
    ]
    print_table(columns, [board_cells(device) for device in devices])
    for device in devices:
        for words in troubles(device):
            for line in wrap(
                f"{device['id']}: {words}",
                min(width(), 100),
                initial_indent="  ",
                subsequent_indent="    ",
            ):
                console().print(line)


def print_preflight(findings: Sequence[Finding], *, force: bool) -> None:
    """Show what is not well. Raises :class:`InputError` where the board must not join so."""
    bad = [finding for finding in findings if finding.level != "ok"]
    for finding in bad:
        sign = "✗" if finding.level == "fail" else "!"
        typer.echo(f"{sign} {finding.check}: {finding.text}", err=True)
        typer.echo(f"    fix: {finding.fix}", err=True)
    failing = [finding.check for finding in bad if finding.level == "fail"]
    if failing and not force:
        raise InputError(
            f"this board is not ready: {', '.join(failing)}",
            hint="then: jetsched doctor; to join as it is: --force",
        )
