"""What the API says of itself: /healthz, /docs, /openapi.json; and errors in one form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_world import TOKEN, Served
from builders import TableCosts
from live_world import LiveWorld
from local_agents import LocalAgents

from jetsched.cluster.pulse import BEAT_S, STUCK_S, Pulse
from jetsched.errors import UnreachableError


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    agents = LocalAgents(tmp_path / "nodes", {})
    with LiveWorld(tmp_path, TableCosts({}), agents=agents) as world, Served(world) as served:
        yield served


def get(served: Served, path: str, token: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.get(served.url + path, headers=headers, trust_env=False)


def test_the_description_has_every_route_and_the_page_shows_them(served: Served) -> None:
    openapi = get(served, "/openapi.json").json()
    page = get(served, "/docs")
    for path in ("/jobs", "/jobs/{job_id}/log/stream", "/events", "/metrics", "/plan", "/healthz"):
        assert path in openapi["paths"]
        assert path in page.text
    assert "key" in openapi["components"]["schemas"]["Submission"]["properties"]


def test_the_page_asks_nobody_else_for_anything(served: Served) -> None:
    page = get(served, "/docs")
    assert re.findall(r"(?:src|href)\s*=\s*[\"']?([^\"' >]+)", page.text) == ["openapi.json"]
    assert "<script" not in page.text and "//" not in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_what_is_not_there_is_said_in_the_one_form_and_only_to_those_with_a_token(
    served: Served,
) -> None:
    assert get(served, "/nothing").status_code == 401
    assert get(served, "/redoc").status_code == 401
    answer = get(served, "/nothing", TOKEN)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error", "hint", "exit_code", "kind"}
    answer = httpx.put(
        served.url + "/jobs", headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False
    )
    assert answer.status_code == 405
    assert set(answer.json()) == {"error", "hint", "exit_code", "kind"}


class Loop:
    """A loop that can be stopped, with its clock."""

    now = 100.0
    lag_s = 0.25
    dead = False

    def clock(self) -> float:
        return self.now

    def turn(self) -> None:
        self.now += self.lag_s
        if self.dead:
            raise UnreachableError("too busy")


def test_a_loop_that_does_not_come_round_is_noticed_and_so_is_one_that_does_again() -> None:
    loop = Loop()
    pulse = Pulse(loop, loop.clock)
    pulse.beat()
    assert (pulse.turns, pulse.lag_s, pulse.silent_s) == (True, 0.25, 0.0)
    loop.dead = True
    loop.now += STUCK_S + BEAT_S
    pulse.beat()
    assert not pulse.turns and pulse.silent_s >= STUCK_S
    loop.dead = False
    pulse.beat()
    assert pulse.turns


def test_health_says_that_the_loop_turns_and_nothing_of_the_jobs(served: Served) -> None:
    answer = get(served, "/healthz")
    assert answer.status_code == 200
    assert set(answer.json()) == {"status", "version", "loop_lag_s"}
