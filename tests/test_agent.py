"""The agent on a node: what it starts, refuses, forgets, cleans up and throws away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from agent_world import OneAgent, a_job
from attempt_worlds import SOON_S, processes_in
from hypothesis import given
from hypothesis import strategies as st
from small_disk import fill, small_disk

from jetsched.cluster import nodefolder
from jetsched.cluster.agent import Agent
from jetsched.cluster.exchange import Wishes
from jetsched.cluster.nodeconfig import NODE_VARIABLE, STALL_VARIABLE, NodeConfig
from jetsched.cluster.nodefolder import FolderTaken
from jetsched.cluster.protocol import Order, attempt_name
from jetsched.files import json_bytes, to_json

DAY_S = 86400.0

# -------------------------------------------------------------------------------- nothing to do


def test_the_null_command_is_done_without_a_child_in_one_exchange(tmp_path: Path) -> None:
    with OneAgent(tmp_path) as world:
        orders = tuple(Order(a_job(str(number), ":"), 1) for number in range(50))
        answers = world.ask(world.agent.exchange(Wishes(starts=orders)))
        assert {report.phase for report in answers.reports.values()} == {"ended"}
        measurement = answers.reports[("7", 1)].measurement
        assert measurement is not None and measurement.outcome == "done"
        assert (measurement.job_id, measurement.device) == ("7", "nx-1")
        assert measurement.amount == 1 and measurement.time_s == 0
        assert measurement.rate_s is None  # it says nothing about the board
        keys = tuple(order.key for order in orders)
        assert world.ask(world.agent.info()).ended == keys
        world.ask(world.agent.exchange(Wishes(forget=keys)))
        assert world.ask(world.agent.info()).ended == ()
        assert [place.name for place in tmp_path.iterdir()] == [nodefolder.LOCK]


def test_a_command_that_only_looks_like_the_null_command_is_run(tmp_path: Path) -> None:
    with OneAgent(tmp_path) as world:
        report = world.until_ended(world.start("1", ": > made"))
        assert report.measurement is not None and report.measurement.outcome == "done"
        assert (world.place(("1", 1)) / "made").exists()


# ------------------------------------------------------------------------------- what cannot start


def test_on_a_full_disk_a_start_is_refused_and_the_node_closed_until_there_is_room(
    tmp_path: Path,
) -> None:
    """Never *failed*, which would be the job's fault, and the agent goes on."""
    with small_disk(tmp_path / "disk", 4) as disk, OneAgent(disk, disk_min_mib=1.0) as world:
        assert world.ask(world.agent.info()).closings == ()
        ballast = fill(disk)
        key = world.start("1", "true")
        report = world.report(key)
        assert report.phase == "unknown" and "No space left" in report.text
        ((code, text),) = world.ask(world.agent.reading()).closings
        assert code == "NoDisk" and "0 MiB free" in text
        ballast.unlink()
        assert world.ask(world.agent.info()).closings == ()
        report = world.until_ended(world.start("1", "true", attempt=2))
        assert report.measurement is not None and report.measurement.outcome == "done"


def test_a_folder_that_cannot_be_written_closes_the_node_however_much_room_there_is(
    tmp_path: Path,
) -> None:
    with OneAgent(tmp_path / "node", disk_min_mib=0.0) as world:
        (tmp_path / "node").rename(tmp_path / "away")
        (tmp_path / "node").write_text("in the way")
        report = world.report(world.start("1", "true"))
        assert report.phase == "unknown" and "NotADirectoryError" in report.text
        ((code, text),) = world.ask(world.agent.reading()).closings
        assert code == "NoDisk" and "NotADirectoryError" in text
        (tmp_path / "node").unlink()
        (tmp_path / "away").rename(tmp_path / "node")
        assert world.ask(world.agent.reading()).closings == ()


def test_two_agents_never_share_a_folder(tmp_path: Path) -> None:
    taken = pytest.raises(FolderTaken, match=f"process {os.getpid()}")
    with OneAgent(tmp_path) as world, taken:
        Agent(world.agent._config, patience_s=0.1)
    with OneAgent(tmp_path):  # the first is gone
        pass


def test_an_agent_waits_for_one_before_it_to_be_gone(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from jetsched.cluster.nodefolder import hold
held = hold(Path(sys.argv[1]), 0)
print("held", flush=True)
time.sleep(1)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        nodefolder.hold(tmp_path, SOON_S).close()
        other.wait(SOON_S)


# --------------------------------------------------------------------------------- names of folders


@given(st.text(max_size=400), st.integers(1, 99))
def test_an_attempt_s_folder_is_always_one_below_the_node_s(job_id: str, number: int) -> None:
    name = attempt_name((job_id, number))
    assert Path("/node", name).resolve().parent == Path("/node")
    assert name == os.path.basename(name) and len(name.encode()) < 255
    assert name.endswith(f"-{number}")


def test_long_ids_that_begin_alike_have_folders_of_their_own() -> None:
    one, other = (attempt_name(("x" * 300 + end, 1)) for end in "ab")
    assert one != other


# ------------------------------------------------------------------------------------------ stalls


def test_the_node_s_stall_limit_goes_with_every_attempt(tmp_path: Path) -> None:
    with OneAgent(tmp_path, stall_s=77.0) as world:
        key = world.start("1", "true")
        assert world.agent._runs[key].order.limits.stall_s == 77.0
        world.until_ended(key)


@pytest.mark.parametrize(("said", "stall_s"), [("", 600.0), ("12.5", 12.5), ("0", 0.0)])
def test_a_trial_can_set_another_stall_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, stall_s: float
) -> None:
    with OneAgent(tmp_path / "node") as world:
        (tmp_path / "node.json").write_bytes(json_bytes(to_json(world.agent._config)))
    monkeypatch.setenv(NODE_VARIABLE, str(tmp_path / "node.json"))
    monkeypatch.setenv(STALL_VARIABLE, said)
    assert NodeConfig.from_environment().stall_s == stall_s


# -------------------------------------------------------------------------------------- the lease


def test_without_a_word_from_the_head_what_runs_is_stopped(tmp_path: Path) -> None:
    with OneAgent(tmp_path, lease_s=0.4) as world:
        key = world.start("1", "sleep 600")
        run = world.agent._runs[key]
        world.until(lambda: run.result() is not None)
        assert world.report(key).measurement == run.result()
        result = run.result()
        assert result is not None and result.outcome == "lost"


# -------------------------------------------------------------------------- forgetting and cleaning

MESS = (
    "mkdir -p checkpoint/step-2 checkpoint/step-3.part out;"
    "touch model.part half.new checkpoint/step-2/weights out/half big; exit 3"
)


def test_what_a_failed_attempt_leaves_is_cleaned_once_the_head_has_all(tmp_path: Path) -> None:
    """What tells how it went stays, and the checkpoint, for its job may be tried again."""
    with OneAgent(tmp_path) as world:
        key = world.start("1", MESS)
        world.until_ended(key)
        place = world.place(key)
        assert (place / "big").exists()  # until then the head may still fetch something
        world.ask(world.agent.forget(key))
        left = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
        kept = {*nodefolder.KEPT, nodefolder.TOLD, "checkpoint/step-2/weights"}
        assert left <= kept
        assert {"log.txt", "measurement.json", "checkpoint/step-2/weights"} <= left
        assert not (place / "checkpoint/step-3.part").exists()


def test_of_a_job_that_was_done_only_unfinished_pieces_go(tmp_path: Path) -> None:
    with OneAgent(tmp_path) as world:
        key = world.start("1", "touch result half.part")
        world.until_ended(key)
        world.ask(world.agent.forget(key))
        assert (world.place(key) / "result").exists()
        assert not (world.place(key) / "half.part").exists()


def test_what_lives_is_not_forgotten(tmp_path: Path) -> None:
    with OneAgent(tmp_path) as world:
        key = world.start("1", "touch ready; sleep 600")
        world.until((world.place(key) / "ready").exists)
        world.ask(world.agent.forget(key))
        assert world.ask(world.agent.info()).attempts == (key,)
        assert (world.place(key) / "ready").exists()


def test_results_are_offered_until_they_are_forgotten(tmp_path: Path) -> None:
    """Also to a head that was started anew, and does not know that it wants them."""
    with OneAgent(tmp_path) as world:
        key = world.start("1", "true")
        world.until_ended(key)
        assert world.ask(world.agent.info()).ended == (key,)
        world.ask(world.agent.forget(key))
        assert world.ask(world.agent.info()).ended == ()


def test_checkpoints_of_jobs_that_are_over_are_dropped_and_no_others(tmp_path: Path) -> None:
    with OneAgent(tmp_path) as world:
        keys = [("1", 1), ("1", 2), ("11", 1)]
        for id, number in keys:
            key = world.start(id, "mkdir -p checkpoint/step-1; exit 3", attempt=number)
            world.until_ended(key)
            world.ask(world.agent.forget(key))
        world.ask(world.agent.drop(("1", "../1", "no such job")))
        assert [(world.place(key) / "checkpoint").exists() for key in keys] == [False, False, True]
        assert [(world.place(key) / "log.txt").exists() for key in keys] == [True, True, True]


def an_old_one(world: OneAgent, id: str, days: float, kib: int, *, told: bool = True) -> Path:
    key = world.start(id, f"head -c {kib * 1024} /dev/zero > result")
    world.until_ended(key)
    if told:
        world.ask(world.agent.forget(key))
    else:
        world.agent._runs.pop(key)
    place = world.place(key)
    os.utime(place, (time.time() - days * DAY_S,) * 2)
    return place


def test_old_attempts_are_pruned_by_age_and_the_oldest_of_too_many_by_size(tmp_path: Path) -> None:
    with OneAgent(tmp_path) as world:
        ancient = an_old_one(world, "1", 40, 1)
        older = an_old_one(world, "2", 3, 600)
        newer = an_old_one(world, "3", 2, 600)
        untold = an_old_one(world, "4", 4, 600, told=False)
        paused = an_old_one(world, "5", 5, 600)
        (paused / "checkpoint/step-1").mkdir(parents=True)
        os.utime(paused, (time.time() - 5 * DAY_S,) * 2)
        running = world.start("6", "sleep 600")
        os.utime(world.place(running), (0, 0))
        pruned = world.ask(world.agent.prune(30 * DAY_S, 2.0))
        assert (pruned.attempts, round(pruned.mib, 1)) == (2, 0.6)
        assert not ancient.exists() and not older.exists()
        assert newer.exists() and untold.exists() and paused.exists()
        assert world.place(running).exists()
        pruned = world.ask(world.agent.prune(DAY_S, 100.0))  # by age nothing is spared
        assert pruned.attempts == 3
        assert world.until(lambda: processes_in(world.place(running)))  # but what runs


def test_a_disk_that_gets_full_is_relieved_of_old_attempts(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk, OneAgent(disk, disk_min_mib=2.0) as world:
        old = an_old_one(world, "1", 1, 5000)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(2 << 20))
        assert world.ask(world.agent.reading()).closings[0][0] == "NoDisk"
        assert world.agent._chores is not None
        world.agent._chores.cancel()  # they come every few seconds, at once when begun anew
        world.until(lambda: world.agent._chores is None or world.agent._chores.done())
        world.ask(world.agent.info())
        world.until(lambda: not old.exists())
        assert world.ask(world.agent.reading()).closings == ()


# ---------------------------------------------------------------------------- restarts of the agent


def test_how_an_attempt_ended_is_told_by_the_next_agent(tmp_path: Path) -> None:
    """Its supervisor ended it with the agent; what it left is read from the disk."""
    with OneAgent(tmp_path) as world:
        key = world.start("1", "echo so far; touch ready; sleep 600")
        world.until((world.place(key) / "ready").exists)
        world.agent._runs[key].release()  # what the kernel does when the agent dies
        del world.agent._runs[key]
    with OneAgent(tmp_path) as world:
        report = world.until_ended(key)
        assert report.measurement is not None and report.measurement.outcome == "lost"
        assert report.log == b"so far\n"
        world.ask(world.agent.forget(key))
        assert world.ask(world.agent.info()).attempts == ()


# ------------------------------------------------------------------------- live as under `profile`

LOOK = """
    env | grep -v -e ^TMPDIR= -e ^PWD= -e ^JETSCHED_OUT= -e ^_= | sort > seen;
    nice >> seen; cat /proc/self/oom_score_adj >> seen; umask >> seen; ulimit -a >> seen;
    grep -e ^Sig -e ^Cpus_allowed: -e ^NoNewPrivs /proc/self/status >> seen
"""


def test_a_live_child_sees_what_one_under_profile_sees(tmp_path: Path) -> None:
    """Although the one's starter is a Ray worker, and the other's a person's shell."""
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
if sys.argv[2] == "ray":
    os.nice(15)
    os.umask(0o077)
    os.environ.update(RAY_JOB_ID="1", RAY_RAYLET_PID="7", OMP_NUM_THREADS="1", PYTHONPATH="/x",
                      CUDA_VISIBLE_DEVICES="", JETSCHED_NODE="/x", PYTHONUNBUFFERED="1",
                      RAY_CLIENT_MODE="0", SPT_NOENV="1",
                      PYTHONBREAKPOINT="ray.util.rpdb.set_trace")
    Path("/proc/self/oom_score_adj").write_text("1000")
    from agent_world import OneAgent, a_job
    with OneAgent(Path(sys.argv[1])) as world:
        key = world.start("1", {LOOK!r})
        world.until_ended(key)
        print((world.place(key) / "seen").read_text())
else:
    from attempt_worlds import a_command
    from jetsched.profiler.runner import Run
    run = Run.start(a_command(Path(sys.argv[1]), {LOOK!r}))
    run.wait(60)
    print((run.order.folder / "seen").read_text())
"""
    seen = {
        starter: subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / starter), starter],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for starter in ("ray", "shell")
    }
    if os.geteuid():  # a niceness can be taken back by root only
        pytest.skip("needs root")
    assert seen["ray"] == seen["shell"]
    assert len(seen["shell"]) > 20


# --------------------------------------------------------------------------------------- footprint

#: None of it is needed to start a child and to read its folder; each costs 10 to 100 MB.
HEAVY = {"numpy", "scipy", "sqlalchemy", "fastapi", "sklearn", "matplotlib", "rich", "torch"}


def test_the_agent_s_process_imports_nothing_heavy(tmp_path: Path) -> None:
    """After a whole life: the configuration, readings, a start, reports, the end of it."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from jetsched.cluster.agent import Agent, NodeConfig
from jetsched.cluster.protocol import Order
from jetsched.files import from_json, to_json
from jetsched.profiler.limits import Limits
from jetsched.records import Device, DeviceClass, Job, Workload
import asyncio

async def live():
    device = Device("nx-1", DeviceClass("xavier-nx", "15W", "", 150.0))
    config = from_json(NodeConfig, to_json(NodeConfig(device, sys.argv[1], Limits())))
    agent = Agent(config)
    job = Job("1", Workload("command", "", command="true"))
    await agent.start(Order(job, 1))
    while (await agent.poll({{("1", 1): 0}}))[("1", 1)].phase != "ended":
        await asyncio.sleep(0.02)
        await agent.reading()
    await agent.info()
    await agent.stored((0, 0))
    await agent.forget(("1", 1))

asyncio.run(live())
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    run = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
