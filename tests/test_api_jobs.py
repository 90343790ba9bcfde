"""Jobs over HTTP: submitted once however often, a page at a time, and what strangers may name."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_world import JOB, LIKE, TOKEN, Served, job_file
from builders import TableCosts
from commands import Jetsched
from live_world import LiveWorld, journal
from local_agents import LocalAgents

from jetsched.cluster.client import Client
from jetsched.cluster.rules import Rules
from jetsched.cluster.tokens import TOKENS_FILE, Tokens
from jetsched.errors import InputError, UnreachableError
from jetsched.problems import FileProblems
from jetsched.scheduler.events import Submitted


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LiveWorld]:
    """A scheduler without a single board: everything waits."""
    agents = LocalAgents(tmp_path / "nodes", {})
    with LiveWorld(tmp_path, TableCosts({}), agents=agents) as world:
        yield world


@pytest.fixture
def served(world: LiveWorld, tmp_path: Path) -> Iterator[Served]:
    tokens = Tokens(tmp_path / TOKENS_FILE)
    rules = Rules(commands=False, roots=(tmp_path / "shared",))
    with Served(world, tokens, rules=rules) as served:
        yield served


def a_spec(name: str = "one", priority: int = 50) -> dict[str, object]:
    return {
        "name": name,
        "priority": priority,
        "work": {"kind": "infer", "model": "tiny-gpt2", "prompts": 8},
    }


# ----------------------------------------------------------------------------------- only once


def test_the_same_key_submits_once_and_answers_with_the_same_jobs(served: Served) -> None:
    first = served.client.submit_specs([a_spec(), a_spec("two")], key="k")
    again = served.client.submit_specs([a_spec(), a_spec("two")], key="k")
    assert [job["id"] for job in first] == [job["id"] for job in again] == ["1", "2"]
    assert len(served.client.jobs()) == 2
    (entry,) = [e for e in journal(served.world.home) if isinstance(e, Submitted)]
    assert (entry.key, len(entry.content)) == ("k", 64)


def test_a_key_that_came_with_other_jobs_is_refused(served: Served) -> None:
    served.client.submit_specs([a_spec()], key="k")
    with pytest.raises(InputError, match="came with other jobs before: 1"):
        served.client.submit_specs([a_spec("other")], key="k")
    body = {"jobs": [{"spec": a_spec("other")}], "key": "k"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.post(served.url + "/jobs", json=body, headers=headers, trust_env=False)
    assert answer.status_code == 409
    assert len(served.client.jobs()) == 1


def test_without_a_key_of_their_own_two_submissions_are_two(served: Served) -> None:
    served.client.submit_specs([a_spec()])
    served.client.submit_specs([a_spec()])
    assert len(served.client.jobs()) == 2


def test_a_key_is_known_after_a_restart(tmp_path: Path) -> None:
    agents = LocalAgents(tmp_path / "nodes", {})
    with LiveWorld(tmp_path, TableCosts({}), agents=agents) as world:
        with Served(world) as served:
            served.client.submit_specs([a_spec()], key="k")
        world.stop()
        again = LiveWorld(tmp_path, TableCosts({}), agents=agents)
        try:
            with Served(again) as served:
                assert [j["id"] for j in served.client.submit_specs([a_spec()], key="k")] == ["1"]
                assert len(served.client.jobs()) == 1
        finally:
            again.stop()


class CutLine:
    """A way to the API on which the first answer is lost: the request has arrived by then."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._port = port
        self.lost = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", self._port)) as head:
                client.settimeout(30)
                head.settimeout(30)
                request = b""
                while b"\r\n\r\n" not in request:
                    request += client.recv(65536)
                header, _, body = request.partition(b"\r\n\r\n")
                length = int(
                    next(
                        line.split(b":")[1]
                        for line in header.lower().splitlines()
                        if line.startswith(b"content-length")
                    )
                )
                while len(body) < length:
                    body += client.recv(65536)
                head.sendall(header.replace(b"keep-alive", b"close") + b"\r\n\r\n" + body)
                answer = b""
                while chunk := head.recv(65536):
                    answer += chunk
                if not self.lost:
                    self.lost += 1
                    continue  # and close: nobody hears of it
                client.sendall(answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(60)


def test_a_submission_whose_answer_was_lost_is_asked_again_and_happens_once(
    served: Served,
) -> None:
    line = CutLine(served.port)
    try:
        with Client(line.url, TOKEN) as client:
            rows = client.submit_specs([a_spec()])
    finally:
        line.close()
    assert line.lost == 1
    assert [row["id"] for row in rows] == ["1"]
    assert len(served.client.jobs()) == 1


# --------------------------------------------------------------------------------------- pages


def ids(rows: list[dict[str, object]]) -> list[object]:
    return [row["id"] for row in rows]


def test_pages_follow_each_other_without_a_gap_in_every_order(served: Served) -> None:
    priorities = [10, 90, 50, 90, 10, 50, 70]
    served.client.submit_specs([a_spec(f"p{p}", p) for p in priorities])
    whole = {
        "submitted": ["1", "2", "3", "4", "5", "6", "7"],
        "newest": ["7", "6", "5", "4", "3", "2", "1"],
        "queue": ["2", "4", "7", "3", "6", "1", "5"],
    }
    for order, expected in whole.items():
        found: list[object] = []
        while page := served.client.page(
            order=order, limit=3, after=str(found[-1] if found else "")
        ):
            found += ids(page)
        assert found == expected


def test_a_page_holds_the_states_that_are_asked_for(served: Served) -> None:
    served.client.submit_specs([a_spec(), a_spec("two"), a_spec("three")])
    served.client.cancel("2")
    assert ids(served.client.page(states="open")) == ["1", "3"]
    assert ids(served.client.page(states="cancelled")) == ["2"]
    assert ids(served.client.page(states="cancelled,waiting", order="queue")) == ["1", "3", "2"]
    assert served.client.status()["states"]["cancelled"] == 1
    for wrong in ({"states": "wating"}, {"after": "99"}, {"order": "up"}, {"limit": 0}):
        with pytest.raises(InputError):
            served.client.page(**wrong)


def test_all_jobs_are_all_however_many_pages_that_takes(served: Served) -> None:
    served.client.submit_specs([a_spec(str(n)) for n in range(1200)])
    assert len(served.client.jobs()) == 1200
    assert len(served.client.page(limit=5)) == 5


# ------------------------------------------------------------------------------------- the verb


def test_the_queue_is_shown_a_page_at_a_time_with_the_way_to_the_next(
    served: Served, jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From another machine: nothing but the address and a token is there."""
    served.client.submit_specs([a_spec(f"job-{n}") for n in range(5)])
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    monkeypatch.setenv("JETSCHED_HEAD", served.url + "/")
    monkeypatch.setenv("JETSCHED_TOKEN_FILE", str(token))
    first = jetsched("queue", "--limit", "2")
    assert first.code == 0, first.err
    assert "job-0" in first.out and "job-2" not in first.out
    assert "5 in all; the next ones: jetsched queue --after 2" in first.out
    second = jetsched("queue", "--limit", "3", "--after", "2")
    assert "job-4" in second.out and "job-1" not in second.out
    assert len(jetsched("queue", "--json", "--limit", "1").json()) == 5


def test_a_job_is_handed_in_through_a_pipe(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To a head on another machine: the file is checked, its files are looked for, it is sent."""
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    monkeypatch.setenv("JETSCHED_HEAD", served.url)
    monkeypatch.setenv("JETSCHED_TOKEN_FILE", str(token))
    done = subprocess.run(
        [sys.executable, "-m", "jetsched", "submit", "-", "--hold", "--json"],
        input="work: {kind: infer, model: gpt2, prompts: 4, max_new_tokens: 8}\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [job["name"] for job in json.loads(done.stdout)] == ["stdin"]


# ---------------------------------------------------------------------------- what may be named


def test_a_head_that_runs_no_commands_says_so_at_the_place(served: Served, tmp_path: Path) -> None:
    with pytest.raises(FileProblems, match="this head runs no commands") as caught:
        served.client.submit([job_file(tmp_path, JOB)])
    assert [(p.line, p.path) for p in caught.value.problems] == [(1, "work.kind")]
    spec = {"work": {"kind": "command", "run": "x", "like": LIKE}}
    with pytest.raises(FileProblems, match="--allow-commands"):
        served.client.submit_specs([spec])


def test_a_stranger_names_files_below_the_roots_only_and_learns_nothing_of_others(
    served: Served, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "ok.txt").write_text("hello\n")
    (tmp_path / "private.txt").write_text("hello\n")
    (shared / "link.txt").symlink_to(tmp_path / "private.txt")
    token = Tokens(tmp_path / TOKENS_FILE).new("ada", "admin")

    def spec(prompts: Path | str) -> dict[str, object]:
        return {"work": {"kind": "infer", "model": "tiny-gpt2", "prompts": str(prompts)}}

    with Client(served.url, token) as stranger:
        assert stranger.submit_specs([spec(shared / "ok.txt")])
        said = set()
        for path in (
            tmp_path / "private.txt",
            tmp_path / "nothing.txt",
            shared / "link.txt",
            shared / ".." / "private.txt",
            "/etc/passwd",
            "~/x.txt",
        ):
            with pytest.raises(FileProblems) as caught:
                stranger.submit_specs([spec(path)])
            (problem,) = caught.value.problems
            said.add(problem.message.partition("' ")[2])
        assert said == {"is not a file that the head lets others name"}
    assert served.client.submit_specs([spec(tmp_path / "private.txt")])  # its owner may


def test_a_stranger_cannot_have_the_head_load_code(served: Served, tmp_path: Path) -> None:
    token = Tokens(tmp_path / TOKENS_FILE).new("ada", "admin")
    with Client(served.url, token) as stranger:
        for policy in ("os:abort", str(tmp_path / "mine.py"), "./mine.py", "mine.py:x=1"):
            with pytest.raises(InputError, match="only its owner") as caught:
                stranger.use_policy(policy)
            assert caught.value.exit_code != 0
        assert stranger.use_policy("earliest_finish")["policy"] == "earliest_finish"


# --------------------------------------------------------------------------- another machine


def test_what_is_missing_to_reach_another_machine_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: Served
) -> None:
    def said(**variables: str) -> str:
        for name in ("JETSCHED_HEAD", "JETSCHED_TOKEN_FILE", "JETSCHED_CA_FILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises((InputError, UnreachableError)) as caught:
            Client.connect(tmp_path / "no-home").jobs()
        return f"{caught.value} | {caught.value.hint}"

    token = tmp_path / "token"
    token.write_text("wrong\n")
    (tmp_path / "empty").write_text("")
    assert "JETSCHED_HEAD=http://HOST:PORT" in said()
    assert "JETSCHED_TOKEN_FILE is not" in said(JETSCHED_HEAD=served.url)
    assert "not an address" in said(JETSCHED_HEAD="10.0.0.1:8640")
    head = {"JETSCHED_HEAD": served.url}
    assert "No such file" in said(**head, JETSCHED_TOKEN_FILE=str(tmp_path / "none"))
    assert "holds no token" in said(**head, JETSCHED_TOKEN_FILE=str(tmp_path / "empty"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    away = {"JETSCHED_HEAD": f"http://127.0.0.1:{port}", "JETSCHED_TOKEN_FILE": str(token)}
    assert "does not answer" in said(**away)
