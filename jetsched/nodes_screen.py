"""What a board says before it joins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from jetsched.errors import InputError

if TYPE_CHECKING:
    from jetsched.profiler.findings import Finding


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
