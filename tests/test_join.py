"""How boards come in: names, refusals with the command that helps, what a board asks. No Ray."""

from __future__ import annotations

import json
import platform
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from commands import Jetsched
from node_worlds import BoardProcess

from jetsched import __version__
from jetsched.cluster.asking import Answer, Head, LaterError, TokenError
from jetsched.cluster.boardsetup import Wish, preflight, set_up
from jetsched.cluster.joining import BOARDS_FILE, Joining, JoinWish, RefusedBoardError
from jetsched.cluster.nodeconfig import NodeConfig
from jetsched.cluster.noderunner import NodeRunner, NodeSetup, own_address, read_setup, write_setup
from jetsched.cluster.protocol import PROTOCOL
from jetsched.cluster.state import VERSION, ClusterState
from jetsched.errors import InputError, UnreachableError
from jetsched.records import Device, DeviceClass

KEY = "key-of-the-first-board"


def a_wish(key: str = KEY, **changes: Any) -> JoinWish:
    words: dict[str, Any] = {
        "protocol": PROTOCOL,
        "version": __version__,
        "ray": version("ray"),
        "python": platform.python_version(),
        "key": key,
        "model": "xavier-nx",
        "short": "nx",
    }
    return JoinWish(**words | changes)


class Door:
    """A head's door without a head; ``rows`` are its devices."""

    def __init__(self, home: Path) -> None:
        self.rows: list[dict[str, Any]] = []
        (home / "token").write_text("token-of-ray")
        self.state = ClusterState(
            "id", VERSION, "", "", "", str(home), "", ray_port=7, cluster="c", devices=("nx-1",)
        )
        self.joining = Joining(home, self.state, lambda: self.rows)

    def name(self, key: str = KEY, **changes: Any) -> str:
        return str(self.joining.join(a_wish(key, **changes))["device"])


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


# ------------------------------------------------------------------------------------------- names


def test_the_head_names_boards_and_knows_each_again(door: Door, tmp_path: Path) -> None:
    assert door.name() == "nx-2"  # nx-1 is emulated beside the head
    assert door.name("key-of-the-second") == "nx-3"
    assert door.name() == "nx-2"
    assert door.name("key-of-an-orin", model="orin-nano", short="orin") == "orin-1"
    again = Joining(tmp_path, door.state, lambda: [])
    assert again.join(a_wish())["device"] == "nx-2"
    assert stat.S_IMODE((tmp_path / BOARDS_FILE).stat().st_mode) == 0o600


def test_boards_that_join_at_the_same_time_get_names_of_their_own(tmp_path: Path) -> None:
    """As after a power cut. The API has a thread for each that asks."""
    door, keys = Door(tmp_path), [f"key-of-board-{i}" for i in range(6)]
    meet = threading.Barrier(len(keys))
    with ThreadPoolExecutor(len(keys)) as pool:

        def come_in(key: str) -> str:
            meet.wait(120)
            return door.name(key)

        names = list(pool.map(come_in, keys))
    assert len(set(names)) == len(keys)
    assert [door.name(key) for key in keys] == names


def test_a_name_that_a_living_board_has_is_refused_and_one_of_a_dead_board_goes_on(
    door: Door,
) -> None:
    assert door.name(name="lab") == "lab"
    door.rows = [{"id": "lab", "state": "ready", "text": ""}]
    with pytest.raises(RefusedBoardError, match="another board is lab already") as refused:
        door.name("another-key", name="lab")
    assert "--name" in refused.value.hint
    assert door.name(name="lab") == "lab"
    door.rows = [{"id": "lab", "state": "offline", "text": ""}]
    assert door.name("another-key", name="lab") == "lab"  # flashed anew, say
    assert door.name(short="nx") == "nx-2"  # whose name it was takes another one


@pytest.mark.parametrize("name", ["nx-1", "NX", "a b", "../x", "-x", "x" * 41, "ä"])
def test_a_name_that_is_none_is_refused(door: Door, name: str) -> None:
    with pytest.raises((RefusedBoardError, ValueError)):
        door.name(name=name)


def test_a_board_is_told_how_to_reach_ray_and_how_it_is_seen(door: Door) -> None:
    door.rows = [{"id": "lab", "state": "busy", "text": "", "more": 1}]
    answer = door.joining.join(a_wish(name="lab"))
    assert answer["ray_address"] == "127.0.0.1:7"
    assert answer["ray_token"] == "token-of-ray"
    assert (answer["state"], answer["lease_s"]) == ("busy", 60.0)


def test_a_damaged_list_of_boards_says_what_to_do(door: Door, tmp_path: Path) -> None:
    for text in ("", "[]", '{"boards": {"nx-2": 3}}'):
        (tmp_path / BOARDS_FILE).write_text(text)
        with pytest.raises(InputError, match="is damaged"):
            door.name()


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "says", "helps"),
    [
        ({"protocol": PROTOCOL - 1, "version": "0.0.9"}, "protocol", "git pull && make setup"),
        ({"protocol": PROTOCOL + 1}, "protocol", "git pull && make setup"),
        ({"ray": "2.40.0"}, "Ray 2.40.0", f"ray=={version('ray')}"),
        ({"python": "3.10.1"}, "Python 3.10.1", f"uv python find {platform.python_version()}"),
    ],
)
def test_a_board_that_would_not_understand_the_head_is_refused_with_the_command_that_helps(
    door: Door, changes: dict[str, Any], says: str, helps: str
) -> None:
    with pytest.raises(RefusedBoardError, match=says) as refused:
        door.name(**changes)
    assert helps in refused.value.hint
    assert refused.value.exit_code == 2


# ------------------------------------------------------------------------------------------ asking


class Said:
    """An HTTP server that says what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = 200, b"{}", list[tuple[str, str, Any]]()
        self.later = ""  # Retry-After
        self.then: tuple[int, bytes] | None = None  # what it says from the second time on
        said = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                words = json.loads(self.rfile.read(length))
                said.asked.append((self.path, self.headers["Authorization"], words))
                self.send_response(said.status)
                if said.status == 302:
                    self.send_header("Location", "http://127.0.0.1:9/")
                if said.later:
                    self.send_header("Retry-After", said.later)
                self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)
                if said.then is not None:
                    said.status, said.body = said.then

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def said() -> Iterator[Said]:
    server = Said()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "a-token"
    path.write_text("jetsched-node-xyz\n")
    return path


ANSWER = {
    "device": "nx-1",
    "cluster": "c",
    "ray_address": "10.0.0.1:6379",
    "ray_token": "t",
    "ray_life": "l",
    "ray_tls": False,
    "health": {"period_ms": 1000},
    "lease_s": 60.0,
    "version": __version__,
    "something": "that only a newer head says",
}


def test_a_board_says_what_it_is_and_takes_what_a_newer_head_adds(said: Said, token: Path) -> None:
    said.body = json.dumps(ANSWER).encode()
    answer = Head(said.url + "/", token).ask({"key": KEY})
    assert isinstance(answer, Answer) and answer.device == "nx-1"
    ((path, authorization, words),) = said.asked
    assert (path, authorization) == ("/nodes/join", "Bearer jetsched-node-xyz")
    assert (words["protocol"], words["key"]) == (PROTOCOL, KEY)


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (401, {"error": "wrong"}, TokenError, "refuses the token"),
        (403, {"error": "a token of role metrics"}, TokenError, "refuses the token"),
        (400, {"error": "protocol 1", "hint": "upgrade"}, InputError, "protocol 1"),
        (404, {"no": "error"}, InputError, "is it jetsched's"),
        (302, {}, InputError, "answered 302"),
        (429, {"error": "too many"}, UnreachableError, "too many"),
        (503, {"error": "busy"}, UnreachableError, "busy"),
        (500, {"error": "bug"}, UnreachableError, "bug"),
        (200, {"device": "nx-1"}, InputError, "not a valid Answer"),
    ],
)
def test_what_is_no_answer_says_who_has_to_do_what(
    said: Said, token: Path, status: int, body: dict[str, str], kind: type[Exception], says: str
) -> None:
    said.status, said.body = status, json.dumps(body).encode()
    with pytest.raises(kind, match=says):
        Head(said.url, token).ask({})


@pytest.mark.parametrize(
    ("header", "wait_s"), [("7", 7.0), ("86400", 60.0), ("", 60.0), ("Tue, 1 Jan", 60.0)]
)
def test_a_head_that_asks_for_patience_gets_it(
    said: Said, token: Path, header: str, wait_s: float
) -> None:
    said.status, said.body, said.later = 429, b"{}", header
    with pytest.raises(LaterError) as caught:
        Head(said.url, token).ask({})
    assert caught.value.wait_s == wait_s


def test_a_board_that_is_told_to_wait_joins_afterwards(
    said: Said, token: Path, tmp_path: Path
) -> None:
    """It ends by itself here: the head's second answer is a refusal that waiting cannot mend."""
    home = tmp_path / "home"
    config = NodeConfig(Device("", DeviceClass("xavier-nx", "15W", "jp5", 6000.0)), str(home))
    write_setup(home, NodeSetup(said.url, str(token), KEY, "nx", config))
    said.status, said.body, said.later = 429, b'{"error":"no"}', "1"
    said.then = (400, b'{"error":"protocol 1"}')
    with pytest.raises(InputError, match="protocol 1"):
        NodeRunner(home, read_setup(home)).run()
    assert len(said.asked) == 2


def test_nobody_there_is_told_as_such(token: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnreachableError, match="no head answers"):
        Head(f"http://127.0.0.1:{port}", token).ask({})


@pytest.mark.parametrize("text", ["", "two words", "ä"])
def test_a_token_file_that_holds_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t").write_text(text)
    with pytest.raises(InputError, match="token-file"):
        Head("http://127.0.0.1:9", tmp_path / "t").ask({})


def test_a_board_is_reached_where_the_head_sees_it() -> None:
    assert own_address("127.0.0.1:6379") == "127.0.0.1"
    assert own_address("[::1]:6379") == "::1"


# ---------------------------------------------------------------------------------- what is set up


def test_a_board_keeps_its_key_and_says_its_labels(tmp_path: Path, token: Path) -> None:
    wish = Wish("http://10.0.0.1:8640/", token, tmp_path, emulate="xavier-nx:0.1", labels=("lab",))
    first = set_up(wish)
    assert read_setup(tmp_path) == first
    assert set_up(wish).key == first.key
    assert first.url == "http://10.0.0.1:8640"
    assert (first.short, first.config.device.labels) == ("nx", ("emulated", "lab"))
    assert first.config.home == str(tmp_path)  # its profiles are told to the head
    assert stat.S_IMODE((tmp_path / "node" / "setup.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "url", ["10.0.0.1:8640", "http://10.0.0.1", "ftp://h:1", "http://h:x", "http://h:1/path", ""]
)
def test_what_is_no_address_of_a_head_is_refused(tmp_path: Path, token: Path, url: str) -> None:
    with pytest.raises(InputError, match="is no address of a head"):
        set_up(Wish(url, token, tmp_path, emulate="xavier-nx:0.1"))


def test_sizes_and_power_mode_of_the_command_line_are_the_nodes(
    tmp_path: Path, token: Path
) -> None:
    wish = Wish("http://h:1", token, tmp_path, emulate="xavier-nx:0.1", cache="8GiB")
    config = set_up(replace(wish, disk_min="1GiB", power_mode="15W_6CORE")).config
    assert (config.cache_mib, config.disk_min_mib) == (8192.0, 1024.0)
    assert config.power_mode == "15W_6CORE"
    with pytest.raises(InputError, match="--disk-min '5G'"):
        set_up(replace(wish, disk_min="5G"))


def test_an_emulated_board_is_only_asked_for_its_disk(tmp_path: Path, token: Path) -> None:
    found = preflight(Wish("http://h:1", token, tmp_path, emulate="xavier-nx:0.1"))
    assert {finding.check for finding in found} == {"disk", "cache"}


def test_a_board_without_its_torch_does_not_join_and_says_how_to_get_one(
    jetsched: Jetsched, tmp_path: Path, token: Path
) -> None:
    python = tmp_path / "python"
    result = jetsched(
        "join", "http://127.0.0.1:9", "--token-file", str(token), "--workload-python", str(python)
    )
    assert result.code == 2
    assert "this board is not ready" in result.err and "fix:" in result.err
    assert not (tmp_path / "home" / "node").exists()


def test_the_command_says_what_is_wrong_with_its_words(
    jetsched: Jetsched, tmp_path: Path, token: Path
) -> None:
    board = ("--emulate", "xavier-nx:0.1")
    for words in (
        ("http://h:1", "--token-file", str(tmp_path / "none")),
        ("h:1", "--token-file", str(token)),
        ("http://h:1", "--token-file", str(token), "--label", "a,b"),
        ("http://h:1", "--token-file", str(token), "--ray-tls", str(tmp_path / "none")),
    ):
        result = jetsched("join", *words, *board)
        assert result.code == 2 and result.err.startswith("✗"), result


def test_a_board_that_never_joined_ends_where_there_is_no_head(tmp_path: Path) -> None:
    with BoardProcess(tmp_path / "b", "http://127.0.0.1:9", "t") as board:
        assert board.start().wait() == 5
        assert "no head answers at http://127.0.0.1:9" in board.text
        assert not Path(board.state.temp).exists()


def test_a_board_that_is_refused_says_why_and_ends(said: Said, tmp_path: Path) -> None:
    said.status = 400
    said.body = json.dumps({"error": "it speaks another protocol", "hint": "git pull"}).encode()
    with BoardProcess(tmp_path / "b", said.url, "t") as board:
        assert board.start().wait() == 2
        assert "✗ it speaks another protocol\n  git pull\n" in board.text


def test_only_one_board_uses_a_data_home(said: Said, tmp_path: Path) -> None:
    """And one that was asked to go goes, whatever it was waiting for."""
    said.body = json.dumps(ANSWER | {"ray_address": "127.0.0.1:9"}).encode()
    with BoardProcess(tmp_path / "b", said.url, "t") as board:
        board.start().until_alive()
        with BoardProcess(tmp_path / "b", said.url, "t") as second:
            second.start()
            assert second.wait() == 2
        assert "already" in second.text
        assert board.stop() == 0
        assert not Path(board.state.temp).exists()
