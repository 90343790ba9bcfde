"""Boards that join a head on real Ray, as processes of their own: they come, die, and come back."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from live_world import journal
from node_worlds import BoardProcess

from jetsched.cluster.asked import Asked
from jetsched.cluster.client import Client
from jetsched.cluster.processes import family
from jetsched.cluster.protocol import PROTOCOL
from jetsched.cluster.state import ClusterState, read_state
from jetsched.cluster.tokens import TOKENS_FILE, Tokens
from jetsched.cluster.up import down, up
from jetsched.profiler.store import MeasurementStore
from jetsched.records import DeviceClass, Measurement, Workload
from jetsched.scheduler.events import Learned

pytestmark = pytest.mark.slow

#: Against hanging only.
SOON_S = 120.0
SMALL = {"kind": "infer", "model": "tiny-gpt2", "prompt_tokens": 8, "max_new_tokens": 4}


class Head:
    """A head without boards of its own, and a token for those that come."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.up = up(Asked(policy="earliest_finish", health="tight", lease="15s"), home=home)
        self.token = Tokens(home / TOKENS_FILE).new("boards", "node")

    @property
    def state(self) -> ClusterState:
        state = read_state(self.home)
        assert state is not None
        return state

    def board(self, folder: Path, name: str, **wish: Any) -> BoardProcess:
        return BoardProcess(folder, self.state.url, self.token, name=name, **wish)

    def submit(self, run: str, device: str) -> str:
        spec = {
            "work": {"kind": "command", "run": run, "like": SMALL},
            "needs": {"device": [device]},
        }
        with Client.to(self.state) as client:
            return str(client.submit_specs([spec])[0]["id"])

    def wait(self, job_id: str, *states: str) -> list[tuple[str, str | None]]:
        with Client.to(self.state) as client:
            job = until(lambda: (j := client.job(job_id))["state"] in states and j)
            return [(a["device"], a["outcome"]) for a in job["attempts"]]

    def until_state(self, device: str, *states: str) -> None:
        with Client.to(self.state) as client:
            until(lambda: {d["id"]: d["state"] for d in client.devices()}.get(device) in states)


def until(fact: Any) -> Any:
    end = time.monotonic() + SOON_S
    while not (value := fact()):
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    home = tmp_path_factory.mktemp("head")
    try:
        yield Head(home)
    finally:
        down(home=home)


@pytest.fixture(scope="module")
def board(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardProcess]:
    """A board that has measured something before it came."""
    folder = tmp_path_factory.mktemp("board")
    kind = DeviceClass("xavier-nx", "15W_6CORE", "torch-2.1.0", 6000.0)
    measured = Measurement(Workload("train", "gpt2"), kind, "done", time_s=9.0, text="from home")
    MeasurementStore(folder / MeasurementStore.name).append(measured)
    with head.board(folder, "nx", labels=("lab",)) as board:
        began = time.monotonic()
        board.start()
        head.until_state("nx", "ready")
        print(f"\njoin until the board is ready: {time.monotonic() - began:.1f} s")
        yield board


def test_a_head_without_boards_is_up(head: Head) -> None:
    print(f"\nup without boards: {head.up.seconds:.1f} s")
    assert head.up.what == "started"


def test_a_board_joins_and_runs_jobs_and_its_profile_is_known(
    head: Head, board: BoardProcess
) -> None:
    assert head.wait(head.submit("true", "lab"), "done", "failed") == [("nx", "done")]
    learnt = [m for e in journal(head.home) if isinstance(e, Learned) for m in e.measurements]
    assert [m.text for m in learnt] == ["from home"]
    until(lambda: "nx is READY" in board.text)
    for path in board.home.rglob("*"):
        if path.is_file() and path != board.token_file:
            text = path.read_bytes()
            assert head.token.encode() not in text, path
            assert head.state.token_file.read_bytes() not in text, path


def test_what_the_head_refuses_ends_with_exit_code_2_and_says_what_to_do(
    head: Head, board: BoardProcess, tmp_path: Path
) -> None:
    with head.board(tmp_path / "old", "old") as old:
        assert old.start(protocol=PROTOCOL - 1).wait() == 2
        assert f"speaks protocol {PROTOCOL - 1}" in old.text and "make setup" in old.text
    with head.board(tmp_path / "twin", "nx") as twin:
        assert twin.start().wait() == 2
        assert "another board is nx already" in twin.text
    stranger = BoardProcess(tmp_path / "stranger", head.state.url, "no-token")
    with stranger:
        assert stranger.start().wait() == 2
        assert "refuses the token" in stranger.text


def test_a_raylet_that_is_killed_is_started_again(head: Head, board: BoardProcess) -> None:
    process = board.until_alive().process
    assert process is not None
    for child in psutil.Process(process.pid).children():
        if "raylet" in child.name():
            child.kill()
    began = time.monotonic()
    until(lambda: not process.alive)
    until(lambda: board.state.process is not None and board.state.process.alive)
    head.until_state("nx", "offline", "suspect")
    head.until_state("nx", "ready")
    print(f"\nraylet killed -> the board is ready: {time.monotonic() - began:.1f} s")
    assert head.wait(head.submit("true", "nx"), "done", "failed")[-1] == ("nx", "done")


def test_a_supervisor_that_is_killed_leaves_its_node_running_and_the_next_goes_on_with_it(
    head: Head, board: BoardProcess
) -> None:
    before = board.until_alive()
    job_id = head.submit("sleep 5", "nx")
    head.wait(job_id, "running")
    board.stop(signal.SIGKILL)
    board.start()
    until(lambda: "nx is BUSY" in board.text)
    assert board.state.process == before.process
    assert head.wait(job_id, "done", "failed", "lost") == [("nx", "done")]


def test_when_rays_head_is_killed_the_board_joins_the_next_one(
    head: Head, board: BoardProcess
) -> None:
    (ray,) = head.state.of_role("head")
    (gcs,) = [p for p in psutil.Process(ray.pid).children() if "gcs" in p.name()]
    life = head.state.ray_life
    began = time.monotonic()
    gcs.kill()
    until(lambda: head.state.ray_life != life)
    until(lambda: board.state.ray_life == head.state.ray_life)
    head.until_state("nx", "ready")
    print(f"\nRay's head killed -> the board is ready: {time.monotonic() - began:.1f} s")
    assert head.wait(head.submit("true", "nx"), "done", "failed") == [("nx", "done")]


def test_a_head_that_was_taken_down_is_found_again_at_its_address(
    head: Head, board: BoardProcess
) -> None:
    before = head.state
    down(home=head.home)
    until(lambda: "no head answers" in board.text)
    assert up(Asked(), home=head.home).what == "started"
    after = head.state
    assert (after.url, after.ray_address) == (before.url, before.ray_address)
    assert after.cluster == before.cluster and after.api_token != before.api_token
    head.until_state("nx", "ready")
    assert head.wait(head.submit("true", "nx"), "done", "failed") == [("nx", "done")]


def test_a_board_that_leaves_takes_with_it_all_that_it_started(
    head: Head, board: BoardProcess
) -> None:
    """Also a job that does not listen to SIGTERM; and nothing else of this machine."""
    job_id = head.submit("trap '' TERM; sleep 34567 & sleep 34567; wait", "nx")
    head.wait(job_id, "running")
    state = board.until_alive()
    began = time.monotonic()
    assert board.stop() == 0
    print(f"\na board with a stubborn job leaves: {time.monotonic() - began:.1f} s")
    assert family(state.mark, []) == []
    assert not [p for p in psutil.process_iter(["cmdline"]) if "34567" in (p.info["cmdline"] or [])]
    assert not Path(state.temp).exists()
    head.until_state("nx", "offline")
    with Client.to(head.state) as client:
        client.cancel(job_id)
    assert head.state.is_alive("head") and head.state.is_alive("service")
