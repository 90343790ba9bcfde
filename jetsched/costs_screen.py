"""`costs show`: what is known of each workload on each kind of device, at a glance or in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jetsched.profiler.known import Fits, Knowledge, Known
from jetsched.profiler.labels import device_labels, software_of, workload_labels
from jetsched.records import Workload
from jetsched.tables import Column, console, next_steps, print_table
from jetsched.units import NOTHING, format_duration, format_energy, format_rate, format_size, number

#: Of more warnings than this the rest is counted.
_WARNINGS = 8
_SOURCES = ("measured", "estimated", "assumed", "not known")
_SIGNS: Mapping[Fits, str] = {"fits": "✓", "tight": "~", "never": "✗", "unknown": "?"}


def known_json(found: Knowledge) -> list[dict[str, Any]]:
    """A list, one object for each workload and kind of device; null: not known."""
    return [_object(row) for row in found.rows]


def _object(row: Known) -> dict[str, Any]:
    from jetsched.files import to_json

    device, rated = row.device_class, row.rate_s is not None
    return {
        "workload": row.workload.label,
        "key": row.workload.key,
        "work": {name: value for name, value in to_json(row.workload).items() if value},
        "unit": row.unit,
        "device": device.label,
        "model": device.model,
        "power_mode": device.power_mode,
        "software": device.software,
        "emulated": device.emulated,
        "has_mib": device.memory_mib or None,
        "fits": row.fits,
        "code": row.code,
        "reason": row.reason,
        "note": row.note,
        "source": row.source,
        "method": row.method,
        "measurements": row.measurements,
        "rate_s": {"p50": row.rate_s, "p90": row.rate_p90_s} if rated else None,
        "load_s": row.load_s,
        "live_memory_mib": row.live_memory_mib,
        "admitted_mib": row.admitted_mib,
        "peak_memory_mib": row.peak_memory_mib,
        "gpu_util_pct": row.gpu_util_pct,
        "power_w": row.power_w,
        "energy_j": row.energy_j,
        "runs": row.runs,
        "kills": row.kills,
        "last_seen": row.last_seen or None,
        "warnings": list(row.warnings),
    }


def print_known(found: Knowledge, *, long: bool = False) -> None:
    """For a person: a table of workloads x devices; ``long``: a line for each pair."""
    out = console()
    labels = workload_labels(found.workloads)
    sources = Counter[str](row.source or "not known" for row in found.rows)
    counts = ", ".join(f"{sources[word]:,} {word}" for word in _SOURCES if sources[word])
    workloads, kinds = _count(found.workloads, "workload"), _count(found.devices, "kind")
    out.print(f"{workloads} x {kinds} of device: {counts}", style="bold")
    dropped = _print_long(found, labels) if long else _print_matrix(found, labels)
    out.print("  ✓ fits   ~ tight: may fail   ✗ never runs there   ? not known   ! data warning")
    out.print("  Times: per sample (train), prompt (infer) or run (command), without loading;")
    out.print("  (m)easured there, (e)stimated from measurements, (a)ssumed from the data sheet.")
    if dropped and not long:
        kinds = _count(dropped, "more kind")
        out.print(f"  No room for {kinds} of device: --device NAME, --long, a wider terminal")
    if found.left_out:
        out.print(f"  {found.left_out:,} workloads that were measured before these: --all")
    _print_warnings(found, labels)
    if any(row.runs for row in found.rows):
        next_steps("jetsched costs plot", "jetsched costs show --long", "jetsched profile")
    else:
        next_steps("jetsched profile --quick", "jetsched costs show --long")


def _print_warnings(found: Knowledge, labels: Mapping[Workload, str]) -> None:
    out = console()
    devices = device_labels(found.devices)
    lines = [
        f"  ! {labels[row.workload]} on {devices[row.device_class]}: {text}"
        for row in found.rows
        for text in row.warnings
    ]
    for line in lines[:_WARNINGS]:
        out.print(line)
    if len(lines) > _WARNINGS:
        out.print(f"  ! {len(lines) - _WARNINGS:,} more warnings: --long, or --json")


def _print_matrix(found: Knowledge, labels: Mapping[Workload, str]) -> list[Column]:
    """Up to four lines of head: model, power mode, memory, and software where only that differs."""
    devices = found.devices
    columns = [
        Column("WORKLOAD", most=44, least=34),
        # The last ones are those of which no more than a data sheet is known: they go first.
        *(Column(device.model, drop=number) for number, device in enumerate(devices)),
    ]
    heads = [
        ["", *("emulated" if d.emulated else d.power_mode for d in devices)],
        ["", *software_of(devices)],
        ["", *(format_size(d.memory_mib) if d.memory_mib else "" for d in devices)],
    ]
    cells = {(row.workload, row.device_class): _cell(row) for row in found.rows}
    lines = [
        [labels[workload], *(cells[workload, device] for device in devices)]
        for workload in found.workloads
    ]
    return print_table(columns, [*(head for head in heads if any(head)), *lines])


def _cell(row: Known) -> str:
    """``✓ 1.2 s (m)``, ``✗ killed (m)``, ``✗ 7.4 GiB (e)``."""
    source = f" ({row.source[0]})" if row.source else ""
    warned = " !" if row.warnings else ""
    return f"{_SIGNS[row.fits]} {_what(row)}{source}{warned}".rstrip()


def _what(row: Known) -> str:
    if row.fits in ("fits", "tight"):
        return format_rate(row.rate_s)
    if row.killed:
        return "killed"
    needs_mib = row.admitted_mib or row.live_memory_mib
    if row.code == "NeverFits" and needs_mib is not None:
        return format_size(needs_mib)  # what the board's own figure is to be compared with
    return row.code or ""


def _print_long(found: Knowledge, labels: Mapping[Workload, str]) -> list[Column]:
    columns = [
        Column("WORKLOAD", most=44, least=30),
        Column("DEVICE", most=32, least=12),
        Column("FITS"),
        Column("TIME (p90)", right=True),
        Column("LOAD", right=True, drop=5),
        Column("LIVE", right=True, drop=6),
        Column("ADMITTED", right=True, drop=2),
        Column("PEAK", right=True, drop=7),
        Column("GPU", right=True, drop=8),
        Column("ENERGY", right=True, drop=9),
        Column("FROM", drop=1),
        Column("RUNS", right=True, drop=3),
        Column("LAST", drop=10),
        Column("NOTE", most=100, least=12, drop=4),
    ]
    devices = device_labels(found.devices)
    lines = [_line(row, labels[row.workload], devices[row.device_class]) for row in found.rows]
    return print_table(columns, lines)


def _line(row: Known, label: str, device: str) -> list[str]:
    spread = f" ({format_rate(row.rate_p90_s)})" if row.rate_p90_s is not None else ""
    source = f"({row.source[0]}) {row.method or ''}".strip() if row.source else NOTHING
    killed = f"{_count(range(row.kills), 'run')} killed" if row.kills else ""
    return [
        label,
        device,
        f"{_SIGNS[row.fits]} {row.fits}",
        format_rate(row.rate_s) + spread,
        format_duration(row.load_s),
        format_size(row.live_memory_mib),
        format_size(row.admitted_mib),
        format_size(row.peak_memory_mib),
        number(row.gpu_util_pct, 0, " %"),
        _energy(row.energy_j),
        source,
        number(row.measurements or None),
        row.last_seen[:10],
        "; ".join(text for text in (row.reason, row.note, killed, *row.warnings) if text),
    ]


def _energy(joules: float | None) -> str:
    """Of one unit of work: often less than a joule."""
    return f"{joules:.2g} J" if joules is not None and joules < 10 else format_energy(joules)


def _count(things: Sequence[object], word: str) -> str:
    return f"{len(things):,} {word}" + ("" if len(things) == 1 else "s")
