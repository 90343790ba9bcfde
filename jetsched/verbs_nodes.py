"""The verb that makes a machine a board of a cluster."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Put the verb into the command."""
