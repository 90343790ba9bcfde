"""What a comparison leaves in a folder: the figures of every run, pictures, and a page of all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jetsched.cluster import curves
from jetsched.cluster.drawing import drawing, save
from jetsched.cluster.gantt import gantt
from jetsched.cluster.page import page
from jetsched.cluster.study import Findings
from jetsched.errors import InputError
from jetsched.files import json_bytes, write_atomically


def check_folder(folder: Path) -> Path:
    """A folder that a report can be written to. Raises InputError, before anything is run."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        inside = "" if there == folder else f": {there}"
        raise InputError(f"--out {folder}{inside} is not a folder", hint="e.g. --out report")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder}: {there} cannot be written to", hint="e.g. --out report")
    return folder


def write_report(found: Findings, folder: Path) -> list[Path]:
    """Write it all, and return what a person should look at, the page first.

    Pictures that an earlier comparison left there, and this one has not, are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_lines(folder / "runs.jsonl", found.lines())
    _write_lines(folder / "timings.jsonl", found.timings())
    written = [folder / "index.html", folder / "runs.jsonl"]
    first = found.comparisons[0]
    with drawing():
        if first.drawn:
            save(gantt(first.drawn, rows=first.rows), folder / "gantt.png")
            written.append(folder / "gantt.png")
        save(curves.cdf(first), folder / "cdf.png")
        written.append(folder / "cdf.png")
        for name in found.sweeps:
            path = folder / f"sweep-{name}.png"
            save(curves.sweep(found.of_sweep(name)), path)
            written.append(path)
        for name in ("gantt", "cdf", *(f"sweep-{axis}" for axis in curves.WORDS)):
            if (path := folder / f"{name}.png") not in written:
                path.unlink(missing_ok=True)
        write_atomically(folder / "index.html", page(found).encode("utf-8", "backslashreplace"))
    return written


def _write_lines(path: Path, lines: Sequence[Any]) -> None:
    write_atomically(path, b"".join(json_bytes(line) + b"\n" for line in lines))
