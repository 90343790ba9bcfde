"""`costs show`: what is known of each workload on each kind of device, at a glance or in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jetsched.profiler.known import Fits, Knowledge, Known
from jetsched.records import DeviceClass, Workload
from jetsched.tables import Column, console, next_steps, number, print_table
from jetsched.units import NOTHING, format_duration, format_energy, format_size

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
    labels = _labels(found.workloads)
    if long:
        _print_long(found, labels)
    else:
        _print_matrix(found, labels)
    out.print("  ✓ fits   ~ tight: may fail   ✗ never runs there   ? not known   ! data warning")
    out.print("  Seconds are per sample (train), prompt (infer) or run (command), without loading:")
    out.print("  (m)easured there, (e)stimated from measurements, (a)ssumed from the data sheet.")
    if found.left_out:
        out.print(f"  {found.left_out:,} workloads that were measured before these: --all")
    _print_warnings(found.rows, labels)
    if any(row.runs for row in found.rows):
        next_steps("jetsched costs plot", "jetsched costs show --long", "jetsched estimate FILE")
    else:
        next_steps("jetsched profile --quick", "jetsched estimate FILE.yaml")


def _print_matrix(found: Knowledge, labels: Mapping[Workload, str]) -> None:
    """Three lines of head: model; power mode; memory. A fourth where only software differs."""
    devices = found.devices
    # The last ones are those of which no more than a data sheet is known: they go first.
    columns = [
        Column("WORKLOAD", most=40, least=20),
        *(Column(device.model, drop=number) for number, device in enumerate(devices)),
    ]
    heads = [
        ["", *("emulated" if d.emulated else d.power_mode for d in devices)],
        ["", *(format_size(d.memory_mib) if d.memory_mib else "" for d in devices)],
    ]
    alike = Counter(device.label for device in devices)
    if max(alike.values()) > 1:
        heads.append(["", *(d.software if alike[d.label] > 1 else "" for d in devices)])
    cells = {(row.workload, row.device_class): _cell(row) for row in found.rows}
    lines = [
        [labels[workload], *(cells[workload, device] for device in devices)]
        for workload in found.workloads
    ]
    print_table(columns, [*(head for head in heads if any(head)), *lines])


def _cell(row: Known) -> str:
    """``✓ 1.2 s (m)``, ``✗ killed (m)``, ``✗ 7.4 GiB (e)``."""
    source = f" ({row.source[0]})" if row.source else ""
    warned = " !" if row.warnings else ""
    return f"{_SIGNS[row.fits]} {_what(row)}{source}{warned}".rstrip()


def _what(row: Known) -> str:
    if row.fits in ("fits", "tight"):
        return format_duration(row.rate_s)
    if row.kills:
        return "killed"
    if row.code == "NeverFits" and row.live_memory_mib is not None:
        return format_size(row.live_memory_mib)
    return row.code or ""


def _print_long(found: Knowledge, labels: Mapping[Workload, str]) -> None:
    columns = [
        Column("WORKLOAD", most=40, least=20),
        Column("DEVICE", most=28),
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
    print_table(columns, [_line(row, labels[row.workload]) for row in found.rows])


def _line(row: Known, label: str) -> list[str]:
    spread = f" ({format_duration(row.rate_p90_s)})" if row.rate_p90_s is not None else ""
    source = f"{row.source} ({row.method})" if row.source and row.method else row.source
    return [
        label,
        _device_label(row.device_class),
        f"{_SIGNS[row.fits]} {row.fits}",
        format_duration(row.rate_s) + spread,
        format_duration(row.load_s),
        format_size(row.live_memory_mib),
        format_size(row.admitted_mib),
        format_size(row.peak_memory_mib),
        number(row.gpu_util_pct, 0, " %"),
        format_energy(row.energy_j),
        source or NOTHING,
        _runs(row),
        row.last_seen[:10],
        "; ".join(text for text in (row.reason, *row.warnings) if text),
    ]


def _runs(row: Known) -> str:
    return f"{row.runs}" + (f", {row.kills} killed" if row.kills else "")


def _device_label(device: DeviceClass) -> str:
    return f"{device.label} {device.software}".strip()


def _labels(workloads: Sequence[Workload]) -> dict[Workload, str]:
    """A label for each; those that would share one say what they differ in."""
    groups: dict[str, list[Workload]] = {}
    for workload in workloads:
        groups.setdefault(workload.label, []).append(workload)
    return {
        workload: label if len(group) == 1 else f"{label} {_rest(workload, group)}"
        for label, group in groups.items()
        for workload in group
    }


def _rest(workload: Workload, group: Iterable[Workload]) -> str:
    """The fields that a label leaves out, where one of the group has another value."""
    words: dict[str, object] = {
        "head": workload.head,
        "gradient_checkpointing": "checkpointing" if workload.gradient_checkpointing else "",
        "accumulation_steps": f"x{workload.accumulation_steps}",
        "lora_rank": f"r{workload.lora_rank}",
        "command": workload.command,
        "model": workload.model,
    }
    differing = [
        str(word)
        for name, word in words.items()
        if word and len({getattr(other, name) for other in group}) > 1
    ]
    return " ".join(differing) or workload.key


def _print_warnings(rows: Iterable[Known], labels: Mapping[Workload, str]) -> None:
    out = console()
    for row in rows:
        for text in row.warnings:
            out.print(f"  ! {labels[row.workload]} on {row.device_class.label}: {text}")
