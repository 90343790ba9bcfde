"""What `up` makes of what it is asked, and how it keeps processes alive. Without Ray."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import Jetsched

from jetsched.cluster.asked import Asked
from jetsched.cluster.fence import step_down
from jetsched.cluster.headfile import HeadFile, read_head_file, write_head_file
from jetsched.cluster.health import DEFAULT_HEALTH, PRESETS, Health, parse_health
from jetsched.cluster.processes import OwnProcess
from jetsched.cluster.raynodes import free_port
from jetsched.cluster.rayplace import RayPlace, RayTls
from jetsched.cluster.restarting import Kept, Pauses
from jetsched.cluster.state import VERSION, ClusterState, Options, read_state, write_state
from jetsched.cluster.tokens import TOKENS_FILE, Tokens
from jetsched.cluster.up import foreign_token
from jetsched.cluster.watchdog import Watchdog
from jetsched.errors import InputError
from jetsched.files import to_json

HOME = Path("/nowhere")
#: Against hanging only.
SOON_S = 120.0


def a_state(**changes: object) -> ClusterState:
    return ClusterState("id", VERSION, "", "xavier-nx:0.1", "fifo", "/nowhere", "t", **changes)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------- what was asked


def test_health_has_presets_and_single_values() -> None:
    assert parse_health("default") == DEFAULT_HEALTH
    assert parse_health("tight").failures == 3
    assert parse_health("slow:failures=8") == Health(3000, 15000, 8, 20000, 20000, 10000, 120)
    assert parse_health("period_ms=500, failures=2").period_ms == 500
    tight, slow = PRESETS["tight"], PRESETS["slow"]
    assert tight.reconnect_s < DEFAULT_HEALTH.reconnect_s < slow.reconnect_s


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tigth", "there is no 'tigth'"),
        ("tight:periods=1", "there is no 'periods'"),
        ("tight:period_ms=0", "above 0"),
        ("tight:period_ms=fast", "above 0"),
        ("", "there is no ''"),
    ],
)
def test_what_is_no_health_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_health(text)


def test_ray_hears_of_health_on_both_sides() -> None:
    health = PRESETS["tight"]
    assert health.for_head()["gcs_rpc_server_reconnect_timeout_s"] == 15
    assert set(health.for_everybody()) == {
        f"RAY_{name}" for name in health.for_head() if "keepalive" in name
    }


def test_commands_are_allowed_where_only_this_machine_can_ask_for_them() -> None:
    assert Asked().options().allow_commands
    assert not Asked(host="10.0.0.1").options().allow_commands
    assert Asked(host="10.0.0.1", allow_commands=True).options().allow_commands


def test_what_is_not_asked_for_is_as_it_was() -> None:
    old = a_state(host="127.0.0.2", options=Options(lease_s=7.0, aging_s=0.0))
    asked = Asked(lease="20s").completed(old)
    assert (asked.emulate, asked.host) == ("xavier-nx:0.1", "127.0.0.2")
    assert asked.options(old.options) == Options(lease_s=20.0, aging_s=0.0)
    assert Asked(aging="off").options().aging_s == 0.0
    assert Asked(aging="2m").options().aging_s == 120.0


@pytest.mark.parametrize(
    "asked",
    [
        Asked(lease="soon"),
        Asked(lease="10"),
        Asked(aging="0s"),
        Asked(tls_cert=Path("cert.pem")),
        Asked(tls_cert=HOME / "c", tls_key=HOME / "k"),
        Asked(ray_tls=HOME),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused_before_anything_starts(asked: Asked) -> None:
    with pytest.raises(InputError):
        asked.options()


def test_an_address_that_others_reach_needs_a_token_first(tmp_path: Path) -> None:
    address = next(
        (
            a.address
            for addresses in psutil.net_if_addrs().values()
            for a in addresses
            if a.family == socket.AF_INET and not a.address.startswith("127.")
        ),
        None,
    )
    if address is None:
        pytest.skip("this machine has only the loopback")
    with pytest.raises(InputError, match="there is no token yet") as refused:
        Asked(host=address).check_address(tmp_path)
    assert "jetsched token new" in refused.value.hint
    Tokens(tmp_path / TOKENS_FILE).new("nodes", "node")
    Asked(host=address).check_address(tmp_path)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("0.0.0.0", "one address"),
        ("::", "one address"),
        ("head.local", "is not an address"),
        ("192.0.2.77", "no address of this machine"),
    ],
)
def test_an_address_that_is_none_of_this_machine_is_refused(host: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Asked(host=host).check_address(HOME)


def test_the_command_refuses_before_anything_is_written(jetsched: Jetsched, tmp_path: Path) -> None:
    for words in (["--host", "0.0.0.0"], ["--health", "nervous"], ["--emulate", "toaster"]):
        result = jetsched("up", *words)
        assert (result.code, result.out) == (2, "")
    assert not (tmp_path / "home" / "cluster.json").exists()


def test_the_token_of_somebody_elses_ray_is_taken_from_its_own_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    with pytest.raises(InputError, match="nothing says what the token"):
        foreign_token()
    (tmp_path / "token").write_text("abc\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert foreign_token() == "abc"


# ---------------------------------------------------------------------------------- what is kept


def test_a_head_keeps_its_ports_and_its_token(tmp_path: Path) -> None:
    first = HeadFile().listening("127.0.0.1")
    write_head_file(tmp_path, first)
    assert stat.S_IMODE((tmp_path / "head.json").stat().st_mode) == 0o600
    assert read_head_file(tmp_path) == first
    assert first.listening("127.0.0.1") == first
    assert first.listening("127.0.0.2").cluster == first.cluster
    assert first.ray_token not in repr(first)


def test_a_port_that_boards_know_must_be_free() -> None:
    head = HeadFile().listening("127.0.0.2", free_port("127.0.0.2"))
    with socket.create_server(("127.0.0.2", head.api_port)):
        with pytest.raises(InputError, match="where the boards look for the head"):
            head.listening("127.0.0.2")
        with pytest.raises(InputError, match="is taken"):
            HeadFile().listening("127.0.0.2", head.api_port)
    assert head.listening("127.0.0.2").api_port == head.api_port


def test_a_port_of_the_loopback_that_is_taken_is_another_one_then() -> None:
    head = HeadFile().listening("127.0.0.1")
    with socket.create_server(("127.0.0.1", head.api_port)):
        assert head.listening("127.0.0.1").api_port not in (0, head.api_port)


def test_a_token_that_leaked_is_another_one_once_it_is_taken_out(tmp_path: Path) -> None:
    first = HeadFile().listening("127.0.0.1")
    data = {k: v for k, v in vars_of(first).items() if k != "ray_token"}
    (tmp_path / "head.json").write_text(json.dumps(data))
    second = read_head_file(tmp_path)
    assert second.ray_token not in ("", first.ray_token)
    assert (second.cluster, second.api_port) == (first.cluster, first.api_port)


def vars_of(head: HeadFile) -> dict[str, Any]:
    found: dict[str, Any] = to_json(head)
    return found


@pytest.mark.parametrize("text", ["", "[]", '{"version": 99}', "no json"])
def test_a_damaged_head_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "head.json").write_text(text)
    with pytest.raises(InputError, match=r"head\.json"):
        read_head_file(tmp_path)


def test_a_state_file_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"id": "x", "version": 1, "started_at": ""}')
    with pytest.raises(InputError, match="another version") as refused:
        read_state(tmp_path)
    assert "down" in refused.value.hint


def test_a_state_survives_its_file(tmp_path: Path) -> None:
    me = OwnProcess.of(os.getpid(), "runner")
    assert me is not None
    options = Options(PRESETS["tight"], ray_tls=RayTls("a", "b", "c"))
    state = a_state(processes=(me,), host="::1", api_port=7, options=options)
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert state.url == "http://[::1]:7"
    assert a_state(options=Options(tls_cert="c")).url.startswith("https://")


def test_settings_of_somebody_elses_ray_do_not_come_along() -> None:
    place = RayPlace("m", "/h", "1.2.3.4:5", "1.2.3.4", "/t", tls=RayTls("c", "k", "a"))
    mine = {"RAY_ADDRESS": "x", "JETSCHED_DEBUG": "1", "PATH": "/bin", "JETSCHED_STALL_S": "5"}
    environment = place.environment(mine)
    assert "RAY_ADDRESS" not in environment and "JETSCHED_DEBUG" not in environment
    assert (environment["PATH"], environment["JETSCHED_STALL_S"]) == ("/bin", "5")
    assert environment["RAY_AUTH_MODE"] == "token" and environment["RAY_USE_TLS"] == "1"


# -------------------------------------------------------------------------------------- the fence


def a_unit(root: Path, name: str = "jetsched-node.service") -> Path:
    """The files of a process in a unit's group, in version 2 of cgroups."""
    group = root / "sys/fs/cgroup/system.slice" / name
    group.mkdir(parents=True)
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"0::/system.slice/{name}\n")
    (root / "proc/self/mounts").write_text("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n")
    (group / "cgroup.procs").write_text("4711\n")
    (group / "cgroup.subtree_control").write_text("")
    return group


def test_under_systemd_the_supervisor_leaves_room_for_groups_of_jobs_within_its_unit(
    tmp_path: Path,
) -> None:
    group = a_unit(tmp_path)
    leaf = step_down(tmp_path, {"INVOCATION_ID": "x"})
    assert leaf == group / "jetsched"
    assert (leaf / "cgroup.procs").read_text() == "4711"
    assert (group / "cgroup.subtree_control").read_text() == "+memory"


def test_without_systemd_no_group_is_touched(tmp_path: Path) -> None:
    group = a_unit(tmp_path)
    assert step_down(tmp_path, {}) is None
    assert step_down(tmp_path / "nothing", {"INVOCATION_ID": "x"}) is None
    assert not (group / "jetsched").exists()
    session = a_unit(tmp_path / "b", "session-1.scope")
    assert step_down(tmp_path / "b", {"INVOCATION_ID": "x"}) is None
    assert not (session / "jetsched").exists()


# ------------------------------------------------------------------------------------- restarting


def test_pauses_grow_as_long_as_lives_are_brief_and_not_for_ever() -> None:
    pauses, now, found = Pauses(first_s=1.0, most_s=5.0, calm_s=60.0), 100.0, []
    assert pauses.is_over(now)
    for _ in range(5):
        pauses.started(now)
        pauses.ended(now)
        began = now
        while not pauses.is_over(now):
            now += 0.5
        found.append(now - began)
    assert found == [1.0, 2.0, 4.0, 5.0, 5.0]
    pauses.started(now)
    pauses.ended(now + 61)
    assert not pauses.is_over(now + 61.5) and pauses.is_over(now + 62)


#: Leads a session with a child in it, and with one in a session of its own.
FAMILY = (
    "import subprocess, sys, time;"
    "a = subprocess.Popen(['sleep', '1234.5']);"
    "b = subprocess.Popen(['sleep', '1234.5'], start_new_session=True);"
    "print(a.pid, b.pid, flush=True); time.sleep(1234)"
)


def test_what_a_killed_process_leaves_in_its_session_is_ended_before_the_next_starts() -> None:
    """But not what has a session of its own: so live the supervisors of attempts."""
    kept = Kept("node")
    children: list[tuple[psutil.Process, psutil.Process]] = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        first, second = map(int, process.stdout.readline().split())
        process.stdout.close()
        children.append((psutil.Process(first), psutil.Process(second)))
        return process

    try:
        kept.start(start)
        assert kept.alive and not kept.has_ended() and kept.process is not None
        kept.process.send(signal.SIGKILL)
        _until(lambda: not kept.alive)
        assert kept.has_ended() and not kept.has_ended()
        assert kept.code == -signal.SIGKILL
        mate, apart = children[0]
        assert not mate.is_running() or mate.status() == psutil.STATUS_ZOMBIE
        assert apart.is_running()
        kept.start(start)
        assert kept.alive
        kept.end(5.0)
        assert not kept.alive and not kept.has_ended()
    finally:
        kept.end(0.0)
        for _, apart in children:
            apart.kill()


def test_what_loses_a_program_while_it_is_being_started_is_ended_and_not_waited_for(
    tmp_path: Path,
) -> None:
    """As `ray start` does: for up to a minute it waits for a GCS that is dead."""
    program = tmp_path / "gcs_server"
    program.symlink_to(shutil.which("sleep") or "sleep")
    kept = Kept("head", vital=frozenset({"gcs_server", "raylet"}))

    def start() -> subprocess.Popen[bytes]:
        words = ["sh", "-c", f"{program} 1234.5 & {program} 1234.5 & wait; sleep 1234.5"]
        return subprocess.Popen(words, start_new_session=True)

    def programs() -> list[psutil.Process]:
        assert kept.process is not None
        return [p for p in psutil.Process(kept.process.pid).children() if p.name() == "gcs_server"]

    try:
        kept.start(start)
        _until(lambda: len(programs()) == 2)
        assert not kept.has_ended()
        first, second = programs()
        first.kill()  # as what it forked, and what soon has another name
        time.sleep(1.2)
        assert not kept.has_ended() and kept.alive
        second.kill()
        _until(kept.has_ended)
        assert not kept.alive and kept.process is None
    finally:
        kept.end(0.0)


def test_a_program_that_died_before_it_was_seen_is_missed_too(tmp_path: Path) -> None:
    program = tmp_path / "gcs_server"
    program.symlink_to(shutil.which("sleep") or "sleep")
    waits = "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:]); time.sleep(1234)"
    words = [sys.executable, "-c", waits, str(program), "0.01"]
    kept = Kept("head", vital=frozenset({"gcs_server"}))
    try:
        kept.start(lambda: subprocess.Popen(words, start_new_session=True))
        _until(kept.has_ended)
        assert not kept.alive
    finally:
        kept.end(0.0)


def test_a_process_that_lived_before_us_is_kept_on() -> None:
    child = subprocess.Popen(["sleep", "1234.5"], start_new_session=True)
    try:
        kept = Kept("service", OwnProcess.of(child.pid, "service"))
        assert kept.alive
        child.kill()
        child.wait()
        assert kept.has_ended() and kept.code is None
    finally:
        child.kill()
        child.wait()


# ------------------------------------------------------------------------------------ the watchdog


class Spoken:
    """A server that says the same to everybody, or with None takes calls and says nothing."""

    def __init__(self, words: bytes | None) -> None:
        self.words = words
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._silent: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                if self.words is None:
                    self._silent.append(connection)
                    continue
                with connection:
                    connection.recv(4096)
                    connection.sendall(self.words)

    def close(self) -> None:
        for connection in (self._listener, *self._silent):
            connection.close()


OK = b'HTTP/1.1 200 OK\r\n\r\n{"status":"ok"}'


@pytest.mark.parametrize("words", [None, b'HTTP/1.1 503 x\r\n\r\n{"status":"stuck"}'])
def test_a_scheduler_that_answered_once_and_is_silent_or_stuck_now_has_hung(
    words: bytes | None,
) -> None:
    server = Spoken(OK)
    try:
        dog = Watchdog("127.0.0.1", server.port, every_s=0.02, silence_s=0.5)
        _until(lambda: dog._answered is not None)
        server.words = words
        _until(lambda: dog.is_hung(time.monotonic()))
        server.words = OK
        _until(lambda: not dog.is_hung(time.monotonic()))
    finally:
        server.close()


def test_a_scheduler_that_has_not_answered_yet_may_take_its_time() -> None:
    server = Spoken(None)
    try:
        dog = Watchdog("127.0.0.1", server.port, every_s=0.02, silence_s=0.1)
        time.sleep(0.5)
        assert not dog.is_hung(time.monotonic() + 1000)
    finally:
        server.close()


def _until(fact: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON_S
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)
