"""A board on which attempts are lost in a row rests, and the job's retries outlive that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from builders import TableCosts
from live_world import FAST, NX, ORIN, LiveWorld, a_command, journal

from jetsched.cluster.boards import Roster, Timing
from jetsched.cluster.resting import Resting
from jetsched.records import Estimate, Needs, Outcome, Placement, Retry
from jetsched.scheduler.control import ControlledBook
from jetsched.scheduler.events import (
    DeviceClosed,
    DeviceJoined,
    DeviceLost,
    DeviceOpened,
    DeviceRemoved,
    Event,
    Finished,
    Reattached,
    Start,
    Submitted,
)

ESTIMATE = Estimate(10.0, 10.0, 10.0, 10.0, 50.0, None, None, "assumed", "table")


class Bench:
    """A book with boards that answer, and a clock that is set by hand."""

    def __init__(self, *boards: str) -> None:
        self.now_s = 0.0
        self.book = ControlledBook(TableCosts({}))
        self.roster = Roster()
        for device_id in boards:
            device = replace(NX if device_id.startswith("nx") else ORIN, id=device_id)
            self.book.apply(DeviceJoined(0.0, device))
            self.roster.board(device_id).ready = True
        self.book.apply(Submitted(0.0, (a_command("1", "true", retry=Retry(50)),)))
        self.resting = Resting(self.book, self.roster, Timing(), lambda: self.now_s)

    def handle(self, event: Event) -> list[Event]:
        """As the loop does; returns what came before the event."""
        before = list(self.resting.before(event))
        self._apply([*before, event])
        return before

    def start(self, device_id: str = "nx-1") -> int:
        record = self.book.jobs["1"]
        attempt = len(record.attempts) + 1
        device = self.book.fleet.devices[device_id]
        placement = Placement(record.job, device, ESTIMATE, self.now_s, self.now_s + 10)
        self._apply([Start(self.now_s, placement, attempt)])
        return attempt

    def end(self, outcome: Outcome, device_id: str = "nx-1") -> list[Event]:
        """One more attempt, and how it ends."""
        return self.handle(Finished(self.now_s, "1", self.start(device_id), outcome))

    def wait(self, pause_s: float) -> list[Event]:
        self.now_s += pause_s
        opened = list(self.resting.over())
        self._apply(opened)
        return opened

    def _apply(self, events: Iterable[Event | Start]) -> None:
        for event in events:
            self.book.apply(event)


def test_a_board_is_closed_before_its_loss_is_told_and_opens_when_it_has_rested() -> None:
    bench = Bench("nx-1", "orin-1")
    text = "an attempt was lost here: it rests for 5 s"
    assert bench.end("lost") == [DeviceClosed(0.0, "nx-1", "DeviceOffline", text)]
    assert set(bench.book.fleet.open) == {"orin-1"}
    assert bench.wait(4.5) == []
    assert bench.wait(0.5) == [DeviceOpened(5.0, "nx-1", "DeviceOffline")]
    assert bench.wait(1.0) == [] and bench.resting.why("nx-1") == ""


def test_each_loss_in_a_row_doubles_the_rest_up_to_five_minutes() -> None:
    bench = Bench("nx-1", "orin-1")
    rests = []
    for _ in range(8):
        bench.end("lost")
        rests.append(bench.resting.why("nx-1").rpartition(" for ")[2])
        bench.wait(300.0)
    assert rests == ["5 s", "10 s", "20 s", "40 s", "80 s", "160 s", "300 s", "300 s"]


def test_the_only_open_board_rests_for_a_shorter_time() -> None:
    bench = Bench("nx-1")
    bench.end("lost")
    assert bench.resting.why("nx-1").endswith("2 s") and bench.wait(2.0)


@pytest.mark.parametrize("outcome", ["done", "failed", "killed_memory", "killed_time"])
def test_an_attempt_that_ends_otherwise_ends_the_row(outcome: Outcome) -> None:
    bench = Bench("nx-1", "orin-1")
    bench.end("lost")
    bench.wait(5.0)
    bench.end(outcome)
    assert bench.resting.why("nx-1") == ""


@pytest.mark.parametrize("outcome", ["preempted", "cancelled"])
def test_what_somebody_took_away_says_nothing_of_the_board(outcome: Outcome) -> None:
    bench = Bench("nx-1", "orin-1")
    assert bench.end(outcome) == [] and bench.resting.why("nx-1") == ""


def test_a_board_that_is_lost_with_its_attempt_rests_from_then_on() -> None:
    bench = Bench("nx-1", "orin-1")
    bench.start()
    assert bench.handle(DeviceLost(0.0, "nx-1", "gone")) == []  # it had been closed before
    assert bench.resting.why("nx-1") != "" and bench.wait(1.0) == []


def test_a_board_that_is_lost_idle_needs_no_rest() -> None:
    bench = Bench("nx-1", "orin-1")
    bench.handle(DeviceLost(0.0, "nx-1", "gone"))
    assert bench.resting.why("nx-1") == ""


def test_an_attempt_that_turns_out_to_live_was_no_loss() -> None:
    bench = Bench("nx-1", "orin-1")
    attempt = bench.start()
    bench.handle(DeviceLost(0.0, "nx-1", "gone"))
    bench.handle(DeviceJoined(1.0, NX))
    bench.handle(Reattached(1.0, "1", attempt))
    assert bench.resting.why("nx-1") == ""


def test_a_board_that_does_not_answer_is_not_opened_by_its_rest() -> None:
    bench = Bench("nx-1", "orin-1")
    bench.end("lost")
    bench.roster.board("nx-1").ready = False
    assert bench.wait(10.0) == []


def test_a_board_that_is_removed_begins_anew() -> None:
    bench = Bench("nx-1", "orin-1")
    bench.end("lost")
    bench.handle(DeviceRemoved(0.0, "nx-1"))
    assert bench.resting.why("nx-1") == ""


# ------------------------------------------------------------------------------------- in the loop


def test_a_job_whose_board_loses_it_goes_elsewhere_at_once(tmp_path: Path) -> None:
    """It would be placed on the same board again, which is as fast and comes first."""
    with LiveWorld(tmp_path, timing=replace(FAST, rest_s=60.0, longest_rest_s=60.0)) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(a_command("1", "sleep 1"))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.restart("nx-1")
        assert world.until_state("1", "done", "lost") == [("nx-1", "lost"), ("orin-1", "done")]
        rows = {row["id"]: row for row in world.desk.devices()}
        assert "lost here: it rests for 60 s" in rows["nx-1"]["text"]
        world.submit(a_command("2", "true", needs=Needs(("nx-1",))))
        reason = world.look(lambda s: s.why("2", s.now_s).reason)
        assert reason.code == "DeviceOffline" and "nx-1: an attempt was lost here" in reason.text


def test_the_only_board_gets_the_job_again_after_its_rest(tmp_path: Path) -> None:
    with LiveWorld(tmp_path, timing=replace(FAST, rest_s=0.5)) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(a_command("1", "sleep 1", needs=Needs(("nx-1",))))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.restart("nx-1")
        assert world.until_state("1", "done", "lost") == [("nx-1", "lost"), ("nx-1", "done")]
    events = journal(tmp_path)
    lost = next(e for e in events if isinstance(e, Finished) and e.outcome == "lost")
    again = [e for e in events if isinstance(e, Start)][1]
    assert again.at_s - lost.at_s >= 0.45
    opened = [e for e in events if isinstance(e, DeviceOpened) and e.at_s > lost.at_s]
    assert [e.device_id for e in opened] == ["nx-1"]
