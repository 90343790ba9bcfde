"""What is measured anywhere reaches the scheduler while it runs, once, and changes estimates."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import TableCosts
from live_world import BOARDS, FAST, NX, ORIN, LiveWorld, a_command, allocating, journal
from local_agents import LocalAgents

from jetsched.cluster.agent import Agent, NodeConfig
from jetsched.cluster.boards import Timing
from jetsched.cluster.desk_base import WontFitError
from jetsched.cluster.protocol import Stored
from jetsched.files import append_json_line
from jetsched.jobfile import parse_job
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costs import CostModel
from jetsched.profiler.limits import Limits
from jetsched.profiler.store import MeasurementStore
from jetsched.records import (
    Device,
    DeviceClass,
    Estimate,
    Job,
    Measurement,
    Needs,
    Never,
    Retry,
    Workload,
)
from jetsched.scheduler.events import Finished, Learned

#: What is new on a disk is looked for all the time.
EAGER = replace(FAST, stored_s=0.05)
WORK = Workload("command", "short", command="true")


def a_measurement(where: DeviceClass = NX.device_class, **changes: Any) -> Measurement:
    base = Measurement(WORK, where, "done", amount=1.0, time_s=2.0, work_s=2.0, device="nx-1")
    return replace(base, at="2026-11-20T08:00:00+00:00", **changes)


def a_calibration(where: DeviceClass = NX.device_class, times: float = 1.0) -> Calibration:
    return Calibration(
        where, 20.0, 10.0 * times, {"fp32": 40.0 * times}, device="x", at="2026-11-20T08:00:00Z"
    )


def learnt(home: Path) -> list[Measurement]:
    entries = [entry for entry in journal(home) if isinstance(entry, Learned)]
    return [measurement for entry in entries for measurement in entry.measurements]


# --------------------------------------------------------------------------- files that are growing


def test_a_store_is_read_on_line_by_line(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "m.jsonl")
    assert store.read_on(0) == ([], 0)
    rows = [a_measurement(time_s=float(n)) for n in range(5)]
    for row in rows[:3]:
        store.append(row)
    first, offset = store.read_on(0, 10)
    assert first == rows[:1]  # a whole line, although more bytes than were asked for
    second, offset = store.read_on(offset)
    assert second == rows[1:3]
    with store.path.open("ab") as file:
        file.write(b'{"half of a')
    assert store.read_on(offset) == ([], offset)
    store.append(rows[3])  # which ends the broken line first
    assert store.read_on(offset)[0] == rows[3:4]
    assert [bad.line for bad in store.bad] == [4]
    store.path.unlink()
    store.append(rows[4])  # it was replaced by a shorter one
    assert store.read_on(offset)[0] == rows[4:]


def test_an_agent_tells_what_its_node_has_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetsched.cluster.agent.STORE_CHUNK_BYTES", 10)
    home = tmp_path / "home"
    agent = Agent(NodeConfig(NX, str(tmp_path / "node"), home=str(home)))

    def ask(read: tuple[int, int]) -> Stored:
        return asyncio.run(agent.stored(read))

    assert ask((0, 0)) == Stored()
    rows = [a_measurement(time_s=float(n)) for n in range(3)]
    for row in rows:
        MeasurementStore(home / "measurements.jsonl").append(row)
    CalibrationStore(home / "calibrations.jsonl").append(a_calibration())
    told = [ask((0, 0))]
    while told[-1].more:
        told.append(ask(told[-1].read))
    assert [m for stored in told for m in stored.measurements] == rows
    assert [c for stored in told for c in stored.calibrations] == [a_calibration()]


def test_a_node_that_shares_the_heads_folder_tells_nothing(tmp_path: Path) -> None:
    assert asyncio.run(Agent(NodeConfig(NX, str(tmp_path))).stored((0, 0))) == Stored()


# -------------------------------------------------------------------------- in the head's data home


def test_a_profile_that_is_made_while_the_scheduler_runs_is_learnt_at_once(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "measurements.jsonl")
    kill = a_measurement(outcome="killed_memory")
    with LiveWorld(tmp_path, timing=EAGER) as world:
        world.until_devices("nx-1", "orin-1")
        store.append(kill)
        assert isinstance(world.costs, TableCosts)
        killed = world.costs.killed
        world.until(lambda s: ("short", NX.model) in killed)
        store.append(kill)  # the same once more
        store.append(a_measurement(time_s=3.0))
        world.wait(lambda: len(learnt(tmp_path)) == 2)
    assert learnt(tmp_path) == [kill, a_measurement(time_s=3.0)]


def test_what_cannot_be_read_keeps_nothing_else_from_being_learnt(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "measurements.jsonl")
    append_json_line(store.path, {"workload": "nonsense"})
    with LiveWorld(tmp_path, timing=EAGER) as world:
        world.until_devices("nx-1", "orin-1")
        append_json_line(store.path, ["more nonsense"])
        store.append(a_measurement())
        world.wait(lambda: learnt(tmp_path) == [a_measurement()])


BOX = Device("box-1", DeviceClass("box-without-a-sheet", memory_mib=3000.0))
LIKE = Workload("command", "tiny-gpt2", command="true", like="train", batch_size=1, seq_len=64)


def box_world(folder: Path, timing: Timing = EAGER, **node: Any) -> LiveWorld:
    """One board of which nothing is known, and the real cost model."""
    agents = LocalAgents(folder / "nodes", {"box-1": (BOX, Limits())}, **node)
    return LiveWorld(folder, CostModel(), agents=agents, timing=timing)


def test_a_calibration_that_is_made_meanwhile_frees_a_job_that_waits_for_it(
    tmp_path: Path,
) -> None:
    with box_world(tmp_path) as world:
        world.until_devices("box-1")
        world.submit(Job("1", LIKE))
        assert world.look(lambda s: s.jobs["1"].reason.code) == "NotProfiled"
        CalibrationStore(tmp_path / "calibrations.jsonl").append(a_calibration(BOX.device_class))
        assert world.until_state("1", "done", "failed") == [("box-1", "done")]
        assert world.look(lambda s: s.jobs["1"].attempts[0].estimate.method) == "fitted"
        world.stop()
        world.agents.close()
        with box_world(tmp_path) as again:  # a new model, from the same folder
            verdict = again.look(lambda s: s.costs.verdict(Job("2", LIKE), BOX.device_class))
            assert isinstance(verdict, Estimate)
    told = [entry for entry in journal(tmp_path) if isinstance(entry, Learned)]
    assert [entry.calibrated for entry in told if entry.calibrated] == [(BOX.device_class,)]


def test_a_command_that_is_like_nothing_runs_and_what_it_took_is_known(tmp_path: Path) -> None:
    """On a board that has a data sheet; a minute is assumed, and the next time it is measured."""
    with LiveWorld(tmp_path, CostModel()) as world:
        world.until_devices("nx-1", "orin-1")
        bare = Workload("command", "", command="true")
        for number, source in enumerate(["assumed", "measured"], start=1):
            needs = Needs(device=("orin-1",))
            world.submit(Job(str(number), bare, needs=needs))
            assert world.until_state(str(number), "done", "failed") == [("orin-1", "done")]
            records = world.look(lambda s: dict(s.jobs))
            assert records[str(number)].attempts[0].estimate.source == source


def test_a_refused_job_is_told_what_would_help_or_the_least_it_can_need(tmp_path: Path) -> None:
    """The boards have 150 and 2,000 MiB: GPT-2 fits the larger one changed, TinyLlama neither."""
    with LiveWorld(tmp_path, CostModel()) as world:
        world.until_devices("nx-1", "orin-1")
        small, large = (
            parse_job(f"name: {name}\nwork: {{kind: train, model: {model}, batch_size: 8}}")
            for name, model in (("small", "gpt2"), ("large", "tinyllama-1.1b"))
        )
        with pytest.raises(WontFitError) as caught:
            world.desk.submit([small])
        assert "to make it fit orin-1: " in caught.value.hint
        with pytest.raises(WontFitError) as caught:
            world.desk.submit([large])
        assert "the least it can need: " in caught.value.hint
        with pytest.raises(WontFitError) as caught:
            world.desk.submit([small, large])
        assert "small: to make it fit orin-1: " in caught.value.hint
        assert "large: no change " in caught.value.hint
        assert world.look(lambda s: len(s.jobs)) == 0


# ----------------------------------------------------------------------------- on a node of its own


def test_what_a_node_has_measured_itself_is_known_before_it_gets_a_job(tmp_path: Path) -> None:
    """It comes with its agent, under the name that the fleet has for it, and stays on the head."""
    own, head = tmp_path / "board", tmp_path / "head"
    box = BOX.device_class
    profile = Measurement(
        LIKE, box, "done", amount=1.0, time_s=9.0, load_s=1.0, work_s=8.0, peak_memory_mib=200.0,
        live_memory_mib=100.0, device="box", at="2026-11-20T08:00:00+00:00",
    )  # fmt: skip
    MeasurementStore(own / "measurements.jsonl").append(profile)
    CalibrationStore(own / "calibrations.jsonl").append(a_calibration(box))
    with box_world(head, home=str(own)) as world:
        world.submit(Job("1", LIKE))
        assert world.until_state("1", "done", "failed") == [("box-1", "done")]
        estimate = world.look(lambda s: s.jobs["1"].attempts[0].estimate)
        assert (estimate.source, estimate.time_s) == ("measured", 9.0)
        more = replace(profile, at="2026-11-21T08:00:00+00:00")
        MeasurementStore(own / "measurements.jsonl").append(more)
        world.wait(lambda: len(learnt(head)) == 2)  # also what is measured there later
        world.stop()
        with LiveWorld(head, CostModel(), agents=world.agents, timing=EAGER) as again:
            again.until_devices("box-1")
    rows = [replace(profile, device="box-1"), replace(more, device="box-1")]
    assert learnt(head) == rows
    kept = MeasurementStore(head / "measurements.jsonl").read()
    assert [m for m in kept if not m.job_id] == rows
    assert CalibrationStore(head / "calibrations.jsonl").read() == [a_calibration(box)]
    entries = journal(head)
    names = [type(entry).__name__ for entry in entries]
    assert names.index("Learned") < names.index("DeviceJoined") < names.index("Start")


def events(home: Path) -> list[int]:
    """How many measurements each event brought."""
    return [len(entry.measurements) for entry in journal(home) if isinstance(entry, Learned)]


def a_history(folder: Path, count: int) -> list[Measurement]:
    """What somebody measured on a node before it joined."""
    rows = [a_measurement(BOX.device_class, time_s=1.0 + n) for n in range(count)]
    MeasurementStore(folder / "measurements.jsonl").append(*rows)
    return rows


def test_what_a_node_brings_is_one_event_however_many_parts_it_is_told_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each event costs a fit where jobs wait; 300 runs would keep the scheduler from its work."""
    monkeypatch.setattr("jetsched.cluster.agent.STORE_CHUNK_BYTES", 20_000)
    own, head = tmp_path / "board", tmp_path / "head"
    rows = a_history(own, 300)
    with box_world(head, replace(EAGER, stored_s=600.0), home=str(own)) as world:
        world.until_devices("box-1")
    assert events(head) == [len(rows)]
    kept = MeasurementStore(head / "measurements.jsonl").read()
    assert kept == learnt(head) == [replace(row, device="box-1") for row in rows]


def test_very_much_is_told_in_several_events_and_all_of_it_before_the_board_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetsched.cluster.knowledge.AT_ONCE", 4)
    own, head = tmp_path / "board", tmp_path / "head"
    a_history(own, 10)
    with box_world(head, home=str(own)) as world:
        world.until_devices("box-1")
    assert max(events(head)) <= 4 and sum(events(head)) == 10
    names = [type(entry).__name__ for entry in journal(head)]
    assert names.count("Learned") >= 3
    assert names.index("DeviceJoined") > max(n for n, x in enumerate(names) if x == "Learned")


def test_what_the_head_has_at_its_start_is_one_event(tmp_path: Path) -> None:
    a_history(tmp_path, 50)
    with LiveWorld(tmp_path, timing=EAGER) as world:
        world.until_devices("nx-1", "orin-1")
    assert events(tmp_path) == [50]


def test_a_node_whose_files_cannot_be_read_works_all_the_same(tmp_path: Path) -> None:
    own = tmp_path / "board"
    (own / "measurements.jsonl").mkdir(parents=True)
    agents = LocalAgents(tmp_path / "nodes", {"nx-1": BOARDS["nx-1"]}, home=str(own))
    with LiveWorld(tmp_path, agents=agents, timing=EAGER) as world:
        world.submit(a_command("1", "true"))
        assert world.until_state("1", "done", "lost") == [("nx-1", "done")]


# ----------------------------------------------------------------------------------- from live runs


def test_a_kill_is_learnt_at_once_for_all_boards_of_the_class(tmp_path: Path) -> None:
    """By the real cost model, from a real kill: the other board of the class is not tried."""
    small = replace(NX.device_class, memory_mib=900.0)
    boards = {
        "nx-1": (Device("nx-1", small), Limits(memory_mib=900.0)),
        "nx-2": (Device("nx-2", small), Limits(memory_mib=900.0)),
        "orin-1": (ORIN, Limits(memory_mib=2000.0)),
    }
    work = Workload(
        "command", "tiny-gpt2", command=allocating(1200, 0.1), like="infer", max_new_tokens=4
    )
    agents = LocalAgents(tmp_path / "nodes", boards)
    with LiveWorld(tmp_path, CostModel(), agents=agents) as world:
        world.until_devices(*boards)
        nx = Needs(device=("xavier-nx",))
        world.submit(Job("1", work, needs=nx, retry=Retry(times=2)))
        assert world.until_state("1", "done", "killed") == [("nx-1", "killed_memory")]
        world.submit(Job("2", work))
        assert world.until_state("2", "done", "killed") == [("orin-1", "done")]
        verdict = world.look(lambda s: s.costs.verdict(Job("3", work), small))
        assert isinstance(verdict, Never) and verdict.code == "NeverFits"


def test_every_attempt_that_ended_brings_a_measurement_that_is_learnt(tmp_path: Path) -> None:
    learnt: list[str] = []

    class Noting(TableCosts):
        def learn(self, measurement: Measurement) -> bool:
            learnt.append(f"{measurement.job_id} {measurement.outcome}")
            return super().learn(measurement)

    times = {("short", NX.model): 1.0, ("short", ORIN.model): 1.0}
    with LiveWorld(tmp_path, Noting(times)) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(
            a_command("1", "true"),
            a_command("2", "exit 3"),
            a_command("3", "sleep 600", time_limit_s=0.3),
            a_command("4", "sleep 600", priority=1),
        )
        world.until(lambda s: s.jobs["4"].state == "running")
        world.desk.cancel("4")
        world.until_state("4", "cancelled")
        world.until_state("3", "killed")
    assert sorted(learnt) == ["1 done", "2 failed", "3 killed_time", "4 cancelled"]


def test_what_a_board_did_while_it_was_given_up_is_learnt_when_it_is_back(tmp_path: Path) -> None:
    """It does not count for the job, which has been started again, but tells of the board."""
    with LiveWorld(tmp_path, timing=replace(EAGER, silence_s=0.5)) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(a_command("1", "sleep 600"))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.cut.add("nx-1")
        world.until(lambda s: len(s.jobs["1"].attempts) == 2)
        world.agents.cut.clear()
        world.until_devices("nx-1", "orin-1")
        (late,) = [e for e in journal(tmp_path) if isinstance(e, Finished)]
        assert (late.attempt, late.outcome) == (1, "lost")
        assert late.measurement is not None and late.measurement.device == "nx-1"
        assert world.look(lambda s: s.jobs["1"].state) in ("starting", "running")
        world.desk.cancel("1")
        world.until_state("1", "cancelled")
    kept = MeasurementStore(tmp_path / "measurements.jsonl").read()
    assert [m.outcome for m in kept] == ["lost", "cancelled"]


TRAINING = """
name: learns
work: {kind: train, model: tiny-gpt2, dataset: "squad[:64]", batch_size: 8, seq_len: 64, head: qa}
"""


@pytest.mark.slow
def test_the_estimate_of_a_job_changes_with_each_live_run(tmp_path: Path) -> None:
    """A real training: assumed before, measured after; a cancelled one counts as well."""
    agents = LocalAgents(tmp_path / "nodes", {"orin-1": BOARDS["orin-1"]})
    with LiveWorld(tmp_path, CostModel(), agents=agents) as world:
        world.until_devices("orin-1")
        job = parse_job(TRAINING).to_job("1", 0.0)

        def verdict() -> Estimate:
            found = world.look(lambda s: s.costs.verdict(job, ORIN.device_class))
            assert isinstance(found, Estimate)
            return found

        before = verdict()
        assert before.source == "assumed" and before.measurements == 0
        world.submit(job)
        assert world.until_state("1", "done", "failed") == [("orin-1", "done")]
        after = verdict()
        assert (after.source, after.measurements) == ("measured", 1)
        (finished,) = [e for e in journal(tmp_path) if isinstance(e, Finished)]
        assert finished.measurement is not None and finished.measurement.rate_s is not None
        rate_s = (after.time_s - after.load_s) / job.amount
        assert rate_s == pytest.approx(finished.measurement.rate_s)
        assert after.time_s != before.time_s

        world.submit(replace(job, id="2", amount=1e6))
        estimate = world.until(lambda s: s.jobs["2"].attempts)[0].estimate
        assert (estimate.source, estimate.load_s) == ("measured", after.load_s)
        watched = world.cluster.watched["2", 1]
        world.wait(lambda: watched.progress is not None and (watched.progress.step or 0) > 3)
        world.desk.cancel("2")
        world.until_state("2", "cancelled")
        assert verdict().measurements == 2


@pytest.mark.slow
def test_a_board_that_got_slower_is_said_so_also_after_a_restart(tmp_path: Path) -> None:
    """Real runs of one command, which then takes fifteen times as long."""
    pause = tmp_path / "pause"
    command = f"sleep $(cat {pause})"
    with LiveWorld(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")

        def run(first: int, count: int, seconds: str) -> dict[str, Any]:
            pause.write_text(seconds)
            for number in range(first, first + count):
                world.submit(a_command(str(number), command, needs=Needs(("nx-1",))))
                world.until_state(str(number), "done")
            return {d["id"]: d["drift"] for d in world.desk.devices()}

        assert run(1, 5, "0.1")["nx-1"]["verdict"] == "unknown"
        found = run(6, 5, "1.5")
        assert found["orin-1"]["verdict"] == "unknown"
        slow = found["nx-1"]
        assert slow["verdict"] == "slower" and slow["ratio"] > 2 and slow["runs"] >= 3
        assert "slower than usual in its last" in slow["text"]
        assert slow["since_s"] < time.time()
        world.stop()
        with LiveWorld(tmp_path, agents=world.agents) as again:
            again.until_devices("nx-1", "orin-1")
            assert {d["id"]: d["drift"] for d in again.desk.devices()} == found
