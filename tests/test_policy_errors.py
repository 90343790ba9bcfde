"""What a policy does wrong is told by file and line; neither scheduler nor journal goes down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from builders import a_job, nx, orin, paper_costs
from invariants import check_invariants
from policy_worlds import a_scheduler, in_file, line_of, submit

from jetsched import policies
from jetsched.cluster.guard import guarded
from jetsched.cluster.store import Store
from jetsched.files import to_json
from jetsched.records import Preempt, Remark
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import CancelAsked, DeviceJoined, Remarked, Stop, Submitted
from jetsched.scheduler.journal import MemoryJournal
from jetsched.scheduler.view import View

# ------------------------------------------------------------------------------------ file and line

WRONG = {
    "raises": """
class Mine:
    def decide(self, view):
        job = next(view.queue())
        yield 1 / 0  # here
""",
    "raises in what it inherits": """
class Base:
    def best(self, view):
        return {}["nothing"]  # here

class Mine(Base):
    def decide(self, view):
        yield self.best(view)
""",
    "raises in what it calls": """
import json

class Mine:
    def decide(self, view):
        return json.loads("{")  # here
""",
    "comes to an end too early": """
class Mine:
    def decide(self, view):
        yield next(iter(()))  # here
""",
    "asks the view for nonsense": """
class Mine:
    def decide(self, view):
        yield view.record("nobody")  # here
""",
    "yields no placement": """
class Mine:
    def decide(self, view):
        for job in list(view.queue()):
            yield job  # here
""",
    "yields what is busy": """
from jetsched.records import Placement

class Mine:
    def decide(self, view):
        yield from self.twice(view)

    def twice(self, view):
        for job in list(view.queue()):
            for option in view.options(job):
                yield option
                yield option  # here
                return
""",
    "yields half a placement": """
from jetsched.records import Placement

class Mine:
    def decide(self, view):
        yield Placement(None, None, None, 0, 0)  # here
""",
    "returns a list": """
class Mine:
    def decide(self, view):  # here
        return ["nonsense"]
""",
    "returns nothing": """
class Mine:
    def decide(self, view):  # here
        pass
""",
    "scores with what has no order": """
from jetsched.policies.base import Greedy

class Mine(Greedy):
    def score(self, placement, view):  # here
        return object()
""",
}


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path, what: str, watched: bool) -> None:
    policy = in_file(tmp_path, WRONG[what])
    scheduler = a_scheduler(guarded(policy, 60.0) if watched else policy)
    submit(scheduler)
    place = f"({tmp_path / 'mine.py'}:{line_of(WRONG[what], '# here')} in "
    assert place in scheduler.policy_errors[0]


class _Boom:
    """Fails whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


NONSENSE: tuple[Any, ...] = (None, "x", 3, [], {}, object(), _Boom(), float("nan"), "\ud800")


def nonsense(view: View) -> Iterator[Any]:
    """Choices of every kind with every wrong thing in every field."""
    job = next(view.queue())
    good = view.options(job)[0]
    for thing in NONSENSE:
        yield thing
        yield Preempt(thing)
        yield Preempt("runs", thing)
        yield Remark(thing, "text")
        yield Remark(job.id, thing)
        for name in ("job", "device", "estimate", "start_s", "finish_s"):
            yield replace(good, **{name: thing})


@pytest.mark.parametrize("number", range(10 * len(NONSENSE)))
def test_no_nonsense_takes_the_scheduler_down_or_spoils_its_journal(
    tmp_path: Path, number: int
) -> None:
    """Whatever a policy yields, the next scheduler can replay what this one has written."""

    class Mad:
        def decide(self, view: View) -> Iterator[Any]:
            yield next(islice(nonsense(view), number, None))

    store = Store(tmp_path / "journal.db")
    scheduler = Scheduler(
        policies.load("earliest_finish"),
        paper_costs(),
        fallback=policies.load("earliest_finish"),
        journal=store,
    )
    for device in (nx(), orin()):
        scheduler.handle(DeviceJoined(0, device))
    scheduler.handle(Submitted(0, (a_job("runs"),)))
    scheduler.policy = Mad()
    scheduler.handle(Submitted(1, (a_job("1"), a_job("2"))))
    scheduler.foresee(2)
    check_invariants(scheduler)
    to_json([scheduler.policy_errors, scheduler.why("1")])
    again = Scheduler(policies.load("earliest_finish"), paper_costs())
    again.replay(store.entries())
    store.close()
    assert [r.state for r in again.jobs.values()] == [r.state for r in scheduler.jobs.values()]


def test_files_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    """The first one is asked after the second one was loaded."""
    loaded = []
    for number, name in enumerate(("a", "b")):
        folder = tmp_path / name
        folder.mkdir()
        text = "\n" * number + WRONG["raises in what it calls"]
        loaded.append((in_file(folder, text), folder, line_of(text, "# here")))
    for policy, folder, line in loaded:
        scheduler = a_scheduler(policy)
        submit(scheduler)
        assert f"({folder / 'mine.py'}:{line} in decide)" in scheduler.policy_errors[0]


def test_what_is_said_twice_in_a_decision_is_heard_once() -> None:
    class Twice:
        def decide(self, view: View) -> Iterator[Any]:
            for job, _ in view.running():
                yield Preempt(job.id, "once")
                yield Preempt(job.id, "again")
            for job in list(view.queue()):
                yield Remark(job.id, "later")
                yield Remark(job.id, "later")

    journal = MemoryJournal()
    scheduler = Scheduler(policies.load("earliest_finish"), paper_costs(), journal=journal)
    scheduler.handle(DeviceJoined(0, nx()))
    scheduler.handle(Submitted(0, (a_job("1"),)))
    scheduler.policy = Twice()
    (stop,) = scheduler.handle(Submitted(1, (a_job("2"),)))
    assert isinstance(stop, Stop) and (stop.job_id, stop.text) == ("1", "once")
    assert [entry for entry in journal if isinstance(entry, Remarked)] == [
        Remarked(1, "2", "later")
    ]
    assert scheduler.policy_errors == []


def test_what_a_person_has_cancelled_is_not_preempted_as_well() -> None:
    class Preempts:
        def decide(self, view: View) -> Iterator[Any]:
            for job, _ in view.running():
                yield Preempt(job.id)

    scheduler = Scheduler(policies.load("earliest_finish"), paper_costs())
    scheduler.handle(DeviceJoined(0, nx()))
    scheduler.handle(Submitted(0, (a_job("1"), a_job("2"))))
    scheduler.policy = Preempts()
    (stop,) = scheduler.handle(CancelAsked(1, "1"))
    assert isinstance(stop, Stop) and stop.outcome == "cancelled"
