"""What people do with jobs in a browser, over two boards that really run them."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_world import LIKE, TOKEN, Served
from browser import PHONE, PHONE_PX, SOON_MS, Chrome, Tab
from commands import Jetsched, Result
from live_world import LiveWorld, table

from jetsched.files import from_json
from jetsched.records import Decision
from jetsched.words import decision_rows

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
    tab.page.locator(f"#job-row-{job}", has_text=re.compile("DONE")).wait_for()
    assert tab.page.evaluate("() => window.same") == "page"


def test_who_pauses_and_resumes_the_queue_sees_it_and_so_does_everybody(
    tab: Tab, served: Served
) -> None:
    tab.open("/ui/queue")
    tab.page.get_by_role("button", name="Pause").click()
    tab.page.get_by_role("button", name="Pause the queue").click()
    tab.page.get_by_text("paused").first.wait_for()
    assert served.client.status()["paused"] is not None
    served.client.resume()
    tab.page.get_by_role("button", name="Pause").wait_for()


def test_a_job_is_cancelled_by_who_says_so_twice_and_not_by_who_keeps_it(
    tab: Tab, served: Served
) -> None:
    job = submit(served, "sleep 600", name="long")
    tab.open("/ui/queue")
    button = tab.page.get_by_role("button", name=f"Cancel job {job}")
    button.click()
    tab.page.keyboard.press("Escape")
    button.click()
    tab.page.get_by_role("button", name="Keep it").click()
    assert served.client.job(job)["state"] in ("waiting", "starting", "running")
    button.click()
    tab.page.get_by_role("button", name="Cancel it").click()
    tab.page.locator(f"#job-row-{job}").wait_for(state="detached")
    served.world.until_state(job, "cancelled")


def test_a_job_is_held_with_a_reason_for_others_to_read(tab: Tab, served: Served) -> None:
    """The form is there as long as the job can be held."""
    busy = [submit(served, "sleep 600", name=f"busy-{n}") for n in (1, 2)]
    job = submit(served, name="not-yet")
    tab.open(f"/ui/jobs/{job}")
    form = tab.page.locator("form.because")
    form.get_by_label("Hold it, because").fill("wait for <b>new</b> data")
    form.get_by_role("button").click()
    tab.page.locator("#job-head").get_by_text("Held: wait for <b>new</b> data").wait_for()
    form.wait_for(state="hidden")
    tab.page.get_by_role("button", name="Release").click()
    form.wait_for()
    for each in (job, *busy):
        served.client.cancel(each)
        served.world.until_state(each, "cancelled")


#: Links and buttons in tables and forms that a finger would miss, in CSS pixels.
TOO_SMALL = """() => [...document.querySelectorAll("main :is(td, th, form, nav) :is(a, button)")]
  .filter((e) => e.checkVisibility() && !(e.getBoundingClientRect().height >= 24))
  .map((e) => e.outerHTML)"""


def test_on_a_phone_one_sees_what_one_came_for_without_scrolling_sideways(
    served: Served, browser: Chrome
) -> None:
    """Why a job waits, in the queue and board by board; what an attempt took and how it ended."""
    done = submit(served, name="soon-done")
    served.world.until_state(done, "done")
    busy = [submit(served, "sleep 600", name=f"busy-{n}") for n in (1, 2)]
    job = submit(served, name="a-name-of-some-length-as-people-give-them-to-their-jobs")
    page = browser.tab(served.url, PHONE).open("/ui/queue").page
    wanted = {
        "/ui/queue": [f"#job-row-{job} td.reason", f"#job-row-{job} td.act button"],
        f"/ui/jobs/{job}": ["table.decision tbody tr:last-child td.reason"],
        f"/ui/jobs/{done}": ["table.attempts td.reason", "table.attempts td[data-label=TIME]"],
        "/ui/fit": ["table.fit-map tbody tr:first-child td:last-child"],
        "/ui/costs": [
            "#costs-drift tr:last-child td:last-child",
            "#costs-learnt td.number:visible",
        ],
    }
    for path, places in wanted.items():
        page.goto(f"{served.url}{path}", timeout=SOON_MS)
        for place in places:
            box = page.locator(place).last.bounding_box()
            assert box is not None, (path, place)
            assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE_PX["width"], (path, place)
        assert page.evaluate(TOO_SMALL) == [], path
    browser.close_tabs()
    for each in (job, *busy):
        served.client.cancel(each)
        served.world.until_state(each, "cancelled")


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
    first = browser.tab(served.url).open("/ui/fleet")
    for name in ("queue", "timeline", "fit", "costs"):
        page = first.page.context.new_page()
        page.goto(f"{served.url}/ui/{name}", timeout=SOON_MS)
    ask = f"async () => (await fetch('/status', {{signal: AbortSignal.timeout({SOON_MS})}})).status"
    assert first.page.evaluate(ask) == 200
    browser.close_tabs()


# --------------------------------------------------------------------------------------- the drawer


def told(answer: Result) -> list[list[str]]:
    """The cells of the table of why, as the terminal shows what `jetsched why --json` says."""
    rows = decision_rows(from_json(Decision, answer.json()))
    return [[" ".join(cell.split()) for cell in row] for row in rows]


def shown(tab: Tab) -> list[list[str]]:
    """The cells of the table of why in the drawer, as a person reads them."""
    lines = tab.page.locator("#drawer table.decision tbody tr").all()
    rows = [line.locator("th, td").all_inner_texts() for line in lines]
    return [[" ".join(cell.split()).removesuffix(" emulated") for cell in row] for row in rows]


@pytest.fixture
def jobs_to_ask(served: Served) -> Iterator[dict[str, str]]:
    """One that is done, one that runs, one that waits behind it, and one that fits nowhere."""
    done = submit(served, name="over")
    served.world.until_state(done, "done")
    runs = submit(served, "sleep 600", name="runs", needs={"device": ["nx-1"]})
    served.world.until_state(runs, "running")
    waits = submit(served, "sleep 600", name="waits", needs={"device": ["nx-1"]})
    work = {"kind": "command", "run": "true", "like": {"kind": "infer", "model": "gpt2"}}
    held = served.client.submit_specs([{"work": work, "name": "never"}], hold=True)[0]["id"]
    yield {"done": done, "runs": runs, "waits": waits, "never": str(held)}
    for job in (waits, runs, held):
        served.client.cancel(job)
    served.world.until_state(runs, "cancelled")


def test_the_why_drawer_says_what_jetsched_why_says(
    tab: Tab,
    served: Served,
    jobs_to_ask: dict[str, str],
    jetsched: Jetsched,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Every cell of every board. How long something takes from now on may change in between."""
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("JETSCHED_HEAD", served.url)
    monkeypatch.setenv("JETSCHED_TOKEN_FILE", str(tmp_path / "token"))
    tab.open("/ui/queue?state=all")
    for job in jobs_to_ask.values():
        end = time.monotonic() + SOON_MS / 1000
        while True:
            before = told(jetsched("why", job, "--json"))
            tab.page.locator(f"#job-link-{job}").click()
            tab.page.locator("#drawer[open] table.decision").wait_for()
            seen = shown(tab)
            tab.page.keyboard.press("Escape")
            if before == told(jetsched("why", job, "--json")):
                break
            assert time.monotonic() < end, "it changes all the time"
        assert seen == before
        assert [row[0] for row in seen] == ["nx-1", "orin-1"]


def test_a_drawer_opens_and_closes_by_keyboard_and_gives_the_focus_back(
    tab: Tab, served: Served
) -> None:
    job = submit(served, name="drawn")
    tab.open("/ui/queue?state=all")
    link = tab.page.locator(f"#job-link-{job}")
    link.focus()
    tab.page.keyboard.press("Enter")
    drawer = tab.page.locator("#drawer[open]")
    drawer.wait_for()
    assert tab.page.evaluate("() => !!document.activeElement.closest('#drawer')")
    assert tab.axe() == []
    tab.page.keyboard.press("Escape")
    drawer.wait_for(state="detached")
    assert tab.page.evaluate("() => document.activeElement.id") == f"job-link-{job}"


def test_a_log_grows_in_the_drawer_as_the_job_writes_it(tab: Tab, served: Served) -> None:
    gate = served.world.home / "gate"
    run = f"echo first line; while ! test -e {gate}; do sleep 0.02; done; echo second line"
    job = submit(served, run, name="talks")
    tab.open(f"/ui/jobs/{job}")
    log = tab.page.get_by_role("log")
    log.filter(has_text="first line").wait_for()
    gate.touch()
    log.filter(has_text="second line").wait_for()
    assert log.inner_text().split("\n")[:2] == ["first line", "second line"]
    tab.page.locator(".badge", has_text=re.compile("DONE")).first.wait_for()


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
    tab.page.locator(f"#job-row-{held}", has_text=re.compile("CANCELLED")).wait_for()  # came live
    assert HOSTILE_IMAGE in tab.page.locator(f"#job-row-{held}").inner_text()
    assert tab.page.evaluate("() => window.hacked") is None
