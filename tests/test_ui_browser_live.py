"""What keeps a page true in a browser: its address, its clock, its session, and its buttons."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
from api_world import LIKE, Served
from browser import Chrome, Tab
from live_world import LiveWorld, table

from jetsched.cluster.tokens import TOKENS_FILE, Tokens
from jetsched.cluster.ui_moments import zone
from jetsched.words import clock

pytestmark = pytest.mark.slow

#: What a proxy adds, so that the head does not take us for its own user.
ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("live")
    with LiveWorld(home, table(**{"tiny-gpt2": 1.0})) as world:
        world.until_devices("nx-1", "orin-1")
        with Served(world, Tokens(home / TOKENS_FILE), home=home) as served:
            yield served


@pytest.fixture
def tab(served: Served, browser: Chrome) -> Iterator[Tab]:
    yield browser.tab(served.url)
    browser.close_tabs()


def submit(served: Served, run: str, name: str) -> str:
    spec = {"name": name, "work": {"kind": "command", "run": run, "like": LIKE}}
    return str(served.client.submit_specs([spec])[0]["id"])


def test_times_of_day_are_the_head_s_wherever_somebody_looks_from(tab: Tab, served: Served) -> None:
    job = submit(served, "true", "clocked")
    page = tab.open(f"/ui/jobs/{job}").page
    clocks = page.locator("time[data-as=clock]")
    clocks.first.wait_for()
    for element in clocks.all():
        assert element.inner_text() == clock(float(element.get_attribute("data-at") or ""))
    assert page.get_by_text(f"Times of day are those of the head: {zone().words}").is_visible()


# ----------------------------------------------------------------------------- the drawer's address


def test_an_open_drawer_has_the_address_of_its_page_and_back_closes_it(
    tab: Tab, served: Served
) -> None:
    job = submit(served, "true", "addressed")
    page, own = tab.open("/ui/queue?state=all").page, f"{served.url}/ui/jobs/{job}"
    drawer, title = page.locator("#drawer[open]"), page.title()
    for close in (page.go_back, lambda: page.keyboard.press("Escape")):
        page.locator(f"#job-link-{job}").click()
        drawer.wait_for()
        page.wait_for_url(own)
        assert "addressed" in page.title()
        close()
        drawer.wait_for(state="detached")
        page.wait_for_url("**/ui/queue?state=all")
        assert page.title() == title
    page.go_forward()
    drawer.get_by_role("heading", name="addressed").wait_for()
    assert page.url == own
    tab.check()


def test_a_page_that_is_loaded_anew_with_a_drawer_is_the_drawers_page_and_back_is_the_one_below(
    tab: Tab, served: Served
) -> None:
    job = submit(served, "true", "reloaded")
    page = tab.open("/ui/queue?state=all").page
    page.locator(f"#job-link-{job}").click()
    page.wait_for_url(f"{served.url}/ui/jobs/{job}")
    page.reload()
    assert page.locator("main h1", has_text="reloaded").count() == 1
    page.go_back()
    page.locator(f"main #job-link-{job}").wait_for()
    assert page.url.endswith("/ui/queue?state=all")
    tab.check()


# -------------------------------------------------------------------------------------- time passes


def test_what_runs_is_said_to_run_for_as_long_as_it_does_also_without_scripts(
    served: Served, browser: Chrome
) -> None:
    """Its part of the page was drawn when it began, and nothing of it has changed since."""
    job = submit(served, "sleep 600", "goes-on")
    served.world.until_state(job, "running")
    with httpx.Client(base_url=served.url, trust_env=False) as http:
        http.get("/ui/queue")
    time.sleep(2.1)
    tab = browser.tab(served.url, java_script_enabled=False).open("/ui/queue")
    texts = tab.page.locator(f"#job-row-{job} time[data-as=since]").all_inner_texts()
    assert texts and not {"0 s", "1 s"} & set(texts)
    browser.close_tabs()
    served.client.cancel(job)


def test_the_clock_of_a_page_goes_on_while_the_machine_sleeps(tab: Tab) -> None:
    """Then the clock of scripts stands still, and only the time of day has gone on."""
    page = tab.open("/ui/queue").page
    script = """async () => {
        const time = await import("/ui/static/time.js");
        const before = time.now(), now = Date.now;
        Date.now = () => now() + 3600e3;
        return time.now() - before;
    }"""
    assert 3600 <= page.evaluate(script) < 3700


# --------------------------------------------------------------------- who may, and how it is asked


def test_a_page_whose_session_is_over_leads_to_the_login(served: Served, browser: Chrome) -> None:
    tokens = Tokens(served.world.home / TOKENS_FILE)
    tab = browser.tab(served.url, extra_http_headers=ELSEWHERE).open("/ui/queue?state=all")
    tab.page.get_by_label("API token").fill(tokens.new("grace", "admin"))
    with tab.page.expect_navigation():
        tab.page.get_by_role("button", name="Log in").click()
    tab.page.locator("h1", has_text="Queue").wait_for()
    tokens.revoke("grace")
    tab.page.evaluate(
        "() => { dispatchEvent(new Event('pagehide')); dispatchEvent(new Event('pageshow')); }"
    )
    tab.page.wait_for_url("**/ui/login?next=%2Fui%2Fqueue%3Fstate%3Dall")
    browser.close_tabs()


def test_a_question_is_answered_by_naming_the_act(tab: Tab, served: Served) -> None:
    page = tab.open("/ui/queue").page
    page.get_by_role("button", name="Pause").click()
    answers = page.locator("#ask button").all_inner_texts()
    assert answers == ["Let it go on", "Pause the queue"]
    page.keyboard.press("Escape")
    assert served.client.status()["paused"] is None


def test_a_page_without_scripts_says_so_and_has_no_buttons_that_do_nothing(
    tab: Tab, served: Served, browser: Chrome
) -> None:
    assert tab.open("/ui/fleet").page.locator("button[data-post]:visible").count() > 1
    page = browser.tab(served.url, java_script_enabled=False).open("/ui/fleet").page
    assert page.locator("button[data-post]").count() > 1
    assert page.locator("button[data-post]:visible").count() == 0
    assert "Without JavaScript" in page.locator("main").inner_text()


# ------------------------------------------------------------------------------------------ the log


def test_a_line_that_never_ends_does_not_fill_the_page(tab: Tab, served: Served) -> None:
    gate = served.world.home / "gate"
    run = f"while ! test -e {gate}; do sleep 0.02; done; head -c 300000 /dev/zero | tr '\\0' x"
    job = submit(served, f"{run}; printf END", "endless")
    page = tab.open(f"/ui/jobs/{job}").page
    page.locator("#job-log-state", has_text="").first.wait_for(state="attached")
    gate.touch()
    page.wait_for_function("() => document.querySelector('[data-log]').textContent.endsWith('END')")
    text = page.evaluate("() => document.querySelector('[data-log]').textContent")
    assert text.startswith("\u2026 x") and len(text) < 60_000
