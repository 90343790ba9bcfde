"""`costs paper`: predictions from the data sheets beside what the paper reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jetsched.profiler.paper import NX, ORIN
from jetsched.profiler.paper_predictions import RATIO_SIGMA, Prediction, Side
from jetsched.tables import Column, console, print_table
from jetsched.units import NOTHING, format_duration, number


def prediction_json(found: Prediction) -> dict[str, Any]:
    """One workload; ``ratio`` is the NX's time over the Orin Nano's, loading apart."""
    from jetsched.files import to_json

    return {
        "model": found.title,
        "role": found.role,
        "workload": found.workload.label,
        "amount": found.amount,
        "ratio": {"p10": found.ratio_p10, "p50": found.ratio, "p90": found.ratio_p90},
        "paper": {
            "readings": [to_json(told) for told in found.told],
            "killed_on": [NX] if found.killed else [],
        },
        "agrees": found.agrees,
        "devices": {NX: _side_json(found.nx), ORIN: _side_json(found.orin)},
        "notes": list(found.notes),
    }


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "fits": side.fit or "never",
        "reason": side.reason,
        "needs_mib": side.needs_mib,
        "admitted_mib": side.admitted_mib,
        "has_mib": side.has_mib,
        "never_pct_of_settings": side.never_pct,
        "time_s": {"p50": side.time_s, "p90": side.time_p90_s},
        "load_s": side.load_s,
        "gpu_util_pct": side.gpu_util_pct,
        "paper_gpu_util_pct": side.paper_gpu_util_pct,
        "energy_j": side.energy_j,
        "source": side.source,
        "method": side.method,
    }


def print_predictions(found: Sequence[Prediction]) -> None:
    """For a person: two tables, then what does not agree and what may be why."""
    out = console()
    out.print("Time on the Xavier NX over the Orin Nano's, by the data sheets alone", style="bold")
    columns = [
        Column("MODEL"),
        Column("ROLE", drop=2),
        Column("RATIO", right=True),
        Column("P10-P90", right=True),
        Column("PAPER", right=True),
        Column("WITHIN"),
        Column("NX", right=True, drop=1),
        Column("ORIN", right=True, drop=1),
    ]
    print_table(columns, [_ratio_cells(each) for each in found])
    out.print()
    out.print("Memory: needed (tensors and runtime) of what there is, MiB; GPU use", style="bold")
    columns = [
        Column("MODEL"),
        Column("NX"),
        Column("ORIN", drop=1),
        Column("PAPER"),
        Column("GPU NX", right=True, drop=2),
        Column("PAPER", right=True, drop=2),
        Column("GPU ORIN", right=True, drop=3),
        Column("PAPER", right=True, drop=3),
    ]
    print_table(columns, [_memory_cells(each) for each in found])
    agree = sum(each.agrees for each in found)
    out.print()
    out.print(f"  {agree} of {len(found)} agree with the paper in time and fit. Nothing is fitted")
    out.print("  on it: all figures are assumed, from data sheets. RATIO and times are for the")
    out.print("  settings in `jetsched profiles show paper`, times for its assumed amounts; the")
    out.print("  interval is over the power modes, batches, lengths and precisions that the paper")
    out.print(f"  leaves open, and over an error of the model itself of {100 * RATIO_SIGMA:.0f} %.")
    notes = [(each.title, note) for each in found for note in each.notes]
    if notes:
        out.print()
        out.print("What does not agree, and what may be why", style="bold")
    for title, note in notes:
        out.print(f"  {title}: {note}")


def _ratio_cells(found: Prediction) -> list[str]:
    paper = " or ".join(f"{told.nx_over_orin:.2f}" for told in found.told)
    within = " or ".join("yes" if told.within else "NO" for told in found.told)
    return [
        found.title,
        found.role,
        f"{found.ratio:.2f}",
        f"{found.ratio_p10:.2f}-{found.ratio_p90:.2f}",
        paper or "KILLED(NX)",
        within or NOTHING,
        format_duration(found.nx.time_s),
        format_duration(found.orin.time_s),
    ]


def _memory_cells(found: Prediction) -> list[str]:
    return [
        found.title,
        _fit(found.nx),
        _fit(found.orin),
        "killed on the NX" if found.killed else "ran on both",
        number(found.nx.gpu_util_pct, 0, " %"),
        number(found.nx.paper_gpu_util_pct, 0, " %"),
        number(found.orin.gpu_util_pct, 0, " %"),
        number(found.orin.paper_gpu_util_pct, 0, " %"),
    ]


def _fit(side: Side) -> str:
    return f"{side.fit or 'never'}: {side.needs_mib:,.0f} of {side.has_mib:,.0f}"
