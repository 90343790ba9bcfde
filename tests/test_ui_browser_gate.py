"""Who gets in with a real browser, and what another site's page can do with a person's cookie."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from api_world import Served
from browser import SOON_MS, Chrome, Tab
from builders import TableCosts
from live_world import LiveWorld
from local_agents import LocalAgents

from jetsched.cluster.tokens import TOKENS_FILE, Tokens

pytestmark = pytest.mark.slow

#: What a proxy adds, so that the head does not take us for its own user.
ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A head without boards."""
    home = tmp_path_factory.mktemp("head")
    agents = LocalAgents(home / "nodes", {})
    with (
        LiveWorld(home, TableCosts({}), agents=agents) as world,
        Served(world, Tokens(home / TOKENS_FILE), home=home) as served,
    ):
        yield served


@pytest.fixture(scope="module")
def token(served: Served) -> str:
    return Tokens(served.world.home / TOKENS_FILE).new("ada", "admin")


@pytest.fixture
def stranger(served: Served, browser: Chrome) -> Iterator[Tab]:
    """A tab that does not seem to be on the head's machine."""
    yield browser.tab(served.url, extra_http_headers=ELSEWHERE)
    browser.close_tabs()


def log_in(tab: Tab, token: str) -> None:
    tab.page.get_by_label("API token").fill(token)
    with tab.page.expect_navigation():
        tab.page.get_by_role("button", name="Log in").click()


def test_a_wrong_token_is_refused_with_a_word_and_a_right_one_leads_on(
    stranger: Tab, token: str
) -> None:
    stranger.open("/ui/queue?state=held")
    assert "/ui/login?next=" in stranger.page.url
    log_in(stranger, "wrong")
    assert stranger.page.get_by_role("alert").inner_text().startswith("✗")
    assert stranger.page.context.cookies() == []
    stranger.open("/ui/queue?state=held")
    log_in(stranger, token)
    assert stranger.page.url == f"{stranger.origin}/ui/queue?state=held"
    stranger.check("401")


def test_the_session_is_out_of_the_reach_of_scripts(stranger: Tab, token: str) -> None:
    stranger.open("/ui/login")
    log_in(stranger, token)
    (cookie,) = stranger.page.context.cookies()
    assert cookie.get("httpOnly") is True and cookie.get("sameSite") == "Strict"
    assert stranger.page.evaluate("() => document.cookie") == ""


def test_the_end_of_a_token_ends_its_sessions(stranger: Tab, served: Served) -> None:
    tokens = Tokens(served.world.home / TOKENS_FILE)
    stranger.open("/ui/login")
    log_in(stranger, tokens.new("grace", "admin"))
    assert "/ui/login" not in stranger.open("/ui/queue").page.url
    tokens.revoke("grace")
    assert "/ui/login?next=" in stranger.open("/ui/queue").page.url


# ------------------------------------------------------------------------------ another site's page

#: What such a page can have a browser do: a form is sent as it is, a script may not read answers.
ATTACK = """<!doctype html><title>attack</title>
<iframe name="frame"></iframe>
<form id="form" method="post" action="{head}/queue/pause" target="frame" enctype="text/plain">
<input name='{{"text":"' value='attacked"}}'></form>
<script>
form.submit();
const how = {{method: "POST", credentials: "include", body: "{{}}"}};
const sent = [
  fetch("{head}/queue/pause", {{...how, mode: "no-cors"}}),
  fetch("{head}/queue/pause", {{...how, headers: {{"X-Jetsched-Page": "1"}}}}),
  fetch("{head}/queue/pause", {{...how, headers: {{"Content-Type": "application/json"}}}}),
  fetch("{head}/jobs", {{credentials: "include"}}).then((a) => a.text()),
];
Promise.allSettled(sent).then((all) => {{ document.title = all.map((a) => a.status).join(" "); }});
</script>"""


@contextmanager
def another_site(head: str) -> Iterator[str]:
    """A web server on another port of the same host: as near as another site can be.

    Cookies do not tell ports apart, so the browser sends the session's along.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(ATTACK.format(head=head).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_another_sites_page_changes_nothing_and_reads_nothing(
    served: Served, browser: Chrome, token: str
) -> None:
    """Though the browser has a session, sends its cookie along, and sends the form."""
    tab = browser.tab(served.url).open("/ui/login")
    log_in(tab, token)
    assert tab.page.context.cookies()
    with another_site(served.url) as site:
        statuses: list[tuple[str, int]] = []
        tab.page.on("response", lambda r: statuses.append((r.request.method, r.status)))
        tab.page.goto(site)
        tab.page.wait_for_function("() => document.title !== 'attack'", timeout=SOON_MS)
        assert tab.page.title() == "fulfilled rejected rejected rejected"
        posts = [status for method, status in statuses if method == "POST"]
        assert posts and set(posts) == {403}
    assert served.client.status()["paused"] is None
    browser.close_tabs()


def test_another_sites_page_cannot_frame_ours(served: Served, browser: Chrome) -> None:
    """So nobody is made to click on a button of ours that they do not see."""
    tab = browser.tab(served.url)
    tab.page.goto(served.url + "/ui/queue")
    with another_site(served.url) as site:
        tab.page.goto(site)
        refused: list[str] = []
        tab.page.on("console", lambda m: refused.append(m.text))
        tab.page.evaluate(
            f"""() => new Promise((done) => {{
                const frame = document.createElement("iframe");
                frame.onload = done;
                frame.src = "{served.url}/ui/queue";
                document.body.append(frame);
            }})"""
        )
        assert any("frame-ancestors" in text for text in refused)
    browser.close_tabs()


def test_a_page_that_another_site_leads_to_is_the_login_or_ours_but_never_elsewhere(
    stranger: Tab, token: str
) -> None:
    for wanted in (
        "//attacker.example/",
        "https://attacker.example/",
        "/ui/../..//attacker.example",
    ):
        stranger.page.context.clear_cookies()
        stranger.open(f"/ui/login?next={wanted}")
        log_in(stranger, token)
        assert stranger.page.url.startswith(stranger.origin + "/ui/")


def test_a_person_who_logs_out_is_out(stranger: Tab, token: str) -> None:
    stranger.open("/ui/login?next=/ui/queue")
    log_in(stranger, token)
    stranger.page.get_by_role("button", name="Log out").click()
    stranger.page.wait_for_url("**/ui/login**")
    assert "/ui/login?next=" in stranger.open("/ui/queue").page.url
    assert Path(stranger.page.url).name.startswith("login")
