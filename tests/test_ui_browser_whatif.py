"""What if and reports in a real browser: asked and answered on the page, read as a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_world import Served
from browser import DARK, LIGHT, PHONE, Chrome, Look
from live_world import LiveWorld, a_command, table
from past_worlds import write_journal
from test_replay import OUTAGES, TURMOIL

from jetsched.cluster.keptreports import REPORTS
from jetsched.cluster.store import JOURNAL
from jetsched.cluster.storytelling import tell
from jetsched.scheduler.events import Submitted

pytestmark = pytest.mark.slow

NASTY = "<img src=/nothing onerror=window.hacked=1>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of a job that was tried twice and of all that was, as files."""
    folder = tmp_path_factory.mktemp("pages")
    journal = write_journal(folder, outages=OUTAGES, also=TURMOIL)
    found = {}
    for what in ("all", "7"):
        found[what] = folder / f"{what}.html"
        tell(what, None, journal, found[what])
    return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, pages: dict[str, Path]) -> Iterator[Served]:
    """Two boards with a past of three jobs, and a kept report."""
    home = tmp_path_factory.mktemp("whatif")
    with LiveWorld(home, table(short=1.0)) as world:
        world.until_devices("nx-1", "orin-1")
        jobs = tuple(a_command(str(number), "true", name=NASTY) for number in range(1, 4))
        world.tell(lambda now_s: Submitted(now_s, jobs))
        for job in jobs:
            world.until_state(job.id, "done")
        (home / REPORTS).mkdir()
        (home / REPORTS / "week.html").write_bytes(pages["all"].read_bytes())
        with Served(world, home=home, journal=home / JOURNAL) as found:
            yield found


@pytest.mark.parametrize("look", [LIGHT, DARK, PHONE], ids=str)
@pytest.mark.parametrize("what", ["all", "7"])
def test_a_report_is_a_file_that_anybody_can_read(
    browser: Chrome, pages: dict[str, Path], what: str, look: Look
) -> None:
    """Nothing is fetched, nothing sticks out, nobody is kept out."""
    tab = browser.tab("file://", look).open(str(pages[what]))
    assert tab.overflow() == []
    assert tab.axe() == []
    assert tab.requests == [f"file://{pages[what]}"]
    tab.check()
    browser.close_tabs()


def test_a_question_is_answered_on_the_page_without_reloading(
    browser: Chrome, served: Served
) -> None:
    """What there is to choose, and the answer with its picture; a name of a job stays text."""
    tab = browser.tab(served.url).open("/ui/whatif")
    page = tab.page
    page.evaluate("() => { window.same = 'page'; }")
    page.get_by_label("of the history").select_option("all")
    page.locator("select[name=policy]").select_option("round_robin")
    page.get_by_label("boards to add").fill("2")
    page.get_by_label("of the kind").select_option("nx-1")
    page.get_by_role("button", name="Work it out").press("Enter")
    page.get_by_role("heading", name="the history (all) with policy round_robin").wait_for()
    answer = page.locator("#whatif-came")
    assert "2 more nx-1" in answer.inner_text()
    assert page.locator("#whatif-came figure svg[role=img]").count() == 1
    assert "new-1" in answer.inner_text()
    assert tab.axe() == [] and tab.overflow() == []
    assert page.evaluate("() => [window.same, window.hacked]") == ["page", None]
    tab.check()
    browser.close_tabs()


def test_a_question_without_a_change_is_refused_on_the_page(
    browser: Chrome, served: Served
) -> None:
    tab = browser.tab(served.url).open("/ui/whatif")
    tab.page.get_by_role("button", name="Work it out").click()
    tab.page.get_by_text("nothing is to be other than it was").wait_for()
    tab.check("answer 400", "400 (Bad Request)")
    browser.close_tabs()


def test_a_kept_report_opens_from_the_page(browser: Chrome, served: Served) -> None:
    """As the file would, though in a sandbox."""
    tab = browser.tab(served.url).open("/ui/whatif")
    tab.page.get_by_role("link", name="week.html").click()
    tab.page.get_by_role("heading", name="What ended badly, and why").wait_for()
    assert tab.page.locator("figure svg").count() >= 2
    tab.check()
    browser.close_tabs()
