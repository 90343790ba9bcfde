"""Works out what would have been, or would be, beside the service.

``python -m jetsched.cluster.whatif_child JOURNAL``: see :mod:`~jetsched.cluster.aside`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jetsched.cluster.aside import work_aside
from jetsched.cluster.simulating import SimulationRun, simulate
from jetsched.cluster.whatif import Answer, Change, Question
from jetsched.cluster.whatif_figures import came, completion_s, was
from jetsched.cluster.whatif_history import history_world
from jetsched.cluster.whatif_lanes import picture_of
from jetsched.cluster.whatif_queue import queue_world
from jetsched.cluster.whatif_worlds import World, with_boards
from jetsched.errors import InputError
from jetsched.files import from_json, to_json
from jetsched.scheduler.state import JobRecord

#: So many jobs are told that change most.
MOST_CHANGES = 20
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
    if question.of == "history":
        world = history_world(question.span, journal, now_s)
    else:
        world = queue_world(journal, now_s)
    scenario, added = with_boards(world, question)
    total = 2 * len(scenario.jobs)
    before = simulate(world.policy, world.scenario, watch=lambda n, of: said(n, total))
    policy = question.policy or world.policy
    after = simulate(policy, scenario, watch=lambda n, of: said(total // 2 + n, total))
    if world.past is not None:
        names = ["What was", "The same, simulated"]
        figures = [was(names[0], world)]
    else:
        names, figures = ["As it is now"], []
    figures += [came(names[-1], world, before), came("What if", world, after)]
    changes = sorted(_changes(world, before, after), key=lambda c: -abs(c.more_s or 0.0))
    changed = [c for c in changes if c.more_s is None or abs(c.more_s) >= _LITTLE_S]
    return Answer(
        question,
        now_s,
        figures,
        changed[:MOST_CHANGES],
        [*world.notes, *_errors(after)],
        picture_of(world, before, after, added, names),
        any(device.device_class.emulated for device in scenario.devices),
        len(changed),
        world.one_policy,
    )


def _errors(run: SimulationRun) -> list[str]:
    errors = run.scheduler.policy_errors
    return [f"The policy made mistakes, and the fallback decided: {errors[0]}"] if errors else []


def _changes(world: World, before: SimulationRun, after: SimulationRun) -> Iterable[Change]:
    for id, record in before.scheduler.jobs.items():
        then = after.scheduler.jobs.get(id)
        if then is None or id in world.pinned:
            continue
        was_s, then_s = completion_s(record), completion_s(then)
        if was_s is None and then_s is None:
            continue
        job = record.job
        yield Change(id, job.name, job.workload.label, was_s, then_s, _where(record), _where(then))


def _where(record: JobRecord) -> str:
    return record.attempts[-1].device if record.attempts else ""


if __name__ == "__main__":
    sys.exit(work_aside(lambda given, said: work(Path(sys.argv[1]), given, said)))
