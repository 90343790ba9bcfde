"""Works out what would have been, or would be, beside the service.

``python -m jetsched.cluster.whatif_child JOURNAL``: see :mod:`~jetsched.cluster.aside`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from jetsched.cluster.aside import work_aside
from jetsched.cluster.pastjobs import PastJob
from jetsched.cluster.simulating import Scenario, SimulationRun, simulate
from jetsched.cluster.summaries import Bar, chosen, label, lanes_of
from jetsched.cluster.svg_lanes import Lanes, Track, lanes
from jetsched.cluster.timescale import elapsed
from jetsched.cluster.whatif import Answer, Came, Change, Question
from jetsched.cluster.whatif_history import history_world
from jetsched.cluster.whatif_queue import queue_world
from jetsched.cluster.whatif_worlds import World, with_boards
from jetsched.errors import InputError
from jetsched.files import from_json, to_json
from jetsched.records import Device
from jetsched.scheduler.state import JobRecord
from jetsched.units import format_duration

#: So many boards are drawn of each world, and so many jobs told that change most.
MOST_LANES, MOST_CHANGES = 16, 20
_LITTLE_S = 1.0


def work(journal: Path, given: Any, said: Callable[[int, int], None]) -> dict[str, Any]:
    """The answer to a question, as JSON values."""
    return to_json(answer(from_json(Question, given).check(), journal, time.time(), said))  # type: ignore[no-any-return]


def answer(
    question: Question,
    journal: Path,
    now_s: float,
    said: Callable[[int, int], None] = lambda done, total: None,
) -> Answer:
    """Simulate it as it is and as it would be. Raises :class:`InputError`."""
    if not journal.is_file():
        raise InputError(f"there is no history: no file {journal}")
    past_world = question.of == "history"
    world = history_world(question.span, journal) if past_world else queue_world(journal, now_s)
    scenario, added = with_boards(world, question)
    total = 2 * len(scenario.jobs)
    before = simulate(world.policy, world.scenario, watch=lambda n, of: said(n, total))
    policy = question.policy or world.policy
    after = simulate(policy, scenario, watch=lambda n, of: said(total // 2 + n, total))
    past = world.past
    names = ["What was", "The same, simulated"] if past is not None else ["As it is now"]
    came = [_was(names[0], world, past)] if past is not None else []
    came += [
        _came(names[-1], world, world.scenario, before),
        _came("What if", world, scenario, after),
    ]
    changes = sorted(_changes(world, before, after), key=lambda c: -abs(c.more_s or 0.0))
    changed = [c for c in changes if c.more_s is None or abs(c.more_s) >= _LITTLE_S]
    return Answer(
        question,
        now_s,
        came,
        changed[:MOST_CHANGES],
        [*world.notes, *_errors(after)],
        _picture(world, before, after, added, names),
        any(device.device_class.emulated for device in scenario.devices),
        len(changed),
        world.one_policy,
    )


def _errors(run: SimulationRun) -> list[str]:
    errors = run.scheduler.policy_errors
    return [f"The policy made mistakes, and the fallback decided: {errors[0]}"] if errors else []


# ----------------------------------------------------------------------------------------- figures


def _was(title: str, world: World, past: Any) -> Came:
    """What was, of the jobs that are simulated."""
    jobs: list[PastJob] = list(past.values())
    attempts = [a for job in jobs for a in job.attempts]
    ends = [a.end_s for a in attempts if a.end_s is not None]
    makespan_s = max(ends) - world.origin_s if ends else None
    done = [job for job in jobs if job.outcome == "done"]
    seen = [a.measurement.energy_j for a in attempts if a.measurement is not None]
    known = [energy_j for energy_j in seen if energy_j is not None]
    boards = len(world.scenario.devices)
    busy_s = sum((a.end_s or a.start_s) - a.start_s for a in attempts)
    return Came(
        title,
        "measured",
        world.policy,
        boards,
        len(jobs),
        len(done),
        *_times([(job.end_s or 0.0) - job.submitted_s for job in done]),
        makespan_s,
        sum((a.outcome or "").startswith("killed") for a in attempts),
        sum(a.outcome == "lost" for a in attempts),
        sum(_missed(job) for job in jobs),
        busy_s / (boards * makespan_s) if makespan_s else None,
        sum(known) if known else None,
        len(attempts),
        len(known),
    )


def _missed(job: PastJob) -> bool:
    deadline_s = job.job.deadline_s
    late = job.outcome != "done" or (job.end_s or 0.0) > (deadline_s or 0.0)
    return deadline_s is not None and late


def _came(title: str, world: World, scenario: Scenario, run: SimulationRun) -> Came:
    """What came of a run; jobs that stand for what runs now are not counted."""
    records = [r for r in run.scheduler.jobs.values() if r.job.id not in world.pinned]
    done = [record for record in records if record.state == "done"]
    boards = len(run.devices)
    metrics = run.metrics
    busy_s = sum(
        (a.end_s or a.start_s) - a.start_s for r in run.scheduler.jobs.values() for a in r.attempts
    )
    return Came(
        title,
        "estimated",
        run.policy,
        boards,
        len(records),
        len(done),
        *_times([_completion_s(record) or 0.0 for record in done]),
        metrics.makespan_s,
        metrics.killed,
        metrics.lost,
        metrics.missed_deadlines,
        busy_s / (boards * metrics.makespan_s) if metrics.makespan_s else None,
        metrics.energy_j,
        metrics.attempts,
    )


def _completion_s(record: JobRecord) -> float | None:
    if record.state != "done":
        return None
    return (record.attempts[-1].end_s or 0.0) - record.job.submitted_s


def _times(completions_s: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and 95th percentile."""
    if not completions_s:
        return None, None
    import numpy as np

    return float(np.mean(completions_s)), float(np.percentile(completions_s, 95))


def _changes(world: World, before: SimulationRun, after: SimulationRun) -> Iterable[Change]:
    for id, record in before.scheduler.jobs.items():
        then = after.scheduler.jobs.get(id)
        if then is None or id in world.pinned:
            continue
        was_s, then_s = _completion_s(record), _completion_s(then)
        if was_s is None and then_s is None:
            continue
        job = record.job
        yield Change(id, job.name, job.workload.label, was_s, then_s, _where(record), _where(then))


def _where(record: JobRecord) -> str:
    return record.attempts[-1].device if record.attempts else ""


# ---------------------------------------------------------------------------------------- a picture


def _picture(
    world: World,
    before: SimulationRun,
    after: SimulationRun,
    added: Sequence[Device],
    names: Sequence[str],
) -> str:
    boards = chosen(world.scenario.devices, MOST_LANES)
    away: dict[str, list[tuple[float, float]]] = {}
    for outage in world.scenario.outages:
        away.setdefault(outage.device_id, []).append((outage.from_s, outage.until_s))
    groups = []
    if world.past is not None:
        groups.append(Lanes(_past_tracks(world, boards, away), names[0]))
    new = list(added)[: MOST_LANES // 2]
    groups += [
        Lanes(_tracks(before, boards, away), f"{names[-1]}: {before.policy}"),
        Lanes(_tracks(after, [*boards, *new], away), f"What if: {after.policy}"),
    ]
    span_s = max([1.0, *map(_last_s, groups)])
    shown = f" {len(boards)} of {len(world.scenario.devices):,} boards are drawn." * (
        len(boards) < len(world.scenario.devices)
    )
    since = "the first job came" if world.past is not None else "now"
    told = ", ".join(f"{g.title} all done after {format_duration(_last_s(g))}" for g in groups)
    scale = elapsed(span_s, f"Time since {since}.{shown}")
    words = f"Lanes of boards with their jobs over time: {told}."
    return str(lanes(groups, scale, title=words, prefix="whatif"))


def _last_s(group: Lanes) -> float:
    return max((bar.end_s or 0.0 for track in group.tracks for bar in track.bars), default=0.0)


def _tracks(
    run: SimulationRun, boards: Sequence[Device], away: dict[str, list[tuple[float, float]]]
) -> list[Track]:
    return [
        Track(f"{lane.device} · {lane.model}", lane.bars, away.get(lane.device, ()))
        for lane in lanes_of(run, boards)
    ]


def _past_tracks(
    world: World, boards: Sequence[Device], away: dict[str, list[tuple[float, float]]]
) -> list[Track]:
    origin_s, past = world.origin_s, world.past or {}
    bars: dict[str, list[Bar]] = {board.id: [] for board in boards}
    for id, job in past.items():
        for a in job.attempts:
            if a.device in bars:
                end_s = None if a.end_s is None else a.end_s - origin_s
                start_s = a.start_s - origin_s
                bars[a.device].append(Bar(id, label(job.job), start_s, end_s, a.outcome))
    return [
        Track(
            f"{board.id} · {board.model}",
            sorted(bars[board.id], key=lambda bar: bar.start_s),
            away.get(board.id, ()),
        )
        for board in boards
    ]


if __name__ == "__main__":
    sys.exit(work_aside(lambda given, said: work(Path(sys.argv[1]), given, said)))
