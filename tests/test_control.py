"""Steering a running cluster: the verbs, through the API, to a real service on real agents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_world import TOKEN, Served
from commands import Jetsched
from live_world import LiveWorld, a_command, journal, table

from jetsched.cluster.client import Client
from jetsched.errors import InputError
from jetsched.records import Needs
from jetsched.scheduler.events import DeviceClosed, DeviceLost, HoldAsked, QueuePaused


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LiveWorld]:
    with LiveWorld(tmp_path, table(short=1.0, long=3600.0)) as world:
        world.until_devices("nx-1", "orin-1")
        yield world


@pytest.fixture
def served(world: LiveWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The world behind HTTP; the verbs find it."""
    with Served(world) as served:
        monkeypatch.setattr(Client, "connect", lambda home=None: Client(served.url, TOKEN))
        yield served


def test_a_paused_queue_starts_nothing_and_the_screens_say_so(
    served: Served, world: LiveWorld, jetsched: Jetsched
) -> None:
    paused = jetsched("pause", "--text", "the room is too hot")
    assert paused.code == 0
    assert "PAUSED: the queue is paused: the room is too hot. Nothing is started" in paused.out
    assert "Next: jetsched queue   ·   jetsched resume" in paused.out
    world.submit(a_command("1", "true"))
    queue = jetsched("queue")
    assert queue.out.startswith("PAUSED: the queue is paused: the room is too hot.")
    assert "Held: the queue is paused" in queue.out
    assert "PAUSED, as it was before" in jetsched("pause", "-t", "still").out
    assert jetsched("resume", "--json").json() == {
        "paused": False, "text": "", "changed": True, "waiting": 0, "running": 1
    }  # fmt: skip
    world.until_state("1", "done")
    assert "It was not paused." in jetsched("resume").out
    assert "PAUSED" not in jetsched("queue", "--all").out


def test_a_pause_outlives_the_scheduler(tmp_path: Path) -> None:
    with LiveWorld(tmp_path / "1") as world:
        world.desk.pause("at night")
        world.stop()
        entries = journal(tmp_path / "1")
        assert [e.text for e in entries if isinstance(e, QueuePaused)] == ["at night"]
        with LiveWorld(tmp_path / "1", agents=world.agents) as second:
            paused = second.look(lambda s: s.paused)
            assert paused.text == "the queue is paused: at night"
            assert second.desk.health()["paused"] == "the queue is paused: at night"


def test_a_held_job_starts_when_it_is_released(
    served: Served, world: LiveWorld, jetsched: Jetsched
) -> None:
    world.desk.pause()
    world.submit(a_command("1", "true"), a_command("2", "true"))
    held = jetsched("hold", "1", "7", "--text", "new data")
    assert held.code == 2  # of 7 there is nothing to hold
    assert "there is no job '7'" in held.err
    assert "HELD" in held.out
    assert "Held: new data" in held.out
    assert "jetsched release 1" in held.out
    world.desk.resume()
    world.until_state("2", "done")
    assert world.look(lambda s: s.jobs["1"].state) == "held"
    assert jetsched("release", "1").code == 0
    world.until_state("1", "done")
    refused = jetsched("release", "1")
    assert refused.code == 2
    assert "nobody holds job 1, it is done" in refused.err
    holds = [e.hold for e in journal(world.home) if isinstance(e, HoldAsked)]
    assert holds == [True, False]


def test_only_what_waits_can_be_held(
    served: Served, world: LiveWorld, jetsched: Jetsched, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    world.submit(a_command("1", f"until [ -e {go} ]; do sleep 0.05; done"))
    world.until_state("1", "running")
    refused = jetsched("hold", "1")
    assert refused.code == 2
    assert "only what waits can be held; to stop it: jetsched cancel 1" in refused.err
    go.touch()
    world.until_state("1", "done")
    assert "has ended already: done" in jetsched("hold", "1").err


def test_a_failed_job_can_be_tried_again_and_a_done_one_cannot(
    served: Served, world: LiveWorld, jetsched: Jetsched, tmp_path: Path
) -> None:
    world.submit(a_command("1", f"test -e {tmp_path / 'mended'}"))
    world.until_state("1", "failed")
    (tmp_path / "mended").touch()
    again = jetsched("retry", "1", "--json")
    assert again.code == 0
    assert [a["number"] for a in again.json()[0]["attempts"]][-1] == 2
    world.until_state("1", "done")
    refused = jetsched("retry", "1")
    assert refused.code == 2
    assert "job 1 is done; to run it again, submit it again" in refused.err


def test_a_drained_board_finishes_what_runs_there_and_gets_nothing_new(
    served: Served, world: LiveWorld, jetsched: Jetsched, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    hold = a_command("1", f"until [ -e {go} ]; do sleep 0.05; done", name="patient")
    world.submit(hold)
    world.until_state("1", "running")
    (device,) = world.look(lambda s: list(s.fleet.job_on))
    other = {"nx-1": "orin-1", "orin-1": "nx-1"}[device]
    drained = jetsched("drain", device, "--text", "new SD card")
    assert f"{device} takes no new jobs (Draining: new SD card); there still runs" in drained.out
    assert "job 1 patient: " in drained.out
    assert f"jetsched undrain {device}" in drained.out
    world.submit(*(a_command(str(n), "true") for n in range(2, 6)))
    for n in range(2, 6):
        world.until_state(str(n), "done")
    jobs = world.look(lambda s: [s.jobs[str(n)].attempts[0].device for n in range(2, 6)])
    assert jobs == [other] * 4
    board = next(b for b in served.client.devices() if b["id"] == device)
    assert board["state"] == "draining"
    go.touch()
    world.until_state("1", "done")
    assert f"{device} takes jobs again" in jetsched("undrain", device).out
    assert f"{device} was not drained" in jetsched("undrain", device).out


def test_why_and_plan_say_that_all_boards_are_drained(
    served: Served, world: LiveWorld, jetsched: Jetsched
) -> None:
    jetsched("drain", "nx-1", "orin-1", "--text", "at night")
    world.submit(a_command("1", "true"))
    (job,) = jetsched("queue", "--json").json()
    assert (job["state"], job["reason"]["code"]) == ("waiting", "Draining")
    why = jetsched("why", "1")
    assert "takes no new jobs: it is being drained: at night" in " ".join(why.out.split())
    rows = jetsched("why", "1", "--json").json()["rows"]
    assert {row["verdict"] for row in rows} == {"busy"}
    jetsched("undrain", "nx-1", "orin-1")
    world.until_state("1", "done")


def test_a_drain_outlives_the_scheduler_and_the_board(tmp_path: Path) -> None:
    with LiveWorld(tmp_path / "1") as world:
        world.until_devices("nx-1", "orin-1")
        world.desk.drain("nx-1", "new SD card")
        world.stop()
        with LiveWorld(tmp_path / "1", agents=world.agents) as second:
            second.until(lambda s: "orin-1" in s.fleet.open)
            assert second.look(lambda s: s.fleet.closings["nx-1"]["Draining"]) == "new SD card"
            assert second.look(lambda s: list(s.fleet.open)) == ["orin-1"]


def test_a_job_that_asks_for_more_disk_than_there_is_waits_and_says_so(
    served: Served, world: LiveWorld, jetsched: Jetsched
) -> None:
    """The agents have told how much is free."""
    world.until(lambda s: all(d.disk_free_mib is not None for d in s.fleet.devices.values()))
    world.submit(
        a_command("1", "true", needs=Needs(disk_mib=1e12)),
        a_command("2", "true", needs=Needs(disk_mib=1.0)),
    )
    world.until_state("2", "done")
    (job,) = jetsched("queue", "--json").json()
    assert (job["id"], job["state"], job["reason"]["code"]) == ("1", "waiting", "NoDisk")
    rows = jetsched("why", "1", "--json").json()["rows"]
    assert [(row["verdict"], row["code"]) for row in rows] == [("busy", "NoDisk")] * 2
    assert "MiB of disk" in " ".join(jetsched("why", "1").out.split())


def test_what_there_is_stands_in_the_error(
    served: Served, world: LiveWorld, jetsched: Jetsched
) -> None:
    for verb in ("drain", "undrain", "remove"):
        refused = jetsched(verb, "orin-9")
        assert refused.code == 2, verb
        assert "there is no device 'orin-9'; devices here: nx-1, orin-1" in refused.err


def test_a_board_that_is_there_or_runs_something_cannot_be_removed(
    served: Served, world: LiveWorld, jetsched: Jetsched, tmp_path: Path
) -> None:
    assert "orin-1 is there, and would be back at once" in jetsched("remove", "orin-1").err
    go = tmp_path / "go"
    world.submit(a_command("1", f"until [ -e {go} ]; do sleep 0.05; done"))
    world.until_state("1", "running")
    (device,) = world.look(lambda s: list(s.fleet.job_on))
    refused = jetsched("remove", device)
    assert refused.code == 2
    assert f"{device} runs job 1" in refused.err
    go.touch()
    world.until_state("1", "done")


def test_a_board_that_is_gone_is_removed_with_its_closings(
    served: Served, world: LiveWorld, jetsched: Jetsched
) -> None:
    jetsched("drain", "orin-1")
    world.agents.unplug("orin-1")
    world.until(lambda s: "orin-1" not in s.fleet.devices)
    removed = jetsched("remove", "orin-1")
    assert removed.code == 0
    assert "orin-1 is forgotten. Boards that are left: nx-1." in removed.out
    assert world.look(lambda s: "orin-1" in s.fleet.closings) is False
    assert [board["id"] for board in served.client.devices()] == ["nx-1"]
    entries = journal(world.home)
    assert any(isinstance(e, DeviceClosed) and e.code == "Draining" for e in entries)
    assert any(isinstance(e, DeviceLost) for e in entries)


def test_a_board_that_is_away_is_still_known_to_the_next_scheduler(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        world.agents.unplug("orin-1")
        world.until(lambda s: "orin-1" not in s.fleet.devices)
        world.stop()
        with LiveWorld(tmp_path, agents=world.agents) as second:
            second.until(lambda s: "nx-1" in s.fleet.open)
            found = {board["id"]: board["state"] for board in second.desk.devices()}
            assert found == {"nx-1": "ready", "orin-1": "offline"}
            second.agents.plug("orin-1")
            second.until_devices("nx-1", "orin-1")


def test_a_board_that_was_removed_does_not_come_back_with_the_next_scheduler(
    tmp_path: Path,
) -> None:
    """Though the last attempt of a job was lost on it."""
    with LiveWorld(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(a_command("1", "sleep 60", needs=Needs(device=("orin-1",))))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.unplug("orin-1")
        world.until(lambda s: "orin-1" not in s.fleet.devices)
        world.wait(lambda: world.cluster.ask(lambda now_s: not world.cluster.boards["orin-1"].node))
        world.desk.remove("orin-1")
        assert [board["id"] for board in world.desk.devices()] == ["nx-1"]
        world.stop()
        with LiveWorld(tmp_path, agents=world.agents) as second:
            second.until(lambda s: "nx-1" in s.fleet.open)
            assert [board["id"] for board in second.desk.devices()] == ["nx-1"]


def test_the_api_knows_no_such_job_or_board(served: Served) -> None:
    client = served.client
    for ask in (client.hold, client.release, client.retry, client.drain, client.remove):
        with pytest.raises(InputError, match="there is no"):
            ask("no such")
