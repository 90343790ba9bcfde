"""The pure scheduler: what each event changes, and what is decided because of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from builders import TableCosts, a_job, a_kill, an_estimate, nx, orin, paper_costs

from jetsched.errors import InputError
from jetsched.records import Job, Needs, Placement, Preempt, Retry
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceJoined,
    DeviceLost,
    Event,
    Finished,
    Learned,
    Start,
    Started,
    Stop,
    Submitted,
)
from jetsched.scheduler.journal import MemoryJournal
from jetsched.scheduler.view import Policy, View


class EarliestFinish:
    """The least a policy can be; the real ones have tests of their own."""

    name = "earliest"

    def decide(self, view: View) -> Iterator[Placement]:
        for job in view.queue():
            if not view.free_count:
                return
            options = view.options(job)
            if options:
                best = min(options, key=lambda p: (p.finish_s, p.device.id))
                view.note(job, options, [p.finish_s for p in options], best)
                yield best


def a_scheduler(policy: Policy | None = None, costs: TableCosts | None = None) -> Scheduler:
    return Scheduler(policy or EarliestFinish(), costs or paper_costs(), fallback=EarliestFinish())


def feed(scheduler: Scheduler, *events: Event) -> list[str]:
    """What was done because of the events, in short: ``start 1 nx-1 #1``."""
    done = []
    for event in events:
        for action in scheduler.handle(event):
            if isinstance(action, Start):
                p = action.placement
                done.append(f"start {p.job.id} {p.device.id} #{action.attempt}")
            else:
                done.append(f"stop {action.job_id} {action.outcome}")
    return done


def two_boards() -> list[Event]:
    return [DeviceJoined(0, nx()), DeviceJoined(0, orin())]


def state(scheduler: Scheduler, job_id: str = "1") -> str:
    return scheduler.jobs[job_id].state


def test_a_job_starts_on_the_best_free_device() -> None:
    scheduler = a_scheduler()
    assert feed(scheduler, *two_boards(), Submitted(1, (a_job(),))) == ["start 1 orin-1 #1"]
    assert state(scheduler) == "starting"
    feed(scheduler, Started(2, "1", 1))
    assert state(scheduler) == "running"
    feed(scheduler, Finished(99, "1", 1, "done"))
    assert state(scheduler) == "done"
    assert scheduler.jobs["1"].attempts[0].outcome == "done"
    assert scheduler.jobs["1"].attempts[0].end_s == 99


def test_a_job_is_held_for_a_busy_device_that_is_worth_waiting_for() -> None:
    """Orin: 60 s to wait + 100 s; NX: 250 s at once. The job waits, and says why."""
    scheduler = a_scheduler()
    jobs = (a_job("1", "tiny-gpt2"), a_job("2"))
    assert feed(scheduler, *two_boards(), Submitted(0, jobs)) == ["start 1 orin-1 #1"]
    assert state(scheduler, "2") == "waiting"
    decision = scheduler.why("2")
    assert decision.reason is not None
    assert decision.reason.code == "BetterSoon"
    # Spans as all screens write them.
    assert decision.reason.text == "orin-1 is better, free in 1m"
    assert "busy for another 1m" in [row.reason for row in decision.rows]
    assert "orin-1" in decision.reason.text
    assert feed(scheduler, Finished(60, "1", 1, "done")) == ["start 2 orin-1 #1"]


def test_a_result_counts_only_for_the_current_attempt() -> None:
    scheduler = a_scheduler()
    feed(scheduler, *two_boards(), Submitted(0, (a_job(),)))
    assert feed(scheduler, DeviceLost(5, "orin-1")) == ["start 1 nx-1 #2"]
    feed(scheduler, Finished(6, "1", 1, "done"))
    assert state(scheduler) == "starting"
    feed(scheduler, Finished(7, "1", 2, "done"), Finished(8, "1", 2, "failed"))
    assert state(scheduler) == "done"


def test_a_memory_kill_is_learnt_and_the_job_goes_elsewhere() -> None:
    costs = TableCosts({("gpt2", "xavier-nx"): 10.0, ("gpt2", "orin-nano"): 20.0})
    scheduler = a_scheduler(costs=costs)
    job = a_job("1", "gpt2")
    assert feed(scheduler, *two_boards(), Submitted(0, (job,))) == ["start 1 nx-1 #1"]
    killed = Finished(5, "1", 1, "killed_memory", a_kill(job, nx()))
    assert feed(scheduler, killed) == ["start 1 orin-1 #2"]
    assert feed(scheduler, Submitted(6, (a_job("2", "gpt2"),))) == []  # waits for the Orin
    rows = {row.device: row for row in scheduler.why("2").rows}
    assert rows["nx-1"].verdict == "never"
    assert rows["nx-1"].code == "NeverFits"


def test_a_killed_job_is_not_placed_there_again_even_if_the_cost_model_does_not_learn() -> None:
    costs = TableCosts({("gpt2", "xavier-nx"): 10.0, ("gpt2", "orin-nano"): 20.0})
    scheduler = a_scheduler(costs=costs)
    feed(scheduler, *two_boards(), Submitted(0, (a_job("1", "gpt2"),)))
    assert feed(scheduler, Finished(5, "1", 1, "killed_memory")) == ["start 1 orin-1 #2"]


def test_a_job_that_was_killed_where_nothing_else_fits_ends_killed() -> None:
    scheduler = a_scheduler()
    job = a_job("1", "gpt2")
    feed(scheduler, *two_boards(), Submitted(0, (job,)))
    feed(scheduler, Finished(5, "1", 1, "killed_memory", a_kill(job, orin())))
    assert state(scheduler) == "killed"
    assert scheduler.jobs["1"].reason is not None
    assert scheduler.jobs["1"].reason.code == "NeverFits"


def test_a_job_that_was_given_up_stays_dead_in_a_replay_by_a_cost_model_that_would_not() -> None:
    journal = MemoryJournal()
    scheduler = Scheduler(EarliestFinish(), paper_costs(), journal=journal)
    job = a_job("1", "gpt2")
    feed(scheduler, *two_boards(), Submitted(0, (job,)))
    feed(scheduler, Finished(5, "1", 1, "killed_memory", a_kill(job, orin())))
    newer = TableCosts({**paper_costs().times_s, ("gpt2", "xavier-nx"): 9.0})
    again = Scheduler(EarliestFinish(), newer)
    again.replay(journal)
    assert state(again) == "killed"
    assert not list(again.queue)


def test_a_kill_that_is_told_twice_does_not_end_a_job_that_is_held_by_now() -> None:
    costs = TableCosts({("gpt2", "xavier-nx"): 10.0, ("gpt2", "orin-nano"): 20.0})
    scheduler = a_scheduler(costs=costs)
    job = a_job("1", "gpt2")
    feed(scheduler, DeviceJoined(0, nx()), DeviceJoined(0, orin()), Submitted(0, (job,)))
    killed = Finished(5, "1", 1, "killed_memory", a_kill(job, nx()))
    assert feed(scheduler, killed) == ["start 1 orin-1 #2"]
    feed(scheduler, DeviceLost(6, "orin-1"), Learned(7, (a_kill(a_job("x", "gpt2"), orin()),)))
    assert state(scheduler) == "held"
    feed(scheduler, replace(killed, at_s=8))
    assert state(scheduler) == "held"


def test_a_hundred_thousand_jobs_can_be_handed_in_at_once() -> None:
    scheduler = a_scheduler()
    feed(scheduler, Submitted(0, tuple(a_job(str(n)) for n in range(100_000))))
    assert len(scheduler.queue) == 100_000


def test_retries_are_limited_by_the_job() -> None:
    scheduler = a_scheduler()
    job = a_job(retry=Retry(times=1, on=("lost",)))
    feed(scheduler, *two_boards(), Submitted(0, (job,)), DeviceLost(1, "orin-1"))
    assert state(scheduler) == "starting"
    feed(scheduler, DeviceLost(2, "nx-1"))
    assert state(scheduler) == "lost"


def test_a_failed_job_is_not_tried_again_unless_it_asks_for_it() -> None:
    scheduler = a_scheduler()
    again = a_job("2", retry=Retry(times=1, on=("failed",)))
    feed(scheduler, DeviceJoined(0, orin()), Submitted(0, (a_job("1"), again)))
    assert feed(scheduler, Finished(1, "1", 1, "failed")) == ["start 2 orin-1 #1"]
    assert state(scheduler, "1") == "failed"
    assert feed(scheduler, Finished(2, "2", 1, "failed")) == ["start 2 orin-1 #2"]


def test_what_waited_for_any_device_is_held_when_one_comes_that_never_fits() -> None:
    scheduler = a_scheduler()
    feed(scheduler, Submitted(0, (a_job(model="gpt2"),)))
    assert state(scheduler) == "waiting"
    feed(scheduler, DeviceJoined(1, nx()))
    assert state(scheduler) == "held"
    assert scheduler.why("1").reason is not None
    assert feed(scheduler, DeviceJoined(2, orin())) == ["start 1 orin-1 #1"]


def test_what_fits_nowhere_is_held_with_the_reason_and_freed_by_a_new_device() -> None:
    scheduler = a_scheduler()
    feed(scheduler, DeviceJoined(0, nx()), Submitted(0, (a_job("1", "gpt2"),)))
    assert state(scheduler) == "held"
    reason = scheduler.why("1").reason
    assert reason is not None
    assert reason.code == "NotProfiled"
    assert feed(scheduler, DeviceJoined(5, orin())) == ["start 1 orin-1 #1"]


def test_a_job_whose_only_device_class_is_offline_waits_for_it() -> None:
    scheduler = a_scheduler()
    feed(scheduler, *two_boards(), DeviceLost(1, "orin-1"), Submitted(2, (a_job("1", "gpt2"),)))
    assert state(scheduler) == "waiting"
    reason = scheduler.why("1").reason
    assert reason is not None
    assert reason.code == "DeviceOffline"


def test_jobs_wait_before_any_device_has_joined() -> None:
    scheduler = a_scheduler()
    feed(scheduler, Submitted(0, (a_job(),)))
    assert state(scheduler) == "waiting"
    assert feed(scheduler, DeviceJoined(1, nx())) == ["start 1 nx-1 #1"]


def test_tight_is_used_only_where_nothing_fits_better() -> None:
    times = {("gpt2", "xavier-nx"): 10.0, ("gpt2", "orin-nano"): 500.0}
    scheduler = a_scheduler(costs=TableCosts(times, tight={("gpt2", "xavier-nx")}))
    assert feed(scheduler, *two_boards(), Submitted(0, (a_job("1", "gpt2"),))) == [
        "start 1 orin-1 #1"
    ]
    both = {("gpt2", "xavier-nx"), ("gpt2", "orin-nano")}
    scheduler = a_scheduler(costs=TableCosts(times, tight=both))
    assert feed(scheduler, *two_boards(), Submitted(0, (a_job("1", "gpt2"),))) == [
        "start 1 nx-1 #1"
    ]
    assert {row.verdict for row in scheduler.why("1").rows} == {"tight"}


def test_cancelling_a_waiting_job_ends_it_and_a_running_one_is_stopped_first() -> None:
    scheduler = a_scheduler()
    jobs = (a_job("1"), a_job("2"))
    feed(scheduler, DeviceJoined(0, orin()), Submitted(0, jobs))
    feed(scheduler, CancelAsked(1, "2"))
    assert state(scheduler, "2") == "cancelled"
    assert feed(scheduler, CancelAsked(2, "1"), CancelAsked(2, "1")) == ["stop 1 cancelled"]
    feed(scheduler, Finished(3, "1", 1, "cancelled"))
    assert state(scheduler, "1") == "cancelled"


def test_a_cancelled_job_whose_device_is_lost_is_not_started_again() -> None:
    scheduler = a_scheduler()
    feed(scheduler, *two_boards(), Submitted(0, (a_job(),)), CancelAsked(1, "1"))
    assert feed(scheduler, DeviceLost(2, "orin-1")) == []
    assert state(scheduler) == "cancelled"


def test_cancelling_a_finished_or_unknown_job_changes_nothing() -> None:
    scheduler = a_scheduler()
    feed(scheduler, *two_boards(), Submitted(0, (a_job(),)), Finished(1, "1", 1, "done"))
    assert feed(scheduler, CancelAsked(2, "1"), CancelAsked(2, "77")) == []
    assert state(scheduler) == "done"


def test_higher_priority_goes_first_then_submission_order() -> None:
    scheduler = a_scheduler()
    jobs = (a_job("1"), a_job("2", priority=80), a_job("3", priority=80))
    started = feed(scheduler, DeviceJoined(0, orin()), Submitted(0, jobs))
    started += feed(scheduler, Finished(1, "2", 1, "done"), Finished(2, "3", 1, "done"))
    assert started == ["start 2 orin-1 #1", "start 3 orin-1 #1", "start 1 orin-1 #1"]


@pytest.mark.parametrize(
    ("needs", "where"),
    [
        (Needs(device=("nx-1",)), "nx-1"),
        (Needs(device=("xavier-nx",)), "nx-1"),
        (Needs(device=("lab",)), "nx-2"),
        (Needs(memory_mib=6500), "orin-1"),
    ],
)
def test_needs_are_met(needs: Needs, where: str) -> None:
    scheduler = a_scheduler()
    feed(scheduler, *two_boards(), DeviceJoined(0, nx(2, labels=("lab",))))
    started = feed(scheduler, Submitted(0, (a_job(needs=needs),)))
    assert started == [f"start 1 {where} #1"]


def test_a_wish_for_one_device_waits_for_it_though_its_twin_is_free() -> None:
    scheduler = a_scheduler()
    feed(scheduler, DeviceJoined(0, nx(1)), DeviceJoined(0, nx(2)))
    only = Needs(device=("nx-1",))
    jobs = (a_job("1", needs=only), a_job("2", needs=only), a_job("3"))
    assert feed(scheduler, Submitted(0, jobs)) == ["start 1 nx-1 #1", "start 3 nx-2 #1"]


def test_a_job_id_is_taken_only_once_and_a_refused_event_changes_nothing() -> None:
    journal = MemoryJournal()
    scheduler = Scheduler(EarliestFinish(), paper_costs(), journal=journal)
    feed(scheduler, Submitted(0, (a_job("1"),)))
    with pytest.raises(InputError, match="job id '1' is taken"):
        scheduler.handle(Submitted(1, (a_job("2"), a_job("1"))))
    assert list(scheduler.jobs) == ["1"]
    assert len(journal.entries) == 1


def test_a_device_that_joins_again_keeps_what_it_runs() -> None:
    scheduler = a_scheduler()
    feed(scheduler, DeviceJoined(0, orin()), Submitted(0, (a_job("1"), a_job("2"))))
    assert feed(scheduler, DeviceJoined(1, orin(labels=("new",)))) == []
    assert scheduler.fleet.job_on == {"orin-1": "1"}
    assert feed(scheduler, Finished(2, "1", 1, "done")) == ["start 2 orin-1 #1"]


def test_a_profile_that_arrives_changes_verdicts() -> None:
    scheduler = a_scheduler()
    scheduler.handle(DeviceJoined(0, orin()))
    feed(scheduler, Learned(1, (a_kill(a_job("x", "gpt2"), orin()),)))
    feed(scheduler, Submitted(2, (a_job("1", "gpt2"),)))
    assert state(scheduler) == "held"


def test_a_busy_device_that_is_overdue_is_not_given_away() -> None:
    scheduler = a_scheduler()
    feed(scheduler, DeviceJoined(0, orin()), Submitted(0, (a_job("1"),)))
    assert feed(scheduler, Submitted(5000, (a_job("2"),))) == []


class Rogue:
    """Breaks the contract in the way that the test asks for."""

    name = "rogue"

    def __init__(self, *choices: object) -> None:
        self.choices = choices

    def decide(self, view: View) -> Iterable[Placement | Preempt]:
        for choice in self.choices:
            if isinstance(choice, Exception):
                raise choice
            yield choice  # type: ignore[misc]


def placed(job: Job, device: object, start_s: float = 0.0) -> Placement:
    return Placement(job, device, an_estimate(), start_s, start_s + 1)  # type: ignore[arg-type]


GPT2 = a_job("1", "gpt2")


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (placed(GPT2, nx()), "where it never runs"),
        (placed(GPT2, nx(7)), "which is not there"),
        (placed(GPT2, orin(), float("nan")), "at nan"),
        (placed(a_job("9"), orin()), "which is not waiting"),
        ("nonsense", "returned a str"),
        (Preempt("1"), "which is not running"),
        (ZeroDivisionError("oops"), "ZeroDivisionError: oops"),
    ],
)
def test_an_illegal_choice_is_refused_and_the_default_policy_decides(
    choice: object, says: str
) -> None:
    scheduler = a_scheduler(Rogue(choice, choice))
    started = feed(scheduler, *two_boards(), Submitted(0, (GPT2,)))
    assert says in scheduler.policy_errors[0]
    if (isinstance(choice, Placement) and choice.job.id == "1") or isinstance(choice, Exception):
        assert started == ["start 1 orin-1 #1"]
        assert "earliest decided instead" in scheduler.why("1").note
    else:
        assert started == []


def test_two_jobs_are_never_put_on_one_device() -> None:
    jobs = (a_job("1"), a_job("2"))
    scheduler = a_scheduler(Rogue(*(placed(job, orin()) for job in jobs)))
    assert feed(scheduler, *two_boards(), Submitted(0, jobs)) == ["start 1 orin-1 #1"]
    assert "which is busy" in scheduler.policy_errors[0]


def test_a_policy_that_never_stops_yielding_nonsense_is_cut_off() -> None:
    class Endless:
        def decide(self, view: View) -> Iterator[Placement]:
            while True:
                yield placed(a_job("9"), orin())

    scheduler = a_scheduler(Endless())
    assert feed(scheduler, *two_boards(), Submitted(0, (GPT2,))) == ["start 1 orin-1 #1"]


def test_a_made_up_estimate_is_replaced_by_the_real_one() -> None:
    scheduler = a_scheduler(Rogue(placed(GPT2, orin())))
    feed(scheduler, *two_boards(), Submitted(0, (GPT2,)))
    assert scheduler.jobs["1"].attempts[0].estimate.time_s == 200


def test_a_preempted_job_goes_back_to_the_queue_without_using_up_a_retry() -> None:
    scheduler = a_scheduler()
    job = a_job(retry=Retry(times=0))
    feed(scheduler, DeviceJoined(0, orin()), Submitted(0, (job,)))
    scheduler.policy = Rogue(Preempt("1", "make room"))
    actions = scheduler.handle(Submitted(1, (a_job("2", priority=90),)))
    assert [type(a) for a in actions] == [Stop]
    scheduler.policy = EarliestFinish()
    assert feed(scheduler, Finished(2, "1", 1, "preempted")) == ["start 2 orin-1 #1"]
    assert state(scheduler, "1") == "waiting"
    assert feed(scheduler, Finished(3, "2", 1, "done")) == ["start 1 orin-1 #2"]


def test_a_preempt_is_asked_for_once() -> None:
    scheduler = a_scheduler()
    feed(scheduler, DeviceJoined(0, orin()), Submitted(0, (a_job(),)))
    scheduler.policy = Rogue(Preempt("1"))
    assert feed(scheduler, Submitted(1, (a_job("2"),))) == ["stop 1 preempted"]
    assert feed(scheduler, Submitted(2, (a_job("3"),))) == []


def test_why_is_what_the_policy_saw() -> None:
    scheduler = a_scheduler()
    feed(scheduler, *two_boards(), Submitted(0, (a_job(),)))
    decision = scheduler.why("1")
    rows = {row.device: row for row in decision.rows}
    assert decision.policy == "earliest"
    assert decision.chosen == "orin-1"
    assert rows["orin-1"].chosen
    assert rows["orin-1"].verdict == "fits"
    assert rows["orin-1"].score == rows["orin-1"].finish_s == 100
    assert rows["nx-1"].score == 250
    assert not rows["nx-1"].chosen


def test_why_of_an_unknown_job_says_so() -> None:
    with pytest.raises(InputError, match="no job '7'"):
        a_scheduler().why("7")


def test_a_job_far_back_in_the_queue_is_behind_the_others() -> None:
    scheduler = a_scheduler()
    feed(scheduler, DeviceJoined(0, orin()), Submitted(0, tuple(a_job(str(i)) for i in range(4))))
    reason = scheduler.why("3").reason
    assert reason is not None
    assert reason.code == "Behind"
    assert reason.text == "2 jobs ahead of it"


def test_plan_says_where_and_when_a_job_would_run_and_changes_nothing() -> None:
    scheduler = a_scheduler()
    feed(scheduler, *two_boards(), Submitted(0, (a_job("1"), a_job("2"), a_job("3"))))
    before = len(scheduler.jobs)
    decision = scheduler.plan(a_job("new", "gpt2"), 0)
    assert decision.chosen == "orin-1"
    chosen = next(row for row in decision.rows if row.chosen)
    assert chosen.verdict == "busy"
    assert chosen.start_s == 200  # after jobs 1 and 2
    assert len(scheduler.jobs) == before
    assert scheduler.plan(a_job("new", "nothing"), 0).chosen is None


def test_plan_of_the_first_job_on_an_idle_fleet_starts_at_once() -> None:
    scheduler = a_scheduler()
    feed(scheduler, *two_boards())
    decision = scheduler.plan(a_job("new"), 7)
    assert [row.start_s for row in decision.rows if row.chosen] == [7]


def test_foresee_gives_a_start_for_everything_that_waits() -> None:
    scheduler = a_scheduler()
    feed(scheduler, *two_boards(), Submitted(0, tuple(a_job(str(i)) for i in range(5))))
    foreseen = scheduler.foresee(0)
    assert set(foreseen) == {i for i, r in scheduler.jobs.items() if r.state == "waiting"}
    assert all(p.start_s > 0 for p in foreseen.values())


def test_the_cost_model_is_asked_once_per_job_and_class() -> None:
    costs = paper_costs()
    scheduler = a_scheduler(costs=costs)
    feed(scheduler, *two_boards(), DeviceJoined(0, nx(2)), DeviceJoined(0, nx(3)))
    feed(scheduler, Submitted(0, (a_job("1"), a_job("2"), a_job("3"))))
    for number in "123":
        feed(scheduler, Finished(1, number, 1, "done"))
    assert costs.asked <= 6


def test_replaying_the_journal_rebuilds_the_state_without_asking_a_policy() -> None:
    journal = MemoryJournal()
    scheduler = Scheduler(EarliestFinish(), paper_costs(), journal=journal)
    jobs = tuple(a_job(str(i)) for i in range(4))
    feed(
        scheduler,
        *two_boards(),
        Submitted(0, jobs),
        Started(1, "0", 1),
        DeviceLost(3, "orin-1"),
        CancelAsked(4, "3"),
        DeviceJoined(5, orin()),
    )
    again = Scheduler(Rogue(RuntimeError("asked")), paper_costs())
    again.replay(journal.entries)
    assert {i: (r.state, r.attempts) for i, r in again.jobs.items()} == {
        i: (r.state, r.attempts) for i, r in scheduler.jobs.items()
    }
    assert again.fleet.job_on == scheduler.fleet.job_on
    assert [r.job.id for r in again.queue] == [r.job.id for r in scheduler.queue]


def test_a_fleet_of_thousands_is_explained_by_one_row_per_class() -> None:
    scheduler = a_scheduler()
    for number in range(150):
        feed(scheduler, DeviceJoined(0, nx(number)), DeviceJoined(0, orin(number)))
    feed(scheduler, Submitted(0, (a_job(),)))
    assert len(scheduler.why("1").rows) == 2


def test_actions_are_journalled_before_they_are_returned() -> None:
    journal = MemoryJournal()
    scheduler = Scheduler(EarliestFinish(), paper_costs(), journal=journal)
    feed(scheduler, *two_boards())
    actions = scheduler.handle(Submitted(0, (replace(a_job()),)))
    assert journal.entries[-len(actions) :] == actions


def test_a_job_whose_only_wish_never_fits_is_held_though_others_would_fit() -> None:
    scheduler = a_scheduler()
    job = a_job("1", "gpt2", needs=Needs(device=("xavier-nx",)))
    feed(scheduler, *two_boards(), Submitted(0, (job,)))
    assert state(scheduler) == "held"


def test_a_job_that_asks_for_more_memory_than_any_device_has_is_held() -> None:
    scheduler = a_scheduler()
    feed(scheduler, *two_boards(), Submitted(0, (a_job(needs=Needs(memory_mib=9000)),)))
    assert state(scheduler) == "held"
    assert "9,000 MiB" in str(scheduler.why("1").reason)


def test_a_job_that_asks_for_a_device_that_is_not_there_waits_for_it() -> None:
    scheduler = a_scheduler()
    job = a_job(needs=Needs(device=("orin-2",)))
    feed(scheduler, *two_boards(), Submitted(0, (job,)))
    assert state(scheduler) == "waiting"
    assert feed(scheduler, DeviceJoined(9, orin(2))) == ["start 1 orin-2 #1"]


def test_an_overdue_device_is_expected_to_take_as_long_again() -> None:
    """Waiting for it is worth less and less, so that a free slower device is used in the end."""
    scheduler = a_scheduler()
    feed(scheduler, *two_boards(), Submitted(0, (a_job("1"),)))  # 100 s on the Orin
    assert feed(scheduler, Submitted(110, (a_job("2"),))) == []  # 10 s more + 100 s < 250 s
    assert feed(scheduler, Submitted(300, (a_job("3", "gpt2"),))) == ["start 2 nx-1 #1"]


def test_a_policy_that_cannot_be_copied_works_and_nothing_is_foreseen_of_it() -> None:
    class Locked(EarliestFinish):
        def __init__(self) -> None:
            self.lock = threading.Lock()

    scheduler = a_scheduler(Locked())
    jobs = (a_job("1"), a_job("2"), a_job("3"))
    assert len(feed(scheduler, *two_boards(), Submitted(0, jobs))) == 2
    decision = scheduler.plan(a_job("4"), 1)
    assert decision.chosen is None
    assert [row.verdict for row in decision.rows] == ["busy", "busy"]
    assert scheduler.foresee(1) == {}
    (error,) = scheduler.policy_errors
    assert "cannot be copied" in error


def test_what_is_learnt_together_is_asked_about_once() -> None:
    """Each measurement by itself would cost a fit where jobs wait."""
    costs = paper_costs()
    scheduler = a_scheduler(costs=costs)
    feed(scheduler, *two_boards(), Submitted(0, tuple(a_job(str(n)) for n in range(10))))
    waiting, asked = len(scheduler.queue), costs.asked
    kills = tuple(a_kill(a_job("x", model), nx()) for model in ("a", "b", "c", "d"))
    feed(scheduler, Learned(1, kills))
    assert {model for model, _ in costs.killed} == set("abcd")
    assert waiting == 8
    assert costs.asked - asked <= 2 * waiting


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_one_event_or_one_for_each_measurement_lead_to_the_same(order: tuple[int, ...]) -> None:
    kills = [a_kill(a_job("x", m), nx()) for m in ("tiny-gpt2", "distilgpt2", "gpt2")]
    kills = [kills[n] for n in order]
    known = [Submitted(1, tuple(a_job(str(n), "tiny-gpt2") for n in range(4)))]
    together, apart = a_scheduler(), a_scheduler()
    feed(together, DeviceJoined(0, nx()), Learned(0, tuple(kills)), *known)
    feed(apart, DeviceJoined(0, nx()), *(Learned(0, (kill,)) for kill in kills), *known)
    held = [(i, r.state, r.reason) for i, r in together.jobs.items()]
    assert held == [(i, r.state, r.reason) for i, r in apart.jobs.items()]
    assert {state for _, state, _ in held} == {"held"}


def test_other_constants_of_a_class_free_what_is_held() -> None:
    costs = paper_costs()
    scheduler = a_scheduler(costs=costs)
    feed(scheduler, DeviceJoined(0, nx()), Submitted(0, (a_job("1", "gpt2"),)))
    assert state(scheduler) == "held"
    costs.times_s = {**costs.times_s, ("gpt2", "xavier-nx"): 5.0}
    assert feed(scheduler, Learned(1, calibrated=(nx().device_class,))) == ["start 1 nx-1 #1"]


def test_a_replay_asks_for_what_waits_once_however_much_was_learnt_meanwhile() -> None:
    """A cost model that has learnt something may have to fit anew before it answers."""
    first, journal = paper_costs(), MemoryJournal()
    scheduler = Scheduler(EarliestFinish(), first, journal=journal)
    jobs = tuple(a_job(str(n), "distilgpt2") for n in range(20))
    feed(scheduler, *two_boards(), Submitted(0, jobs))
    for n in range(30):
        feed(scheduler, Learned(1 + n, (a_kill(a_job("x", f"model-{n}"), nx()),)))
    feed(scheduler, Learned(40, (a_kill(a_job("x", "distilgpt2"), nx()),)))
    feed(scheduler, Learned(41, (a_kill(a_job("x", "distilgpt2"), orin()),)))
    assert len(scheduler.held) == 18
    second = paper_costs()
    again = Scheduler(EarliestFinish(), second)
    again.replay(journal)
    assert set(again.held) == set(scheduler.held)
    assert {i: r.reason for i, r in again.jobs.items()} == {
        i: r.reason for i, r in scheduler.jobs.items()
    }
    assert second.asked <= 2 * len(jobs) < first.asked / 10
