"""Judges a chaos run: is anything lost, counted twice or orphaned, how soon was it noticed."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_faults import ON_HEAD
from chaos_inject import Done, Key
from chaos_jobs import ChaosJob
from chaos_ledger import Ledger, LedgerJob
from chaos_watch import Seen

FINAL = {"done", "failed", "killed", "lost", "cancelled"}
#: Faults after which what ran there is noticed to be gone, and run again.
ZEROS = ("lost", "committed_twice", "orphans", "cut_logs", "decided_otherwise")
LOSES = {"kill_supervisor", "kill_agent", "kill_raylet", "power_node", "cut_long"}


@dataclass
class Verdict:
    """What a run came to. All the lists must be empty.

    ``cut_logs``: of what is done and does not say its last word in its log; ``decided_otherwise``:
    where a replay of the journal would decide something else.
    """

    lost: list[str] = field(default_factory=list)
    committed_twice: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    cut_logs: list[str] = field(default_factory=list)
    decided_otherwise: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return not any(self.wrong.values())

    @property
    def wrong(self) -> dict[str, list[str]]:
        """All the lists, by their names."""
        return {name: getattr(self, name) for name in ZEROS}

    def to_json(self) -> dict[str, Any]:
        counts = {f"{name}_count": len(found) for name, found in self.wrong.items()}
        return {**self.figures, **counts, **self.wrong}


def judge_jobs(
    ids: Mapping[str, ChaosJob],
    ledger: Ledger,
    told: Mapping[str, str],
    killed: Iterable[Key],
) -> Verdict:
    """``ids``: what was submitted, by the id that the scheduler gave; ``told``: the final states
    that it tells; ``killed``: the attempts whose child we killed ourselves."""
    verdict, killed = Verdict(), set(killed)
    for id, drawn in ids.items():
        job = ledger.jobs.get(id)
        why = _why_lost(job, drawn, told.get(id), killed)
        if why:
            verdict.lost.append(f"job {id} ({drawn.kind}): {why}")
        if job is not None and len(job.commits) > 1:
            verdict.committed_twice.append(f"job {id}: attempts {job.commits} are all done")
    verdict.lost += [
        f"job {id} is in the journal twice, or nobody submitted it"
        for id in ledger.jobs
        if id not in ids
    ]
    verdict.committed_twice += ledger.wrong
    return verdict


def _why_lost(job: LedgerJob | None, drawn: ChaosJob, told: str | None, killed: set[Key]) -> str:
    """Why a job counts as lost; "" where it ended by its own rules."""
    if job is None:
        return "it is not in the journal"
    if job.state not in FINAL:
        return f"it has not ended: {job.state}, {_story(job)}"
    if told != job.state:
        return f"the scheduler says {told}, by the journal it is {job.state}: {_story(job)}"
    if job.state == "cancelled":
        return "" if drawn.cancel_s is not None else "it was cancelled, and nobody asked for that"
    last = job.attempts[-1]
    if last.outcome in drawn.ends:
        return ""
    if last.outcome == "lost":  # not tried again, so its retries are used up
        return ""
    if last.outcome == "failed" and (job.id, last.number) in killed:
        return ""  # and no retry was left, or none was wished
    return f"it ended as {last.outcome}, for no reason of its own: {_story(job)}"


def _story(job: LedgerJob) -> str:
    return ", ".join(f"{a.number} on {a.device}: {a.outcome or 'runs'}" for a in job.attempts)


def latencies(
    faults: Sequence[Done], entries: Sequence[Seen]
) -> dict[str, dict[str, dict[str, float | int]]]:
    """Seconds from a fault to the first word of it in the journal, and to its job's next start.

    By kind of fault; of attempts that were hit and did not end by themselves meanwhile.
    """
    noticed: dict[str, list[float]] = {}
    again: dict[str, list[float]] = {}
    for done in faults:
        kind = done.fault.kind
        if not done.was_done or kind not in LOSES:
            continue
        after = [e for e in entries if e.at >= done.at]
        for key in done.hit:
            end = next((e for e in after if _tells_end(e, key, done.fault.host)), None)
            if end is None or (end.type == "Finished" and end.data["outcome"] != "lost"):
                continue
            noticed.setdefault(kind, []).append(end.at - done.at)
            start = next((e for e in after if e.type == "Start" and e.key[0] == key[0]), None)
            if start is not None:
                again.setdefault(kind, []).append(start.at - done.at)
    return {
        kind: {"notice_s": spread(noticed[kind]), "again_s": spread(again.get(kind, []))}
        for kind in sorted(noticed)
    }


def recoveries(
    faults: Sequence[Done], entries: Sequence[Seen], boards: Sequence[str]
) -> dict[str, dict[str, float | int]]:
    """Seconds from a fault of the head until every board takes jobs again, by kind of fault."""
    found: dict[str, list[float]] = {}
    for done in faults:
        if done.was_done and done.fault.kind in ON_HEAD:
            after = (e for e in entries if e.at >= done.at)
            missing = set(boards)
            began = False
            for entry in after:
                began = began or entry.type == "ServiceStarted"
                if began and entry.type in ("DeviceOpened", "DeviceJoined"):
                    missing.discard(entry.device or str(entry.data.get("device", {}).get("id")))
                if not missing:
                    found.setdefault(done.fault.kind, []).append(entry.at - done.at)
                    break
    return {kind: {**spread(s), "max": round(max(s), 2)} for kind, s in sorted(found.items())}


def _tells_end(entry: Seen, key: Key, host: str) -> bool:
    if entry.type == "Finished":
        return entry.key == key
    return entry.type in ("DeviceLost", "DeviceClosed") and entry.device == host


def spread(values: Sequence[float]) -> dict[str, float | int]:
    """How many, and their median and ninth decile."""
    if not values:
        return {"n": 0}
    ordered = sorted(values)
    p90 = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
    return {"n": len(ordered), "p50": round(statistics.median(ordered), 2), "p90": round(p90, 2)}


def figures(
    jobs: Mapping[str, ChaosJob],
    ledger: Ledger,
    faults: Sequence[Done],
    homes: Iterable[Path],
) -> dict[str, Any]:
    """What a run was made of."""
    attempts = [a for job in ledger.jobs.values() for a in job.attempts]
    resumed = _resumed(homes)
    done = {(job.id, n) for job in ledger.jobs.values() for n in job.commits}
    return {
        "jobs": len(jobs),
        "jobs_by_kind": dict(Counter(job.kind for job in jobs.values())),
        "states": dict(Counter(job.state for job in ledger.jobs.values())),
        "attempts": len(attempts),
        "outcomes": dict(Counter(a.outcome or "runs" for a in attempts)),
        "faults": dict(Counter(d.fault.kind for d in faults if d.was_done)),
        "faults_done": sum(d.was_done for d in faults),
        "faults_without_target": [d.to_json() for d in faults if not d.was_done],
        "cancelled_as_they": dict(
            Counter(_cancelled(job) for job in ledger.jobs.values() if job.cancel_asked)
        ),
        "children_hung_s": [round(d.hung_s) for d in faults if d.hung_s is not None],
        "resumed_from_checkpoint": len(resumed),
        "resumed_and_done": len(resumed & done),
        "reattached": ledger.reattached,
        "late_results_accepted": ledger.late_accepted,
        "late_results_refused": ledger.late_refused,
    }


def _cancelled(job: LedgerJob) -> str:
    """How far a job had come that was to be stopped."""
    if not job.attempts:
        return "waited"
    outcome = job.attempts[-1].outcome
    return {"cancelled": "ran", "done": "were just done"}.get(str(outcome), f"were {outcome}")


def _resumed(homes: Iterable[Path]) -> set[Key]:
    """Attempts that were told to go on from a checkpoint, by their folders on the nodes."""
    found = set()
    for home in homes:
        for spec in home.glob("**/spec.json"):
            job, _, number = spec.parent.name.rpartition("-")
            try:
                told = json.loads(spec.read_bytes())
            except (OSError, ValueError):  # it was being written when the power went
                continue
            if told.get("resume_from"):
                found.add((job, int(number)))
    return found
