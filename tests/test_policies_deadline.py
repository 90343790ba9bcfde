"""Earliest deadline first: who goes first, what is said of lost deadlines, who is admitted."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

import pytest
from builders import a_job, an_estimate, nx, orin
from hypothesis import given, settings
from hypothesis import strategies as st
from wish_worlds import a_scheduler, finish, one_kind, remark, starts, the_bench, two_kinds

from jetsched import policies
from jetsched.policies.deadline_plan import DeadlinePlan, Demand, Late, late_jobs
from jetsched.policies.deadline_remarks import CAN_AFTER_ALL
from jetsched.records import Placement
from jetsched.scheduler.events import DeviceJoined
from jetsched.scheduler.table import VerdictTable


def test_the_earliest_deadline_goes_first_and_jobs_without_one_behind() -> None:
    scheduler = a_scheduler("earliest_deadline", one_kind(10, 10, 10), orin())
    jobs = [a_job("1"), a_job("2", deadline_s=90), a_job("3", deadline_s=50)]
    assert starts(scheduler, 0, *jobs) == {"3": "orin-1"}
    assert finish(scheduler, 10, "3") == {"2": "orin-1"}
    assert finish(scheduler, 20, "2") == {"1": "orin-1"}


def test_a_deadline_that_is_lost_makes_nobody_else_late() -> None:
    """2 has the earliest deadline, but would be done at 40; 3 is done at 30, as it must be."""
    scheduler = a_scheduler("earliest_deadline", one_kind(10, 30, 20), orin())
    jobs = [a_job("1", deadline_s=12), a_job("2", deadline_s=28), a_job("3", deadline_s=30)]
    assert starts(scheduler, 0, *jobs) == {"1": "orin-1"}
    assert finish(scheduler, 10, "1") == {"3": "orin-1"}
    assert finish(scheduler, 30, "3") == {"2": "orin-1"}


def test_a_deadline_that_no_device_could_meet_is_remarked_on_at_once() -> None:
    scheduler = a_scheduler("earliest_deadline", one_kind(100), orin())
    starts(scheduler, 0, a_job("1", deadline_s=40))
    assert remark(scheduler, "1") == (
        "its deadline, 40 s after submission, cannot be met: it is done after 1m 40s at the"
        " earliest, on orin-nano @ 25W, 1m too late. It runs 1m 40s even on a free"
        " orin-nano @ 25W; a deadline of 1m 40s, or 40 % of its work would do"
    )


def test_a_deadline_that_a_busy_device_costs_is_remarked_on_when_the_job_comes() -> None:
    """The Orin is busy until 100; at 10 comes a job that takes 20 s and must be done at 60."""
    scheduler = a_scheduler("earliest_deadline", one_kind(100, 20), orin())
    starts(scheduler, 0, a_job("1"))
    starts(scheduler, 10, a_job("2", submitted_s=10, deadline_s=60))
    said = remark(scheduler, "2")
    assert "50 s after submission, cannot be met: it is done after 1m 50s at the earliest" in said
    assert "or orin-nano @ 25W free 30 s after submission would do" in said


def test_a_deadline_is_remarked_on_when_jobs_with_earlier_ones_leave_no_time_for_it() -> None:
    """One after the other they are done at 20, 40 and 60; the third must be done at 50."""
    scheduler = a_scheduler("earliest_deadline", one_kind(20, 20, 20), orin())
    jobs = [a_job(str(n), deadline_s=30 + 10 * n) for n in (1, 2)]
    starts(scheduler, 0, *jobs, a_job("3", deadline_s=50))
    assert "done after 1m at the earliest" in remark(scheduler, "3")
    assert "a higher priority would do" in remark(scheduler, "3")
    assert not remark(scheduler, "1") and not remark(scheduler, "2")


def test_a_job_that_comes_later_is_remarked_on_with_those_it_pushes_back() -> None:
    scheduler = a_scheduler("earliest_deadline", one_kind(20, 20, 20), orin())
    starts(scheduler, 0, a_job("1", deadline_s=30), a_job("2", deadline_s=45))
    assert not remark(scheduler, "2")
    starts(scheduler, 1, a_job("3", submitted_s=1, deadline_s=42))
    assert not remark(scheduler, "3")
    assert "15 s too late" in remark(scheduler, "2")


def test_an_overdue_board_does_not_hide_one_that_is_free_in_time() -> None:
    """The first Orin is overdue by 900 s; the second is free at 1090, and 3 is due at 1300."""
    scheduler = a_scheduler("earliest_deadline", one_kind(100, 100, 100), orin(1), orin(2))
    starts(scheduler, 0, a_job("1"))
    starts(scheduler, 990, a_job("2", submitted_s=990))
    starts(scheduler, 1000, a_job("3", submitted_s=1000, deadline_s=1300))
    assert remark(scheduler, "3") == ""


@settings(deadline=None)
@given(st.lists(st.integers(0, 200), max_size=6), st.integers(1, 2), st.integers(0, 8))
def test_the_first_clocks_of_a_kind_are_the_first_of_all_its_clocks(
    finish_s: list[int], free: int, most: int
) -> None:
    """At 100, with boards that are free, overdue and busy; also when one was given away."""
    times_s = [float(at_s) for at_s in finish_s]
    boards = [orin(n) for n in range(len(times_s) + free)]
    scheduler = a_scheduler("earliest_finish", one_kind(50), *boards)
    for board, at_s in zip(boards, times_s, strict=False):
        scheduler.fleet.occupy(board.id, "busy", at_s)
    view = scheduler.view(100.0)
    (kind,) = view.kinds
    assert view.first_clocks(kind, most) == view.clocks(kind)[:most]
    view.assume(Placement(a_job(), boards[-1], an_estimate(50.0), 100.0, 150.0))
    assert view.first_clocks(kind, most) == view.clocks(kind)[:most]


def test_deadlines_in_a_long_queue_are_judged_when_they_come() -> None:
    """A thousand jobs of 10 s wait; one that must be done within 1,000 s cannot be."""
    times = [10.0] * 1002
    scheduler = a_scheduler("earliest_deadline", one_kind(*times), orin())
    queue = [a_job(str(n), deadline_s=20_000 if n < 500 else 900) for n in range(1, 1001)]
    starts(scheduler, 0, *queue)
    assert sum(bool(remark(scheduler, job.id)) for job in queue) == 501 - 90
    starts(scheduler, 1, a_job("1001", submitted_s=1, deadline_s=901))
    starts(scheduler, 1, a_job("1002", submitted_s=1, deadline_s=30_000))
    assert "a higher priority would do" in remark(scheduler, "1001")
    assert not remark(scheduler, "1002")


def test_an_easy_deadline_leaves_the_fast_board_to_a_hard_one() -> None:
    """1 could be done on the NX in half the time that it has, so 2 finds the Orin free."""
    scheduler = a_scheduler("earliest_deadline", two_kinds((20, 40), (50, 100)))
    jobs = [a_job("1", deadline_s=80), a_job("2", deadline_s=85)]
    assert starts(scheduler, 0, *jobs) == {"1": "nx-1", "2": "orin-1"}


def test_a_job_waits_for_the_board_on_which_it_is_in_time() -> None:
    """The NX is free, but 2 would be done there at 151, on the Orin at 120."""
    scheduler = a_scheduler("earliest_deadline", two_kinds((60, 200), (60, 150)))
    assert starts(scheduler, 0, a_job("1", deadline_s=61)) == {"1": "orin-1"}
    assert starts(scheduler, 1, a_job("2", deadline_s=130)) == {}
    assert finish(scheduler, 60, "1") == {"2": "orin-1"}


def test_a_job_that_is_late_everywhere_does_not_wait_beside_a_free_board() -> None:
    """The Orin is busy until 100, so 2 cannot be done at 130; on the NX it is done at 151."""
    scheduler = a_scheduler("earliest_deadline", two_kinds((100, 300), (60, 150)))
    assert starts(scheduler, 0, a_job("1", deadline_s=101)) == {"1": "orin-1"}
    assert starts(scheduler, 1, a_job("2", deadline_s=130)) == {"2": "nx-1"}
    assert "21 s too late" in remark(scheduler, "2")


def test_a_hopeless_deadline_is_met_after_all_where_a_device_is_free_too_soon() -> None:
    """The job on the Orin ends at 20 instead of 100: 2 is done at 80, before 3, which has time."""
    scheduler = a_scheduler("earliest_deadline", one_kind(100, 60, 10), orin())
    starts(scheduler, 0, a_job("1"))
    starts(scheduler, 1, a_job("2", deadline_s=130), a_job("3", deadline_s=200))
    assert "cannot be met" in remark(scheduler, "2")
    assert finish(scheduler, 20, "1") == {"2": "orin-1"}


def test_jobs_without_deadlines_do_not_starve_behind_a_stream_of_them() -> None:
    """Deadlines keep the board busy for good; a job without one is owed a twentieth of it."""
    times = {str(n): {"orin-nano": an_estimate(10.0)} for n in range(1, 200)}
    scheduler = a_scheduler("earliest_deadline", VerdictTable(times), orin())
    starts(scheduler, 0, a_job("1", deadline_s=15), a_job("2"))
    started, at_s, running = 0, 0.0, "1"
    for n in range(3, 200):
        at_s += 10.0
        waiting = a_job(str(n), submitted_s=at_s - 1, deadline_s=at_s + 20)
        starts(scheduler, at_s - 1, waiting)
        (running,) = finish(scheduler, at_s, running)
        started += 1
        if running == "2":
            break
    assert 20 <= started <= 25


def test_priority_goes_before_a_deadline() -> None:
    scheduler = a_scheduler("earliest_deadline", one_kind(10, 10), orin())
    jobs = [a_job("1", deadline_s=15), a_job("2", priority=90)]
    assert starts(scheduler, 0, *jobs) == {"2": "orin-1"}


def test_a_look_ahead_starts_and_remarks_nothing_and_foresees_all() -> None:
    scheduler = a_scheduler("earliest_deadline", one_kind(10, 30, 20, 10), orin())
    deadlines = {"1": 12.0, "2": 28.0, "3": 30.0, "4": None}
    starts(scheduler, 0, *(a_job(n, deadline_s=due) for n, due in deadlines.items()))
    foreseen = scheduler.foresee(0.0)
    assert {n: placed.start_s for n, placed in foreseen.items()} == {"3": 10, "4": 30, "2": 40}


def test_a_deadline_that_a_new_board_can_meet_is_said_to_be_met_after_all() -> None:
    """On the NX 1 takes 100 s, and must be done within 60; then an Orin joins, where it takes 20.

    It is 2 that runs on the NX meanwhile, so that 1 still waits.
    """
    scheduler = a_scheduler("earliest_deadline", two_kinds((20, 100), (20, 50)), nx())
    starts(scheduler, 0, a_job("2", priority=90))
    starts(scheduler, 1, a_job("1", submitted_s=1, deadline_s=61))
    assert "cannot be met" in remark(scheduler, "1")
    scheduler.handle(DeviceJoined(5, orin()))
    assert remark(scheduler, "1") == CAN_AFTER_ALL
    assert scheduler.fleet.job_on == {"nx-1": "2", "orin-1": "1"}


# ------------------------------------------------------------------------------- the admission test


def test_who_is_late_in_the_order_of_deadlines_takes_no_time_from_the_others() -> None:
    demands = [
        Demand("a", 10, (10,)),
        Demand("b", 15, (10,)),
        Demand("c", 16, (4,)),
    ]
    assert late_jobs(demands, [[0.0]]) == [Late("b", 15, 20, 0, 10)]
    assert late_jobs(demands, [[0.0, 0.0]]) == []


def test_priority_and_other_kinds_count_in_the_admission_test() -> None:
    first = Demand("a", 20, (10, None), priority=90)
    assert late_jobs([Demand("b", 12, (10, 15)), first], [[0.0], [0.0]]) == [
        Late("b", 12, 15, 1, 10)
    ]
    assert late_jobs([Demand("b", 12, (10, 11)), first], [[0.0], [0.0]]) == []


def test_a_job_that_can_go_nowhere_is_late_for_good() -> None:
    (late,) = late_jobs([Demand("a", 10, (None,))], [[0.0]])
    assert late.finish_s == late.next_s == inf


@st.composite
def demands(draw: st.DrawFn) -> list[Demand]:
    seconds = st.one_of(st.none(), st.integers(1, 50))
    return [
        Demand(str(n), draw(st.integers(0, 200)), (draw(seconds), draw(seconds)))
        for n in range(draw(st.integers(0, 12)))
    ]


CLOCKS = st.lists(st.lists(st.integers(0, 40), max_size=3), min_size=2, max_size=2)


@settings(deadline=None)
@given(demands(), CLOCKS)
def test_whoever_is_admitted_is_in_time_and_whoever_is_not_would_be_late(
    asked: list[Demand], clocks: list[list[float]]
) -> None:
    """Checked by serving those that are admitted in the order of their deadlines."""
    plan = DeadlinePlan(asked, clocks)
    free = [sorted(kind) for kind in clocks]
    for demand in sorted(asked, key=lambda d: d.order):
        options = [
            (free[kind][0] + time_s, kind)
            for kind, time_s in enumerate(demand.times_s)
            if time_s is not None and free[kind]
        ]
        finish_s, kind = min(options, default=(inf, 0))
        if demand.job_id in plan.late:
            assert plan.late[demand.job_id].finish_s == finish_s > demand.deadline_s
        else:
            assert finish_s <= demand.deadline_s
            free[kind] = sorted([*free[kind][1:], finish_s])


@settings(deadline=None)
@given(demands(), CLOCKS, st.integers(0, 200), st.integers(1, 50))
def test_one_more_job_is_judged_as_if_it_had_been_planned_with_the_others(
    asked: list[Demand], clocks: list[list[float]], deadline_s: int, time_s: int
) -> None:
    new = Demand("new", deadline_s, (time_s, time_s))
    found = DeadlinePlan(asked, clocks).judge(new)
    assert found == DeadlinePlan([*asked, new], clocks).late.get("new")


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    with the_bench() as module:
        yield module


@pytest.mark.parametrize("load", [0.8, 1.1])
@pytest.mark.parametrize("other", ["earliest_finish", "comparative_advantage", "auto"])
def test_earliest_deadline_misses_fewer_deadlines_than_others(
    bench: Any, other: str, load: float
) -> None:
    """By a fifth at least, in loaded streams, in the sum over four seeds."""
    if other not in policies.BUILT_IN:
        pytest.skip(f"there is no {other} yet")
    worlds = [bench.stream(seed, jobs=300, load=load) for seed in range(4)]
    missed = {p: bench.missed(bench.runs(p, worlds)) for p in ("earliest_deadline", other)}
    assert missed["earliest_deadline"] < 0.8 * missed[other]


def test_why_and_plan_say_that_a_deadline_cannot_be_met() -> None:
    """In the decision that starts the job as well, which is the one that `why` shows."""
    scheduler = a_scheduler("earliest_deadline", one_kind(100), orin())
    job = a_job("1", deadline_s=40)
    assert "after its deadline" in scheduler.plan(job, 0).remark
    assert starts(scheduler, 0, job) == {"1": "orin-1"}
    assert "cannot be met" in scheduler.why("1").remark
