"""What is said of boards: how each is doing, and what one says before it joins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import typer

from jetsched.errors import InputError
from jetsched.screens import clock
from jetsched.tables import Column, console, number, print_table, width
from jetsched.units import NOTHING, format_duration

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
    print_table(columns, [_board_cells(device) for device in devices])
    for device in devices:
        for words in _troubles(device):
            for line in wrap(
                f"{device['id']}: {words}",
                min(width(), 100),
                initial_indent="  ",
                subsequent_indent="    ",
            ):
                console().print(line)


def _board_cells(device: Json) -> list[str]:
    emulated = ""
    if device["emulated"] and device["scale"] is not None:  # None: its agent is not there yet
        emulated = f"emulated: {device['scale']:g}x memory ({device['cap']} cap)"
        emulated += f", {device['slowdown']:g}x slower"
    return [
        device["id"],
        device["model"] or "",
        device["state"].upper(),
        f"{_gib(device['memory_mib'])} / {_gib(device['has_mib'])} GiB",
        f"{_gib(device['memory_free_mib'])} / {_gib(device['memory_total_mib'])}",
        number(device["gpu_util_pct"], 0, " %"),
        number(device["power_w"], 1, " W"),
        number(device["temperature_c"], 0, " °C"),
        device["power_mode"] or NOTHING,
        f"{device['job_id']} {device['job_name']}" if device["job_id"] else NOTHING,
        _done(device),
        _speed_word(device["drift"]),
        emulated,
    ]


def _done(device: Json) -> str:
    """When its job will be done; of one that takes longer than estimated nobody knows."""
    overdue_s = device["overdue_s"]
    if overdue_s:
        return f"{format_duration(float(int(overdue_s)))} over"
    return clock(device["finish_s"])


def _troubles(device: Json) -> list[str]:
    """What is to be said below the table: why it takes no jobs, and how it drifts since when."""
    drift = device["drift"]
    found = [device["text"]] if device["text"] and device["text"] != drift["text"] else []
    if drift["text"] and drift["since_s"] is not None:
        found = [words.replace(drift["text"], "").strip("; ") for words in found]
        found.append(f"{drift['text']} (since {clock(drift['since_s'])})")
    elif drift["text"]:
        found.append(drift["text"])
    return [words for words in dict.fromkeys(found) if words]


def _speed_word(drift: Json) -> str:
    """How fast a board is beside what it was, e.g. ``1.6x slower``."""
    if drift["verdict"] not in ("slower", "faster"):
        return NOTHING if drift["verdict"] == "unknown" else str(drift["verdict"])
    times = drift["ratio"] if drift["verdict"] == "slower" else 1 / drift["ratio"]
    return f"{times:.1f}x {drift['verdict']}"


def _gib(mib: float | None) -> str:
    return NOTHING if mib is None else f"{mib / 1024:.1f}"


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
