"""What a comparison leaves in a folder: the figures of every run, pictures, and a page of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jetsched.cluster import curves
from jetsched.cluster.drawing import drawing, save
from jetsched.cluster.gantt import gantt
from jetsched.cluster.page import page
from jetsched.cluster.study import Findings
from jetsched.files import json_bytes, write_atomically


def write_report(found: Findings, folder: Path) -> list[Path]:
    """Write it all, and return what a person should look at, the page first."""
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
        write_atomically(folder / "index.html", page(found).encode("utf-8", "backslashreplace"))
    return written


def _write_lines(path: Path, lines: Sequence[Any]) -> None:
    write_atomically(path, b"".join(json_bytes(line) + b"\n" for line in lines))
