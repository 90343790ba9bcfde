"""What `estimate` prints: a row per device model, why not, and what would make it fit."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from jetsched.profiler.estimating import Estimated, ModelEstimate
from jetsched.profiler.memory import work_kind
from jetsched.records import Workload
from jetsched.tables import Column, console, next_steps, print_table
from jetsched.units import NOTHING, format_duration, format_energy, format_size, number

_FITS = {"fits": "yes", "tight": "tight", "never": "NO"}


def print_estimated(found: Estimated, *, memory: bool = False) -> None:
    """The table, then a line for each thing that stands in the way and for what would help."""
    out = console()
    job = found.job
    units = f"{job.amount:,.0f} {_unit(found)}"
    out.print(f"{job.name}: {_work(job.workload)} · {units}", style="bold")
    _print_costs(found.rows)
    if memory:
        _print_memory(found.rows)
    _print_reasons(found.rows)
    for row in found.rows:
        if row.hint:
            out.print(f"To make it fit {row.label}: {' · '.join(row.hint)}")
    _print_sources(found)
    file = _short(found.file)
    next_steps(f"jetsched plan {file} --fleet FLEET.yaml", f"jetsched submit {file}")


def _work(workload: Workload) -> str:
    """The label, and what it leaves out of training that memory and time hang on."""
    words = [workload.label]
    if work_kind(workload) == "train":
        words.append(f"head {workload.head}")
        if workload.gradient_checkpointing:
            words.append("gradient_checkpointing")
        if workload.method == "lora":
            words.append(f"lora_rank {workload.lora_rank}")
        if workload.accumulation_steps > 1:
            words.append(f"accumulation_steps {workload.accumulation_steps}")
    return ", ".join(words)


def _short(file: Path) -> str:
    """The path as it is shortest from here, for a command to copy."""
    try:
        near = os.path.relpath(file)
    except (OSError, ValueError):  # the folder that we are in is gone
        near = str(file)
    return shlex.quote(min(str(file), near, key=len))


def _unit(found: Estimated) -> str:
    kind, one = found.job.workload.kind, found.job.amount == 1
    word = {"train": "sample", "infer": "prompt", "command": "run"}[kind]
    return word if one else word + "s"


def _print_costs(rows: Sequence[ModelEstimate]) -> None:
    columns = [
        Column("DEVICE"),
        Column("FITS"),
        Column("MEMORY peak/has", right=True, drop=1),
        Column("LOAD", right=True, drop=4),
        Column("RUN (p90)", right=True),
        Column("ENERGY", right=True, drop=2),
        Column("GPU", right=True, drop=3),
        Column("SOURCE"),
    ]
    print_table(columns, [_cost_cells(row) for row in rows])


def _cost_cells(row: ModelEstimate) -> list[str]:
    peak = _gib(row.peak_memory_mib or None)  # 0: nothing is known of it
    if row.admitted_mib:
        peak += f"-{_gib(row.admitted_mib)}"  # in tensors, and what a process likely comes to
    run = NOTHING
    if row.time_s is not None:
        run = f"{format_duration(row.time_s.p50)} ({format_duration(row.time_s.p90)})"
    source = NOTHING
    if row.source is not None:
        source = row.source[0] + (f" {row.measurements}" if row.measurements else "")
    return [
        row.label,
        _FITS[row.fits],
        f"{peak} / {_gib(row.has_mib)} GiB",
        format_duration(row.load_s),
        run,
        format_energy(row.energy_j),
        number(row.gpu_util_pct, 0, " %"),
        source,
    ]


def _print_memory(rows: Sequence[ModelEstimate]) -> None:
    columns = [
        Column("MEMORY OF", least=12),
        *(
            Column(title, right=True)
            for title in ("WEIGHTS", "GRADIENTS", "OPTIMIZER", "ACTIVATIONS", "LOGITS", "KV")
        ),
        Column("RUNTIME", right=True),
    ]
    cells = []
    for row in rows:
        if row.memory is not None:
            m = row.memory
            parts = (m.weights_mib, m.gradients_mib, m.optimizer_mib, m.activations_mib)
            sizes = (*parts, m.logits_mib, m.kv_mib, m.runtime_mib)
            cells.append([row.label, *(format_size(s) if s else NOTHING for s in sizes)])
    if cells:
        console().print()
        print_table(columns, cells)
        console().print("  As counted at the peak; all but the runtime are the live bytes.")


def _print_reasons(rows: Sequence[ModelEstimate]) -> None:
    """Devices that share a reason are named together."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            word = f"{row.code}: {row.reason}" if row.code else row.reason
            reasons.setdefault(word, []).append(row.label)
    for reason, devices in reasons.items():
        who = "All devices" if len(devices) == len(rows) > 1 else ", ".join(devices)
        console().print(f"{who}: {reason}")


def _print_sources(found: Estimated) -> None:
    out = console()
    out.print("  MEMORY: in tensors - with runtime and headroom / what jobs have there.")
    out.print("  SOURCE: m measured, e estimated (from so many runs), a assumed from data sheets.")
    for row in found.rows:
        if row.software and row.source in ("measured", "estimated"):
            out.print(f"  {row.label}: by what was measured here with {row.software}.")
    if any(row.source != "measured" for row in found.rows):
        command = f"jetsched profile --suite {_short(found.file)} --steps 20"
        out.print(f"  Better figures, on the device itself: {command}")


def _gib(mib: float | None) -> str:
    return NOTHING if mib is None else f"{mib / 1024:.1f}"
