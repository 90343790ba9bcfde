"""Tokens of the API: made once, kept as hashes, checked by role, guessed slowly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_world import TOKEN, Served
from builders import TableCosts
from commands import Jetsched
from live_world import LiveWorld
from local_agents import LocalAgents

from jetsched.cluster.api_errors import ForbiddenError, RefusedError, TooManyError
from jetsched.cluster.api_gate import Guard
from jetsched.cluster.throttle import ALLOWED, WINDOW_S, Throttle
from jetsched.cluster.tokens import ROLES, TOKENS_FILE, Role, Tokens
from jetsched.errors import InputError


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "home" / TOKENS_FILE)


# ------------------------------------------------------------------------------------- the file


@pytest.mark.parametrize("role", ROLES)
def test_a_token_has_the_role_that_it_was_made_with(tokens: Tokens, role: Role) -> None:
    token = tokens.new("mine", role)
    assert tokens.role_of(token) == role
    assert tokens.role_of(token + "x") is None
    assert tokens.role_of("") is None


def test_the_file_holds_no_token_and_is_for_its_owner_only(tokens: Tokens) -> None:
    token = tokens.new("mine", "admin")
    assert tokens.path.stat().st_mode & 0o777 == 0o600
    assert token not in tokens.path.read_text()
    assert token.split("-", 2)[2] not in tokens.path.read_text()


def test_what_another_process_changes_holds_from_the_next_question_on(tokens: Tokens) -> None:
    elsewhere = Tokens(tokens.path)
    assert tokens.role_of("guess") is None
    token = elsewhere.new("mine", "node")
    assert tokens.role_of(token) == "node"
    elsewhere.revoke("mine")
    assert tokens.role_of(token) is None


def test_a_name_is_taken_once_and_must_be_plain(tokens: Tokens) -> None:
    tokens.new("mine", "admin")
    for name in ("mine", "", "a b", "../x", "-x", "x" * 65, "x\n"):
        with pytest.raises(InputError):
            tokens.new(name, "admin")
    assert [known.name for known in tokens.ls()] == ["mine"]


def test_what_does_not_exist_is_not_revoked_and_a_near_name_is_suggested(tokens: Tokens) -> None:
    tokens.new("boards", "node")
    with pytest.raises(InputError) as caught:
        tokens.revoke("board")
    assert "boards" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9}', '{"version": 1, "tokens": 7}'])
def test_a_file_that_is_not_readable_lets_nobody_in(tokens: Tokens, text: str) -> None:
    tokens.new("mine", "admin")
    tokens.path.write_text(text)
    with pytest.raises(InputError):
        tokens.role_of("anything")


# ------------------------------------------------------------------------------------- the verb


def test_a_token_is_printed_alone_so_that_it_can_go_into_a_file(jetsched: Jetsched) -> None:
    made = jetsched("token", "new", "boards", "--role", "node")
    assert made.code == 0
    (token,) = made.out.split()
    assert token.startswith("jetsched-node-")
    assert "jetsched join" in made.err
    listed = jetsched("token", "ls", "--json").json()
    assert [(one["name"], one["role"]) for one in listed] == [("boards", "node")]
    assert token not in str(listed)
    assert "boards" in jetsched("token").out
    assert jetsched("token", "revoke", "boards").code == 0
    assert jetsched("token", "ls", "--json").json() == []


def test_mistakes_at_the_verb_end_with_2_and_say_what_there_is(jetsched: Jetsched) -> None:
    wrong = jetsched("token", "new", "x", "--role", "king")
    assert wrong.code == 2 and "admin, node, metrics" in wrong.err
    assert jetsched("token", "revoke", "x").code == 2


# ------------------------------------------------------------------------------------- the guard


class Clock:
    """A clock that a test turns."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_board_may_join_and_nothing_else(tokens: Tokens) -> None:
    guard, token = Guard("own", tokens), tokens.new("boards", "node")
    guard.check(f"Bearer {token}", "10.0.0.1", "POST", "/nodes/join")
    for method, path in (("GET", "/jobs"), ("POST", "/jobs"), ("GET", "/nodes/join")):
        with pytest.raises(ForbiddenError, match="role node"):
            guard.check(f"Bearer {token}", "10.0.0.1", method, path)


def test_too_many_wrong_tokens_are_told_to_wait_at_that_address_only_and_for_a_minute() -> None:
    clock = Clock()
    guard = Guard("own", throttle=Throttle(clock))
    for n in range(ALLOWED):
        clock.now += 1
        with pytest.raises(RefusedError):
            guard.check(f"Bearer guess-{n}", "10.0.0.2", "GET", "/jobs")
    for _ in range(3):  # asking meanwhile does not make it longer
        with pytest.raises(TooManyError) as caught:
            guard.check("Bearer guess", "10.0.0.2", "GET", "/jobs")
    assert 0 < caught.value.wait_s <= WINDOW_S
    with pytest.raises(RefusedError):
        guard.check("Bearer guess", "10.0.0.3", "GET", "/jobs")
    clock.now += caught.value.wait_s
    with pytest.raises(RefusedError):
        guard.check("Bearer guess", "10.0.0.2", "GET", "/jobs")


def test_nobody_who_guesses_locks_out_who_knows(tokens: Tokens) -> None:
    """Also where the right token was never seen from that address before."""
    guard, joins = Guard("own", tokens, Throttle(Clock())), tokens.new("boards", "node")
    for n in range(3 * ALLOWED):
        with pytest.raises((RefusedError, TooManyError)):
            guard.check(f"Bearer guess-{n}", "10.0.0.2", "GET", "/jobs")
    assert guard.check("Bearer own", "10.0.0.2", "GET", "/jobs")
    guard.check(f"Bearer {joins}", "10.0.0.2", "POST", "/nodes/join")


def test_one_client_cannot_hide_behind_many_addresses_of_ipv6() -> None:
    throttle = Throttle(Clock())
    for n in range(ALLOWED):
        assert throttle.wrong(f"2001:db8::{n:x}") == 0
    assert throttle.wrong("2001:db8::ffff") > 0
    assert throttle.wrong("2001:db9::1") == 0
    assert throttle.wrong("not an address") == 0


# ------------------------------------------------------------------------------------ over HTTP


@pytest.fixture
def served(tmp_path: Path, tokens: Tokens) -> Iterator[Served]:
    agents = LocalAgents(tmp_path / "nodes", {})
    with (
        LiveWorld(tmp_path, TableCosts({}), agents=agents) as world,
        Served(world, tokens) as served,
    ):
        yield served


def test_a_made_token_opens_the_api_and_a_revoked_one_does_not(
    served: Served, tokens: Tokens
) -> None:
    token = tokens.new("ada", "admin")
    with httpx.Client(base_url=served.url, trust_env=False) as http:
        headers = {"Authorization": f"Bearer {token}"}
        assert http.get("/jobs", headers=headers).status_code == 200
        tokens.revoke("ada")
        answer = http.get("/jobs", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_who_may_not_is_told_before_the_body_is_read(served: Served, tokens: Tokens) -> None:
    token = tokens.new("boards", "node")
    answer = httpx.post(
        served.url + "/jobs",
        content=b"{" * 1000,
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )
    assert answer.status_code == 403
    assert answer.json()["kind"] == "ForbiddenError"


def test_a_client_that_guesses_is_told_when_to_come_again(served: Served) -> None:
    with httpx.Client(base_url=served.url, trust_env=False) as http:
        for n in range(ALLOWED):
            answer = http.get("/jobs", headers={"Authorization": f"Bearer {n}"})
            assert answer.status_code == 401
        answer = http.get("/jobs", headers={"Authorization": "Bearer again"})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= WINDOW_S
    assert served.client.jobs() == []  # the right token, first seen now from this machine


def test_a_forwarded_address_is_not_believed(served: Served) -> None:
    with httpx.Client(base_url=served.url, trust_env=False) as http:
        codes = [
            http.get(
                "/jobs", headers={"Authorization": f"Bearer {n}", "X-Forwarded-For": f"10.0.0.{n}"}
            ).status_code
            for n in range(ALLOWED + 1)
        ]
    assert codes[-1] == 429
    assert TOKEN not in str(codes)
