"""What people do with jobs in a browser, over two boards that really run them."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator

import pytest
from api_world import LIKE, Served
from browser import SOON_MS, Chrome, Tab
from live_world import LiveWorld, table

pytestmark = pytest.mark.slow

#: What becomes something else than text if anybody forgets to escape it.
HOSTILE = "<script>window.hacked = 1</script>"
HOSTILE_IMAGE = "<img src=/nothing onerror=window.hacked=1>\"'>"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two boards; the cost table knows the workload `tiny-gpt2` on both."""
    home = tmp_path_factory.mktemp("jobs")
    with LiveWorld(home, table(**{"tiny-gpt2": 1.0})) as world:
        world.until_devices("nx-1", "orin-1")
        with Served(world, home=home) as served:
            yield served


@pytest.fixture
def tab(served: Served, browser: Chrome) -> Iterator[Tab]:
    tab = browser.tab(served.url)
    yield tab
    tab.check()
    browser.close_tabs()


def submit(served: Served, run: str = "echo hi", **job: object) -> str:
    spec = {"work": {"kind": "command", "run": run, "like": LIKE}, **job}
    return str(served.client.submit_specs([spec])[0]["id"])


# ------------------------------------------------------------------------------------ live changes


def test_a_job_that_somebody_submits_is_there_without_reloading(tab: Tab, served: Served) -> None:
    """Within a second on a machine that has nothing else to do; here it only must come."""
    tab.open("/ui/queue?state=all")
    tab.page.evaluate("() => { window.same = 'page'; }")
    began = time.monotonic()
    job = submit(served, name="comes-by-itself")
    tab.page.get_by_role("link", name="comes-by-itself").wait_for()
    print(f"visible after {time.monotonic() - began:.2f} s")
    tab.page.locator(f"#job-row-{job}", has_text="DONE").wait_for()
    assert tab.page.evaluate("() => window.same") == "page"


def test_who_pauses_and_resumes_the_queue_sees_it_and_so_does_everybody(
    tab: Tab, served: Served
) -> None:
    tab.open("/ui/queue")
    tab.page.get_by_role("button", name="Pause").click()
    tab.page.get_by_role("button", name="Yes").click()
    tab.page.get_by_text("paused").first.wait_for()
    assert served.client.status()["paused"] is not None
    served.client.resume()
    tab.page.get_by_role("button", name="Pause").wait_for()


def test_a_job_is_cancelled_after_a_yes_and_not_after_a_no(tab: Tab, served: Served) -> None:
    job = submit(served, "sleep 600", name="long")
    tab.open("/ui/queue")
    button = tab.page.get_by_role("button", name=f"Cancel job {job}")
    button.click()
    tab.page.keyboard.press("Escape")
    button.click()
    tab.page.get_by_role("button", name="No").click()
    assert served.client.job(job)["state"] in ("waiting", "starting", "running")
    button.click()
    tab.page.get_by_role("button", name="Yes").click()
    tab.page.locator(f"#job-row-{job}").wait_for(state="detached")
    served.world.until_state(job, "cancelled")


def test_a_lost_head_is_said_and_what_was_missed_comes_when_it_is_back(
    served: Served, browser: Chrome
) -> None:
    """Another server at the same address, as after `jetsched up` had to start it again."""
    with Served(served.world, home=served.world.home) as first:
        tab = browser.tab(first.url).open("/ui/queue?state=all")
        lost = tab.page.get_by_role("status").filter(has_text="lost")
        assert lost.count() == 0
        first.close()
        lost.wait_for()
    job = submit(served, name="meanwhile")
    with Served(served.world, home=served.world.home, port=first.port):
        tab.page.locator(f"#job-row-{job}").wait_for()
        lost.wait_for(state="hidden")
    browser.close_tabs()


def test_five_open_pages_leave_room_for_a_sixth_request(served: Served, browser: Chrome) -> None:
    """A browser has six connections to a server for all its tabs together."""
    first = browser.tab(served.url).open("/ui/queue")
    pages = [first.page.context.new_page() for _ in range(5)]
    for page, name in zip(pages, ("fleet", "queue", "timeline", "fit", "costs"), strict=True):
        page.goto(f"{served.url}/ui/{name}", timeout=SOON_MS)
    status = first.page.evaluate("async () => (await fetch('/status')).status")
    assert status == 200
    browser.close_tabs()


# ------------------------------------------------------------------------------------- hostile text


def test_what_a_job_says_stays_text_on_every_page(tab: Tab, served: Served) -> None:
    """Name, label, user, log, the reason of a hold, and what is shown while it changes."""
    run = f"echo '{HOSTILE_IMAGE.replace(chr(39), '')}'"
    job = submit(served, run, name=HOSTILE, labels={"project": HOSTILE_IMAGE})
    held = submit(served, "sleep 600", name=HOSTILE_IMAGE)
    served.world.until_state(job, "done")
    for path in ("/ui/queue?state=all", "/ui/timeline", "/ui/fleet", f"/ui/jobs/{job}"):
        tab.open(path)
        tab.page.wait_for_timeout(300)
        assert tab.page.evaluate("() => window.hacked") is None
        assert tab.page.locator("main img[src='/nothing'], main script").count() == 0
    tab.open("/ui/queue?state=all")
    assert HOSTILE in tab.page.locator(f"#job-row-{job}").inner_text()
    assert html.escape(HOSTILE) in tab.page.content()
    served.client.cancel(held)
    tab.page.locator(f"#job-row-{held}", has_text="CANCEL").wait_for()  # came live
    assert HOSTILE_IMAGE in tab.page.locator(f"#job-row-{held}").inner_text()
    assert tab.page.evaluate("() => window.hacked") is None
