"""Who is let into the pages, over a real socket: by cookie, by link, on this machine without."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_world import TOKEN, Served
from builders import TableCosts
from live_world import LiveWorld
from local_agents import LocalAgents

from jetsched.cluster.peers import uid_of_peer
from jetsched.cluster.tokens import Tokens
from jetsched.cluster.ui_login import _inside
from jetsched.cluster.ui_session import LIFETIME_S, Sessions

PAGE = {"X-Jetsched-Page": "1"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("front")
    agents = LocalAgents(home / "nodes", {})
    with LiveWorld(home, TableCosts({}), agents=agents) as world:
        tokens = Tokens(home / "tokens.json")
        with Served(world, tokens, home=home) as found:
            yield found


def a_browser(served: Served, **more: Any) -> httpx.Client:
    return httpx.Client(base_url=served.url, trust_env=False, **more)


def test_on_this_machine_its_own_user_needs_no_login(served: Served) -> None:
    with a_browser(served) as http:
        answer = http.get("/", follow_redirects=True)
        assert answer.url.path == "/ui/fleet"


def test_who_needs_no_login_gets_no_cookie_that_others_could_use(served: Served) -> None:
    """A browser shows its cookies to every server of this machine, whoever runs it."""
    with a_browser(served) as http:
        for path in ("/", "/ui/queue", "/ui/login", "/ui/live?view=frame&version=x"):
            with http.stream("GET", path) as answer:
                assert "set-cookie" not in answer.headers


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(served: Served) -> None:
    with a_browser(served) as http:
        line = http.post("/ui/login", data={"token": TOKEN}).headers["set-cookie"]
    assert line.startswith(f"jetsched_session_{served.port}=")
    assert "HttpOnly" in line and "SameSite=Strict" in line and "Path=/" in line


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "attacker.example"},  # whose name was made to lead to the loopback
        {"Host": "attacker.example:8640"},
        {"X-Forwarded-For": "203.0.113.7"},
        {"X-Forwarded-Proto": "https"},
        {"CF-Connecting-IP": "203.0.113.7"},
        {"Via": "1.1 proxy"},
    ],
)
def test_whoever_may_come_from_elsewhere_is_sent_to_the_login(
    served: Served, headers: dict[str, str]
) -> None:
    with a_browser(served) as http:
        answer = http.get("/ui/queue?state=held", headers=headers)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/ui/login?next=%2Fui%2Fqueue%3Fstate%3Dheld"
        assert "set-cookie" not in answer.headers


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_of_this_machine_is_sent_to_the_login(served: Served) -> None:
    """A connection from the loopback alone opens nothing: its user counts."""
    assert "/ui/login?next=" in as_somebody_else(f"{served.url}/ui/queue")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_cookie_is_of_no_use_to_another_user_of_this_machine(served: Served) -> None:
    with a_browser(served) as http:
        http.post("/ui/login", data={"token": TOKEN})
        (cookie,) = http.cookies.jar
    stolen = f"{cookie.name}={cookie.value}"
    assert "/ui/login?next=" in as_somebody_else(f"{served.url}/ui/queue", stolen)


def as_somebody_else(url: str, cookie: str = "") -> str:
    """Where another user of this machine ends up who asks for a page."""
    script = (
        "import encodings.idna, os, sys, urllib.request as u\n"
        "os.setuid(65534)\n"
        "print(u.urlopen(u.Request(sys.argv[1], headers={'Cookie': sys.argv[2]})).geturl())"
    )
    command = [sys.executable, "-c", script, url, cookie]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_api_itself_is_open_to_pages_of_this_server_only(served: Served) -> None:
    with a_browser(served) as http:
        assert http.get("/jobs").status_code == 401
        assert http.get("/jobs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 401
        assert http.get("/jobs", headers={"Sec-Fetch-Site": "same-site"}).status_code == 401
        assert http.get("/jobs", headers={"Sec-Fetch-Site": "none"}).status_code == 401
        assert http.get("/jobs", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
        for site, status in ((served.url, 200), ("https://attacker.example", 401), ("", 401)):
            assert http.get("/jobs", headers={"Referer": f"{site}/ui/queue"}).status_code == status
        there = {"Sec-Fetch-Site": "same-origin", "Host": "attacker.example"}
        assert http.get("/jobs", headers=there).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},  # a form of another site cannot set a header of ours
        {**PAGE, "Origin": "https://attacker.example"},
        {**PAGE, "Origin": "null"},
        {**PAGE, "Sec-Fetch-Site": "cross-site"},
        {**PAGE, "Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_change_that_another_site_asks_for_is_refused(
    served: Served, headers: dict[str, str]
) -> None:
    with a_browser(served) as http:
        assert http.post("/queue/pause", json={}, headers=headers).status_code in (401, 403)
        http.post("/ui/login", data={"token": TOKEN})
        assert http.post("/queue/pause", json={}, headers=headers).status_code == 403
        assert http.post("/queue/pause", json={}).status_code == 403
        assert served.client.status()["paused"] is None


def test_a_change_from_an_own_page_is_made(served: Served) -> None:
    with a_browser(served) as http:
        http.get("/ui/queue")
        same = {**PAGE, "Origin": served.url, "Sec-Fetch-Site": "same-origin"}
        assert http.post("/queue/pause", json={}, headers=same).status_code == 200
        assert http.post("/queue/resume", headers=same).status_code == 200


def test_a_token_logs_in_and_its_end_is_the_sessions_end(served: Served) -> None:
    tokens = Tokens(served.world.home / "tokens.json")
    token = tokens.new("ada", "admin")
    elsewhere = {"Host": "head.lab:8640"}
    with a_browser(served, headers=elsewhere) as http:
        form = {"token": token, "next": "/ui/timeline"}
        answer = http.post("/ui/login", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/timeline")
        assert http.get("/jobs").status_code == 200
        tokens.revoke("ada")
        assert http.get("/jobs").status_code == 401


@pytest.mark.parametrize("role", ["node", "metrics"])
def test_a_token_of_another_role_opens_no_page(served: Served, role: Any) -> None:
    token = Tokens(served.world.home / "tokens.json").new(f"of-{role}", role)
    with a_browser(served) as http:
        answer = http.post("/ui/login", data={"token": token})
        assert answer.status_code == 401 and f"role {role}" in answer.text
        assert "set-cookie" not in answer.headers


def test_the_login_tells_nothing_of_the_cluster(served: Served) -> None:
    served.client.pause("a secret reason")
    try:
        with a_browser(served, headers={"Host": "head.lab"}) as http:
            for page in (http.get("/ui/login"), http.post("/ui/login", data={"token": "no"})):
                assert "secret" not in page.text and "policy" not in page.text
                assert "data-live" not in page.text and "Queue" not in page.text
    finally:
        served.client.resume()


def test_who_is_let_in_without_a_login_has_nothing_to_log_out_of(served: Served) -> None:
    with a_browser(served) as here, a_browser(served, headers={"Host": "head.lab"}) as there:
        assert "Log out" not in here.get("/ui/queue").text
        there.post("/ui/login", data={"token": TOKEN})
        assert "Log out" in there.get("/ui/queue").text


def test_a_wrong_token_is_refused_and_too_many_are_slowed_down(served: Served) -> None:
    with a_browser(served, headers={"Host": "head.lab"}) as http:
        texts = [http.post("/ui/login", data={"token": "wrong"}).text for _ in range(12)]
    assert "the token is missing or wrong" in texts[0]
    assert "too many wrong tokens" in texts[-1]


def test_a_login_that_another_site_asks_for_is_refused(served: Served) -> None:
    with a_browser(served) as http:
        answer = http.post(
            "/ui/login", data={"token": TOKEN}, headers={"Origin": "https://attacker.example"}
        )
        assert answer.status_code == 401 and "set-cookie" not in answer.headers


def test_a_link_logs_in_once(served: Served) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    elsewhere = {"Host": "head.lab"}
    made = httpx.post(f"{served.url}/ui/ticket", headers=bearer, trust_env=False)
    path = made.json()["path"]
    with a_browser(served, headers=elsewhere) as first, a_browser(served) as second:
        assert first.get(path).headers["location"] == "/ui/fleet"
        assert first.get("/jobs").status_code == 200
        assert "used up or too old" in second.get(path).text


def test_a_link_is_made_for_tokens_only(served: Served) -> None:
    with a_browser(served) as http:
        assert http.post("/ui/ticket", headers=PAGE).status_code == 401


def test_logging_out_takes_the_cookie_away(served: Served) -> None:
    with a_browser(served, headers={"Host": "head.lab"}) as http:
        http.post("/ui/login", data={"token": TOKEN})
        assert http.post("/ui/logout", headers=PAGE).json() == {"next": "/ui/login"}
        assert http.get("/jobs").status_code == 401


def test_what_cannot_be_shown_is_a_page_for_people_and_json_for_programs(served: Served) -> None:
    with a_browser(served) as http:
        http.get("/ui/queue")
        for path in ("/ui/nowhere", "/ui/live"):
            page = http.get(path, headers={"Accept": "text/html"})
            assert (
                page.status_code in (404, 422) and "<h1>This page cannot be shown</h1>" in page.text
            )
            assert page.headers["content-security-policy"].startswith("default-src 'none'")
            told = http.get(path, headers={"Accept": "*/*"})
            assert told.status_code == page.status_code
            assert set(told.json()) == {"error", "hint", "exit_code", "kind"}


def test_pages_may_load_nothing_from_elsewhere_and_stand_in_no_frame(served: Served) -> None:
    with a_browser(served) as http:
        policy = http.get("/ui/login").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy


@pytest.mark.parametrize(
    "next",
    [
        "https://attacker.example",
        "//attacker.example",
        "/ui/..//attacker.example",
        "/ui/\\attacker",
        "/jobs",
        "/ui/../../evil",
        "/ui/login?next=/ui/login",
        "/ui/\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
    ],
)
def test_a_login_leads_to_pages_of_this_server_only(next: str) -> None:
    assert _inside(next) == "/ui/fleet"


def test_a_session_is_as_old_as_it_may_be_and_no_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    sessions = Sessions("own", Tokens(tmp_path / "tokens.json"))
    cookie = sessions.of_token("own", "uid 7") or ""
    assert sessions.read(cookie, "uid 7") is not None
    assert sessions.read(cookie, "uid 8") is None
    assert sessions.read(cookie + "x", "uid 7") is None
    assert Sessions("of another run", None).read(cookie, "uid 7") is None
    later = time.time() + LIFETIME_S + 5
    monkeypatch.setattr(time, "time", lambda: later)
    assert sessions.read(cookie, "uid 7") is None


def test_a_ticket_is_worth_nothing_after_a_minute() -> None:
    now = [0.0]
    sessions = Sessions("own", None, clock=lambda: now[0])
    early, late = sessions.ticket("own"), sessions.ticket("own")
    now[0] = 59.0
    assert sessions.of_ticket(early, "uid 7") is not None
    now[0] = 61.0
    assert sessions.of_ticket(late, "uid 7") is None


def test_the_kernel_says_whose_connection_it_is() -> None:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            listener = socket.create_server((host, 0), family=family)
        except OSError:
            continue  # no IPv6 here
        with listener, socket.create_connection(listener.getsockname()[:2]) as client:
            accepted, address = listener.accept()
            with accepted:
                ends = client.getsockname()[:2], client.getpeername()[:2]
                assert address[:2] == ends[0]
                assert uid_of_peer(*ends) == os.getuid()
                assert uid_of_peer((ends[0][0], 1), ends[1]) is None
                client.close()  # it belongs to nobody now, which the kernel calls 0
                assert uid_of_peer(*ends) is None


def test_people_are_not_told_of_routes_and_what_those_take(served: Served) -> None:
    with a_browser(served, headers={"Accept": "text/html"}) as http:
        missing, odd = http.get("/ui/nope"), http.get("/ui/live?view=frame")
    assert missing.status_code == 404 and "there is no page /ui/nope" in missing.text
    assert odd.status_code == 422 and "leave version out of it" not in odd.text
    for page in (missing, odd):
        assert "/docs" not in page.text and "route" not in page.text
