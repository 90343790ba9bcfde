"""What `history`, `replay`, `backup` and `restore` print for a person."""

from __future__ import annotations

from jetsched.cluster.backup import BackedUp, Manifest
from jetsched.cluster.following import Difference, Followed, Step
from jetsched.cluster.freerun import FreeRun
from jetsched.cluster.past import Past
from jetsched.cluster.pastjobs import PastAttempt, PastJob
from jetsched.cluster.replaying import ReplayReport
from jetsched.cluster.restoring import Restored
from jetsched.cluster.telling import Told
from jetsched.records import Decision
from jetsched.screens import print_decision
from jetsched.tables import Column, console, next_steps, print_table
from jetsched.units import NOTHING, format_duration, format_energy, format_size
from jetsched.words import clock

# ------------------------------------------------------------------------------------------ history


def print_jobs(past: Past) -> None:
    """The jobs, one line each."""
    if not past.jobs:
        console().print("No job in the history of that time.")
        next_steps("jetsched history --events", "jetsched submit FILE.yaml")
        return
    columns = [
        Column("ID", right=True),
        Column("NAME", most=24, drop=4),
        Column("WORK", most=32, drop=3),
        Column("SUBMITTED", drop=2),
        Column("WHERE"),
        Column("TRIES", right=True, drop=5),
        Column("TOOK", right=True),
        Column("ESTIMATED", right=True, drop=1),
        Column("ENDED", most=60, least=14),
    ]
    print_table(columns, [_job_cells(job) for job in past.jobs])
    _say_more(len(past.jobs), past.of_jobs, "jobs")
    next_steps(f"jetsched history {past.jobs[-1].job.id}", "jetsched replay")


def _job_cells(job: PastJob) -> list[str]:
    last = job.attempts[-1] if job.attempts else None
    text = job.given_up or (last.text if last is not None and job.outcome != "done" else "")
    return [
        job.job.id,
        job.job.name or NOTHING,
        job.job.workload.label,
        clock(job.submitted_s),
        NOTHING if last is None else last.device,
        str(len(job.attempts)),
        _took(last),
        NOTHING if last is None else format_duration(last.estimated_s),
        job.outcome.upper() + (f": {text}" if text else ""),
    ]


def _took(attempt: PastAttempt | None) -> str:
    if attempt is None or attempt.end_s is None:
        return NOTHING
    return format_duration(attempt.end_s - attempt.start_s)


def print_job(past: Past) -> None:
    """One job: its attempts, and everything that happened to it."""
    (job,) = past.jobs
    out = console()
    name = f" {job.job.name}" if job.job.name else ""
    out.print(f"{job.job.id}{name}: {job.job.workload.label} · {job.outcome.upper()}", style="bold")
    if job.attempts:
        columns = [
            Column("TRY", right=True),
            Column("WHERE"),
            Column("STARTED"),
            Column("TOOK", right=True),
            Column("ESTIMATED", right=True, drop=2),
            Column("PEAK", right=True, drop=3),
            Column("ENERGY", right=True, drop=4),
            Column("ENDED", most=100, least=16),
        ]
        print_table(columns, [_attempt_cells(attempt) for attempt in job.attempts])
        out.print()
    _print_told(past.told, jobs=False)
    id = job.job.id
    next_steps(f"jetsched logs {id}", f"jetsched why {id}", "jetsched history")


def _attempt_cells(attempt: PastAttempt) -> list[str]:
    seen = attempt.measurement
    ended: str = attempt.outcome or "runs"
    if attempt.reattached:
        ended += " (its board was away meanwhile)"
    return [
        str(attempt.number),
        attempt.device,
        clock(attempt.start_s),
        _took(attempt),
        format_duration(attempt.estimated_s),
        format_size(None if seen is None else seen.peak_memory_mib),
        format_energy(None if seen is None else seen.energy_j),
        ended + (f": {attempt.text}" if attempt.text else ""),
    ]


def print_events(past: Past) -> None:
    """What happened, line by line."""
    if not past.told:
        console().print("Nothing happened in that time.")
    _print_told(past.told, jobs=True)
    _say_more(len(past.told), past.of_told, "events")
    next_steps("jetsched history ID", "jetsched history --events --limit 500")


def _print_told(told: tuple[Told, ...], *, jobs: bool) -> None:
    out = console()
    for line in told:
        whose = f"job {line.job_id}: " if jobs and line.job_id is not None else ""
        out.print(f"  {_second(line.at_s)}  {whose}{line.text}", markup=False)


def _second(at_s: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))


def _say_more(shown: int, there: int, what: str) -> None:
    if shown < there:
        console().print(f"  The last {shown:,} of {there:,} {what}; more with --limit.")


# ------------------------------------------------------------------------------------------- replay


def print_replay(report: ReplayReport) -> None:
    """Whether the decisions are the same, and where and why not."""
    out = console()
    span = f"{_second(report.from_s)} to {_second(report.until_s)}"
    out.print(f"{report.journal}: {report.entries:,} entries, {span}", style="bold", markup=False)
    if report.followed is not None:
        _print_followed(report, report.followed)
    if report.free is not None:
        _print_free(report.free)
    elif report.followed is None:
        out.print("No job came in that time: nothing to simulate.")
    next_steps("jetsched history", "jetsched simulate --replay last-week", "jetsched replay --json")


def _print_followed(report: ReplayReport, followed: Followed) -> None:
    out = console()
    names = ", ".join(dict.fromkeys(spec for _, spec in followed.policies))
    under = f" (policy {names})" if names else ""
    if not followed.differences:
        out.print(
            f"Exact: all {followed.decisions:,} decisions the same, on"
            f" {followed.events:,} events{under}."
        )
    else:
        count = followed.differences
        out.print(f"Exact: {count:,} of {followed.decisions:,} decisions are not the same{under}.")
    for spec, text in followed.missing.items():
        out.print(f"  Policy {spec} decided then and cannot be loaded here: {text}", markup=False)
    if not report.differences:
        return
    first = report.differences[0]
    columns = [
        Column("DECISION", right=True),
        Column("WHEN"),
        Column("ON", most=40, drop=2),
        Column("THEN", most=44),
        Column("NOW", most=44),
        Column("LIKELY CAUSE", most=160, least=24, drop=1),
    ]
    rows = [
        _difference_cells(*each) for each in zip(report.differences, report.causes, strict=True)
    ]
    print_table(columns, rows)
    if followed.differences > len(report.differences):
        out.print(f"  These are the first {len(report.differences)}.")
    out.print(f"\nFirst at decision {first.number}: {report.causes[0]}.", markup=False)
    _print_rows("What was seen then", first.live_decision)
    _print_rows("What is seen now", first.replayed_decision)


def _difference_cells(difference: Difference, cause: str) -> list[str]:
    return [
        str(difference.number),
        _second(difference.at_s),
        difference.event,
        _step(difference.live),
        _step(difference.replayed),
        cause,
    ]


def _step(step: Step | None) -> str:
    return "nothing" if step is None else str(step)


def _print_rows(title: str, decision: Decision | None) -> None:
    if decision is None or not decision.rows:
        return
    out = console()
    out.print(f"{title}, of job {decision.job_id}, by {decision.policy}:", markup=False)
    print_decision(decision)


def _print_free(free: FreeRun) -> None:
    out = console()
    off = f"{free.off:+.1%}"
    out.print(
        f"Free: {free.jobs:,} jobs in {format_duration(free.simulated_makespan_s)} simulated,"
        f" {format_duration(free.live_makespan_s)} live ({off}); mean completion"
        f" {format_duration(free.simulated_mean_s)} and {format_duration(free.live_mean_s)}."
    )
    if free.parting is None:
        out.print(f"  All {free.starts:,} starts the same, in the same order.")
    else:
        parting = free.parting
        words = [
            f"  From start {parting.number} of {free.starts:,} on another order: live",
            f"{_step(parting.live)} at {format_duration(parting.live_at_s)}, simulated",
            f"{_step(parting.simulated)} at {format_duration(parting.simulated_at_s)}.",
        ]
        out.print(" ".join(words), markup=False)
        if parting.apart_s is not None:
            out.print(f"  The same start is {parting.apart_s * 1000:,.0f} ms apart in the two.")
    out.print(
        f"  From a decision to the report of the end it took {free.overhead_s * 1000:,.0f} ms more"
        " than the boards measured (median); the simulated attempts take that as well."
    )
    if free.left_out:
        out.print(f"  {free.left_out:,} jobs came before that time and are left out.")
    if free.reattached:
        out.print(
            f"  {free.reattached:,} attempts went on while their board was away: here it was not."
        )


# ------------------------------------------------------------------------------- backup and restore


def print_backup(found: BackedUp) -> None:
    """What is in the file, and what is not."""
    out = console()
    size = format_size(found.bytes / 2**20)
    out.print(f"Kept in {found.path} ({size}).", style="bold", markup=False)
    _print_manifest(found.manifest)
    left = [] if found.manifest.secrets else ["tokens, secrets and Ray's token (--secrets)"]
    left += [] if found.manifest.artefacts else ["artefacts, checkpoints and logs (--artefacts)"]
    if left:
        out.print(f"  Not in it: {'; '.join(left)}.")
    next_steps(f"jetsched restore {found.path}", "jetsched history")


def _print_manifest(manifest: Manifest) -> None:
    out = console()
    until = "" if manifest.last_s is None else f", the last of {_second(manifest.last_s)}"
    size = format_size(sum(kept.bytes for kept in manifest.files) / 2**20)
    out.print(f"  {manifest.entries:,} entries of the journal{until}")
    count = len(manifest.files)
    out.print(f"  {count:,} file{'s' if count != 1 else ''}, {size}, each with its checksum")


def print_restored(found: Restored) -> None:
    """What is in place now, and where the old went."""
    out = console()
    out.print(f"Restored into {found.home}.", style="bold", markup=False)
    _print_manifest(found.manifest)
    if found.aside is not None:
        out.print(f"  What was there is in {found.aside}.", markup=False)
    if not found.manifest.secrets:
        out.print(
            "  Tokens and secrets are not in this backup: make new ones, and join boards anew."
        )
    next_steps("jetsched up", "jetsched history")
