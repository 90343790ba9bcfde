"""What the verbs print for a person: rows of records and of the API, as words and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, get_args

from jetsched.files import from_json
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.judged import warnings
from jetsched.records import Decision, Measurement, Row, State
from jetsched.tables import Column, console, next_steps, number, print_table
from jetsched.units import NOTHING, format_duration, format_energy, format_size

Json = Mapping[str, Any]


def clock(at_s: float | None, now_s: float | None = None) -> str:
    """A moment on the cluster's clock: time of day, with the date if it is another day's."""
    if at_s is None:
        return NOTHING
    import time

    moment, today = time.localtime(at_s), time.localtime(now_s)
    same_day = moment[:3] == today[:3]
    return time.strftime("%H:%M" if same_day else "%d %b %H:%M", moment)


def state_word(state: str, outcome: str | None = None) -> str:
    """``KILLED(memory)``: the state as screens show it."""
    if state == "killed" and outcome and outcome.startswith("killed_"):
        return f"KILLED({outcome.removeprefix('killed_')})"
    return state.upper()


def print_decision(decision: Decision) -> None:
    """The table of `plan` and `why`: every device, and what was thought of it."""
    columns = [
        Column("DEVICE"),
        Column("FITS"),
        Column("MEMORY peak/has", right=True, drop=2),
        Column("WAIT", right=True),
        Column("RUN (p90)", right=True),
        Column("DONE", right=True),
        Column("ENERGY", right=True, drop=4),
        Column("SCORE", right=True, drop=5),
        Column("VERDICT", most=100, least=24),
    ]
    best = min((row.score for row in decision.rows if row.score is not None), default=0.0)
    print_table(columns, [_decision_cells(row, decision.at_s, best) for row in decision.rows])


def _decision_cells(row: Row, now_s: float, best: float) -> list[str]:
    tight = row.verdict == "tight" or (row.verdict == "busy" and _is_tight(row))
    fits = "NO" if row.verdict == "never" else "tight" if tight else "yes"
    # What the process may come to hold is what is compared; live bytes alone are less.
    peak_mib = row.peak_memory_mib if row.admitted_mib is None else row.admitted_mib
    memory = f"{_gib(peak_mib or None)} / {_gib(row.has_mib)} GiB{_source(row)}"
    if row.chosen:
        verdict = "would go here" if row.verdict == "busy" else "goes here"
    else:
        verdict = row.reason or (row.code or "")
    spread = ""
    if row.time_s is not None and row.time_p90_s is not None:
        spread = f" ({format_duration(row.time_p90_s)})"
    waits = None if row.start_s is None else max(0.0, row.start_s - now_s)
    ends = None if row.finish_s is None else max(0.0, row.finish_s - now_s)
    return [
        row.device,
        fits,
        memory,
        format_duration(waits),
        format_duration(row.time_s) + spread,
        "" if ends is None else f"in {format_duration(ends)}",
        format_energy(row.energy_j),
        _score_words(row.score, best),
        verdict,
    ]


def _is_tight(row: Row) -> bool:
    """Of a busy board the verdict does not say whether the job only just fits it."""
    if row.admitted_mib is None or row.has_mib is None:
        return False
    return row.admitted_mib > row.has_mib


def _score_words(score: float | None, best: float) -> str:
    """The distance from the best one: the numbers themselves mean something to the policy only."""
    if score is None:
        return NOTHING
    return "best" if score == best else f"+{score - best:,.1f}"


def _gib(mib: float | None) -> str:
    return NOTHING if mib is None else f"{mib / 1024:.1f}"


def _source(row: Row) -> str:
    return f" ({row.source[0]})" if row.source else ""


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
    print_files_to_bring(plan.files)
    for device, words in plan.changes.items():
        out.print(f"To make it fit {device}: {' · '.join(words)}")
    next_steps("jetsched submit FILE.yaml", "jetsched devices")


def print_files_to_bring(files: Mapping[str, Mapping[str, float | None]]) -> None:
    """Files that boards lack: they go there before the job starts; its end counts that in."""
    for device, missing in files.items():
        size = format_size((missing["bytes"] or 0.0) / (1 << 20))
        took = missing["transfer_s"]
        long = "" if took is None else f", about {format_duration(took)}"
        console().print(f"{device}: {size} of files go there first{long}")


def print_why(found: Json) -> None:
    """`why`: the stored decision about a job, its history, and why it waits."""
    out = console()
    job = found["job"]
    decision = from_json(Decision, {k: v for k, v in found.items() if k != "job"})
    state = state_word(job["state"], job["outcome"])
    out.print(f"{job['id']} {job['name']}: {job['work']} · {state}", style="bold")
    if decision.chosen is not None:
        out.print(f"Policy {decision.policy} chose {decision.chosen} when it started:")
    else:
        out.print(f"What policy {decision.policy} sees:")
    print_decision(decision)
    if decision.note:
        out.print(f"Note: {decision.note}", markup=False)
    if decision.remark:
        out.print(f"Note: {decision.remark}", markup=False)
    if job["reason"] is not None:
        out.print(f"It waits: {job['reason']['code']}: {job['reason']['text']}")
    print_files_to_bring(found.get("files") or {})
    for attempt in job["attempts"]:
        out.print(_attempt_line(attempt, job["tries"]))
    next_steps(f"jetsched logs {job['id']}", "jetsched queue")


def _attempt_line(attempt: Json, tries: int) -> str:
    number = attempt["number"]  # more than `tries` where somebody asked for another
    of = f" of {tries}" if number <= tries else ""
    line = f"  try {number}{of} on {attempt['device']}"
    if attempt["end_s"] is None:
        return line + f": runs since {clock(attempt['start_s'])}"
    took = format_duration(attempt["end_s"] - attempt["start_s"])
    estimated = format_duration(attempt["estimate"]["time_s"])
    line += f": {outcome_word(attempt['outcome'])} after {took} (estimated {estimated})"
    return line + (f" - {attempt['text']}" if attempt["text"] else "")


def outcome_word(outcome: str) -> str:
    """``killed_memory`` as screens show it: ``KILLED(memory)``."""
    kind, _, why = outcome.partition("_")
    return f"{kind.upper()}({why})" if why else kind.upper()


def print_queue(jobs: Sequence[Json]) -> None:
    """`queue`: a row per job."""
    columns = [
        Column("ID", right=True),
        Column("NAME", most=24, least=12),
        Column("WORK", most=36, drop=3),
        Column("PRI", right=True, drop=5),
        Column("STATE"),
        Column("WHERE"),
        Column("FOR", right=True, drop=4),
        Column("REASON / PROGRESS", most=100, drop=1, least=24),
    ]
    print_table(columns, [_job_cells(job) for job in jobs])


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


def _job_cells(job: Json) -> list[str]:
    last = job["attempts"][-1] if job["attempts"] else None
    return [
        job["id"],
        job["name"],
        job["work"],
        str(job["priority"]),
        _state(job),
        job["device"] or (last["device"] if last else ""),
        format_duration(float(int(job["now_s"] - job["since_s"]))),
        _progress_words(job, last),
    ]


def _state(job: Json) -> str:
    """``STARTING(files)`` while its files are on their way to the board."""
    word = state_word(job["state"], job["outcome"])
    return f"{word}(files)" if job.get("transfer") else word


def _progress_words(job: Json, last: Json | None) -> str:
    now_s = job["now_s"]
    if job["reason"] is not None:
        words = f"{job['reason']['code']}: {job['reason']['text']}"
        if job["start_s"] is not None:
            words += f" · starts in {format_duration(max(0.0, job['start_s'] - now_s))}"
        return words
    if job["state"] in ("starting", "running"):
        if job["stopping"]:
            return "stopping"
        words = f"try {last['number']}" if last else ""
        progress = job["progress"]
        # The amount of a command is one: of how far it is nothing is known.
        if progress and progress["amount"] > 1 and progress["phase"] == "running":
            words = f"{100 * progress['done'] / progress['amount']:.0f} %"
        left_s = job["finish_s"] - now_s
        if left_s < 0:
            return f"{words} · {format_duration(float(int(-left_s)))} over its estimate"
        return f"{words} · done in {format_duration(left_s)}"
    if last is None:
        return ""
    took = format_duration(last["end_s"] - last["start_s"])
    estimated = format_duration(last["estimate"]["time_s"])
    return last["text"] or f"took {took} (estimated {estimated})"


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
