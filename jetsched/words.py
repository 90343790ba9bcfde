"""What is said of jobs, boards and decisions: the text that every screen and page shows.

Rows are those of the API, as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jetsched.files import from_json
from jetsched.records import Decision, Row
from jetsched.units import NOTHING, format_duration, format_energy, format_size, number

Json = Mapping[str, Any]

#: What stands above the cells of a decision, of a job and of a board.
DECISION = (
    "DEVICE",
    "FITS",
    "MEMORY peak/has",
    "WAIT",
    "RUN (p90)",
    "DONE",
    "ENERGY",
    "SCORE",
    "VERDICT",
)
QUEUE = ("ID", "NAME", "WORK", "PRI", "STATE", "WHERE", "FOR", "REASON / PROGRESS")
DEVICES = (
    "DEVICE",
    "MODEL",
    "STATE",
    "MEMORY jobs/for jobs",
    "FREE/TOTAL",
    "GPU",
    "POWER",
    "TEMP",
    "MODE",
    "JOB",
    "DONE",
    "SPEED",
    "NOTE",
)


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


def outcome_word(outcome: str) -> str:
    """``killed_memory`` as screens show it: ``KILLED(memory)``."""
    kind, _, why = outcome.partition("_")
    return f"{kind.upper()}({why})" if why else kind.upper()


def gib(mib: float | None) -> str:
    """Gibibytes without the unit; None gives a dash."""
    return NOTHING if mib is None else f"{mib / 1024:.1f}"


def source_mark(row: Row) -> str:
    """``(m)``, ``(e)`` or ``(a)``: whether it was measured, estimated or assumed."""
    return f" ({row.source[0]})" if row.source else ""


def decision_cells(row: Row, now_s: float, best: float) -> list[str]:
    """A row of `plan` and `why`, in the order of :data:`DECISION`; ``best`` is the lowest score."""
    tight = row.verdict == "tight" or (row.verdict == "busy" and _is_tight(row))
    fits = "NO" if row.verdict == "never" else "tight" if tight else "yes"
    # What the process may come to hold is what is compared; live bytes alone are less.
    peak_mib = row.peak_memory_mib if row.admitted_mib is None else row.admitted_mib
    memory = f"{gib(peak_mib or None)} / {gib(row.has_mib)} GiB{source_mark(row)}"
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


def decision_rows(decision: Decision) -> list[list[str]]:
    """The cells of that table."""
    best = min((row.score for row in decision.rows if row.score is not None), default=0.0)
    return [decision_cells(row, decision.at_s, best) for row in decision.rows]


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


def job_cells(job: Json) -> list[str]:
    """A row of `queue`, in the order of :data:`QUEUE`."""
    last = job["attempts"][-1] if job["attempts"] else None
    return [
        job["id"],
        job["name"],
        job["work"],
        str(job["priority"]),
        job_state(job),
        job_where(job),
        format_duration(float(int(job["now_s"] - job["since_s"]))),
        progress_words(job, last),
    ]


def job_where(job: Json) -> str:
    """Where it runs, or ran last; a job that waits for another attempt is nowhere."""
    if job["device"] or job["state"] in ("waiting", "held") or not job["attempts"]:
        return job["device"] or ""
    return str(job["attempts"][-1]["device"])


def job_state(job: Json) -> str:
    """``STARTING(files)`` while its files are on their way to the board."""
    word = state_word(job["state"], job["outcome"])
    return f"{word}(files)" if job.get("transfer") else word


def progress_words(job: Json, last: Json | None) -> str:
    """How far a job is or why it waits; ``last`` is its last attempt."""
    words, kind, at_s = progress_parts(job, last)
    coming = coming_words(kind, at_s, job["now_s"])
    return f"{words} · {coming}" if coming else words


def coming_words(kind: str, at_s: float | None, now_s: float) -> str:
    """When a job *starts* or is *done*, as a person says it; empty where nothing is foreseen."""
    if at_s is None:
        return ""
    left_s = at_s - now_s
    if kind == "done" and left_s < 0:
        return f"{format_duration(float(int(-left_s)))} over its estimate"
    return f"{kind} in {format_duration(max(0.0, left_s))}"


def progress_parts(job: Json, last: Json | None) -> tuple[str, str, float | None]:
    """The same as words that do not age, what comes then (*starts* or *done*), and when."""
    if job["reason"] is not None:
        return f"{job['reason']['code']}: {job['reason']['text']}", "starts", job["start_s"]
    if job["state"] in ("starting", "running"):
        if job["stopping"]:
            return "stopping", "", None
        words = f"try {last['number']}" if last else ""
        share = share_done(job["progress"])
        if share is not None:
            words = f"{100 * share:.0f} %"
        return words, "done", job["finish_s"]
    if last is None:
        return "", "", None
    took = format_duration(last["end_s"] - last["start_s"])
    estimated = format_duration(last["estimate"]["time_s"])
    return last["text"] or f"took {took} (estimated {estimated})", "", None


def share_done(progress: Json | None) -> float | None:
    """How much of a job is done, up to 1; None where nothing is known of it."""
    # The amount of a command is one: of how far it is nothing is known.
    if progress and progress["amount"] > 1 and progress["phase"] == "running":
        return float(progress["done"] / progress["amount"])
    return None


def off_words(measured: float | None, estimated: float | None, *, whole: bool = True) -> str:
    """How far off an estimate was; "" where there is nothing to compare.

    What was cut short, not ``whole``, is not compared: the estimate is of all of it.
    """
    if measured is None or not estimated or not whole:
        return ""
    off = round(100 * (measured / estimated - 1))
    return (
        f"{abs(off):,} % {'more' if off > 0 else 'less'} than estimated" if off else "as estimated"
    )


def attempt_line(attempt: Json, tries: int) -> str:
    """One attempt of `why`: where, how it ended, and after how long."""
    number = attempt["number"]  # more than `tries` where somebody asked for another
    of = f" of {tries}" if number <= tries else ""
    line = f"  try {number}{of} on {attempt['device']}"
    if attempt["end_s"] is None:
        return line + f": runs since {clock(attempt['start_s'])}"
    took = format_duration(attempt["end_s"] - attempt["start_s"])
    estimated = format_duration(attempt["estimate"]["time_s"])
    line += f": {outcome_word(attempt['outcome'])} after {took} (estimated {estimated})"
    return line + (f" - {attempt['text']}" if attempt["text"] else "")


def files_lines(files: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Files that boards lack: they go there before the job starts; its end counts that in."""
    lines = []
    for device, missing in files.items():
        size = format_size((missing["bytes"] or 0.0) / (1 << 20))
        took = missing["transfer_s"]
        long = "" if took is None else f", about {format_duration(took)}"
        lines.append(f"{device}: {size} of files go there first{long}")
    return lines


class Why(NamedTuple):
    """What `why` says: lines above and below the table of a decision."""

    title: str
    above: str
    decision: Decision
    below: list[str]


def why_of(found: Json) -> Why:
    """The stored decision about a job, its history, and why it waits."""
    job = found["job"]
    decision = from_json(Decision, {k: v for k, v in found.items() if k != "job"})
    state = state_word(job["state"], job["outcome"])
    if decision.chosen is not None:
        above = f"Policy {decision.policy} chose {decision.chosen} when it started:"
    else:
        above = f"What policy {decision.policy} sees:"
    below = [f"Note: {text}" for text in (decision.note, decision.remark) if text]
    if job["reason"] is not None:
        below.append(f"It waits: {job['reason']['code']}: {job['reason']['text']}")
    below += files_lines(found.get("files") or {})
    below += [attempt_line(attempt, job["tries"]) for attempt in job["attempts"]]
    return Why(f"{job['id']} {job['name']}: {job['work']} · {state}", above, decision, below)


def board_cells(device: Json) -> list[str]:
    """A row of `devices`, in the order of :data:`DEVICES`."""
    return [
        device["id"],
        device["model"] or "",
        device["state"].upper(),
        f"{gib(device['memory_mib'])} / {gib(device['has_mib'])} GiB",
        f"{gib(device['memory_free_mib'])} / {gib(device['memory_total_mib'])}",
        number(device["gpu_util_pct"], 0, " %"),
        number(device["power_w"], 1, " W"),
        number(device["temperature_c"], 0, " °C"),
        device["power_mode"] or NOTHING,
        f"{device['job_id']} {device['job_name']}" if device["job_id"] else NOTHING,
        done_word(device),
        speed_word(device["drift"]),
        emulated_words(device, with_cap=True),
    ]


def emulated_words(device: Json, *, with_cap: bool = False) -> str:
    """What an emulated board is made of; empty for a real one.

    ``with_cap`` tells all of it, else only how it is another than the board that it stands for.
    """
    if not device["emulated"]:
        return ""
    if device["scale"] is None:  # its agent is not there yet
        return "" if with_cap else "emulated"
    memory, slower = f"{device['scale']:g}x memory", f"{device['slowdown']:g}x slower"
    if with_cap:
        return f"emulated: {memory} ({device['cap']} cap), {slower}"
    told = [memory] * (device["scale"] != 1) + [slower] * (device["slowdown"] != 1)
    return "emulated" + (f": {', '.join(told)}" if told else "")


def done_word(device: Json) -> str:
    """When its job will be done; of one that takes longer than estimated nobody knows."""
    overdue_s = device["overdue_s"]
    if overdue_s:
        return f"{format_duration(float(int(overdue_s)))} over"
    return clock(device["finish_s"])


def troubles(device: Json) -> list[str]:
    """What is to be said below the table: why it takes no jobs, and how it drifts since when."""
    drift = device["drift"]
    found = [device["text"]] if device["text"] and device["text"] != drift["text"] else []
    if drift["text"] and drift["since_s"] is not None:
        found = [words.replace(drift["text"], "").strip("; ") for words in found]
        found.append(f"{drift['text']} (since {clock(drift['since_s'])})")
    elif drift["text"]:
        found.append(drift["text"])
    return [words for words in dict.fromkeys(found) if words]


def speed_word(drift: Json) -> str:
    """How fast a board is beside what it was, e.g. ``1.6x slower``."""
    if drift["verdict"] not in ("slower", "faster"):
        return NOTHING if drift["verdict"] == "unknown" else str(drift["verdict"])
    times = drift["ratio"] if drift["verdict"] == "slower" else 1 / drift["ratio"]
    return f"{times:.1f}x {drift['verdict']}"
