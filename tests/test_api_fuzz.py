"""Whatever comes in, an error goes out that says what is wrong: never a traceback, never a 5xx."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from api_world import TOKEN, Served
from builders import TableCosts
from hypothesis import HealthCheck, Phase, given, settings
from live_world import LiveWorld
from local_agents import LocalAgents
from schemathesis.core.result import Ok

from jetsched.cluster.tokens import TOKENS_FILE, Tokens
from jetsched.jobfile import parse_job
from jetsched.problems import FileProblems
from jetsched.profiler.models import positions

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.yaml"))
MUTANTS = 1000
#: It never ends, however it is asked.
ENDLESS = {"/events"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("fuzz")
    agents = LocalAgents(home / "nodes", {})
    tokens = Tokens(home / TOKENS_FILE)
    with (
        LiveWorld(home, TableCosts({}), agents=agents) as world,
        Served(world, tokens) as served,
    ):
        yield served


@pytest.mark.slow
def test_no_request_that_the_description_allows_or_forbids_is_an_internal_error(
    served: Served,
) -> None:
    """By schemathesis, on every route; with a made token, as a stranger has it."""
    token = Tokens(served.world.home / TOKENS_FILE).new("fuzz", "admin")
    headers = {"Authorization": f"Bearer {token}"}
    served.client.submit_specs([{"work": {"kind": "infer", "model": "gpt2", "prompts": 1}}])
    schema = schemathesis.openapi.from_dict(
        httpx.get(served.url + "/openapi.json", trust_env=False).json()
    )
    seen = set[str]()
    answers = set[int]()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if operation.path in ENDLESS:
            continue
        seen.add(f"{operation.method.upper()} {operation.path}")

        @given(case=operation.as_strategy())
        @settings(
            max_examples=12,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            answer = case.call(base_url=served.url, headers=headers, timeout=120)
            answers.add(answer.status_code)
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            if answer.status_code >= 400:
                assert answer.json()["error"]

        ask()
    assert {"POST /jobs", "GET /jobs/{job_id}/log/stream", "POST /policy", "POST /plan"} <= seen
    assert {200, 404, 422} <= answers


# ------------------------------------------------------------------------------------ job files

WORDS = [
    b"*a", b"&a", b"!!python/object:os.system", b"<<: *a", b"{", b"[", b"]", b"}", b"'", b'"',
    b"|", b">", b"\t", b"\0", b"\xff", b"\xed\xa0\x80", b"- ", b": ", b"? ", b"---\n", b"...\n",
    b"1e999", b".nan", b"-.inf", b"0x", b"1" * 40, b"null", b"~", b"%YAML 9.9\n", b"\xe2\x80\xa8",
    b"../../etc/passwd", b"/dev/zero", b"~root", b"secret: {secret: x}", b"# ", b"\r\n", b"5GiB",
    b"-1", b"0", b"true", b"\xf0\x9f\x92\xa5", b"x" * 3000, b"work: ", b"kind: command\n",
]  # fmt: skip


def mutant(rng: random.Random, files: list[bytes]) -> bytes:
    """A job file that somebody has damaged in one to six places."""
    data = bytearray(rng.choice(files))
    for _ in range(rng.randint(1, 6)):
        at = rng.randint(0, len(data))
        match rng.randrange(6):
            case 0:
                data[at:at] = rng.choice(WORDS)
            case 1:
                del data[at : at + rng.randint(1, 30)]
            case 2:
                data[at : at + rng.randint(1, 8)] = rng.choice(WORDS)
            case 3:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 4:
                lines = data.split(b"\n")
                rng.shuffle(lines)
                data = bytearray(b"\n".join(lines))
            case 5:
                other = rng.choice(files)
                data[at:at] = other[: rng.randint(0, len(other))]
    return bytes(data)


def mutants() -> list[bytes]:
    rng = random.Random(20261124)
    files = [path.read_bytes() for path in EXAMPLES]
    return [mutant(rng, files) for _ in range(MUTANTS)]


@pytest.mark.slow
def test_a_thousand_damaged_job_files_are_jobs_or_problems_with_places(tmp_path: Path) -> None:
    wrong = 0
    for data in mutants():
        text = data.decode("utf-8", "surrogateescape")
        try:
            parse_job(text, folder=EXAMPLES[0].parent, positions=positions)
        except FileProblems as found:
            wrong += 1
            assert found.problems
            assert all(problem.message for problem in found.problems)
            found.text("Nothing was submitted.")
    assert wrong > MUTANTS / 2


@pytest.mark.slow
def test_a_thousand_damaged_job_files_are_answered_with_reasons_over_http(served: Served) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    refused = 0
    with httpx.Client(base_url=served.url, headers=headers, trust_env=False, timeout=120) as http:
        for data in mutants():
            body = {
                "text": data.decode("utf-8", "replace"),
                "folder": str(EXAMPLES[0].parent),
            }
            answer = http.post("/plan", json=body)
            assert answer.status_code < 500, (data, answer.text)
            if answer.status_code != 200:
                refused += 1
                told = answer.json()
                assert told["error"]
                assert "Traceback" not in answer.text
    assert refused > MUTANTS / 2


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + chr(ord(name) - 1)] * 9)}]\n" for name in "bcdefghi"
)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"jobs":' * 50_000,
        b'{"text": "' + BOMB.replace("\n", "\\n").encode() + b'"}',
        b'{"spec": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
        b'{"spec": {"work": {"kind": "train", "model": "gpt2", "epochs": 1e400}}}',
        b'{"spec": {"work": {"kind": "train", "model": "gpt2", "epochs": ' + b"9" * 5000 + b"}}}",
        b'{"spec": {"name": "\\ud800", "work": {"kind": "train", "model": "gpt2"}}}',
        b'{"text": "\\ud800"}',
        b'{"text": "x", "file": "\\ud800\\u0000"}',
        b'{"text": "work: {kind: train, model: gpt2}", "folder": "/\\ud800"}',
        b'{"text": "work: {kind: train, model: ./x}", "folder": "/' + b"x/" * 1500 + b'"}',
        b"\xff\xfe{\x00}\x00",
    ],
    ids=range(12),
)
def test_bombs_and_half_characters_are_refused(served: Served, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    for path in ("/plan", "/jobs"):
        answer = httpx.post(
            served.url + path, content=body, headers=headers, trust_env=False, timeout=120
        )
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["error"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5e9\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET /jobs/%ff%fe%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=range(8),
)
def test_what_is_hardly_http_does_no_harm(served: Served, request_bytes: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=120) as line:
        line.sendall(request_bytes)
        answer = line.recv(64)
    assert answer.startswith(b"HTTP/1.1 4") or answer == b""
    assert served.client.status()["policy"]
