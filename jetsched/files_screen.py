"""What the verbs about files print for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jetsched.tables import Column, console, next_steps, print_table
from jetsched.units import NOTHING, format_duration, format_size
from jetsched.words import clock

Json = Mapping[str, Any]

_WORDS = {
    "none": "has left no files",
    "fetching": "on their way to the head",
    "complete": "on the head",
    "lost": "lost",
}


def size(count: int | float | None) -> str:
    """Bytes for people."""
    if count is None:
        return NOTHING
    return f"{count:,.0f} B" if count < 10_000 else format_size(count / (1 << 20))


def print_artefacts(found: Json) -> None:
    """`fetch --list`."""
    out, job_id = console(), found["job_id"]
    words = _WORDS[found["state"]]
    out.print(f"job {job_id}, try {found['attempt']}: {words}", style="bold")
    if found["text"]:
        out.print(f"  {found['text']}", markup=False)
    if found["files"]:
        columns = [Column("FILE"), Column("SIZE", right=True), Column("SHA256", drop=1)]
        print_table(
            columns, [[f["path"], size(f["size"]), f["sha256"][:16]] for f in found["files"]]
        )
    fetch = f"jetsched fetch {job_id}" if found["files"] else f"jetsched why {job_id}"
    next_steps(fetch, f"jetsched logs {job_id}")


class FetchedLike(Protocol):
    """What was fetched."""

    @property
    def folder(self) -> Any: ...
    @property
    def attempt(self) -> int: ...
    @property
    def files(self) -> Sequence[str]: ...
    @property
    def bytes(self) -> int: ...
    @property
    def came_bytes(self) -> int: ...


def print_fetched(job_id: str, fetched: FetchedLike) -> None:
    """`fetch`: what is there now."""
    had = "" if fetched.came_bytes else ", all of it was there already"
    count = len(fetched.files)
    console().print(
        f"{count} {'file' if count == 1 else 'files'} of job {job_id} (try {fetched.attempt}),"
        f" {size(fetched.bytes)}, in {fetched.folder}{had}",
        markup=False,
    )
    next_steps(f"ls {fetched.folder}", f"jetsched why {job_id}")


def print_caches(rows: Sequence[Json]) -> None:
    """`cache ls`."""
    if not rows:
        console().print("Nothing is kept anywhere.")
    else:
        columns = [
            Column("BOARD"),
            Column("NAME", most=60, least=16),
            Column("SIZE", right=True),
            Column("LAST USED", drop=1),
            Column(""),
        ]
        print_table(columns, [_cache_cells(row) for row in rows])
    next_steps("jetsched cache prefetch MODEL", "jetsched cache prune --older 7d")


def _cache_cells(row: Json) -> list[str]:
    if "digest" not in row:
        return [row["device"], row["text"], "", "", ""]
    used = "in use" if row["in_use"] else ""
    return [row["device"], row["name"], size(row["bytes"]), clock(row["used_s"]), used]


def print_prefetched(rows: Sequence[Json]) -> None:
    """`cache prefetch`: what is where."""
    columns = [Column("BOARD"), Column("NAME"), Column("SIZE", right=True), Column("", most=100)]
    print_table(
        columns,
        [
            [
                row["device"],
                row["name"],
                size(row["bytes"]),
                "is there" if "path" in row else f"✗ {row['text']}",
            ]
            for row in rows
        ],
    )
    next_steps("jetsched cache ls", "jetsched submit FILE.yaml")


def print_cache_pruned(rows: Sequence[Json], dry_run: bool) -> None:
    """`cache prune`."""
    gone = [row for row in rows if "digest" in row]
    for row in gone:
        console().print(f"  {row['device']}: {row['name']}, {size(row['bytes'])}", markup=False)
    for row in rows:
        if "digest" not in row:
            console().print(f"  {row['device']}: {row['text']}", markup=False)
    total = sum(row["bytes"] for row in gone)
    console().print(f"{size(total)} {'would be' if dry_run else 'were'} removed.")
    next_steps("jetsched cache ls")


def print_pruned(found: Json) -> None:
    """`prune`."""
    out = console()
    columns = [
        Column("WHAT"),
        Column("JOB", right=True),
        Column("TRY", right=True),
        Column("SIZE", right=True),
        Column("ENDED", right=True),
    ]
    if found["removed"]:
        rows = [
            [
                old["what"],
                old["job_id"],
                str(old["attempt"] or ""),
                size(old["bytes"]),
                f"{format_duration(old['age_s'])} ago",
            ]
            for old in found["removed"][:50]
        ]
        print_table(columns, rows)
        if len(found["removed"]) > 50:
            out.print(f"  and {len(found['removed']) - 50:,} more")
    for node in found["nodes"]:
        words = node.get("text") or f"{node['name']}, {size(node['bytes'])}"
        out.print(f"  {node['device']}: {words}", markup=False)
    verb = "would be" if found["dry_run"] else "were"
    out.print(
        f"{size(found['bytes'])} {verb} removed; {size(found['left_bytes'])} stay on the head."
    )
    next_steps("jetsched history", "jetsched cache prune --older 7d")
