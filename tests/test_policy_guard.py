"""A policy that never ends, or wants to end everything, is told of, and the scheduler goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from copy import deepcopy
from math import inf
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from builders import TableCosts, a_job, nx, orin, paper_costs
from policy_worlds import LOOPS, a_scheduler, in_file, line_of, submit

from jetsched import policies
from jetsched.cluster import guard
from jetsched.cluster.guard import PATIENCE, Guarded, Standing, guarded
from jetsched.errors import InputError
from jetsched.policies.base import Greedy
from jetsched.records import DeviceClass, Estimate, Job, Never, Placement
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import DeviceJoined, Submitted
from jetsched.scheduler.view import View

#: CPU seconds: soon over for a decision that never ends.
SHORT_S = 0.15
#: And enough for those that must be in time.
AMPLE_S = 0.6


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock on the wall does not count: a machine that is busy makes nothing here late."""
    monkeypatch.setattr(guard, "_WALL", inf)


# ----------------------------------------------------------------------------------- endless loops


def test_an_endless_loop_is_told_with_its_line_and_the_default_decides(tmp_path: Path) -> None:
    scheduler = a_scheduler(guarded(in_file(tmp_path, LOOPS), SHORT_S))
    assert submit(scheduler) == ["orin-1"]
    (error,) = scheduler.policy_errors
    assert error.startswith("policy loops took more than 0.15 s of CPU time for one decision")
    file, line = tmp_path / "mine.py", line_of(LOOPS, "while True")
    assert any(f"({file}:{n} in decide)" in error for n in (line, line + 1)), error
    decision = scheduler.jobs["1"].decision
    assert decision is not None and "earliest_finish decided instead" in decision.note


ENDLESS = {
    "in a helper": """
def spin():
    n = 0
    while True:
        n += 1

class Mine:
    def decide(self, view):
        return [spin()]
""",
    "in what it asks of the view": """
class Mine:
    def decide(self, view):
        job = next(view.queue())
        while True:
            view.options(job)
        yield
""",
    "in what it yields": """
from jetsched.records import Remark

class Mine:
    def decide(self, view):
        job = next(view.queue())
        while True:
            yield Remark(job.id, "wait")
""",
    "behind its own except": """
class Mine:
    def decide(self, view):
        while True:
            try:
                sum(range(100))
            except Exception:
                pass
        yield
""",
    "behind a bare except that gives up in the end": """
class Mine:
    def decide(self, view):
        for _ in range(2):
            try:
                while True:
                    pass
            except:
                pass
        while True:
            pass
        yield
""",
    "while it sleeps": """
import time

class Mine:
    def decide(self, view):
        while True:
            time.sleep(0.01)
        yield
""",
    "in a score": """
from jetsched.policies.base import Greedy

class Mine(Greedy):
    def score(self, placement, view):
        while True:
            pass
""",
}


@pytest.mark.parametrize("where", ENDLESS)
def test_an_endless_loop_ends(tmp_path: Path, where: str) -> None:
    """Wherever it is, the report names the policy's own file."""
    scheduler = a_scheduler(guarded(in_file(tmp_path, ENDLESS[where]), SHORT_S))
    assert submit(scheduler) == ["orin-1"]
    assert f"took more than {SHORT_S:g} s" in scheduler.policy_errors[0]
    assert f"({tmp_path / 'mine.py'}:" in scheduler.policy_errors[0]


def test_after_a_time_out_the_policy_is_asked_again_and_then_no_more(tmp_path: Path) -> None:
    scheduler = a_scheduler(guarded(in_file(tmp_path, LOOPS), SHORT_S))
    for number in range(PATIENCE + 2):
        submit(scheduler, str(number))
    assert len(scheduler.policy_errors) == PATIENCE
    assert ["is not asked any more" in e for e in scheduler.policy_errors] == [False, False, True]
    assert scheduler.why("4").policy == "earliest_finish (loops was dropped)"


SOMETIMES = """
from jetsched.policies.base import Greedy

class Sometimes(Greedy):
    name = "sometimes"

    def score(self, placement, view):
        while placement.job.id == "2":
            pass
        return -placement.finish_s
"""


def test_a_policy_goes_on_where_it_is_in_time(tmp_path: Path, cpu_only: None) -> None:
    """It takes the slowest device; only job 2 goes where the default wants it."""
    scheduler = a_scheduler(guarded(in_file(tmp_path, SOMETIMES), AMPLE_S))
    assert submit(scheduler, "1") == ["nx-1"]
    assert submit(scheduler, "2") == ["orin-1"]
    assert len(scheduler.policy_errors) == 1


def test_only_time_outs_in_a_row_end_it() -> None:
    """Decisions and looks ahead count apart, and a policy under test is forgiven nothing."""
    standing, strict = Standing(), Standing(forgets=False)
    for _ in range(PATIENCE + 1):
        standing.ask(True)
        standing.overran(False, standing.ask(False))
        standing.ask(False)
        assert not standing.dropped
        strict.overran(False, strict.ask(False))
        strict.ask(False)
    assert strict.dropped
    for number in range(1, PATIENCE + 1):
        standing.overran(True, standing.ask(True))
        standing.ask(False)
        assert standing.dropped == (number == PATIENCE)


def test_what_the_policy_has_asked_for_is_not_left_halfway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost model is at work for the scheduler, for longer than the policy's whole budget."""
    monkeypatch.setattr(guard, "_AIM_FOR_S", 0.1)
    entered: list[str] = []
    left: list[str] = []

    class Slow(TableCosts):
        def verdict(self, job: Job, device_class: DeviceClass) -> Estimate | Never:
            if job.id == "1":
                entered.append(device_class.model)
                end = time.thread_time() + 0.8
                while time.thread_time() < end:
                    pass
                left.append(device_class.model)
            return super().verdict(job, device_class)

    text = ENDLESS["in what it asks of the view"]
    scheduler = Scheduler(
        policies.load("earliest_finish"),
        Slow(paper_costs().times_s),
        fallback=policies.load("earliest_finish"),
    )
    for device in (nx(), orin()):
        scheduler.handle(DeviceJoined(0, device))
    submit(scheduler, "0")
    scheduler.policy = guarded(in_file(tmp_path, text), SHORT_S)
    submit(scheduler)
    assert entered == left != []
    (error,) = scheduler.policy_errors
    assert f"({tmp_path / 'mine.py'}:" in error


def test_looking_ahead_has_a_budget_too(tmp_path: Path, cpu_only: None) -> None:
    scheduler = a_scheduler(guarded(in_file(tmp_path, PLANS), AMPLE_S))
    for number in range(3):
        submit(scheduler, str(number))
    assert scheduler.policy_errors == []
    waiting = {job.id for job in scheduler.view(scheduler.now_s).queue()}
    assert set(scheduler.foresee(scheduler.now_s)) == waiting != set()  # by the default policy
    (error,) = scheduler.policy_errors
    assert f"took more than {AMPLE_S:g} s of CPU time for looking ahead" in error
    assert "earliest_finish decided instead" in scheduler.plan(a_job("3"), scheduler.now_s).note


PLANS = """
from jetsched.policies.base import Greedy

class Plans(Greedy):
    def score(self, placement, view):
        while view.planning:
            pass
        return placement.finish_s
"""


def test_copying_has_a_budget_too(tmp_path: Path, cpu_only: None) -> None:
    """A plan asks a copy; a policy whose copy never ends is told of, and nothing is foreseen."""
    text = """
from jetsched.policies.base import Greedy

class Copies(Greedy):
    def score(self, placement, view):
        return placement.finish_s

    def __deepcopy__(self, memo):
        while True:
            pass
"""
    scheduler = a_scheduler(guarded(in_file(tmp_path, text), AMPLE_S))
    submit(scheduler)
    assert scheduler.foresee(scheduler.now_s) == {}
    (error,) = scheduler.policy_errors
    assert f"cannot be copied, to look ahead: took more than {AMPLE_S:g} s" in error
    assert f"{tmp_path / 'mine.py'}:" in error


def test_a_plan_may_take_as_long_as_it_brings_forth_placements(cpu_only: None) -> None:
    """In a plan each placement has its own time; a decision has one budget for all."""

    class Slow(Greedy):
        def score(self, placement: Placement, view: View) -> float:
            end = time.thread_time() + 0.05
            while time.thread_time() < end:
                pass
            return placement.estimate.time_s  # so all of them wait for the Orin

    scheduler = a_scheduler(guarded(Slow(), 0.4))
    jobs = tuple(a_job(str(n)) for n in range(12))
    scheduler.handle(Submitted(1, jobs))
    assert "for one decision" in scheduler.policy_errors[0]
    waiting = len(scheduler.queue)
    assert len(scheduler.foresee(2)) == waiting > 5
    assert len(scheduler.policy_errors) == 1


def test_it_works_in_any_thread_and_in_many() -> None:
    """The service's loop is in the main thread, tests have theirs, and compare has many."""
    found: list[list[str]] = []

    class Spin(Greedy):
        def score(self, placement: Placement, view: View) -> float:
            while True:
                pass

    def decide() -> None:
        scheduler = a_scheduler(guarded(Spin(), SHORT_S))
        submit(scheduler)
        found.append(scheduler.policy_errors)

    threads = [threading.Thread(target=decide) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ["took more than" in errors[0] for errors in found] == [True] * 3


def _in_child(queue: Any, folder: str) -> None:
    scheduler = a_scheduler(guarded(in_file(Path(folder), LOOPS, "child.py"), SHORT_S))
    submit(scheduler)
    queue.put(scheduler.policy_errors)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_works_in_a_process_that_was_forked_or_spawned(tmp_path: Path, method: Any) -> None:
    """A fork has no watchdog of its own until somebody needs one."""
    submit(a_scheduler(guarded(in_file(tmp_path, LOOPS), SHORT_S)))  # the parent's is awake
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, str(tmp_path)))
    child.start()
    (error,) = queue.get(timeout=120)
    child.join()
    assert "took more than" in error


def test_no_exception_is_left_over_for_the_scheduler() -> None:
    """Decisions that end just when their time is over: the exception must not come later."""

    class JustInTime(Greedy):
        name = "just_in_time"
        spin_s = 0.0

        def score(self, placement: Placement, view: View) -> float:
            end = time.thread_time() + self.spin_s
            while time.thread_time() < end:
                pass
            return placement.finish_s

    policy = JustInTime()
    for number in range(12):
        policy.spin_s = 0.047 + number * 0.0005  # asked for two devices
        scheduler = a_scheduler(guarded(policy, 0.0001))  # over at the second look
        submit(scheduler)
        for _ in range(2000):  # where one that was left over would come
            number += 1
        assert len(scheduler.policy_errors) <= 1
    assert not guard._WATCHDOG.inside


# ------------------------------------------------------------------------------------- other things


def test_a_policy_that_wants_to_end_the_program_is_only_told_of(tmp_path: Path) -> None:
    text = "import sys\n\nclass Mine:\n    def decide(self, view):\n        sys.exit(3)\n"
    for way in (
        text,
        text.replace("sys.exit", "exit"),
        text.replace("sys.exit", "raise SystemExit"),
    ):
        scheduler = a_scheduler(guarded(in_file(tmp_path, way), 60.0))
        assert submit(scheduler) == ["orin-1"]
        assert "wanted to end the program" in scheduler.policy_errors[0]
        assert f"{tmp_path / 'mine.py'}:5 in decide" in scheduler.policy_errors[0]


def test_a_signal_ends_the_program_also_inside_a_policy() -> None:
    """The handler of `kill` raises SystemExit in whatever runs: it must not be the policy's."""

    def handler(number: int, frame: object) -> None:
        sys.exit(128 + number)

    class Hit(Greedy):
        def score(self, placement: Placement, view: View) -> float:
            os.kill(os.getpid(), signal.SIGUSR1)
            return placement.finish_s

    elsewhere = FunctionType(handler.__code__, {"sys": sys, "__name__": "jetsched.cli"})
    before = signal.signal(signal.SIGUSR1, elsewhere)
    try:
        with pytest.raises(SystemExit, match=str(128 + signal.SIGUSR1)):
            submit(a_scheduler(guarded(Hit(), 60.0)))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_copy_of_a_guarded_policy_is_guarded_and_shares_its_standing() -> None:
    policy = guarded(policies.load("round_robin"), 5.0)
    copy = deepcopy(policy)
    assert isinstance(policy, Guarded) and isinstance(copy, Guarded)
    assert copy.standing is policy.standing
    assert copy.__wrapped__ is not policy.__wrapped__
    assert copy.name == "round_robin"


def test_built_in_policies_go_without_in_a_simulation() -> None:
    ours, other = policies.load("random"), type("Mine", (Greedy,), {"score": lambda *_: 0.0})()
    assert guarded(ours, 5.0, built_in=False) is ours
    assert isinstance(guarded(other, 5.0, built_in=False), Guarded)
    assert guarded(other, inf) is other


def test_the_environment_names_another_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policies.load("random")
    monkeypatch.setenv(guard.VARIABLE, "7.5")
    assert guarded(policy, 5.0).budget_s == 7.5  # type: ignore[attr-defined]
    monkeypatch.setenv(guard.VARIABLE, "0")
    assert guarded(policy, 5.0) is policy
    for wrong in ("soon", "-1", "nan"):
        monkeypatch.setenv(guard.VARIABLE, wrong)
        with pytest.raises(InputError, match=f"{guard.VARIABLE}={wrong} is no number of seconds"):
            guarded(policy, 5.0)
