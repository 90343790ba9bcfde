"""A journal that cannot be written: nothing is done that is not written down, and it goes on."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from live_world import FAST, LiveWorld, a_command, journal, starts
from sqlalchemy import text

from jetsched.cluster.clock import LiveClock
from jetsched.cluster.journalling import GroupJournal, JournalError
from jetsched.cluster.store import Store
from jetsched.profiler.attempts import is_running
from jetsched.scheduler.events import Finished, Submitted, Tick

BOTH = ("nx-1", "orin-1")


class SmallDisk:
    """Makes a service's journal full, as SQLite itself finds it: it gets no further page."""

    def __init__(self, world: LiveWorld) -> None:
        self._world = world

    def _limit(self, pages: int) -> None:
        def set_limit(now_s: float) -> None:
            with self._world.service._store._connection.begin() as transaction:
                connection = transaction.connection
                connection.execute(text(f"PRAGMA max_page_count={pages}"))

        self._world.cluster.ask(set_limit)

    def fill(self) -> None:
        self._limit(1)  # SQLite takes what there is as the least

    def free(self) -> None:
        self._limit(1_000_000)


def big(job_id: str, run: str = "true") -> object:
    """A job that does not fit what is left of a page."""
    return a_command(job_id, f"{run} #{'x' * 20000}")


def test_what_cannot_be_written_is_refused_and_not_done_and_later_it_goes_on(
    tmp_path: Path,
) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        disk = SmallDisk(world)
        disk.fill()
        with pytest.raises(JournalError, match="cannot be written: database or disk is full"):
            world.submit(big("1"))  # type: ignore[arg-type]
        with pytest.raises(JournalError):
            world.submit(a_command("2", "true"))
        assert world.cluster.stuck is not None
        time.sleep(0.5)
        assert not (tmp_path / "nodes" / "nx-1" / "1-1").exists()
        assert not starts(journal(tmp_path))
        assert world.desk.devices()  # questions are answered
        disk.free()
        assert world.until_state("1", "done") == [("nx-1", "done")]
        assert world.cluster.stuck is None
        world.submit(a_command("2", "true"))
        assert world.until_state("2", "done") == [("nx-1", "done")]
    entries = journal(tmp_path)
    assert [job.id for e in entries if isinstance(e, Submitted) for job in e.jobs] == ["1", "2"]
    assert [e.job_id for e in entries if isinstance(e, Finished)] == ["1", "2"]


def test_what_runs_goes_on_while_the_disk_is_full_and_its_end_counts(tmp_path: Path) -> None:
    """Longer than the lease: the agents hear that the head lives."""
    with LiveWorld(tmp_path, lease_s=2.0) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 5"))
        world.until(lambda s: s.jobs["1"].state == "running")
        disk = SmallDisk(world)
        disk.fill()
        with pytest.raises(JournalError):
            world.submit(big("2"))  # type: ignore[arg-type]
        folder = tmp_path / "nodes" / "nx-1" / "1-1"
        time.sleep(3.5)
        assert is_running(folder)
        world.wait(lambda: not is_running(folder))
        assert world.cluster.stuck is not None
        disk.free()
        assert world.until_state("1", "done", "lost") == [("nx-1", "done")]
        assert world.until_state("2", "done", "lost")[-1][1] == "done"


def test_a_service_that_is_stopped_while_the_disk_is_full_loses_only_what_it_refused(
    tmp_path: Path,
) -> None:
    with LiveWorld(tmp_path) as first:
        first.until_devices(*BOTH)
        first.submit(a_command("1", "sleep 2"))
        first.until(lambda s: s.jobs["1"].state == "running")
        SmallDisk(first).fill()
        with pytest.raises(JournalError):
            first.submit(big("2"))  # type: ignore[arg-type]
        first.stop()
        with LiveWorld(tmp_path, agents=first.agents) as second:
            assert second.until_state("1", "done", "lost") == [("nx-1", "done")]
            assert second.look(lambda s: list(s.jobs)) == ["1"]


@pytest.mark.parametrize("patience", [{"ray_s": 2.0}, {"renew_s": 2.0}])
def test_a_disk_that_was_full_for_long_makes_nobody_seem_gone(
    tmp_path: Path, patience: dict[str, float]
) -> None:
    """Neither Ray, so that the service would end, nor the agents, which would be replaced."""
    with LiveWorld(tmp_path, timing=replace(FAST, **patience)) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 5"))
        world.until(lambda s: s.jobs["1"].state == "running")
        disk = SmallDisk(world)
        disk.fill()
        with pytest.raises(JournalError):
            world.submit(big("2"))  # type: ignore[arg-type]
        time.sleep(3.0)
        disk.free()
        assert world.until_state("1", "done", "lost") == [("nx-1", "done")]


def test_a_group_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "journal.db")
    group = GroupJournal(store)
    for at_s in range(3):
        group.append(Tick(float(at_s)))
    assert len(store) == 0
    group.commit()
    assert [entry.at_s for entry in store.entries()] == [0.0, 1.0, 2.0]
    group.commit()
    assert len(store) == 3
    with pytest.raises(ValueError):
        group.append(Tick(float("nan")))
    group.commit()
    assert len(store) == 3
    store.close()


class Wall:
    """A clock that somebody sets, and one that goes on."""

    def __init__(self) -> None:
        self.wall_s, self.monotonic_s = 1000.0, 0.0

    def pass_s(self, seconds: float, step_s: float = 0.0) -> None:
        self.wall_s += seconds + step_s
        self.monotonic_s += seconds


def test_the_clock_never_goes_back_nor_stands_still_and_comes_back_to_the_wall_clock() -> None:
    wall = Wall()
    clock = LiveClock(0.0, lambda: wall.wall_s, lambda: wall.monotonic_s)
    assert clock.now_s() == 1000.0
    wall.pass_s(10.0)
    assert clock.now_s() == 1010.0
    wall.pass_s(1.0, step_s=-60.0)
    assert 1010.0 < clock.now_s() < 1011.0
    before = clock.now_s()
    for _ in range(30):
        wall.pass_s(1.0)
        assert clock.now_s() > before
        before = clock.now_s()
    wall.pass_s(200.0)
    assert clock.now_s() == wall.wall_s
    wall.pass_s(1.0, step_s=7200.0)
    assert clock.now_s() == wall.wall_s


def test_after_a_restart_time_goes_on_from_the_last_entry_of_the_journal() -> None:
    wall = Wall()
    clock = LiveClock(5000.0, lambda: wall.wall_s, lambda: wall.monotonic_s)
    assert clock.now_s() == 5000.0
    wall.pass_s(2.0)
    assert 5000.0 < clock.now_s() < 5002.0


def test_a_step_of_the_wall_clock_loses_no_attempt(tmp_path: Path) -> None:
    step_s = [0.0]
    with LiveWorld(tmp_path, lease_s=5.0, wall=lambda: time.time() + step_s[0]) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 2"))
        world.until(lambda s: s.jobs["1"].state == "running")
        for step_s[0] in (36_000.0, -36_000.0):
            time.sleep(0.5)
        assert world.until_state("1", "done", "lost") == [("nx-1", "done")]
    times = [entry.at_s for entry in journal(tmp_path)]
    assert times == sorted(times)
