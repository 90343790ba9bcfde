"""Whatever happens to boards, links and the scheduler: each job ends, and is done at most once."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_world import FAST, LiveWorld, a_command, journal

from jetsched.profiler.attempts import is_running
from jetsched.records import FINAL_STATES, Retry
from jetsched.scheduler.events import DeviceLost, Entry, Finished, Reattached, Start

BOTH = ("nx-1", "orin-1")
#: Everything is noticed within a second.
HASTY = replace(FAST, suspect_s=0.15, silence_s=0.6, call_s=1.0, begin_s=0.4, idle_poll_s=0.1)
#: Losses are no fault of the job here, however many are drawn.
PATIENT = Retry(times=50)


@dataclass(frozen=True)
class Fault:
    """Something that happens after a pause."""

    kind: str
    board: str
    pause_s: float


FAULTS = st.builds(
    Fault,
    kind=st.sampled_from(["cut", "hang", "heal", "restart", "unplug", "plug", "scheduler"]),
    board=st.sampled_from(BOTH),
    pause_s=st.sampled_from([0.0, 0.05, 0.3, 0.9]),
)


def befall(world: LiveWorld, fault: Fault) -> LiveWorld:
    """Let it happen; returns the world that goes on."""
    agents, board = world.agents, fault.board
    time.sleep(fault.pause_s)
    if fault.kind == "cut":
        agents.cut.add(board)
    elif fault.kind == "hang":
        agents.hung.add(board)
    elif fault.kind == "heal":
        agents.heal(board)
    elif fault.kind == "restart" and board in agents.plugged:
        agents.restart(board)
    elif fault.kind == "unplug" and board in agents.plugged:
        agents.unplug(board)
    elif fault.kind == "plug" and board not in agents.plugged:
        agents.plug(board)
    elif fault.kind == "scheduler":
        world.stop()
        return LiveWorld(world.home, agents=agents, timing=HASTY)
    return world


def check_history(entries: list[Entry]) -> None:
    """No job is done twice, and no attempt starts before the one before it was given up."""
    open_attempts: dict[str, int] = {}
    done: set[str] = set()
    last: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry, Start):
            job_id = entry.placement.job.id
            assert job_id not in open_attempts and job_id not in done
            assert entry.attempt == last.get(job_id, 0) + 1
            open_attempts[job_id] = last[job_id] = entry.attempt
        elif isinstance(entry, Reattached):
            assert entry.attempt == last[entry.job_id]
            open_attempts[entry.job_id] = entry.attempt
        elif isinstance(entry, Finished) and entry.attempt == last.get(entry.job_id):
            open_attempts.pop(entry.job_id, None)
            if entry.outcome == "done":
                assert entry.job_id not in done
                done.add(entry.job_id)
        elif isinstance(entry, DeviceLost):
            # What ran there is given up; a later Finished or Reattached of it may still count.
            open_attempts = {
                j: a for j, a in open_attempts.items() if not _ran_on(entries, j, a, entry)
            }


def _ran_on(entries: list[Entry], job_id: str, attempt: int, lost: DeviceLost) -> bool:
    return any(
        isinstance(e, Start)
        and (e.placement.job.id, e.attempt) == (job_id, attempt)
        and e.placement.device.id == lost.device_id
        for e in entries
    )


def endure(home: Path, faults: list[Fault], jobs: int) -> None:
    """Submit jobs, let the faults happen, mend everything: all must be done, once each."""
    world = LiveWorld(home, timing=HASTY, lease_s=1.5)
    try:
        world.until_devices(*BOTH)
        for n in range(jobs):
            run = ("sleep 0.4", ":", "sleep 1.2", "true")[n % 4]
            world.submit(
                a_command(str(n), f"{run}; echo done" if run != ":" else run, retry=PATIENT)
            )
        for fault in faults:
            world = befall(world, fault)
        for board in BOTH:
            world.agents.heal(board)
            if board not in world.agents.plugged:
                world.agents.plug(board)
        world.until(lambda s: all(record.state in FINAL_STATES for record in s.jobs.values()))
        states = world.look(lambda s: {i: r.state for i, r in s.jobs.items()})
        assert set(states.values()) == {"done"}, states
        world.until(lambda s: set(s.fleet.open) == set(BOTH))  # nothing foreign is left either
        nodes = home / "nodes"
        alive = [p for b in BOTH for p in (nodes / b).glob("*-*") if (p / "order.json").exists()]
        assert not [p for p in alive if is_running(p)]
    finally:
        world.__exit__(None, None, None)
    check_history(journal(home))


@pytest.mark.slow
@settings(
    max_examples=8,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
@given(faults=st.lists(FAULTS, min_size=1, max_size=6), jobs=st.integers(1, 5))
def test_every_job_is_done_once_whatever_happens(faults: list[Fault], jobs: int) -> None:
    with TemporaryDirectory() as folder:
        endure(Path(folder), faults, jobs)


@pytest.mark.parametrize(
    "faults",
    [
        # Cut around the start; the scheduler dies while a board is away; all at once.
        [Fault("cut", "nx-1", 0.0), Fault("cut", "orin-1", 0.0), Fault("heal", "nx-1", 0.9)],
        [Fault("unplug", "nx-1", 0.3), Fault("scheduler", "nx-1", 0.0), Fault("plug", "nx-1", 0.9)],
        [Fault("hang", "nx-1", 0.3), Fault("scheduler", "nx-1", 0.9), Fault("heal", "nx-1", 0.3)],
        [Fault("restart", "nx-1", 0.05), Fault("restart", "orin-1", 0.05)],
    ],
)
def test_faults_that_have_hurt_before(tmp_path: Path, faults: list[Fault]) -> None:
    endure(tmp_path, faults, jobs=4)
