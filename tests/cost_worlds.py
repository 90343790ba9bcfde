"""Tables of measured costs whose truth is known: an additive roofline with made-up factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Device -> GFLOP/s and GB/s by its (made-up) data sheet.
SHEETS: Mapping[str, tuple[float, float]] = {
    "small": (1_000.0, 50.0),
    "medium": (4_000.0, 100.0),
    "large": (20_000.0, 800.0),
}
#: Workload -> operations, bytes and launches.
WORK: Mapping[str, tuple[float, float, float]] = {
    "tiny": (2e11, 4e9, 300.0),
    "short": (1e12, 4e10, 400.0),
    "wide": (6e12, 5e10, 500.0),
    "deep": (9e12, 2e11, 1500.0),
}
COLUMNS = (
    *("device", "peak_gflops", "bandwidth_gb_s", "workload", "kind", "precision", "batch"),
    *("seq_len", "flops", "bytes", "kernels", "time_s"),
)

Cells = dict[str, Any]


def true_time_s(device: str, workload: str, batch: int = 1) -> float:
    peak, bandwidth = SHEETS[device]
    flops, moved, launches = WORK[workload]
    busy_s = batch * (flops / (0.6e9 * peak) + moved / (0.4e9 * bandwidth))
    return busy_s + 8e-6 * launches


def a_cost(device: str = "small", workload: str = "tiny", batch: int = 1, **changes: Any) -> Cells:
    """A row of the table, by column."""
    peak, bandwidth = SHEETS[device]
    flops, moved, launches = WORK[workload]
    cells: Cells = {
        "device": device,
        "peak_gflops": peak,
        "bandwidth_gb_s": bandwidth,
        "workload": workload,
        "kind": "infer",
        "precision": "fp32",
        "batch": batch,
        "seq_len": 128,
        "flops": batch * flops,
        "bytes": batch * moved,
        "kernels": launches,
        "time_s": true_time_s(device, workload, batch),
    }
    return {**cells, **changes}


def all_costs(batches: Sequence[int] = (1, 4)) -> list[Cells]:
    """Each workload on each device with each batch size."""
    return [a_cost(d, w, b) for d in SHEETS for w in WORK for b in batches]


def as_csv(rows: Sequence[Mapping[str, Any]], *more: str) -> str:
    """The text of a CSV file; ``more`` are further columns."""
    columns = (*COLUMNS, *more)
    lines = [",".join(str(row.get(column, "")) for column in columns) for row in rows]
    return "\n".join([",".join(columns), *lines]) + "\n"
