"""Options that several verbs share, and how JSON is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
JobFiles = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Job files (YAML).", show_default=False)
]
PolicyName = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="NAME|FILE.py",
        help="Placement policy: a name from `jetsched policies`, FILE.py or module:Class.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn at random.")]


def print_json(value: Any) -> None:
    """Print records, or lists and dicts of them, as one JSON document."""
    from jetsched.files import to_json

    print(json.dumps(to_json(value), indent=2, ensure_ascii=False))
