"""What the verbs print for a person: rows of records and of the API, as words and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, get_args

from jetsched.profiler.calibration import Calibration
from jetsched.profiler.judged import warnings
from jetsched.records import Decision, Measurement, State
from jetsched.tables import Column, console, next_steps, print_table
from jetsched.units import format_duration, format_energy, format_size, number
from jetsched.words import (
    decision_rows,
    files_lines,
    job_cells,
    outcome_word,
    why_of,
)

Json = Mapping[str, Any]

#: Of the table of `plan` and `why`: the cells are :func:`jetsched.words.decision_cells`.
DECISION_COLUMNS = (
    Column("DEVICE"),
    Column("FITS"),
    Column("MEMORY peak/has", right=True, drop=2),
    Column("WAIT", right=True),
    Column("RUN (p90)", right=True),
    Column("DONE", right=True),
    Column("ENERGY", right=True, drop=4),
    Column("SCORE", right=True, drop=5),
    Column("VERDICT", most=100, least=24),
)
#: Of `queue`: the cells are :func:`jetsched.words.job_cells`.
QUEUE_COLUMNS = (
    Column("ID", right=True),
    Column("NAME", most=24, least=12),
    Column("WORK", most=36, drop=3),
    Column("PRI", right=True, drop=5),
    Column("STATE"),
    Column("WHERE"),
    Column("FOR", right=True, drop=4),
    Column("REASON / PROGRESS", most=100, drop=1, least=24),
)


def print_decision(decision: Decision) -> None:
    """The table of `plan` and `why`: every device, and what was thought of it."""
    print_table(DECISION_COLUMNS, decision_rows(decision))


class PlanLike(Protocol):
    """A job that was not submitted, and the decision about it."""

    @property
    def name(self) -> str: ...
    @property
    def work(self) -> str: ...
    @property
    def decision(self) -> Decision: ...
    @property
    def changes(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def files(self) -> Mapping[str, Mapping[str, float | None]]: ...


def print_plan(plan: PlanLike) -> None:
    """`plan`: what would become of a job."""
    out = console()
    decision = plan.decision
    out.print(f"{plan.name}: {plan.work} · policy {decision.policy}", style="bold")
    print_decision(decision)
    if decision.chosen is None:
        reason = decision.reason
        out.print(f"It would not start: {reason.code}: {reason.text}" if reason else "")
    if decision.remark:
        out.print(f"Note: {decision.remark}", markup=False)
    for line in files_lines(plan.files):
        out.print(line)
    for device, words in plan.changes.items():
        out.print(f"To make it fit {device}: {' · '.join(words)}")
    next_steps("jetsched submit FILE.yaml", "jetsched devices")


def print_why(found: Json) -> None:
    """`why`: see :func:`why_of`."""
    out, why = console(), why_of(found)
    out.print(why.title, style="bold", markup=False)
    out.print(why.above, markup=False)
    print_decision(why.decision)
    for line in why.below:
        out.print(line, markup=False)
    job_id = found["job"]["id"]
    next_steps(f"jetsched logs {job_id}", "jetsched queue")


def print_queue(jobs: Sequence[Json]) -> None:
    """`queue`: a row per job."""
    print_table(QUEUE_COLUMNS, [job_cells(job) for job in jobs])


def shown_states(all_jobs: bool) -> tuple[str, ...]:
    """The states that `queue` shows."""
    return get_args(State) if all_jobs else ("waiting", "held", "starting", "running")


def print_more(jobs: Sequence[Json], total: int) -> None:
    """How many jobs there are, where not all of them are shown, and how to see the next."""
    text = f"  {total:,} in all; the next ones: jetsched queue --after {jobs[-1]['id']}"
    console().print(text, markup=False, highlight=False)


def clear() -> None:
    """Begin a screen anew; a pipe gets an empty line instead."""
    out = console()
    if out.is_terminal:
        out.clear()
    else:
        out.print()


def print_policy_error(status: Json) -> None:
    """The last mistake of the policy that decides, if there is one: file and line."""
    policy = status["policy"]
    dropped = policy.endswith("was dropped)")  # "earliest_finish (mine was dropped)"
    errors = [e for e in status["policy_errors"] if dropped or e.startswith(f"policy {policy} ")]
    if errors:
        console().print(f"  ✗ {errors[-1]}: the fallback decided instead", markup=False)


def print_measurements(
    measurements: Sequence[Measurement], stale: Sequence[Sequence[str]] = ()
) -> None:
    """`profile` and `profiles`: a row per run; ``stale``: for each, what has changed since."""
    columns = [
        Column("DEVICE"),
        Column("WORKLOAD", most=36),
        Column("TIME", right=True),
        Column("LOAD", right=True, drop=4),
        Column("TOKENS/S", right=True, drop=3),
        Column("GPU", right=True, drop=5),
        Column("PEAK MEMORY", right=True),
        Column("LOSS", right=True, drop=6),
        Column("ENERGY", right=True, drop=7),
        Column("RESULT", most=30),
    ]
    rows = [_measurement_cells(m) for m in measurements]
    if any(stale):
        columns.append(Column("STALE", drop=2, most=60))
        rows = [[*row, ", ".join(changed)] for row, changed in zip(rows, stale, strict=True)]
    print_table(columns, rows)
    if any(stale):
        console().print("  Stale: the board has changed since; profile it again.")
    if any(m.random_weights for m in measurements):
        console().print("  Models had random weights: speed and memory do not depend on them.")


def warnings_json(measurement: Measurement) -> list[Json]:
    """What is odd about a measurement: a list of {code, text}."""
    return [{"code": flaw.code, "text": flaw.text} for flaw in warnings(measurement)]


def print_warnings(measurements: Sequence[Measurement]) -> None:
    """What is odd about measurements, a line each; none where all can be true."""
    for m in measurements:
        for flaw in warnings(m):
            who = f"{m.workload.label} on {m.device or m.device_class.label}"
            console().print(f"  ! {who}: {flaw.text}", markup=False)


def _measurement_cells(m: Measurement) -> list[str]:
    loss = ""
    if m.loss_first is not None and m.loss_last is not None:
        loss = f"{m.loss_first:.2f} > {m.loss_last:.2f}"
    return [
        m.device + (" (emulated)" if m.emulated else ""),
        m.workload.label,
        format_duration(m.time_s),
        format_duration(m.load_s),
        number(m.tokens_per_s, 1),
        number(m.gpu_util_pct, 0, " %"),
        format_size(m.peak_memory_mib),
        loss,
        format_energy(m.energy_j),
        outcome_word(m.outcome),
    ]


def print_calibration(found: Calibration) -> None:
    """`profile --calibrate`: the constants of a board."""
    out = console()
    out.print(f"{found.device}: {found.device_class.label}", style="bold")
    matrices = ", ".join(f"{name} {rate:,.0f}" for name, rate in found.gemm_gflops.items())
    out.print(f"  launch      {found.launch_us:.1f} µs for a small operation")
    out.print(f"  bandwidth   {found.bandwidth_gb_s:.1f} GB/s (triad)")
    out.print(f"  matrices    {matrices} GFLOP/s")
    if found.load_mb_s is not None:
        cached = ", out of the page cache: the storage is slower"
        came = "" if found.load_from == "disk" else cached
        out.print(f"  loading     {found.load_mb_s:,.0f} MB/s{came}")
