"""Where a job's files are already counts when a board is chosen for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import a_job, nx, orin
from child_worlds import GPT2
from hypothesis import given
from hypothesis import strategies as st
from live_world import LiveWorld, journal, table
from local_agents import LocalAgents
from test_core_control import World

from jetsched.cluster.filecache import Here
from jetsched.jobfile import parse_job
from jetsched.policies import BUILT_IN, load
from jetsched.profiler.limits import Limits
from jetsched.records import Device, DeviceClass, Job, Needs
from jetsched.scheduler.events import (
    DeviceJoined,
    DeviceLost,
    DeviceRemoved,
    FilesSeen,
    Finished,
    Start,
    Submitted,
)
from jetsched.scheduler.heldfiles import HeldFiles

TWO = (DeviceJoined(0, nx(1)), DeviceJoined(0, nx(2)))
MIXED = (DeviceJoined(0, nx(1)), DeviceJoined(0, orin(1)))
#: So many MiB over a link of 2 MiB/s take longer than any board is quicker than the other.
MODEL_MIB = 2000.0


def needing(job_id: str = "1", model: str = "distilgpt2", **changes: object) -> Job:
    """A job that needs a model of 2,000 MiB and data of 10."""
    work = {"files_mib": {"model": MODEL_MIB, "data": 10.0}}
    return a_job(job_id, model, work=work, submitted_s=1.0, **changes)


def has(device: str, *names: str, mib_s: float | None = None) -> FilesSeen:
    return FilesSeen(0.5, device, names, mib_s)


def submitted(*jobs: Job) -> Submitted:
    return Submitted(1.0, jobs)


# ------------------------------------------------------------------------ which board of a kind


def test_of_two_equal_boards_the_one_that_has_the_files_gets_the_job() -> None:
    world = World(*TWO, has("nx-1"), has("nx-2", "model", "data"))
    assert world.tell(submitted(needing())) == ["start 1 nx-2 #1"]


def test_having_a_part_of_the_files_is_better_than_having_none() -> None:
    world = World(*TWO, has("nx-1", "data"), has("nx-2", "model"))
    assert world.tell(submitted(needing())) == ["start 1 nx-2 #1"]


def test_a_job_without_files_goes_to_the_first_board_whoever_has_what() -> None:
    world = World(*TWO, has("nx-2", "model", "data"))
    assert world.tell(submitted(a_job("1", "distilgpt2", submitted_s=1.0))) == ["start 1 nx-1 #1"]


def test_a_free_board_without_the_files_is_taken_where_the_other_is_busy() -> None:
    world = World(*TWO, has("nx-2", "model", "data"))
    assert world.tell(submitted(needing("1"), needing("2"))) == [
        "start 1 nx-2 #1",
        "start 2 nx-1 #1",
    ]


def test_a_wish_for_devices_comes_before_files() -> None:
    world = World(*TWO, has("nx-2", "model", "data"))
    wish = needing("1", needs=Needs(("nx-1",)))
    assert world.tell(submitted(wish)) == ["start 1 nx-1 #1"]


def test_among_the_boards_that_a_wish_names_by_id_the_one_with_the_files_is_taken() -> None:
    world = World(*TWO, DeviceJoined(0, nx(3)), has("nx-3", "model"), has("nx-1", "model", "data"))
    wish = needing("1", needs=Needs(("nx-2", "nx-3")))
    assert world.tell(submitted(wish)) == ["start 1 nx-3 #1"]


def test_with_the_same_files_missing_the_board_with_the_faster_link_is_taken() -> None:
    world = World(*TWO, has("nx-1", "data", mib_s=2.0), has("nx-2", "data", mib_s=50.0))
    assert world.tell(submitted(needing())) == ["start 1 nx-2 #1"]


# -------------------------------------------------------------------------------- what it takes


def test_the_end_that_is_foreseen_holds_the_time_that_files_take() -> None:
    world = World(*TWO, has("nx-1", "data", mib_s=10.0), has("nx-2"))
    rows = {row.device: row for row in world.scheduler.plan(needing(), 1.0).rows}
    assert rows["nx-1"].fetch_s == MODEL_MIB / 10.0
    assert rows["nx-2"].fetch_s == (MODEL_MIB + 10.0) / 10.0  # its link was never measured
    for row in rows.values():
        assert row.start_s is not None and row.time_s is not None and row.fetch_s is not None
        assert row.finish_s == row.start_s + row.fetch_s + row.time_s


def test_while_no_link_was_measured_nobody_says_how_long_files_take() -> None:
    world = World(*TWO, has("nx-1"), has("nx-2", "model", "data"))
    rows = {row.device: row for row in world.scheduler.plan(needing(), 1.0).rows}
    assert (rows["nx-1"].fetch_s, rows["nx-2"].fetch_s) == (None, 0.0)


def test_a_slower_board_that_has_the_files_is_done_earlier_and_so_it_is_chosen() -> None:
    assert World(*MIXED).tell(submitted(needing())) == ["start 1 orin-1 #1"]
    world = World(*MIXED, has("orin-1", mib_s=2.0), has("nx-1", "model", "data"))
    assert world.tell(submitted(needing())) == ["start 1 nx-1 #1"]


def test_a_board_is_expected_to_be_busy_while_its_files_come() -> None:
    world = World(*TWO, has("nx-1", mib_s=10.0))
    world.tell(submitted(needing()))
    (attempt,) = world.scheduler.jobs["1"].attempts
    busy_until_s = world.scheduler.fleet.finish_s[attempt.device]
    assert busy_until_s == 1.0 + (MODEL_MIB + 10.0) / 10.0 + attempt.estimate.time_s


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_policy_foresees_the_same_end_as_the_scheduler(name: str) -> None:
    """Whoever makes a placement, its end is the one that is checked and shown."""
    boards = [nx(1), nx(2), orin(1), orin(2)]
    world = World(*(DeviceJoined(0, board) for board in boards), policy=load(name))
    world.tell(has("nx-1", "model", mib_s=100.0), has("orin-2", "data", mib_s=400.0))
    world.tell(submitted(*(needing(str(n)) for n in range(8))))
    at_s, fleet = 1.0, world.scheduler.fleet
    while fleet.job_on:
        device, job_id = next(iter(fleet.job_on.items()))
        attempt = world.scheduler.jobs[job_id].attempts[-1]
        at_s = max(at_s + 1, fleet.finish_s[device])
        world.tell(Finished(at_s, job_id, attempt.number, "done"))
    assert world.scheduler.policy_errors == []
    placements = [e.placement for e in world.journal if isinstance(e, Start)]
    assert len(placements) >= 8
    for placed in placements:
        fetch_s = fleet.files.fetch_s(placed.job, placed.device.id)
        assert fetch_s is not None
        assert placed.finish_s == placed.start_s + fetch_s + placed.estimate.time_s


# ------------------------------------------------------------------------------ what is known


def test_what_a_board_has_is_kept_while_it_is_away_and_forgotten_when_it_is_removed() -> None:
    world = World(*TWO, has("nx-2", "model", mib_s=3.0), DeviceLost(2, "nx-2"))
    files = world.scheduler.fleet.files
    assert files.of("nx-2") == (frozenset({"model"}), 3.0)
    world.tell(DeviceRemoved(3, "nx-2"), has("nx-2", "model"))
    assert files.of("nx-2") == (frozenset(), None)


def test_only_what_has_changed_is_news() -> None:
    files = HeldFiles()
    assert files.is_news("nx-1", (), None)
    files.see("nx-1", ("a", "b"), 100.0)
    assert not files.is_news("nx-1", ("b", "a"), 80.0)
    assert files.is_news("nx-1", ("a", "b"), 70.0)
    assert files.is_news("nx-1", ("a",), 100.0)
    assert files.is_news("nx-1", ("a", "b"), None)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("nx-1", "nx-2")),
            st.none() | st.lists(st.sampled_from("abc"), unique=True),
            st.none() | st.floats(0.1, 100.0),
        )
    )
)
def test_nothing_is_left_of_what_was_told_before(
    told: list[tuple[str, list[str] | None, float | None]],
) -> None:
    """The last thing that was told of each board is all that is known."""
    files, last = HeldFiles(), dict[str, tuple[list[str], float | None]]()
    for device_id, names, mib_s in told:
        if names is None:
            files.forget(device_id)
            last.pop(device_id, None)
        else:
            files.see(device_id, names, mib_s)
            last[device_id] = names, mib_s
    assert bool(files) == bool(last)
    job = a_job("1", work={"files_mib": {"a": 8.0, "b": 4.0}})
    assert files.holders(job) == {d for d, (names, _) in last.items() if {"a", "b"} & {*names}}
    for device_id, (names, mib_s) in last.items():
        missing_mib = 8.0 * ("a" not in names) + 4.0 * ("b" not in names)
        assert files.missing_mib(job, device_id) == missing_mib
        if mib_s is not None:
            assert files.fetch_s(job, device_id) == missing_mib / mib_s


# ------------------------------------------------------------------------------ with real files


def test_the_second_job_with_a_model_goes_to_the_board_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The courier tells what it has brought and how fast; `plan` says what the other board costs.

    Whether the jobs themselves succeed does not matter: these weights are zeros.
    """
    monkeypatch.setattr(Here, "is_here", lambda here: False)  # as on another machine
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(GPT2))
    (model / "model.safetensors").write_bytes(bytes(3 << 20))
    kind = DeviceClass("xavier-nx", "emulated", "", 2000.0, emulated=True)
    boards = {id: (Device(id, kind), Limits(memory_mib=2000.0)) for id in ("nx-1", "nx-2")}
    agents = LocalAgents(tmp_path / "nodes", boards)
    work = {"kind": "infer", "model": str(model), "prompts": 2}
    with LiveWorld(tmp_path, table(**{str(model): 20.0}), agents=agents) as world:
        world.until_devices("nx-1", "nx-2")
        wish = parse_job(json.dumps({"work": work, "needs": {"device": ["nx-2"]}}))
        (first,) = world.desk.submit([wish])
        world.until(lambda s: s.fleet.files.of("nx-2")[1] is not None)
        world.until_state(first["id"], "done", "failed")
        spec = parse_job(json.dumps({"work": work}))
        plan = world.desk.plan(spec)
        rows = {row["device"]: row for row in plan["rows"]}
        assert plan["chosen"] == "nx-2" and rows["nx-2"]["fetch_s"] == 0.0
        fetch_s = rows["nx-1"]["fetch_s"]
        assert fetch_s > 0 and plan["files"]["nx-1"]["transfer_s"] == fetch_s
        assert rows["nx-1"]["finish_s"] > rows["nx-2"]["finish_s"]
        (second,) = world.desk.submit([spec])
        assert world.until_state(second["id"], "done", "failed")[0][0] == "nx-2"
        assert world.desk.why(second["id"])["chosen"] == "nx-2"
    told = [e for e in journal(tmp_path) if isinstance(e, FilesSeen) and e.device_id == "nx-2"]
    assert 1 <= len(told) <= 4 and len(told[-1].names) == 1
