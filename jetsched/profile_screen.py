"""What `profile` prints: a row per benchmark, as a table, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

from jetsched.files import to_json
from jetsched.profiler.profiling import Row
from jetsched.profiler.whole import Whole
from jetsched.records import Measurement
from jetsched.screens import print_warnings, warnings_json
from jetsched.tables import Column, print_table
from jetsched.units import NOTHING, format_duration, format_energy, format_size, number
from jetsched.words import outcome_word

FORMATS = ("table", "md", "csv", "json")

#: Characters for the longest benchmark.
_BAR = 10

#: What the time was made of -> column, and how early that goes in a narrow terminal.
_PARTS = {
    "warmup_s": ("WARM-UP", 9),
    "forward_backward": ("FWD+BWD", 10),
    "optimizer": ("OPTIMIZER", 11),
    "prefill": ("PREFILL", 12),
    "decode": ("DECODE", 13),
}

_COLUMNS = [
    Column("BENCHMARK", most=24),
    Column("WORKLOAD", most=36, drop=6),
    Column("TIME", right=True),
    Column("LOAD", right=True, drop=5),
    Column("TOKENS/S", right=True, drop=2),
    Column("GPU", right=True, drop=3),
    Column("PEAK MEMORY", right=True),
    Column("LOSS", right=True, drop=7),
    Column("ENERGY", right=True, drop=8),
    Column("WHOLE", right=True, drop=1),
    *(Column(title, right=True, drop=drop) for title, drop in _PARTS.values()),
    Column("RESULT", most=40),
]


def print_profile(rows: Sequence[Row], form: str) -> None:
    """The rows in one of :data:`FORMATS`. Repeats of a benchmark are one row, by their median."""
    if form == "json":
        raise ValueError("JSON is printed from profile_json()")
    groups = _groups(rows)
    cells = [_cells(group) for group in groups]
    if form == "table":
        lines = [[line[0], bar, *line[1:]] for bar, line in zip(_bars(groups), cells, strict=True)]
        print_table([_COLUMNS[0], Column("", drop=4), *_COLUMNS[1:]], lines)
        print_warnings([row.measurement for row in rows])
        if any(row.measurement.random_weights for row in rows):
            print("  Models had random weights: speed and memory do not depend on their values.")
        if any(row.whole is not None and row.whole.extrapolated for row in rows):
            print("  WHOLE is extrapolated from a steady rate; ± is its 95 % confidence interval.")
    elif form == "md":
        titles = [column.title for column in _COLUMNS]
        for line in (titles, ["---"] * len(titles), *cells):
            print("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |")
    else:
        print(csv_text(rows), end="")


def sensor_notes(rows: Sequence[Row]) -> list[str]:
    """What the sensors could not tell, e.g. for want of permission; each once."""
    told = [row.measurement.identity.get("telemetry", {}).get("problems", ()) for row in rows]
    return [f"sensors: {problem}" for problem in dict.fromkeys(p for each in told for p in each)]


def profile_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Each run's measurement, with the benchmark's name and what the whole of it would take."""
    return [
        {
            "benchmark": row.benchmark.name,
            **to_json(row.measurement),
            "warnings": warnings_json(row.measurement),
            "kept": row.kept,
            "whole": to_json(row.whole),
        }
        for row in rows
    ]


def csv_text(rows: Sequence[Row]) -> str:
    """One line per run, with units in the column names; empty where not measured."""
    names = (
        *("time_s", "load_s", "warmup_s", "work_s", "amount", "tokens_per_s", "peak_memory_mib"),
        *("gpu_util_pct", "power_w", "energy_j", "temperature_c", "loss_first", "loss_last"),
    )
    phase_names = [name for name in _PARTS if name != "warmup_s"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *("benchmark", "device", "workload", "outcome", *names),
            *(f"{name}_s" for name in phase_names),
            *("whole_s", "source", "emulated"),
        ]
    )
    for row in rows:
        m = row.measurement
        phases = [m.phases_s.get(name) for name in phase_names]
        writer.writerow(
            [
                *(row.benchmark.name, m.device, m.workload.label, m.outcome),
                *("" if (value := getattr(m, name)) is None else value for name in names),
                *("" if value is None else value for value in phases),
                "" if row.whole is None else row.whole.time_s,
                *(m.source, m.emulated),
            ]
        )
    return text.getvalue()


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """The repeats of each benchmark, in the order in which they came first."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        key = (row.benchmark.job.name or row.benchmark.name, row.measurement.workload)
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _bars(groups: Sequence[Sequence[Row]]) -> list[str]:
    """How long each took, beside the longest."""
    times = [_middle([row.measurement.time_s for row in group]) or 0.0 for group in groups]
    longest, block = max(times, default=0.0) or 1.0, "█"
    try:
        block.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        block = "#"
    return [block * (max(1, round(_BAR * time_s / longest)) if time_s else 0) for time_s in times]


def _cells(group: Sequence[Row]) -> list[str]:
    first = group[0]
    done = [r.measurement for r in group if r.measurement.outcome == "done"]
    shown = done or [first.measurement]
    ends = dict.fromkeys(outcome_word(r.measurement.outcome) for r in group)
    m = shown[0]
    loss = ""
    if m.loss_first is not None and m.loss_last is not None:
        loss = f"{m.loss_first:.2f} > {m.loss_last:.2f}"
    result = ", ".join(ends) + (f" x{len(group)}" if len(group) > 1 else "")
    return [
        first.benchmark.job.name or first.benchmark.name,
        m.workload.label,
        _spread([m.time_s for m in shown], format_duration),
        format_duration(_middle([m.load_s for m in shown])),
        number(_middle([m.tokens_per_s for m in shown]), 1),
        number(_middle([m.gpu_util_pct for m in shown]), 0, " %"),
        format_size(max((m.peak_memory_mib or 0.0 for m in shown), default=0.0) or None),
        loss,
        format_energy(_middle([m.energy_j for m in shown])),
        _whole([row.whole for row in group if row.whole is not None]),
        *(format_duration(_middle([_part_s(m, name) for m in shown])) for name in _PARTS),
        result,
    ]


def _part_s(m: Measurement, name: str) -> float | None:
    return m.warmup_s if name == "warmup_s" else m.phases_s.get(name)


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _spread(values: Sequence[float | None], show: Any) -> str:
    """The median, and with repeats how far the lowest and the highest are apart, per cent of it."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    middle = median(known)
    if len(known) == 1 or not middle:
        return str(show(middle))
    return f"{show(middle)} (spread {100 * (max(known) - min(known)) / middle:.0f} %)"


def _whole(found: Sequence[Whole]) -> str:
    """From several runs the median; the interval of one run alone says more than nothing."""
    if not found:
        return NOTHING
    if not any(whole.extrapolated for whole in found):
        return "ran whole"
    text = "≈ " + format_duration(median(whole.time_s for whole in found))
    half_s = _middle([whole.half_s for whole in found])
    return text if half_s is None else f"{text} ±{format_duration(half_s)}"
