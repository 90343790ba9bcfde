"""`jetsched top` in a terminal, over a real service: what a person sees and does."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_world import LIKE, TOKEN, Served
from commands import Jetsched
from live_world import LiveWorld, table
from terminals import TerminalRun

from jetsched.cluster.client import Client
from jetsched.cluster.state import VERSION, ClusterState, write_state
from jetsched.cluster.terminal import Size
from jetsched.cluster.top_events import Happened, past_of
from jetsched.cluster.top_watch import Watch

TOP = [sys.executable, "-m", "jetsched", "top", "--every", "200ms"]


def command(name: str, run: str) -> dict[str, Any]:
    return {"name": name, "work": {"kind": "command", "run": run, "like": LIKE}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorld]:
    folder = tmp_path_factory.mktemp("world")
    with LiveWorld(folder, table(**{"tiny-gpt2": 5.0})) as world:
        world.until_devices("nx-1", "orin-1")
        yield world


@pytest.fixture(scope="module")
def served(world: LiveWorld) -> Iterator[Served]:
    with Served(world) as served:
        yield served


@pytest.fixture
def env(served: Served, tmp_path: Path) -> dict[str, str]:
    return environment(served, tmp_path)


def environment(served: Served, folder: Path) -> dict[str, str]:
    (folder / "token").write_text(TOKEN)
    return {
        "JETSCHED_HEAD": served.url,
        "JETSCHED_TOKEN_FILE": str(folder / "token"),
        "JETSCHED_HOME": str(folder / "home"),
        "NO_COLOR": "",
    }


@pytest.fixture
def jobs(served: Served, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Submits a job that goes on until the test is over; returns its id."""
    gate, ids = tmp_path / "gate", list[str]()

    def submit(name: str, first: str = "true") -> str:
        run = f"{first}; while ! test -e {gate}; do sleep 0.05; done"
        ids.append(served.client.submit_specs([command(name, run)])[0]["id"])
        return ids[-1]

    yield submit
    gate.touch()
    for job_id in ids:
        served.world.until_state(job_id, "done", "cancelled", "failed")


def test_boards_the_queue_and_the_last_events_come_up_and_q_leaves_the_terminal_as_it_was(
    env: dict[str, str], jobs: Callable[..., str], served: Served
) -> None:
    first, second, third = jobs("first"), jobs("second"), jobs("third")
    served.world.until_state(first, "running")
    served.world.until_state(second, "running")
    with TerminalRun(TOP, env, width=140) as run:
        row = run.until_shown("nx-1  ")
        assert "BUSY" in row and any(f"{job} " in row for job in (first, second))
        run.until(lambda text: re.search(r"first +command.* RUNNING", text))
        run.until(lambda text: re.search(r"third +command.* WAITING .*(Behind|DeviceBusy): ", text))
        assert "RUNNING on" in run.until_shown(f"job {first} first RUNNING"), "of the time before"
        assert f"policy {served.client.status()['policy']}" in run.lines[0]
        run.press("q")
        assert run.end() == 0
        assert run.sent.endswith(b"\x1b[?7h\x1b[?25h\x1b[?1049l")
    assert served.client.job(third)["state"] == "waiting"


def test_why_in_the_terminal_is_the_table_of_why(
    env: dict[str, str],
    jobs: Callable[..., str],
    served: Served,
    jetsched: Jetsched,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = jobs("asked")
    served.world.until_state(job, "running")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    told = jetsched("why", job).out.rstrip().split("\n\nNext")[0].splitlines()
    with TerminalRun(TOP, env, width=160) as run:
        run.until_shown("asked")
        run.press("\tw")
        run.until_shown("goes here")
        shown = [line.strip() for line in run.lines]
        for line in told:  # in a pipe nothing is cut
            assert line.strip() in shown
        run.press("qq")
        assert run.end() == 0


def test_the_log_grows_before_one_s_eyes_and_obeys_nobody(
    env: dict[str, str], jobs: Callable[..., str], served: Served, tmp_path: Path
) -> None:
    """What a job writes is text, whatever it would have the terminal do."""
    more = tmp_path / "more"
    evil = r"printf 'first \033[2J\033]0;owned\007 line\n'"
    job = jobs("writer", f"{evil}; while ! test -e {more}; do sleep 0.05; done; echo grown")
    served.world.until_state(job, "running")
    with TerminalRun(TOP, env) as run:
        run.until_shown("writer")
        run.press("\tl")
        assert run.until_shown("first") == "first �[2J�]0;owned� line"
        more.touch()
        run.until_shown("grown")
        run.press("qq")
        assert run.end() == 0
        assert b"owned\x07" not in run.sent and b"\x1b]" not in run.sent


def test_c_asks_and_cancels(env: dict[str, str], jobs: Callable[..., str], served: Served) -> None:
    job = jobs("unwanted")
    served.world.until_state(job, "running")
    with TerminalRun(TOP, env) as run:
        run.until_shown("unwanted")
        run.press("\tc")
        run.until_shown(f"Cancel job {job} unwanted (RUNNING)?")
        run.press("n")
        run.until_shown(f"job {job} goes on")
        assert served.client.job(job)["state"] == "running"
        run.press("cy")
        served.world.until_state(job, "cancelled")
        run.until_shown(f"job {job} unwanted CANCELLED")
        run.press("q")
        assert run.end() == 0


def test_a_window_that_changes_its_size_is_filled_again(env: dict[str, str]) -> None:
    with TerminalRun(TOP, env, width=160, height=50) as run:
        run.until_shown("MODEL")
        run.resize(60, 16)
        run.until(lambda text: "MODEL" not in text and "nx-1" in text and "q quit" in run.lines[-1])
        assert len(run.lines) == 16 and max(map(len, run.lines)) <= 60
        run.resize(160, 50)
        run.until(lambda text: "MODEL" in text and "q quit" in run.lines[-1])
        run.press("q")
        assert run.end() == 0


def test_without_colour_nothing_but_text_is_sent(env: dict[str, str]) -> None:
    with TerminalRun(TOP, {**env, "NO_COLOR": "1"}) as plain, TerminalRun(TOP, env) as coloured:
        for run in (plain, coloured):
            run.until_shown("last events")
            run.press("q")
            assert run.end() == 0
        assert b"\x1b[7m" in coloured.sent and b"\x1b[7m" not in plain.sent
        assert b"\x1b[32m" in coloured.sent and b"\x1b[32m" not in plain.sent


def test_a_terminal_without_utf_8_gets_characters_that_it_has(env: dict[str, str]) -> None:
    with TerminalRun(TOP, {**env, "PYTHONIOENCODING": "ascii"}) as run:
        run.until_shown("> nx-1")
        run.press("q")
        assert run.end() == 0
        assert run.sent.isascii()


@pytest.mark.slow
def test_a_head_that_is_lost_is_said_and_found_again_where_it_is_then(
    world: LiveWorld, tmp_path: Path
) -> None:
    """The last picture stays meanwhile, and a wish is not done later, when nobody expects it."""

    def at(served: Served) -> Served:
        write_state(tmp_path, ClusterState("x", VERSION, "", "", "", "", TOKEN, served.port))
        return served

    served = at(Served(world))
    job = served.client.submit_specs([command("kept", "sleep 600")])[0]["id"]
    world.until_state(job, "running")
    env = {"JETSCHED_HOME": str(tmp_path), "JETSCHED_HEAD": "", "NO_COLOR": ""}
    with TerminalRun(TOP, env, width=150) as run:
        run.until_shown("kept")
        served.close()
        run.until_shown("✗ the head is lost")
        assert "kept" in run.text and "nx-1" in run.text
        run.press("\tcy")
        run.until_shown("not done:")
        with at(Served(world)) as again:
            run.until(lambda text: "lost" not in text and again.url in text)
            assert again.client.job(job)["state"] == "running"
            again.client.cancel(job)
            run.until_shown(f"job {job} kept CANCELLED")
            world.until_state(job, "cancelled")
            run.press("q")
            assert run.end() == 0


def test_a_mistake_of_the_program_is_not_taken_for_a_slow_head(served: Served) -> None:
    class Broken:
        """Knows events, but not for long."""

        looks = 0

        @property
        def lines(self) -> list[Happened]:
            self.looks += 1
            if self.looks > 1:
                raise RuntimeError("a bug")
            return []

    def connect() -> Client:
        return Client(served.url, TOKEN)

    woken = threading.Event()
    watch = Watch(connect(), connect, Broken(), every_s=0.01)
    watch.check()
    watch.start(woken.set)
    assert woken.wait(120)
    with pytest.raises(RuntimeError, match="a bug"):
        watch.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_terminal_as_it_was(env: dict[str, str], number: int) -> None:
    with TerminalRun(TOP, env) as run:
        run.until_shown("nx-1")
        run.process.send_signal(number)
        assert run.end() == 128 + number
        assert b"\x1b[?1049l" in run.sent and "Stopped." in run.text


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_ctrl_z_gives_the_shell_its_turn_and_fg_comes_back(env: dict[str, str]) -> None:
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with TerminalRun(shell, {**env, "PS1": "ready> ", "HISTFILE": ""}, width=100) as run:
        run.until_shown("ready>")
        run.press(" ".join(TOP) + "\r")
        run.until_shown("nx-1")
        run.press("\x1a")
        run.until(lambda text: "Stopped" in text and run.lines[0][:8] != "jetsched")
        assert run.sent.count(b"\x1b[?1049l") == 1
        run.press("fg\r")
        run.until(lambda text: "nx-1" in text and "q quit" in run.lines[-1])
        run.press("q")
        run.until(lambda text: run.sent.count(b"\x1b[?1049l") == 2)
        run.press("exit\r")
        assert run.end() == 0


def test_ctrl_z_without_a_shell_changes_nothing(env: dict[str, str]) -> None:
    with TerminalRun(TOP, env) as run:
        run.until_shown("nx-1")
        run.press("\x1a")
        run.until(lambda text: run.sent.count(b"\x1b[?1049h") == 2 and "q quit" in text)
        run.press("q")
        assert run.end() == 0


def test_a_terminal_that_is_closed_ends_it(env: dict[str, str]) -> None:
    run = TerminalRun(TOP, env)
    try:
        run.until_shown("nx-1")
    finally:
        run.close()
    assert run.process.wait(120) in (0, 128 + signal.SIGHUP, -signal.SIGHUP)


def test_in_a_pipe_it_is_plain_text_once(env: dict[str, str], jobs: Callable[..., str]) -> None:
    jobs("piped")
    done = subprocess.run(
        TOP, env={**os.environ, **env}, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0 and "\x1b" not in done.stdout
    assert "nx-1" in done.stdout and "piped" in done.stdout and "Last events" in done.stdout
    assert "Next: jetsched top" in done.stdout


def test_json_has_what_there_is(
    env: dict[str, str],
    jobs: Callable[..., str],
    jetsched: Jetsched,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = jobs("told")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    found = jetsched("top", "--json").json()
    assert {device["id"] for device in found["devices"]} == {"nx-1", "orin-1"}
    assert job in [row["id"] for row in found["jobs"]]
    assert any(event["job_id"] == job for event in found["events"])
    assert found["status"]["states"]["running"] <= 2
    assert jetsched("top", "--once").out.count("told") >= 1


def test_without_a_head_it_ends_with_5_and_nonsense_with_2(
    jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JETSCHED_HEAD", raising=False)
    assert jetsched("top").code == 5
    for text in ("often", "1ms", "2h"):
        result = jetsched("top", "--every", text)
        assert result.code == 2 and f"--every {text}" in result.err


def test_the_last_changes_are_had_newest_first_and_end(served: Served) -> None:
    job = served.client.submit_specs([command("short", "true")])[0]["id"]
    served.world.until_state(job, "done")
    lines = past_of(served.client, 50)
    mine = [line.text for line in lines if line.job_id == job]
    assert mine[0].startswith(f"job {job} short DONE on ")
    assert [line.at_s for line in lines] == sorted([line.at_s for line in lines], reverse=True)
    assert len(past_of(served.client, 1)) <= len(lines)


def test_a_terminal_that_does_not_know_its_size_has_the_usual_one(env: dict[str, str]) -> None:
    with TerminalRun(TOP, env, width=80, height=24) as run:
        run.until_shown("nx-1")
        run.tell_size(Size(0, 0))
        run.press("?")
        run.until_shown("SIGNS")
        assert max(map(len, run.lines)) <= 80
        run.press("qq")
        assert run.end() == 0
