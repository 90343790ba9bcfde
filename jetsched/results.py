"""What `demo` prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jetsched.cluster.demo import JOBS, SEEDS, Demo
from jetsched.records import FINAL_STATES
from jetsched.tables import Column, console, next_steps, print_table
from jetsched.units import NOTHING, format_duration, number
from jetsched.words import outcome_word, state_word


def demo_intro(simulate_only: bool) -> None:
    """The first lines of the demo."""
    out = console()
    out.print(
        "No Jetson is needed here: the boards are simulated"
        + ("." if simulate_only else ", then emulated: 1 x Xavier NX 8GB, 1 x Orin Nano 8GB.")
    )
    out.print()
    out.print(f"[1] Simulated: {JOBS} jobs of the paper's mix under every policy,", style="bold")
    out.print(f"    mean of {SEEDS} draws of the jobs; ± is the 95 % confidence interval.")


def demo_simulated(picture: Path) -> None:
    """What the first part showed, below its table."""
    out = console()
    out.print(
        f"  Picture: {picture}. Run times are assumed from data sheets and the paper's ratios."
    )
    out.print(
        "  KILLED: GPT-2 Small on the Xavier NX, as in the paper; learnt after the first time."
    )


def demo_live_intro(say: Callable[[str], None]) -> None:
    """The heading of the second part."""
    say("")
    say("[2] Live: real jobs through Ray on two emulated boards; models have random weights.")


def demo_end(demo: Demo) -> None:
    """The table of estimated against measured times, what was learnt, and what to do next."""
    out = console()
    if demo.live is not None:
        out.print()
        out.print("Estimated against measured (both on emulated boards):", style="bold")
        columns = [
            Column("JOB"),
            Column("WORK", drop=2),
            Column("WHERE"),
            Column("STATE"),
            Column("ESTIMATED", right=True),
            Column("MEASURED", right=True),
            Column("RATIO", right=True, drop=1),
            Column("TRIES", most=60),
        ]
        print_table(columns, [_live_cells(job) for job in demo.live_jobs])
        for device, reason in demo.live.learnt.items():
            out.print(f"  Learnt: train-gpt2 never goes to {device} again: {reason}")
        if not any(_was_killed(job) for job in demo.live_jobs):
            out.print("  Nothing was killed for memory this time; the demo expects one such kill.")
    took = ", ".join(f"{name} {format_duration(s)}" for name, s in demo.seconds.items())
    out.print(f"Written: {demo.summary}, {demo.picture} ({took}).")
    next_steps(
        "jetsched up --emulate xavier-nx,orin-nano",
        "jetsched submit FILE.yaml",
        "jetsched profile --quick (on a board)",
    )


def _live_cells(job: dict[str, Any]) -> list[str]:
    estimated, measured = job["estimated_s"], job["measured_s"]
    ratio = measured / estimated if estimated and measured else None
    tries = ", ".join(f"{a['device']} {outcome_word(a['outcome'])}" for a in job["attempts"])
    source = f" ({job['source'][0]})" if job["source"] else ""
    last = job["attempts"][-1]["outcome"] if job["attempts"] else None
    assert job["state"] in FINAL_STATES
    return [
        job["name"],
        job["work"],
        job["device"] or NOTHING,
        state_word(job["state"], last),
        format_duration(estimated) + source,
        format_duration(measured),
        number(ratio, 2),
        tries,
    ]


def _was_killed(job: dict[str, Any]) -> bool:
    return any(attempt["outcome"] == "killed_memory" for attempt in job["attempts"])
