"""A real scheduler's journal, of real children, decided once more and simulated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from live_world import NX, ORIN, LiveWorld, allocating, journal
from local_agents import LocalAgents
from test_knowledge import EAGER, a_calibration

from jetsched.cluster.past import past_job
from jetsched.cluster.replaying import replay
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.costs import CostModel
from jetsched.profiler.limits import Limits
from jetsched.records import Device, Job, Needs, Workload
from jetsched.scheduler.events import Reattached

#: Room for what the cost model thinks of the smallest work, and little more on the first.
SMALL = replace(NX, device_class=replace(NX.device_class, memory_mib=900.0))
LARGE = replace(ORIN, device_class=replace(ORIN.device_class, memory_mib=3000.0))


def boards() -> dict[str, tuple[Device, Limits]]:
    return {
        "nx-1": (SMALL, Limits(memory_mib=900.0)),
        "orin-1": (LARGE, Limits(memory_mib=3000.0)),
    }


def a_world(home: Path, agents: LocalAgents | None = None, policy: str = "auto") -> LiveWorld:
    agents = agents or LocalAgents(home / "nodes", boards())
    return LiveWorld(home, CostModel(), agents=agents, policy=policy, timing=EAGER)


def sleeping(id: str, seconds: float, like: int = 16, **changes: object) -> Job:
    """A job that sleeps; the cost model takes it for one that makes so many tokens."""
    work = Workload(
        "command",
        "tiny-gpt2",
        command=f"sleep {seconds}",
        like="infer",
        prompt_tokens=8,
        max_new_tokens=like,
    )
    job = Job(id, work)
    return replace(job, **changes)  # type: ignore[arg-type]


def test_what_a_live_scheduler_decided_is_decided_again_from_its_journal(tmp_path: Path) -> None:
    """Waits, a memory kill and its lesson, a cancel, a pause, a closed board, other policies, a
    calibration that was found meanwhile, and a scheduler that was started anew among them."""
    with a_world(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(*(sleeping(str(n), 0.1 + 0.1 * (n % 3), 16 * (1 + n % 4)) for n in range(8)))
        world.until(lambda s: s.jobs["3"].state == "done")
        kill = Workload(
            "command", "tiny-gpt2", command=allocating(1200, 0.1), like="infer", max_new_tokens=4
        )
        world.submit(Job("big", kill, needs=Needs(("nx-1", "orin-1"))))
        world.submit(sleeping("long", 600, priority=90))
        world.until(lambda s: s.jobs["long"].current is not None)
        world.desk.use_policy("shortest_first")
        world.submit(*(sleeping(f"b{n}", 0.2, 64 // (1 + n)) for n in range(5)))
        CalibrationStore(tmp_path / "calibrations.jsonl").append(
            a_calibration(SMALL.device_class), a_calibration(LARGE.device_class, 2.0)
        )
        world.desk.cancel("long")
        world.until_state("big", "done", "killed")
        world.stop()
        with a_world(tmp_path, world.agents, "lowest_energy") as again:
            again.until_devices("nx-1", "orin-1")
            again.submit(*(sleeping(f"c{n}", 0.2, 8 * (1 + n)) for n in range(4)))
            for id in (*map(str, range(8)), "big", *(f"b{n}" for n in range(5))):
                again.until_state(id, "done", "killed", "failed")
            for n in range(4):
                again.until_state(f"c{n}", "done")
    found = replay(tmp_path / "journal.db")
    assert found.followed is not None
    assert found.causes == [] and found.followed.differences == 0
    assert found.followed.starts >= 8 + 1 + 1 + 5 + 4
    assert [spec for _, spec in found.followed.policies] == ["auto", "shortest_first"]
    assert len(found.followed.restarts) == 2


@pytest.mark.slow
def test_twenty_live_jobs_take_as_long_in_the_simulation_as_they_did(tmp_path: Path) -> None:
    """Real children on two boards: decisions the same, makespan within 10 %."""
    draw = Random(6)
    jobs = [
        sleeping(str(n), round(draw.uniform(0.4, 1.6), 2), draw.choice((8, 32, 128)))
        for n in range(20)
    ]
    with a_world(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        for job in jobs:
            world.submit(job)
        for job in jobs:
            assert world.until_state(job.id, "done", "failed")[-1][1] == "done"
    found = replay(tmp_path / "journal.db")
    assert found.same and found.free is not None
    print(
        f"\nlive {found.free.live_makespan_s:.2f} s, simulated"
        f" {found.free.simulated_makespan_s:.2f} s ({found.free.off:+.1%}), overhead"
        f" {1000 * (found.free.overhead_s or 0):.0f} ms"
    )
    assert found.free.jobs == 20
    assert abs(found.free.off) < 0.10


def test_a_board_that_was_away_and_an_attempt_that_lived_on_are_decided_again(
    tmp_path: Path,
) -> None:
    """Its agent is cut off while jobs wait; the attempt there is the current one again."""
    timing = replace(EAGER, silence_s=1.0)
    agents = LocalAgents(tmp_path / "nodes", boards())
    with LiveWorld(tmp_path, CostModel(), agents=agents, policy="auto", timing=timing) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(sleeping("long", 6.0, needs=Needs(("nx-1",))))
        world.until(lambda s: s.jobs["long"].state == "running")
        world.submit(*(sleeping(str(n), 0.3, 16 * (1 + n % 3)) for n in range(6)))
        world.agents.cut.add("nx-1")
        world.until_devices("orin-1")
        world.submit(*(sleeping(f"b{n}", 0.2) for n in range(3)))
        world.agents.cut.clear()
        world.until_devices("nx-1", "orin-1")
        for id in ("long", *map(str, range(6)), "b0", "b1", "b2"):
            world.until_state(id, "done", "failed")
    entries = journal(tmp_path)
    assert any(isinstance(entry, Reattached) for entry in entries)
    found = replay(tmp_path / "journal.db")
    assert found.causes == [] and found.same
    assert found.free is not None and found.free.reattached == 1
    (long,) = past_job("long", tmp_path / "journal.db").jobs
    assert [(a.outcome, a.reattached) for a in long.attempts] == [("done", True)]
