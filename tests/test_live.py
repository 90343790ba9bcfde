"""The live cluster over agents in this process: the loop, attempts, losses and recovery."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from builders import TableCosts
from live_world import (
    FAST,
    NX,
    ORIN,
    LiveWorld,
    a_command,
    allocating,
    journal,
    starts,
    table,
)
from local_agents import LocalAgents

from jetsched.cluster.agent import Agent, NodeConfig
from jetsched.cluster.checkpoints import latest_checkpoint
from jetsched.cluster.protocol import Order
from jetsched.cluster.scheduling import POLICY_ERRORS
from jetsched.cluster.store import JOURNAL, Store
from jetsched.cluster.truth import TrueRun
from jetsched.errors import InputError, UnreachableError
from jetsched.files import to_json
from jetsched.jobfile import parse_job
from jetsched.profiler.attempts import is_running
from jetsched.profiler.limits import Limits
from jetsched.profiler.runner import Progress
from jetsched.profiler.store import MeasurementStore
from jetsched.records import DeviceClass, Job, Measurement, Needs, Placement, Retry, Workload
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceJoined,
    Finished,
    Learned,
    Stop,
    Submitted,
)
from jetsched.scheduler.table import known_run
from jetsched.scheduler.view import View

BOTH = ("nx-1", "orin-1")


def test_a_job_runs_and_its_log_and_measurement_come_to_the_head(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "echo hello; sleep 0.2; echo bye"))
        assert world.until_state("1", "done", "failed") == [("nx-1", "done")]
        assert world.log("1") == "hello\nbye\n"
    measured = MeasurementStore(tmp_path / "measurements.jsonl").read()
    assert [(m.job_id, m.outcome, m.device, m.emulated) for m in measured] == [
        ("1", "done", "nx-1", True)
    ]


def test_a_log_comes_while_the_job_runs(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "echo early; sleep 30"))
        world.wait(lambda: "early" in world.log("1"))
        assert world.look(lambda s: s.jobs["1"].state) == "running"


def test_a_log_larger_than_one_answer_arrives_whole(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "head -c 1500000 /dev/zero | tr '\\0' x; echo end"))
        world.until_state("1", "done", "failed")
        assert world.cluster.log_path(("1", 1)).stat().st_size == 1_500_004


def test_a_job_that_is_too_big_is_killed_by_the_kernel_learnt_and_done_elsewhere(
    tmp_path: Path,
) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", allocating(700, 0.1)))
        assert world.until_state("1", "done", "killed", "failed") == [
            ("nx-1", "killed_memory"),
            ("orin-1", "done"),
        ]
        assert world.look(lambda s: s.verdict(s.jobs["1"], NX.device_class).code) == "NeverFits"


def test_a_running_job_can_be_cancelled(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 60"))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.desk.cancel("1")
        assert world.until_state("1", "cancelled") == [("nx-1", "cancelled")]
        assert world.look(lambda s: not s.fleet.job_on)


def test_a_time_limit_ends_a_job(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 60", time_limit_s=0.5))
        assert world.until_state("1", "killed", "done") == [("nx-1", "killed_time")]


def test_an_attempt_that_cannot_be_started_is_lost_with_the_reason(tmp_path: Path) -> None:
    """It is the board's trouble, not the job's: another board may have it."""
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        shutil.rmtree(tmp_path / "nodes" / "nx-1")
        (tmp_path / "nodes" / "nx-1").write_text("in the way")
        world.submit(a_command("1", "true", needs=Needs(("nx-1",))))
        first = world.until(lambda s: next((a for a in s.jobs["1"].attempts if a.outcome), None))
        assert (first.device, first.outcome) == ("nx-1", "lost")
        assert "could not be started" in first.text


# ------------------------------------------------------------------------------ agents and nodes


def test_an_agent_that_was_restarted_loses_its_attempt_and_the_job_is_tried_again(
    tmp_path: Path,
) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 3"))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.restart("nx-1")
        assert world.until_state("1", "done", "lost")[0] == ("nx-1", "lost")
        assert world.look(lambda s: s.jobs["1"].state) == "done"
        assert not is_running(tmp_path / "nodes" / "nx-1" / "1-1")


def test_a_node_that_dies_is_lost_and_its_job_runs_elsewhere(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 3"))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.unplug("nx-1")
        assert world.until_state("1", "done", "lost") == [("nx-1", "lost"), ("orin-1", "done")]
        states = {d["id"]: (d["state"], d["text"]) for d in world.desk.devices()}
        assert states["nx-1"] == ("offline", "its node is gone")
        world.agents.plug("nx-1")
        world.until_devices(*BOTH)


def test_a_link_that_heals_in_time_costs_nothing(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 2; echo done"))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.cut.add("nx-1")
        time.sleep(0.5)
        world.agents.cut.clear()
        assert world.until_state("1", "done", "lost") == [("nx-1", "done")]
        assert world.log("1") == "done\n"


def test_what_runs_on_a_board_that_was_silent_for_too_long_goes_on_if_nobody_else_has_begun(
    tmp_path: Path,
) -> None:
    timing = replace(FAST, suspect_s=0.2, silence_s=0.5)
    with LiveWorld(tmp_path, timing=timing) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "echo a; sleep 2; echo b", needs=Needs(("nx-1",))))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.cut.add("nx-1")
        world.until_devices("orin-1")
        assert world.look(lambda s: s.jobs["1"].attempts[0].outcome) == "lost"
        assert world.look(lambda s: s.jobs["1"].state) == "waiting"
        world.agents.cut.clear()
        assert world.until_state("1", "done") == [("nx-1", "done")]
        assert world.log("1") == "a\nb\n"
        world.until(lambda s: not s.fleet.closings.get("nx-1"))


def test_what_ends_on_a_board_while_it_is_given_up_counts_if_nobody_else_has_begun(
    tmp_path: Path,
) -> None:
    timing = replace(FAST, suspect_s=0.2, silence_s=0.5)
    with LiveWorld(tmp_path, timing=timing) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 1; echo b", needs=Needs(("nx-1",))))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.cut.add("nx-1")
        world.until_devices("orin-1")
        world.wait(lambda: not is_running(tmp_path / "nodes" / "nx-1" / "1-1"))
        assert world.look(lambda s: s.jobs["1"].state) == "waiting"
        world.agents.cut.clear()
        assert world.until_state("1", "done") == [("nx-1", "done")]
        assert world.log("1") == "b\n"


def test_a_late_result_counts_though_its_measurement_was_learnt_before(tmp_path: Path) -> None:
    """A scheduler that was killed had kept the measurement in the data home, and no more."""
    timing = replace(FAST, suspect_s=0.2, silence_s=0.5)
    with LiveWorld(tmp_path, timing=timing) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 1", needs=Needs(("nx-1",))))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.cut.add("nx-1")
        world.until_devices("orin-1")
        world.wait(lambda: not is_running(tmp_path / "nodes" / "nx-1" / "1-1"))
        world.cluster._reports._is_known = lambda measured: True
        world.agents.cut.clear()
        assert world.until_state("1", "done") == [("nx-1", "done")]


def test_what_runs_on_a_board_that_was_given_up_is_stopped_once_the_job_has_begun_elsewhere(
    tmp_path: Path,
) -> None:
    timing = replace(FAST, suspect_s=0.2, silence_s=0.5)
    with LiveWorld(tmp_path, timing=timing) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 60"))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.cut.add("nx-1")
        world.until(lambda s: len(s.jobs["1"].attempts) == 2)
        assert is_running(tmp_path / "nodes" / "nx-1" / "1-1")  # nobody could stop it
        world.agents.cut.clear()
        world.until_devices(*BOTH)
        assert not is_running(tmp_path / "nodes" / "nx-1" / "1-1")
        world.desk.cancel("1")
        assert world.until_state("1", "cancelled") == [("nx-1", "lost"), ("orin-1", "cancelled")]


def test_a_board_that_does_not_answer_gets_no_job_and_keeps_the_one_it_has(tmp_path: Path) -> None:
    timing = replace(FAST, suspect_s=0.3)
    with LiveWorld(tmp_path, timing=timing) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 2"))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.cut.add("nx-1")
        world.until(lambda s: "DeviceOffline" in s.fleet.closings.get("nx-1", {}))
        world.submit(a_command("2", "true", needs=Needs(("nx-1",))))
        states = {d["id"]: d["state"] for d in world.desk.devices()}
        assert states["nx-1"] == "suspect"
        assert world.look(lambda s: s.why("2", s.now_s).reason.code) == "DeviceOffline"
        world.agents.cut.clear()
        assert world.until_state("1", "done", "lost") == [("nx-1", "done")]
        assert world.until_state("2", "done", "lost") == [("nx-1", "done")]


def test_an_agent_that_hears_nothing_from_the_head_stops_its_attempt(tmp_path: Path) -> None:
    with LiveWorld(tmp_path, lease_s=1.0) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 60"))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.stop()
        folder = tmp_path / "nodes" / "nx-1" / "1-1"
        end = time.monotonic() + 60
        while is_running(folder):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_an_agent_of_another_protocol_is_refused_and_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetsched.cluster.agent.PROTOCOL", 99)
    with LiveWorld(tmp_path) as world:
        world.wait(lambda: [d["id"] for d in world.desk.devices() if "99" in d["text"]] == [*BOTH])
        assert [d["state"] for d in world.desk.devices()] == ["offline", "offline"]


def test_a_board_whose_agent_speaks_another_protocol_after_an_upgrade_is_given_up_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LiveWorld(tmp_path) as first:
        first.until_devices(*BOTH)
        first.stop()
        monkeypatch.setattr("jetsched.cluster.agent.PROTOCOL", 99)
        patient = replace(FAST, silence_s=1e6)
        with LiveWorld(tmp_path, agents=first.agents, timing=patient) as second:
            second.until_devices()
            second.wait(lambda: all("99" in d["text"] for d in second.desk.devices()))


class LastWords:
    """A run that ends, with a last word, while it is being asked how it is."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def poll(self) -> Progress:
        self._log.write_text("last words\n")
        return Progress("ended")

    def result(self) -> Measurement:
        return Measurement(Workload("command", "short"), NX.device_class, "done")


def test_what_a_job_says_at_its_very_end_comes_before_its_result(tmp_path: Path) -> None:
    (tmp_path / "1-1").mkdir()
    agent, key = Agent(NodeConfig(NX, str(tmp_path))), ("1", 1)
    agent._runs[key] = LastWords(tmp_path / "1-1" / "log.txt")  # type: ignore[assignment]
    report = asyncio.run(agent.poll({key: 0}))[key]
    assert (report.phase, report.log, report.more) == ("ended", b"last words\n", False)


def test_an_attempt_whose_folder_is_unreadable_is_lost_and_its_board_goes_on(
    tmp_path: Path,
) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        spoil = "printf '{' > supervisor.json; sleep 600"  # the job runs in that folder
        world.submit(a_command("1", spoil, needs=Needs(("nx-1",)), retry=Retry(0)))
        assert world.until_state("1", "lost", "done") == [("nx-1", "lost")]
        assert "not JSON" in world.look(lambda s: s.jobs["1"].attempts[0].text)
        world.submit(a_command("2", "true", needs=Needs(("nx-1",))))
        assert world.until_state("2", "lost", "done") == [("nx-1", "done")]


# --------------------------------------------------------------------------------------- recovery


def test_a_new_scheduler_adopts_what_runs_and_nothing_runs_twice(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as first:
        first.until_devices(*BOTH)
        first.submit(a_command("1", "echo a; sleep 2; echo b"), a_command("2", "sleep 0.1"))
        first.until(lambda s: s.jobs["1"].state == "running" and s.jobs["2"].state == "done")
        first.stop()
        with LiveWorld(tmp_path, agents=first.agents) as second:
            assert second.look(lambda s: s.jobs["2"].state) == "done"
            assert second.until_state("1", "done", "lost") == [("nx-1", "done")]
            assert second.log("1") == "a\nb\n"
    assert len(starts(journal(tmp_path))) == 2
    finished = [e for e in journal(tmp_path) if isinstance(e, Finished)]
    assert sorted(e.job_id for e in finished) == ["1", "2"]


def test_what_ended_while_no_scheduler_was_there_counts(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as first:
        first.until_devices(*BOTH)
        first.submit(a_command("1", "sleep 0.5"))
        first.until(lambda s: s.jobs["1"].state == "running")
        first.stop()
        time.sleep(1.0)
        with LiveWorld(tmp_path, agents=first.agents) as second:
            assert second.until_state("1", "done", "lost") == [("nx-1", "done")]


def test_taking_the_cluster_down_uses_up_no_retry(tmp_path: Path) -> None:
    """What ran then is *preempted*, and runs again after the next `up`."""
    with LiveWorld(tmp_path) as first:
        first.until_devices(*BOTH)
        first.submit(a_command("1", "sleep 600", retry=Retry(times=0)))
        first.until(lambda s: s.jobs["1"].state == "running")
    with LiveWorld(tmp_path, since_s=time.time()) as second:
        second.until(lambda s: len(s.jobs["1"].attempts) == 2)
        outcomes = second.look(lambda s: [a.outcome for a in s.jobs["1"].attempts])
    assert outcomes == ["preempted", None]


def test_a_start_that_was_journalled_and_never_made_is_lost_and_tried_again(
    tmp_path: Path,
) -> None:
    with LiveWorld(tmp_path) as first:
        first.until_devices(*BOTH)
        first.cluster.perform = lambda action: None  # type: ignore[method-assign] # it dies here
        first.submit(a_command("1", "echo once"))
        first.stop()
        with LiveWorld(tmp_path, agents=first.agents) as second:
            attempts = second.until_state("1", "done", "lost")
    assert [outcome for _, outcome in attempts] == ["lost", "done"]


@pytest.mark.parametrize("journalled", ["CancelAsked", "Stop"])
def test_a_wish_to_cancel_outlives_the_scheduler_that_took_it(
    tmp_path: Path, journalled: str
) -> None:
    """It died after the wish, or after the decision to stop, was written down."""
    with LiveWorld(tmp_path) as first:
        first.until_devices(*BOTH)
        first.submit(a_command("1", "sleep 600"))
        first.until(lambda s: s.jobs["1"].state == "running")
        first.stop()
        store = Store(tmp_path / JOURNAL)
        store.append(CancelAsked(time.time(), "1"))
        if journalled == "Stop":
            store.append(Stop(time.time(), "1", "nx-1", 1, "cancelled"))
        store.close()
        with LiveWorld(tmp_path, agents=first.agents) as second:
            assert second.until_state("1", "cancelled") == [("nx-1", "cancelled")]


def test_a_stop_that_did_not_reach_the_agent_is_said_again(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 600"))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.cut.add("nx-1")
        world.desk.cancel("1")
        asked = world.agents.calls.count(("nx-1", "info"))
        world.wait(lambda: world.agents.calls.count(("nx-1", "info")) > asked + 1)
        world.agents.cut.clear()
        assert world.until_state("1", "cancelled") == [("nx-1", "cancelled")]


def test_a_job_that_is_cancelled_while_it_is_being_started_is_stopped(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.tell(
            lambda now_s: Submitted(now_s, (a_command("1", "sleep 600"),)),
            lambda now_s: CancelAsked(now_s, "1"),
        )
        assert world.until_state("1", "cancelled") == [("nx-1", "cancelled")]


def test_boards_that_the_journal_knows_and_nobody_sees_get_no_job(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as first:
        first.until_devices(*BOTH)
        first.stop()
        first.agents.unplug("nx-1")
        with LiveWorld(tmp_path, agents=first.agents) as second:
            second.submit(a_command("1", "true"))
            assert second.until_state("1", "done", "lost") == [("orin-1", "done")]


def test_what_ran_on_a_board_that_is_gone_is_not_placed_on_another_that_is_gone(
    tmp_path: Path,
) -> None:
    """After `down` and `up` with other boards: it would cost the job a try."""
    with LiveWorld(tmp_path) as first:
        first.until_devices(*BOTH)
        first.submit(a_command("1", "sleep 600"))
        first.until(lambda s: s.jobs["1"].state == "running")
        first.stop()
        for device_id in BOTH:
            first.agents.unplug(device_id)
        with LiveWorld(tmp_path, agents=first.agents) as second:
            second.until(lambda s: not s.fleet.devices)
            assert len(second.look(lambda s: s.jobs["1"].attempts)) == 1


def test_profiles_are_learnt_once_through_the_journal(tmp_path: Path) -> None:
    kill = Measurement(Workload("command", "short"), NX.device_class, "killed_memory")
    MeasurementStore(tmp_path / "measurements.jsonl").append(kill)
    for _ in range(2):
        with LiveWorld(tmp_path) as world:
            world.until_devices(*BOTH)
            assert isinstance(world.costs, TableCosts)
            assert (kill.workload.model, NX.model) in world.costs.killed
    learnt = [e for e in journal(tmp_path) if isinstance(e, Learned)]
    assert [m for e in learnt for m in e.measurements] == [kill]


def test_a_profile_that_is_learnt_at_the_start_starts_nothing_that_nobody_performs(
    tmp_path: Path,
) -> None:
    """The last scheduler died before it decided on a job; its board is free in the journal."""
    store = Store(tmp_path / JOURNAL)
    store.append(DeviceJoined(1.0, NX))
    store.append(Submitted(2.0, (a_command("1", "true"),)))
    store.close()
    profile = Measurement(Workload("command", "other"), ORIN.device_class, "done")
    MeasurementStore(tmp_path / "measurements.jsonl").append(profile)
    with LiveWorld(tmp_path) as world:
        assert [outcome for _, outcome in world.until_state("1", "done", "lost")] == ["done"]


def test_a_journal_is_replayed_although_the_cost_model_has_changed_its_mind(
    tmp_path: Path,
) -> None:
    with LiveWorld(tmp_path) as first:
        first.until_devices(*BOTH)
        first.submit(a_command("1", "true"), a_command("2", "sleep 1"))
        first.until_state("1", "done")
        first.stop()
        with LiveWorld(tmp_path, TableCosts({}), agents=first.agents) as second:
            assert second.look(lambda s: s.jobs["1"].state) == "done"
            assert [outcome for _, outcome in second.until_state("2", "done", "lost")] == ["done"]


def test_a_measurement_that_cannot_be_kept_does_not_stop_the_scheduler(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        (tmp_path / "measurements.jsonl").mkdir()
        world.submit(a_command("1", "true"))
        assert world.until_state("1", "done", "lost") == [("nx-1", "done")]
        world.submit(a_command("2", "true"))
        assert world.until_state("2", "done", "lost") == [("nx-1", "done")]


class Clumsy:
    """A policy that places every job where there is nothing."""

    def decide(self, view: View) -> Iterator[Placement]:
        ghost = replace(NX, id="ghost")
        estimate = known_run(1.0)
        for job in view.queue():
            yield Placement(job, ghost, estimate, view.now_s, view.now_s + 1.0)


def test_the_mistakes_of_a_policy_do_not_pile_up_in_a_service(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.scheduler.policy = Clumsy()
        world.submit(a_command("0", "sleep 600"), a_command("00", "sleep 600"))
        for n in range(1, 2 * POLICY_ERRORS, 10):
            world.submit(*(a_command(str(n + k), "true") for k in range(10)))
        assert world.look(lambda s: len(s.policy_errors)) <= POLICY_ERRORS + 10
        assert "ghost" in world.desk.health()["policy_errors"][-1]


def test_only_one_scheduler_uses_a_data_home(tmp_path: Path) -> None:
    from jetsched.cluster.service import only_one

    refused = pytest.raises(InputError, match="another scheduler")
    with only_one(tmp_path), refused, only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass
    with pytest.raises(BlockingIOError), only_one(tmp_path):
        raise BlockingIOError  # something else that would block is not mistaken for it


def test_a_question_after_the_end_is_refused_at_once(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.stop()
        with pytest.raises(UnreachableError):
            world.desk.jobs()


def test_an_idle_loop_hardly_uses_the_cpu(tmp_path: Path) -> None:
    with LiveWorld(tmp_path, timing=replace(FAST, idle_poll_s=2.0, scan_s=1.0)) as world:
        world.until_devices(*BOTH)
        time.sleep(0.2)
        before, calls = time.process_time(), len(world.agents.calls)
        time.sleep(3.0)
        assert time.process_time() - before < 0.3
        assert len(world.agents.calls) - calls <= 8


TRAINING = """
name: resumes
work: {kind: train, model: tiny-gpt2, dataset: "squad[:32]", epochs: 60, batch_size: 8, seq_len: 64}
checkpoint: {every: 1s}
"""


@pytest.mark.slow
def test_training_that_was_lost_goes_on_elsewhere_from_its_checkpoint(tmp_path: Path) -> None:
    boards = {"nx-1": (NX, Limits(slowdown=5.0)), "orin-1": (ORIN, Limits())}
    agents = LocalAgents(tmp_path / "nodes", boards, shared=str(tmp_path / "nodes"))
    with LiveWorld(tmp_path, table(**{"tiny-gpt2": 1.0}), agents=agents) as world:
        world.until_devices(*BOTH)
        job = parse_job(TRAINING).to_job("1", 0.0)
        world.submit(job)
        checkpoint = tmp_path / "nodes" / "nx-1" / "1-1" / "checkpoint"
        world.wait(lambda: list(checkpoint.glob("step-*[0-9]")))
        world.agents.unplug("nx-1")
        attempts = world.until_state("1", "done", "failed", "lost")
        assert attempts == [("nx-1", "lost"), ("orin-1", "done")]
        second = tmp_path / "nodes" / "orin-1" / "1-2"
        world.wait(lambda: not checkpoint.exists())  # nobody needs it any more
    assert json.loads((second / "spec.json").read_text())["resume_from"] == str(checkpoint)
    result = [json.loads(line) for line in (second / "events.jsonl").read_text().splitlines()][-1]
    assert result["event"] == "result"
    assert result["done"] == job.amount == 60 * 32
    assert result["amount"] + result["warmup_amount"] < job.amount


def test_a_checkpoint_of_a_thrown_away_history_is_not_taken(tmp_path: Path) -> None:
    node = tmp_path / "nx-1"
    mine, other = a_command("1", "true"), a_command("1", "false")
    (node / "1-1" / "checkpoint" / "step-0000007").mkdir(parents=True)
    (node / "1-2" / "checkpoint" / "step-0000009.part").mkdir(parents=True)
    attempt = {"job": to_json(mine), "device": to_json(NX)}
    for name in ("1-1", "1-2"):
        (node / name / "order.json").write_text(json.dumps({"attempt": attempt}))
    found = latest_checkpoint(Order(mine, 3), [node])
    assert found == node / "1-1" / "checkpoint"
    assert latest_checkpoint(Order(mine, 1), [node]) is None
    assert latest_checkpoint(Order(other, 2), [node]) is None
    assert latest_checkpoint(Order(mine, 2), [tmp_path / "orin-1"]) is None


# ---------------------------------------------------------------------------------- R2 of DESIGN


#: What the children of the trace really do: seconds, and the MiB that they touch.
RUNS = {"big": (2.4, 700.0), "long": (3.6, 20.0), "mid": (1.8, 20.0), "late": (0.6, 20.0)}


class TrueTimes:
    """The truth of the simulation: what the children do."""

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        time_s, peak_mib = RUNS[job.workload.model]
        return TrueRun(time_s, 0.0, peak_mib)


@pytest.mark.slow
def test_simulated_and_live_clusters_make_the_same_decisions(tmp_path: Path) -> None:
    """One trace with a memory kill and jobs that wait: job, device, attempt, in the same order."""
    from jetsched import policies
    from jetsched.cluster.simulated import SimulatedCluster
    from jetsched.scheduler.core import Scheduler
    from jetsched.scheduler.journal import MemoryJournal
    from jetsched.scheduler.loop import run

    times = {like: time_s for like, (time_s, _) in RUNS.items()}
    trace = [
        a_command("1", allocating(700, times["big"]), "big"),
        a_command("2", f"sleep {times['long']}", "long"),
        a_command("3", f"sleep {times['mid']}", "mid"),
        a_command(
            "4", f"sleep {times['late']}", "late", needs=Needs(("orin-nano",)), submitted_s=1.2
        ),
    ]
    simulated = MemoryJournal()
    scheduler = Scheduler(
        policies.load("earliest_finish"),
        table(**times),
        fallback=policies.load("earliest_finish"),
        journal=simulated,
    )
    for _ in run(scheduler, SimulatedCluster([NX, ORIN], trace, TrueTimes(), seed=0)):
        pass
    with LiveWorld(tmp_path, table(**times)) as world:
        world.until_devices(*BOTH)
        world.submit(*trace[:3])
        time.sleep(trace[3].submitted_s)
        world.submit(trace[3])
        for job in trace:
            assert world.until_state(job.id, "done", "lost", "killed", "failed")
    live = journal(tmp_path)
    assert (
        starts(live)
        == starts(simulated)
        == [
            ("1", "nx-1", 1),
            ("2", "orin-1", 1),
            ("3", "nx-1", 1),
            ("1", "orin-1", 2),
            ("4", "orin-1", 1),
        ]
    )
    assert _outcomes(live) == _outcomes(simulated)


def _outcomes(entries: object) -> list[tuple[str, int, str]]:
    assert hasattr(entries, "__iter__")
    return [(e.job_id, e.attempt, e.outcome) for e in entries if isinstance(e, Finished)]


ONE_THREAD = """
from jetsched.cluster.service import stay_on_one_thread
stay_on_one_thread()
import numpy
from threadpoolctl import threadpool_info
numpy.linalg.solve(numpy.eye(300), numpy.ones(300))
print({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
"""


def test_the_scheduler_computes_on_one_thread() -> None:
    """Its fits are small; threads of theirs would only spin where jobs use the cores."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", ONE_THREAD], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{1}"
