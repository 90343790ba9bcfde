"""What `compare` and `demo` print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jetsched.cluster.compare import Comparison, Interval, PolicyRow
from jetsched.cluster.demo import JOBS, SEEDS, Demo
from jetsched.cluster.simulating import SimulationRun
from jetsched.files import json_bytes, to_json, write_atomically
from jetsched.records import FINAL_STATES
from jetsched.screens import outcome_word, state_word
from jetsched.tables import Column, console, next_steps, number, print_table
from jetsched.units import NOTHING, format_duration, format_energy

Show = Callable[[float | None], str]


def print_comparison(rows: Sequence[PolicyRow]) -> None:
    """A row per policy; with several seeds each figure has its 95 % confidence interval."""
    columns = [
        Column("POLICY"),
        Column("MEAN DONE", right=True),
        Column("P95", right=True, drop=2),
        Column("ALL DONE", right=True),
        Column("SLOWDOWN", right=True, drop=4),
        Column("KILLED", right=True),
        Column("MISSED", right=True, drop=3),
        Column("ENERGY", right=True, drop=1),
        Column("NOTE", drop=5),
    ]
    best = min((_mean(row, "mean_completion_s") for row in rows), default=0.0)
    print_table(columns, [_policy_cells(row, best) for row in rows])


def print_policy_errors(runs: Sequence[SimulationRun]) -> None:
    """The first mistake of each policy that broke its contract: the default one decided then."""
    told: set[str] = set()
    for run in runs:
        if run.scheduler.policy_errors and run.policy not in told:
            told.add(run.policy)
            console().print(f"  ✗ {run.scheduler.policy_errors[0]}")


def _policy_cells(row: PolicyRow, best_s: float) -> list[str]:
    def cell(name: str, show: Show) -> str:
        return _interval(row.figures.get(name), show)

    notes = []
    if row.figures and _mean(row, "mean_completion_s") == best_s:
        notes.append("best mean")
    if (unfinished := row.figures.get("unfinished")) is not None and unfinished.mean:
        notes.append(f"{unfinished.mean:g} not done")
    if row.policy_errors:
        notes.append(f"{row.policy_errors} illegal choices")
    return [
        row.policy,
        cell("mean_completion_s", format_duration),
        cell("p95_completion_s", format_duration),
        cell("makespan_s", format_duration),
        cell("mean_slowdown", lambda value: number(value, 1)),
        cell("killed", lambda value: number(value, 1)),
        cell("missed_deadlines", lambda value: number(value, 1)),
        cell("energy_j", format_energy),
        ", ".join(notes),
    ]


def _mean(row: PolicyRow, name: str) -> float:
    figure = row.figures.get(name)
    return figure.mean if figure is not None else float("inf")


def _interval(figure: Interval | None, show: Show) -> str:
    if figure is None:
        return NOTHING
    return show(figure.mean) + ("" if not figure.half else f" ±{show(figure.half)}")


def run_json(run: SimulationRun) -> dict[str, Any]:
    """The figures of a run as one flat object."""
    return {
        "policy": run.policy,
        "seed": run.seed,
        **to_json(run.metrics),
        "events": run.events,
        "loop_cpu_s": run.loop_cpu_s,
        "jobs_per_cpu_s": run.jobs_per_cpu_s,
        "policy_errors": run.scheduler.policy_errors,
    }


def write_report(found: Comparison, folder: Path) -> None:
    """``gantt.png`` of the first seed, and ``runs.jsonl`` with a line for every run."""
    from jetsched.cluster.pictures import gantt

    first = found.runs[0].seed
    runs = [run for run in found.runs if run.seed == first]
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json_bytes(run_json(run)) + b"\n" for run in found.runs]
    write_atomically(folder / "runs.jsonl", b"".join(lines))
    gantt(runs, folder / "gantt.png", rows=found.rows if len(found.runs) > len(runs) else ())


# --------------------------------------------------------------------------------------- the demo


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


def demo_simulated(comparison: Comparison, picture: Path) -> None:
    """What the first part showed."""
    print_comparison(comparison.rows)
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
