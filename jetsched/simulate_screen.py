"""What `simulate` prints."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jetsched import tables
from jetsched.cluster.endings import Said
from jetsched.cluster.onerun import OneRun
from jetsched.cluster.simulating import SimulationRun
from jetsched.cluster.worldchecks import arguments
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.files import to_json
from jetsched.scheduler.metrics import Metrics
from jetsched.tables import console, next_steps
from jetsched.units import NOTHING, format_duration, format_energy, number

#: As many of what was left out of a trace, and of a policy's mistakes, are shown.
_SHOWN = 3
#: Remarks on jobs in `--json`; the trace file has all.
_MOST_REMARKS = 100


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr; where nobody looks, nothing is told at all, which costs nothing then."""
    if not sys.stderr.isatty():
        yield None
        return
    with tables.progress(what) as bar:
        yield bar


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


def one_run_json(done: OneRun) -> dict[str, Any]:
    """The figures of a run with its bounds; the same seed gives the same, but for CPU figures."""
    makespan_s, mean_s = done.bound_s
    metrics = done.run.metrics
    return {
        **run_json(done.run),
        "warmup": done.run.warmup,
        "bound": {"makespan_s": makespan_s, "mean_completion_s": mean_s},
        "distance": {
            "makespan": _ratio(metrics.makespan_s, makespan_s),
            "mean_completion": _ratio(metrics.mean_completion_s, mean_s),
        },
        "skipped": done.skipped,
        "notes": list(done.notes),
        "remarks": [to_json(said) for said in done.remarks[:_MOST_REMARKS]],
        "remarks_left_out": max(0, len(done.remarks) - _MOST_REMARKS),
    }


def print_one_run(done: OneRun) -> None:
    """The figures of a run, one a line."""
    run, figures = done.run, done.run.metrics
    makespan_s, mean_s = done.bound_s
    lines = [
        ("policy", run.policy),
        ("jobs", _jobs(figures)),
        ("mean completion", _beside_bound(figures.mean_completion_s, mean_s)),
        ("p50, p95, p99", _percentiles(figures)),
        ("slowdown", _slowdown(figures)),
        ("all done after", _beside_bound(figures.makespan_s, makespan_s)),
        ("attempts", _attempts(figures)),
        ("missed deadlines", f"{figures.missed_deadlines:,}"),
        ("energy", format_energy(figures.energy_j)),
        ("utilisation", _utilisation(figures)),
        ("users", _users(figures)),
        ("loop", f"{run.events:,} events, {run.jobs_per_cpu_s:,.0f} jobs per CPU second"),
    ]
    out = console()
    for name, value in lines:
        if value:
            out.print(f"  {name:<18} {value}")
    for note in done.notes:
        out.print(f"  Note: {note}", markup=False)
    if done.remarks:
        out.print(f"  {_remarks(done.remarks)}", markup=False)
    for problem in done.left_out[:_SHOWN]:
        out.print(f"    {problem.place} {problem.path} {problem.message}", markup=False)
    for error in list(dict.fromkeys(run.scheduler.policy_errors))[:_SHOWN]:
        out.print(f"  ✗ {error}", markup=False)
    if done.trace_file is not None:
        out.print(f"  Written: {done.trace_file}; open it in ui.perfetto.dev")
    next_steps(_compare(done.world), "jetsched policies")


def _remarks(remarks: Sequence[Said]) -> str:
    """How many there are, and the first of them."""
    first = remarks[0]
    what = f"job {first.job} at {format_duration(first.at_s)}: {first.text}"
    return (
        f"1 remark: {what}" if len(remarks) == 1 else f"{len(remarks):,} remarks, the first: {what}"
    )


def _compare(world: WorldOptions) -> str:
    """What compares policies on the jobs and the fleet of this run."""
    words = arguments(world)
    if world.seed == WorldOptions().seed:
        place = words.index("--seed")
        del words[place : place + 2]
    return f"jetsched compare {shlex.join(words)}"


def _ratio(value: float | None, bound: float | None) -> float | None:
    return value / bound if value is not None and bound else None


def _jobs(figures: Metrics) -> str:
    text = f"{figures.jobs:,}, of which {figures.done:,} done"
    if figures.counted != figures.done:
        text += f"; {figures.counted:,} after the warm-up"
    return text


def _beside_bound(value: float | None, bound_s: float | None) -> str:
    ratio = _ratio(value, bound_s)
    if ratio is None:
        return format_duration(value)
    return f"{format_duration(value)}, {ratio:.2f} x what no schedule beats"


def _percentiles(figures: Metrics) -> str:
    values = (figures.p50_completion_s, figures.p95_completion_s, figures.p99_completion_s)
    return ", ".join(map(format_duration, values))


def _slowdown(figures: Metrics) -> str:
    return f"mean {number(figures.mean_slowdown, 2)}, p99 {number(figures.p99_slowdown, 2)}"


def _attempts(figures: Metrics) -> str:
    parts = [f"{figures.attempts:,}"]
    for count, word in (
        (figures.killed, "killed"),
        (figures.lost, "lost"),
        (figures.preempted, "preempted"),
    ):
        parts.append(f"{count:,} {word}")
    return ", ".join(parts)


def _utilisation(figures: Metrics) -> str:
    shares = figures.utilisation.items()
    return ", ".join(f"{model} {100 * share:.0f} %" for model, share in shares) or NOTHING


def _users(figures: Metrics) -> str:
    """Nothing where there are not two of them."""
    if figures.fairness is None:
        return ""
    worst = number(figures.worst_user_slowdown, 2)
    return f"fairness {figures.fairness:.2f} (1: all alike), the worst slowdown {worst}"
