"""Options that several verbs share, and how JSON is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
JobFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...", help="Job files (YAML); - is the standard input.", show_default=False
    ),
]
PolicyName = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="NAME|FILE.py",
        help="Placement policy: a name from `jetsched policies`, FILE.py or module:Class, and what"
        " options it shall have: NAME:option=value,other=value.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn at random.")]

#: The kinds of pictures that are drawn, by their endings.
_PICTURES = (".png", ".pdf", ".svg")


def picture(path: Path) -> Path:
    """A path that a picture can be written to. Raises InputError, before anything is computed."""
    from jetsched.errors import InputError

    if path.suffix.lower() not in _PICTURES:
        raise InputError(
            f"--out {path}: a picture's name ends in {', '.join(_PICTURES)}",
            hint=f"e.g. --out {path.with_suffix('.png') if path.name else 'picture.png'}",
        )
    if path.is_dir():
        raise InputError(f"--out {path}: is a folder", hint=f"e.g. --out {path / 'picture.png'}")
    if not path.parent.is_dir():
        raise InputError(
            f"--out {path}: there is no folder {path.parent}", hint=f"mkdir -p {path.parent}"
        )
    return path


Picture = Annotated[
    Path,
    typer.Option("--out", callback=picture, help=f"The picture: {', '.join(_PICTURES)}."),
]


def print_json(value: Any) -> None:
    """Print records, or lists and dicts of them, as one JSON document."""
    from jetsched.files import to_json

    print(json.dumps(to_json(value), indent=2, ensure_ascii=False))
