"""Closed boards, pauses, holds, retries, attempts that come back: what becomes of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from builders import NX, TableCosts, a_job, a_kill, nx, orin, paper_costs
from invariants import check_invariants

from jetsched.policies import BUILT_IN, load
from jetsched.records import Code, Decision, Device, Job, Needs, Placement, Retry, Row
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    CLOSINGS,
    CancelAsked,
    DeviceClosed,
    DeviceJoined,
    DeviceLost,
    DeviceOpened,
    DeviceRemoved,
    DiskSeen,
    Event,
    Finished,
    HoldAsked,
    QueuePaused,
    Reattached,
    RetryAsked,
    Start,
    Started,
    Submitted,
    Tick,
)
from jetsched.scheduler.journal import MemoryJournal
from jetsched.scheduler.view import Policy, View


class World:
    """A scheduler that is checked after every event."""

    def __init__(
        self,
        *events: Event,
        policy: Policy | None = None,
        costs: TableCosts | None = None,
        aging_s: float = 0.0,
    ) -> None:
        self.journal = MemoryJournal()
        self.scheduler = Scheduler(
            policy or load("earliest_finish"),
            costs or paper_costs(),
            fallback=load("earliest_finish"),
            journal=self.journal,
            aging_s=aging_s,
        )
        self.tell(*events)

    def tell(self, *events: Event) -> list[str]:
        """What was done because of the events, in short: ``start 1 nx-1 #1``."""
        done = []
        for event in events:
            for action in self.scheduler.handle(event):
                if isinstance(action, Start):
                    p = action.placement
                    done.append(f"start {p.job.id} {p.device.id} #{action.attempt}")
                else:
                    done.append(f"stop {action.job_id} {action.outcome}")
            check_invariants(self.scheduler)
        return done

    def state(self, job_id: str = "1") -> str:
        return self.scheduler.jobs[job_id].state

    def reason(self, job_id: str = "1") -> tuple[Code, str]:
        """The code and the text, which `why` says as well."""
        reason = self.scheduler.reason(job_id)
        assert reason is not None
        assert self.scheduler.why(job_id).reason == reason
        return reason.code, reason.text

    def rows(self, job_id: str = "1") -> dict[str, Row]:
        return {row.device: row for row in self.scheduler.why(job_id).rows}

    def outcomes(self, job_id: str = "1") -> list[str | None]:
        return [attempt.outcome for attempt in self.scheduler.jobs[job_id].attempts]


BOTH = (DeviceJoined(0, nx()), DeviceJoined(0, orin()))


def drained(at_s: float = 1, device: str = "orin-1", text: str = "new SD card") -> DeviceClosed:
    return DeviceClosed(at_s, device, "Draining", text)


def submitted(at_s: float, *models: str) -> Submitted:
    jobs = (a_job(str(n), model, submitted_s=at_s) for n, model in enumerate(models, start=1))
    return Submitted(at_s, tuple(jobs))


# ------------------------------------------------------------------------------- closed boards


def test_a_drained_board_gets_no_new_job_and_what_runs_there_goes_on() -> None:
    world = World(*BOTH, submitted(1, "gpt2", "gpt2"))
    assert world.tell(drained(2)) == []
    assert world.state("1") == "starting"
    assert world.tell(Started(3, "1", 1), Finished(9, "1", 1, "done")) == []
    assert world.state("1") == "done"
    assert world.state("2") == "waiting"
    assert world.tell(DeviceOpened(20, "orin-1", "Draining")) == ["start 2 orin-1 #1"]


@pytest.mark.parametrize("code", CLOSINGS)
def test_a_job_whose_boards_are_all_closed_waits_and_says_why(code: Code) -> None:
    """It is not held: nobody has to do anything about the job."""
    world = World(*BOTH, DeviceClosed(1, "orin-1", code, "so it is"), submitted(2, "gpt2"))
    assert world.state() == "waiting"
    told, text = world.reason()
    assert told == code
    assert "orin-1" in text
    assert "so it is" in text


def test_a_closed_board_is_busy_in_the_table_and_never_only_where_the_job_does_not_fit() -> None:
    world = World(*BOTH, drained(), drained(1, "nx-1", ""), submitted(2, "gpt2"))
    row = world.rows()["orin-1"]
    assert (row.verdict, row.code, row.start_s, row.finish_s) == ("busy", "Draining", None, None)
    assert "new SD card" in row.reason
    assert row.time_s == 200.0
    assert world.rows()["nx-1"].verdict == "never"


def test_a_plan_for_a_closed_board_says_that_it_would_wait() -> None:
    world = World(*BOTH, drained())
    decision: Decision = world.scheduler.plan(a_job("x", "gpt2"), 5)
    assert decision.chosen is None
    assert decision.reason is not None
    assert decision.reason.code == "Draining"
    assert not all(row.verdict == "never" for row in decision.rows)


def test_a_board_opens_once_nothing_closes_it_any_more() -> None:
    hot = DeviceClosed(2, "orin-1", "TooHot", "88 °C")
    world = World(*BOTH, drained(), hot, submitted(3, "gpt2"))
    assert world.reason()[0] == "Draining"  # the first of the list
    assert world.tell(DeviceOpened(4, "orin-1", "Draining")) == []
    assert world.reason()[0] == "TooHot"
    assert world.tell(DeviceOpened(5, "orin-1", "TooHot")) == ["start 1 orin-1 #1"]


def test_closings_outlive_the_absence_of_a_board() -> None:
    world = World(*BOTH, drained(), DeviceLost(2, "orin-1"), submitted(3, "gpt2"))
    assert world.tell(DeviceJoined(4, orin())) == []
    assert world.reason()[0] == "Draining"


def test_a_board_may_be_closed_before_it_joins_for_the_first_time() -> None:
    world = World(drained(0), submitted(1, "gpt2"), DeviceJoined(2, orin()))
    assert world.state() == "waiting"
    assert world.reason()[0] == "Draining"


def test_a_closed_board_of_a_new_kind_is_hope_for_what_was_held() -> None:
    world = World(DeviceJoined(0, nx()), submitted(1, "gpt2"))
    assert world.state() == "held"
    world.tell(drained(2), DeviceJoined(3, orin()))
    assert world.state() == "waiting"


class Stubborn:
    """Places the first job on one very device, open or not."""

    name = "stubborn"

    def __init__(self, device: Device) -> None:
        self.device = device

    def decide(self, view: View) -> Iterator[Placement]:
        for job in list(view.queue()):
            estimate = view.verdict(job, self.device)
            yield Placement(job, self.device, estimate, view.now_s, view.now_s)  # type: ignore[arg-type]


def test_a_policy_that_places_on_a_closed_board_is_refused_and_told_why() -> None:
    world = World(*BOTH, drained(), policy=Stubborn(orin()))
    assert world.tell(submitted(2, "distilgpt2")) == ["start 1 nx-1 #1"]  # the fallback
    (error,) = world.scheduler.policy_errors
    assert "placed 1 on orin-1, which takes no new jobs: it is being drained: new SD card" in error


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_policy_goes_round_closed_boards_and_uses_them_once_they_open(name: str) -> None:
    boards = [nx(1), nx(2), orin(1), orin(2)]
    world = World(*(DeviceJoined(0, board) for board in boards), policy=load(name))
    closed = ("nx-1", "orin-2")
    busy = world.tell(submitted(1, *["distilgpt2"] * 4))
    assert len(busy) >= 1
    world.tell(*(drained(2, device) for device in closed))
    jobs = [a_job(str(10 + n), "distilgpt2", submitted_s=3.0) for n in range(12)]
    started = world.tell(Submitted(3, tuple(jobs)))
    at_s, idle = 4.0, 0
    while world.scheduler.fleet.job_on and idle < 200:
        idle += 1
        device, job_id = next(iter(world.scheduler.fleet.job_on.items()))
        attempt = world.scheduler.jobs[job_id].attempts[-1].number
        at_s = max(at_s + 1, world.scheduler.fleet.finish_s[device])
        done = world.tell(Finished(at_s, job_id, attempt, "done"))
        started += done
    assert not [start for start in started if start.split()[2] in closed]
    assert world.scheduler.policy_errors == []
    left = [r for r in world.scheduler.jobs.values() if r.state != "done"]
    assert not left, f"{len(left)} jobs were left, though two boards are open"
    world.tell(*(DeviceOpened(at_s + 1, device, "Draining") for device in closed))
    more = [a_job(str(50 + n), "distilgpt2", submitted_s=at_s + 2) for n in range(8)]
    world.tell(Submitted(at_s + 2, tuple(more)))
    for device in ("nx-1", "nx-2", "orin-1"):
        world.tell(drained(at_s + 3, device))
    last = [a_job("last", "distilgpt2", submitted_s=at_s + 4)]
    world.tell(Submitted(at_s + 4, tuple(last)))
    assert world.scheduler.policy_errors == []


def test_what_is_planned_names_only_boards_that_a_wish_leaves_open() -> None:
    """A wish that was met before: nobody watched its boards while none of its jobs waited."""
    wish = Needs(device=("orin-2",))
    world = World(DeviceJoined(0, orin(1)), DeviceJoined(0, orin(2)))
    assert world.scheduler.plan(a_job("x", "gpt2", needs=wish), 1).chosen == "orin-2"
    world.tell(DeviceLost(2, "orin-2"))
    assert world.scheduler.plan(a_job("x", "gpt2", needs=wish), 3).chosen is None


def test_a_removed_board_is_forgotten_with_its_closings() -> None:
    world = World(*BOTH, drained(), DeviceLost(2, "orin-1"), DeviceRemoved(3, "orin-1"))
    assert world.scheduler.fleet.away == {}
    world.tell(submitted(4, "gpt2"))
    assert world.state() == "held"  # nothing that is known could run it
    assert world.tell(DeviceJoined(5, orin())) == ["start 1 orin-1 #1"]


def test_a_job_waits_for_a_board_that_is_away_and_is_held_when_it_is_removed() -> None:
    world = World(*BOTH, DeviceLost(1, "orin-1"), submitted(2, "gpt2"))
    assert world.state() == "waiting"
    assert world.reason()[0] == "DeviceOffline"
    world.tell(DeviceRemoved(3, "orin-1"))
    assert (world.state(), world.reason()[0]) == ("held", "NotProfiled")


def test_what_runs_on_a_board_that_is_removed_is_lost_and_tried_again() -> None:
    world = World(*BOTH, submitted(1, "distilgpt2"))
    assert world.tell(DeviceRemoved(2, "orin-1")) == ["start 1 nx-1 #2"]
    assert world.outcomes() == ["lost", None]


# ------------------------------------------------------------------------------------ the disk


def roomy(at_s: float, device: str, free_mib: float) -> DiskSeen:
    return DiskSeen(at_s, device, free_mib)


def asking(job_id: str, mib: float = 6000.0, at_s: float = 1.0) -> Job:
    return a_job(job_id, "distilgpt2", needs=Needs(disk_mib=mib), submitted_s=at_s)


def test_a_job_goes_only_where_as_much_disk_is_free_as_it_asks_for() -> None:
    world = World(*BOTH, roomy(0, "orin-1", 5000), roomy(0, "nx-1", 7000))
    assert world.tell(Submitted(1, (asking("1"),))) == ["start 1 nx-1 #1"]


def test_a_job_that_no_board_has_the_disk_for_waits_until_there_is_some() -> None:
    world = World(*BOTH, roomy(0, "orin-1", 5000), roomy(0, "nx-1", 2000))
    assert world.tell(Submitted(1, (asking("1"),))) == []
    assert world.state() == "waiting"  # somebody may make room
    code, text = world.reason()
    assert code == "NoDisk"
    assert "orin-1: there is too little disk: the job asks for 6,000 MiB of disk" in text
    row = world.rows()["nx-1"]
    assert (row.verdict, row.code) == ("busy", "NoDisk")
    assert world.tell(roomy(9, "nx-1", 9000)) == ["start 1 nx-1 #1"]


def test_a_board_whose_disk_is_not_known_may_have_room() -> None:
    world = World(*BOTH)
    assert world.tell(Submitted(1, (asking("1"),))) == ["start 1 orin-1 #1"]


def test_a_reading_of_the_disk_is_told_again_only_once_it_is_another_one() -> None:
    world = World(*BOTH)
    news = world.scheduler.disk_is_news
    assert news("orin-1", 50_000) and not news("orin-9", 50_000)
    world.tell(roomy(0, "orin-1", 50_000))
    assert not news("orin-1", 46_000)
    assert news("orin-1", 44_000)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_policy_heeds_the_disk_that_jobs_ask_for(name: str) -> None:
    boards = [nx(1), nx(2), orin(1), orin(2)]
    world = World(*(DeviceJoined(0, board) for board in boards), policy=load(name))
    world.tell(*(roomy(0, board.id, 1000.0) for board in boards[::2]))
    jobs = [asking(str(n)) if n % 2 else a_job(str(n), submitted_s=1.0) for n in range(12)]
    started = world.tell(Submitted(1, tuple(jobs)))
    at_s = 2.0
    while world.scheduler.fleet.job_on:
        device, job_id = next(iter(world.scheduler.fleet.job_on.items()))
        attempt = world.scheduler.jobs[job_id].attempts[-1].number
        at_s = max(at_s + 1, world.scheduler.fleet.finish_s[device])
        started += world.tell(Finished(at_s, job_id, attempt, "done"))
    assert world.scheduler.policy_errors == []
    assert all(r.state == "done" for r in world.scheduler.jobs.values())
    where = {start.split()[1]: start.split()[2] for start in started}
    assert {where[job.id] for job in jobs if job.needs.picky} <= {"nx-2", "orin-2"}


# ---------------------------------------------------------------------------------- the queue


def test_nothing_starts_in_a_paused_queue_and_what_runs_goes_on() -> None:
    world = World(*BOTH, submitted(1, "distilgpt2"), QueuePaused(2, True, "too hot in here"))
    assert world.tell(Submitted(3, (a_job("2"),)), Finished(9, "1", 1, "done")) == []
    assert world.state("1") == "done"
    assert world.state("2") == "waiting"
    assert world.reason("2") == ("Held", "the queue is paused: too hot in here")
    assert world.tell(QueuePaused(10, False)) == ["start 2 orin-1 #1"]


def test_nothing_is_foreseen_in_a_paused_queue_and_a_plan_says_so() -> None:
    world = World(*BOTH, QueuePaused(2, True), submitted(3, "distilgpt2"))
    assert world.scheduler.foresee(4) == {}
    decision = world.scheduler.plan(a_job("x"), 4)
    assert decision.chosen is None
    assert decision.reason is not None
    assert decision.reason.code == "Held"


def test_a_tick_lets_the_policy_think_again() -> None:
    class Later:
        name = "later"

        def decide(self, view: View) -> Iterator[Placement]:
            for job in list(view.queue()):
                if view.now_s >= 10:
                    yield view.options(job)[0]

    world = World(*BOTH, submitted(1, "distilgpt2"), policy=Later())
    assert world.tell(Tick(9)) == []
    assert world.tell(Tick(10)) == ["start 1 orin-1 #1"]


# --------------------------------------------------------------------------- holds and retries


def test_a_held_job_waits_until_it_is_released() -> None:
    world = World(submitted(1, "distilgpt2"), HoldAsked(2, "1", True, "new data"))
    assert (world.state(), world.reason()) == ("held", ("Held", "new data"))
    assert world.tell(*BOTH) == []
    assert world.state() == "held"  # whatever joins
    assert world.tell(HoldAsked(4, "1", False)) == ["start 1 orin-1 #1"]


def test_a_released_job_that_fits_nowhere_is_held_for_that() -> None:
    world = World(DeviceJoined(0, nx()), submitted(1, "gpt2"), HoldAsked(2, "1", True))
    assert world.reason()[0] == "Held"
    world.tell(HoldAsked(3, "1", False))
    assert (world.state(), world.reason()[0]) == ("held", "NotProfiled")


def test_what_runs_or_has_ended_cannot_be_held() -> None:
    world = World(*BOTH, submitted(1, "distilgpt2"), HoldAsked(2, "1", True))
    assert world.state() == "starting"
    world.tell(Finished(3, "1", 1, "done"), HoldAsked(4, "1", True))
    assert world.state() == "done"


def test_a_held_job_can_be_cancelled() -> None:
    world = World(submitted(1, "distilgpt2"), HoldAsked(2, "1", True), CancelAsked(3, "1"))
    assert world.state() == "cancelled"


def test_a_retried_job_goes_on_counting_its_attempts_and_counts_its_retries_anew() -> None:
    job = a_job("1", retry=Retry(times=1, on=("lost", "failed")))
    world = World(DeviceJoined(0, nx()), Submitted(1, (job,)))
    assert world.tell(Finished(2, "1", 1, "failed")) == ["start 1 nx-1 #2"]
    assert world.tell(Finished(3, "1", 2, "failed")) == []
    assert world.state() == "failed"
    assert world.tell(RetryAsked(4, "1")) == ["start 1 nx-1 #3"]
    assert world.tell(Finished(5, "1", 3, "failed")) == ["start 1 nx-1 #4"]
    world.tell(Finished(6, "1", 4, "failed"))
    assert world.state() == "failed"


def test_only_what_ended_and_is_not_done_is_retried() -> None:
    world = World(*BOTH, submitted(1, "distilgpt2", "tiny-gpt2"), CancelAsked(2, "1"))
    world.tell(Finished(3, "1", 1, "cancelled"), RetryAsked(4, "2"))
    assert world.state("2") == "starting"
    assert world.tell(Finished(5, "2", 1, "done"), RetryAsked(6, "2")) == []
    assert world.state("2") == "done"
    assert len(world.tell(RetryAsked(7, "1"))) == 1
    assert world.state("1") == "starting"  # its cancellation is forgotten


def test_a_retried_training_goes_on_from_its_checkpoint() -> None:
    job = a_job("1", checkpoint_every_s=10.0)
    world = World(DeviceJoined(0, nx()), Submitted(0, (job,)))
    world.tell(CancelAsked(125, "1"), Finished(125, "1", 1, "cancelled"), RetryAsked(130, "1"))
    assert world.scheduler.jobs["1"].group.saved == pytest.approx(120 / 250)
    left_s = world.scheduler.jobs["1"].attempts[-1].estimate.time_s
    assert left_s == pytest.approx(250 - 120)


# ------------------------------------------------------------------- what was given up, and lives


def test_an_attempt_whose_board_is_back_is_the_current_one_again() -> None:
    """The board joins closed, so that nothing is placed there first; then it opens."""
    world = World(*BOTH, submitted(0, "gpt2"), Started(1, "1", 1))
    offline = DeviceClosed(2, "orin-1", "DeviceOffline")
    assert world.tell(offline, DeviceLost(3, "orin-1")) == []
    assert (world.state(), world.outcomes()) == ("waiting", ["lost"])
    assert world.tell(DeviceJoined(50, orin())) == []
    assert world.scheduler.may_reattach("1", 1)
    world.tell(Reattached(50, "1", 1), DeviceOpened(50, "orin-1", "DeviceOffline"))
    assert (world.state(), world.outcomes()) == ("running", [None])
    assert world.scheduler.fleet.finish_s == {"orin-1": 200.0}
    world.tell(Finished(205, "1", 1, "done"))
    assert (world.state(), world.outcomes()) == ("done", ["done"])
    assert world.scheduler.usage[""].until(205) == 205.0


def test_nothing_is_reattached_once_the_job_has_a_newer_attempt() -> None:
    world = World(*BOTH, submitted(0, "distilgpt2"), DeviceLost(5, "orin-1"))
    world.tell(DeviceJoined(6, orin()), Reattached(7, "1", 1))
    assert world.outcomes() == ["lost", None]
    assert world.scheduler.fleet.job_on == {"nx-1": "1"}


@pytest.mark.parametrize(
    "wish", [CancelAsked(4, "1"), HoldAsked(4, "1", True)], ids=["cancelled", "held"]
)
def test_nothing_is_reattached_that_somebody_has_stopped_meanwhile(wish: Event) -> None:
    world = World(*BOTH, submitted(0, "gpt2"), drained(1), DeviceLost(3, "orin-1"), wish)
    before = world.state()
    world.tell(DeviceJoined(5, orin()), Reattached(6, "1", 1))
    assert world.state() == before
    assert world.scheduler.fleet.job_on == {}


def test_a_job_that_was_lost_for_good_lives_again_with_its_attempt() -> None:
    job = a_job("1", "gpt2", retry=Retry(times=0))
    world = World(*BOTH, Submitted(0, (job,)), DeviceLost(5, "orin-1"))
    assert world.state() == "lost"
    world.tell(DeviceJoined(6, orin()), Reattached(7, "1", 1))
    assert world.state() == "running"


def test_the_late_result_of_a_lost_attempt_counts_while_there_is_no_newer_one() -> None:
    world = World(*BOTH, submitted(0, "gpt2"), DeviceLost(5, "orin-1"))
    assert world.state() == "waiting"
    world.tell(Finished(90, "1", 1, "done"))
    assert (world.state(), world.outcomes()) == ("done", ["done"])
    assert world.scheduler.jobs["1"].attempts[0].end_s == 90
    assert world.tell(DeviceJoined(99, orin())) == []  # and it does not run twice


def test_the_late_result_of_an_attempt_whose_cluster_went_down_counts_as_well() -> None:
    world = World(*BOTH, drained(0), submitted(0, "distilgpt2"))
    world.tell(drained(1, "nx-1"), Finished(5, "1", 1, "preempted"))
    assert (world.state(), world.outcomes()) == ("waiting", ["preempted"])
    world.tell(Finished(90, "1", 1, "done"))
    assert (world.state(), world.outcomes()) == ("done", ["done"])


def test_the_late_result_of_an_older_attempt_does_not_count() -> None:
    world = World(*BOTH, submitted(0, "distilgpt2"), DeviceLost(5, "orin-1"))
    world.tell(Finished(90, "1", 1, "done"))
    assert (world.state(), world.outcomes()) == ("starting", ["lost", None])


def test_a_late_end_that_is_no_result_leaves_the_attempt_lost() -> None:
    """The board's lease ended, and its agent stopped the attempt."""
    world = World(*BOTH, submitted(0, "gpt2"), DeviceLost(5, "orin-1"))
    world.tell(Finished(90, "1", 1, "lost"))
    assert (world.state(), world.outcomes()) == ("waiting", ["lost"])


def test_a_late_memory_kill_is_learnt_and_the_job_does_not_go_there_again() -> None:
    world = World(*BOTH, submitted(0, "gpt2"), DeviceLost(5, "orin-1"))
    kill = a_kill(world.scheduler.jobs["1"].job, orin())
    world.tell(Finished(6, "1", 1, "killed_memory", kill))
    assert (world.state(), world.outcomes()) == ("killed", ["killed_memory"])


def test_a_held_job_that_is_done_after_all_is_done() -> None:
    world = World(*BOTH, submitted(0, "gpt2"), DeviceLost(5, "orin-1"), HoldAsked(6, "1", True))
    world.tell(Finished(90, "1", 1, "done"))
    assert (world.state(), world.scheduler.reason("1")) == ("done", None)


def test_what_was_saved_counts_once_however_often_an_attempt_is_given_up() -> None:
    job = a_job("1", "gpt2", checkpoint_every_s=10.0)
    world = World(*BOTH, Submitted(0, (job,)))
    for lost_s, back_s in ((50, 60), (100, 110), (150, 160)):
        world.tell(drained(lost_s), DeviceLost(lost_s, "orin-1"))
        assert world.scheduler.jobs["1"].group.saved == pytest.approx(lost_s / 200)
        world.tell(DeviceJoined(back_s, orin()), Reattached(back_s, "1", 1))
        assert world.scheduler.jobs["1"].group.saved == 0.0


# --------------------------------------------------------------------------------------- aging


def aged(*jobs: tuple[str, int, float], aging_s: float = 60.0) -> list[str]:
    """The order in which one board serves jobs that are (id, priority, submitted)."""
    world = World(aging_s=aging_s)
    for job_id, priority, at_s in jobs:
        job = a_job(job_id, "distilgpt2", priority=priority, submitted_s=at_s)
        world.tell(Submitted(at_s, (job,)))
    return [record.job.id for record in world.scheduler.queue]


def test_a_job_that_has_waited_long_enough_goes_before_a_more_important_one() -> None:
    assert aged(("old", 50, 0), ("new", 52, 119)) == ["new", "old"]
    assert aged(("old", 50, 0), ("new", 52, 181)) == ["old", "new"]
    assert aged(("old", 0, 0), ("new", 100, 1e9), aging_s=0.0) == ["new", "old"]


def test_jobs_of_one_priority_keep_their_order_however_they_age() -> None:
    jobs = [(str(n), 50, 37.0 * n) for n in range(40)]
    assert aged(*jobs) == [str(n) for n in range(40)]


def test_levels_leave_a_policy_its_own_order_among_jobs_that_came_about_together() -> None:
    """Shortest first, and the short one came ten points of aging later."""
    world = World(*BOTH, QueuePaused(0, True), policy=load("shortest_first"), aging_s=60.0)
    long = a_job("long", "distilgpt2", submitted_s=600.0)
    short = a_job("short", "tiny-gpt2", submitted_s=1200.0)
    world.tell(Submitted(600, (long,)), Submitted(1200, (short,)))
    assert [r.job.id for r in world.scheduler.queue] == ["long", "short"]
    world.tell(drained(1201), QueuePaused(1202, False))
    assert world.scheduler.fleet.job_on == {"nx-1": "short"}


def test_a_changed_aging_puts_what_waits_into_its_new_order() -> None:
    world = World()
    old, new = a_job("old", priority=0, submitted_s=0.0), a_job("new", submitted_s=9999.0)
    world.tell(Submitted(0, (old,)), Submitted(9999, (new,)))
    assert [r.job.id for r in world.scheduler.queue] == ["new", "old"]
    world.scheduler.age_by(60.0)
    check_invariants(world.scheduler)
    assert [r.job.id for r in world.scheduler.queue] == ["old", "new"]


def test_a_queue_does_not_keep_lanes_that_nobody_waits_in() -> None:
    world = World(aging_s=1.0)
    for n in range(1000):
        world.tell(Submitted(n, (a_job(str(n), submitted_s=float(n)),)), CancelAsked(n, str(n)))
    assert len(world.scheduler.queue._lanes) < 250


# --------------------------------------------------------------------------------- submissions


def test_a_submission_with_a_key_is_known_by_it_also_after_a_replay() -> None:
    world = World(Submitted(0, (a_job("1"), a_job("2")), "key", "digest"))
    again = Scheduler(load("earliest_finish"), paper_costs())
    again.replay(world.journal)
    for scheduler in (world.scheduler, again):
        assert scheduler.submissions["key"].content == "digest"
        assert scheduler.submissions["key"].job_ids == ("1", "2")


def test_a_class_without_a_known_board_is_forgotten_only_when_one_is_removed() -> None:
    """A board in another power mode may be switched back."""
    other = Device("nx-1", replace(NX, power_mode="10W"))
    world = World(DeviceJoined(0, nx()), DeviceJoined(0, orin()), DeviceJoined(1, other))
    assert len(world.scheduler.fleet.classes) == 3
    world.tell(DeviceRemoved(2, "orin-1"))
    assert [kind.device_class for kind in world.scheduler.fleet.classes] == [other.device_class]
