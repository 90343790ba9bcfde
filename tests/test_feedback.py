"""Every finished job is a measurement, and what it taught outlives the scheduler that heard it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from live_world import ORIN, LiveWorld, allocating, journal
from local_agents import LocalAgents
from test_replay_live import SMALL, a_world, sleeping

from jetsched.cluster.replaying import replay
from jetsched.profiler.costs import CostModel
from jetsched.profiler.limits import Limits
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Estimate, Job, Needs, Never, Retry, Verdict, Workload
from jetsched.scheduler.events import Finished

#: Needs more than the small boards have.
TOO_MUCH = Workload(
    "command", "tiny-gpt2", command=allocating(1200, 0.1), like="infer", max_new_tokens=4
)


def two_small_boards(folder: Path) -> LocalAgents:
    small = Limits(memory_mib=900.0)
    boards = {
        "nx-1": (SMALL, small),
        "nx-2": (replace(SMALL, id="nx-2"), small),
        "orin-1": (ORIN, Limits(memory_mib=2000.0)),
    }
    return LocalAgents(folder / "nodes", boards)


def verdict(world: LiveWorld, job: Job) -> Verdict:
    found: Verdict = world.look(lambda s: s.costs.verdict(job, SMALL.device_class))
    return found


def test_a_kill_is_still_known_when_the_scheduler_was_killed_and_no_board_tries_again(
    tmp_path: Path,
) -> None:
    """From the journal alone: the file of measurements is gone. For the class, not the board."""
    with LiveWorld(tmp_path, CostModel(), agents=two_small_boards(tmp_path)) as world:
        world.until_devices("nx-1", "nx-2", "orin-1")
        wish = Needs(device=("nx-1",))
        world.submit(Job("1", TOO_MUCH, needs=wish, retry=Retry(times=0)))
        assert world.until_state("1", "done", "killed") == [("nx-1", "killed_memory")]
        never = verdict(world, Job("x", TOO_MUCH))
        world.stop()
        (tmp_path / MeasurementStore.name).unlink()
        with LiveWorld(tmp_path, CostModel(), agents=world.agents) as again:
            again.until_devices("nx-1", "nx-2", "orin-1")
            assert verdict(again, Job("x", TOO_MUCH)) == never
            again.submit(Job("2", TOO_MUCH))
            assert again.until_state("2", "done", "killed") == [("orin-1", "done")]
    assert isinstance(never, Never) and never.code == "NeverFits"


def test_the_estimate_follows_what_was_measured_and_the_next_scheduler_thinks_the_same(
    tmp_path: Path,
) -> None:
    """Not what the data sheet says: a command that takes far longer, and then is estimated so."""
    slow = [sleeping(str(n), 0.7, like=1, needs=Needs(("nx-1",))) for n in range(3)]
    with a_world(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        before = verdict(world, slow[0])
        thought: list[Estimate] = []
        for job in slow:
            world.submit(job)
            assert world.until_state(job.id, "done", "failed") == [("nx-1", "done")]
            jobs = world.look(lambda s: dict(s.jobs))
            thought.append(jobs[job.id].attempts[-1].estimate)
        after = verdict(world, slow[0])
        world.stop()
        with a_world(tmp_path, world.agents) as again:
            again.until_devices("nx-1", "orin-1")
            assert verdict(again, slow[0]) == after
    assert isinstance(before, Estimate) and before.source != "measured"
    assert isinstance(after, Estimate) and after.source == "measured"
    assert [estimate.measurements for estimate in thought] == [before.measurements, 1, 2]
    seen = [
        entry.measurement.time_s
        for entry in journal(tmp_path)
        if isinstance(entry, Finished) and entry.measurement is not None
    ]
    assert after.measurements == len(seen) == 3
    assert after.time_s == pytest.approx(sorted(time_s or 0.0 for time_s in seen)[1], rel=0.2)
    assert replay(tmp_path / "journal.db", mode="exact").same


def test_each_finished_attempt_is_kept_for_the_next_cluster_too(tmp_path: Path) -> None:
    """Once in the journal, once in the data home's file; a new journal learns from the file."""
    with a_world(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(*(sleeping(str(n), 0.1) for n in range(4)))
        for n in range(4):
            world.until_state(str(n), "done")
    kept = MeasurementStore(tmp_path / MeasurementStore.name).read()
    told = [
        entry.measurement
        for entry in journal(tmp_path)
        if isinstance(entry, Finished) and entry.measurement is not None
    ]
    assert sorted(m.job_id for m in kept) == ["0", "1", "2", "3"]
    assert sorted(kept, key=lambda m: m.job_id) == sorted(told, key=lambda m: m.job_id)
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with a_world(tmp_path, LocalAgents(tmp_path / "others", world.agents._boards)) as fresh:
        fresh.until_devices("nx-1", "orin-1")
        job = sleeping("9", 0.1)
        found = fresh.look(lambda s: s.costs.verdict(job, kept[0].device_class))
        assert isinstance(found, Estimate) and found.source == "measured"
