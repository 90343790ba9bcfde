"""`jetsched dashboard`: the way to the pages, for the head's own user and for others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from api_world import TOKEN, Served
from builders import TableCosts
from commands import Jetsched
from live_world import LiveWorld
from local_agents import LocalAgents

from jetsched.cluster.state import VERSION, ClusterState, write_state
from jetsched.cluster.tokens import TOKENS_FILE, Tokens

BEARER = {"Authorization": f"Bearer {TOKEN}"}


def tokens_of(home: Path) -> Tokens:
    return Tokens(home / TOKENS_FILE)


@contextmanager
def a_head(folder: Path) -> Iterator[Served]:
    """A head without boards, which the command finds in its data home."""
    home = folder / "home"
    agents = LocalAgents(folder / "nodes", {})
    with (
        LiveWorld(home, TableCosts({}), agents=agents) as world,
        Served(world, tokens_of(home), home=home) as served,
    ):
        state = ClusterState("x", VERSION, "", "", "", str(folder), TOKEN, api_port=served.port)
        write_state(home, state)
        yield served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with a_head(tmp_path) as served:
        yield served


def is_shown(http: httpx.Client, link: str) -> bool:
    """Whether a browser that follows a link ends at a page and not at the login."""
    answer = http.get(link, follow_redirects=True, headers={"X-Forwarded-For": "10.9.9.9"})
    return not answer.url.path.startswith("/ui/login")


def test_the_owner_of_a_head_on_the_loopback_gets_its_plain_address(
    served: Served, jetsched: Jetsched
) -> None:
    found = jetsched("dashboard", "--json").json()
    assert found == {
        "url": served.url + "/ui/fleet",
        "link": served.url + "/ui/fleet",
        "once": False,
    }
    with httpx.Client(trust_env=False) as http:
        answer = http.get(found["link"])
        assert answer.request.url.path == "/ui/fleet"
        assert answer.status_code == 200 and not answer.cookies


def test_others_get_a_link_that_logs_in_once(
    served: Served, jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(tokens_of(served.world.home).new("ada", "admin"))
    monkeypatch.setenv("JETSCHED_HEAD", served.url)
    monkeypatch.setenv("JETSCHED_TOKEN_FILE", str(tmp_path / "token"))
    link = jetsched("dashboard", "--json").json()["link"]
    assert urlsplit(link).path == "/ui/login"
    with httpx.Client(trust_env=False) as first, httpx.Client(trust_env=False) as second:
        assert not is_shown(second, served.url + "/ui/fleet")
        assert is_shown(first, link)
        assert is_shown(first, served.url + "/ui/fleet")
        assert not is_shown(second, link)


def test_without_a_desktop_the_address_is_said_with_the_way_from_elsewhere(
    served: Served, jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for words in ((), ("--no-browser",)):
        done = jetsched("dashboard", *words)
        assert done.code == 0
        assert f"Open {served.url}/ui/fleet" in done.out
        assert f"ssh -L {served.port}:127.0.0.1:{served.port}" in done.out
        assert ("no desktop here" in done.out) == (not words)
        assert "Next: jetsched top" in done.out


def test_on_a_desktop_the_page_is_opened_in_its_browser(served: Served, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    home = {"JETSCHED_HOME": str(served.world.home)}
    desktop = {"DISPLAY": ":0", "BROWSER": f"{browser} %s"}
    command = [sys.executable, "-m", "jetsched", "dashboard"]
    done = subprocess.run(
        command, env={**os.environ, **home, **desktop}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "is in your browser" in done.stdout
    assert (tmp_path / "opened").read_text().strip() == served.url + "/ui/fleet"


def test_a_token_that_is_no_administrators_opens_no_door(
    served: Served, jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(tokens_of(served.world.home).new("prometheus", "metrics"))
    monkeypatch.setenv("JETSCHED_HEAD", served.url)
    monkeypatch.setenv("JETSCHED_TOKEN_FILE", str(tmp_path / "token"))
    done = jetsched("dashboard", "--json")
    assert done.code == 2
    assert "role metrics" in done.err


def test_a_head_without_the_extra_says_what_to_install(
    jetsched: Jetsched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith("jetsched.cluster.ui")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)  # an import of it fails
    with a_head(tmp_path) as head:
        done = jetsched("dashboard", "--json")
        answer = httpx.get(head.url + "/ui/fleet", headers=BEARER, trust_env=False)
    assert done.code == 5
    assert "jetsched[ui]" in done.err and "jetsched[ui]" in answer.text


def test_without_a_head_it_says_how_to_start_one(jetsched: Jetsched) -> None:
    done = jetsched("dashboard")
    assert done.code == 5
    assert "jetsched up" in done.err
