"""What is left of a job that was interrupted, as the scheduler expects it."""

from __future__ import annotations

from typing import Any

import pytest
from builders import TableCosts, a_job, a_workload, an_estimate, orin, paper_costs
from hypothesis import given
from hypothesis import strategies as st

from jetsched import policies
from jetsched.cluster.paper_world import MIX
from jetsched.profiler.bundled import paper_class
from jetsched.profiler.costs import CostModel
from jetsched.records import Attempt, Job, Never, Outcome
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.costs import WholeCost
from jetsched.scheduler.events import DeviceJoined, Finished, Stop, Submitted
from jetsched.scheduler.journal import MemoryJournal
from jetsched.scheduler.resume import MOST_SAVED, RestCost, saved_share


def ran(lasted_s: float, outcome: Outcome, **estimate: float) -> Attempt:
    expected = an_estimate(110.0, **{"load_s": 10.0, **estimate})
    return Attempt(1, "orin-1", 1000.0, expected, 1000.0 + lasted_s, outcome)


@pytest.mark.parametrize(
    ("lasted_s", "outcome", "every_s", "share"),
    [
        (60.0, "preempted", None, 0.5),
        (5.0, "preempted", None, 0.0),  # it was still loading
        (60.0, "lost", None, 0.0),
        (60.0, "lost", 20.0, 0.4),
        (60.0, "killed_memory", 15.0, 0.45),
        (900.0, "preempted", None, MOST_SAVED),  # the estimate was far too low
    ],
)
def test_what_a_checkpoint_holds_follows_from_how_a_run_ended(
    lasted_s: float, outcome: Outcome, every_s: float | None, share: float
) -> None:
    job = a_job(checkpoint_every_s=every_s)
    assert saved_share(job, ran(lasted_s, outcome), 0.0) == pytest.approx(share)


def test_what_does_not_train_begins_anew() -> None:
    job = a_job(checkpoint_every_s=10.0)
    command = Job("1", a_workload(kind="command"), checkpoint_every_s=10.0)
    assert saved_share(job, ran(60.0, "preempted"), 0.0) == 0.5
    assert saved_share(command, ran(60.0, "preempted"), 0.0) == 0.0


def test_shares_add_up_over_attempts_at_what_was_left() -> None:
    """Half, then half of the other half."""
    assert saved_share(a_job(), ran(60.0, "preempted"), 0.5) == pytest.approx(0.75)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.sampled_from(["preempted", "lost"]))))
def test_a_share_never_falls_and_never_reaches_all(attempts: list[tuple[float, Outcome]]) -> None:
    job, share = a_job(checkpoint_every_s=7.0), 0.0
    for lasted_s, outcome in attempts:
        now = saved_share(job, ran(lasted_s, outcome), share)
        assert share <= now <= MOST_SAVED
        share = now


def test_the_rest_costs_loading_and_the_part_that_is_left() -> None:
    whole = an_estimate(110.0, load_s=10.0, time_p90_s=220.0, energy_j=1100.0)
    rest = RestCost(WholeCost(whole), 5.0, 0.75)
    left = rest.of(5.0)
    assert (left.time_s, left.load_s) == (35.0, 10.0)
    assert rest.load_s + 5.0 * rest.rate_s == left.time_s
    assert left.time_p90_s == pytest.approx(70.0) and left.energy_j == pytest.approx(350.0)
    assert left.admitted_mib == whole.admitted_mib


def test_the_rest_by_units_of_work_is_that_of_the_cost_model() -> None:
    for share in MIX:
        cost = CostModel().cost(share.workload, paper_class("orin-nano"))
        assert not isinstance(cost, Never)
        whole, left = cost.of(1000.0), RestCost(cost, 1000.0, 0.5).of(1000.0)
        assert left.time_s - left.load_s == pytest.approx((whole.time_s - whole.load_s) / 2)


def a_scheduler(**more: Any) -> Scheduler:
    scheduler = Scheduler(policies.load("earliest_finish"), paper_costs(), **more)
    scheduler.handle(DeviceJoined(0.0, orin()))
    return scheduler


def test_a_preempted_job_waits_with_what_is_left_of_it() -> None:
    """100 s of work, none of it loading; stopped after 40 s."""
    journal = MemoryJournal()
    scheduler = a_scheduler(journal=journal)
    scheduler.handle(Submitted(0.0, (a_job("1"), a_job("2"))))
    stop = Stop(40.0, "1", "orin-1", 1, "preempted")
    journal.append(stop)
    scheduler.apply(stop)
    scheduler.handle(Finished(40.0, "1", 1, "preempted"))
    record = scheduler.jobs["1"]
    assert record.attempts[-1].estimate.time_s == pytest.approx(60.0)
    assert scheduler.fleet.finish_s["orin-1"] == pytest.approx(100.0)
    assert list(scheduler.view(40.0).times(a_job("1"))) == pytest.approx([60.0])
    assert list(scheduler.view(40.0).times(a_job("2"))) == pytest.approx([100.0])
    again = Scheduler(policies.load("earliest_finish"), paper_costs())
    again.replay(list(journal))
    assert again.jobs["1"].group.saved == record.group.saved == pytest.approx(0.4)


def test_what_was_killed_for_memory_keeps_what_it_had_saved() -> None:
    times = {("distilgpt2", "xavier-nx"): 100.0, ("distilgpt2", "orin-nano"): 100.0}
    scheduler = Scheduler(policies.load("earliest_finish"), TableCosts(times))
    scheduler.handle(DeviceJoined(0.0, orin()))
    scheduler.handle(Submitted(0.0, (a_job(checkpoint_every_s=10.0),)))
    scheduler.handle(Finished(55.0, "1", 1, "lost"))
    assert scheduler.jobs["1"].group.saved == 0.5
    scheduler.handle(Finished(80.0, "1", 2, "killed_memory"))
    group = scheduler.jobs["1"].group
    assert group.saved == pytest.approx(0.7) and group.barred
