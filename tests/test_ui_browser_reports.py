"""A report that the head keeps is shown as what it is: somebody's file, which may hold anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from api_world import Served
from browser import LIGHT, PHONE, Chrome, Look
from builders import TableCosts, a_job, an_estimate, nx
from live_world import LiveWorld
from local_agents import LocalAgents

from jetsched.cluster.store import JOURNAL, Store
from jetsched.cluster.storysource import Source
from jetsched.cluster.storyspan import Span
from jetsched.cluster.storyweek import week_story
from jetsched.cluster.storyweekpage import week_page
from jetsched.records import Placement
from jetsched.scheduler.events import DeviceJoined, Finished, Start, Submitted

pytestmark = pytest.mark.slow


@pytest.fixture
def served_report(tmp_path: Path) -> Iterator[Served]:
    """A head that keeps a report with a script in it."""
    page = (
        "<!doctype html><title>kept</title><h1>mine</h1><script>document.title = 'ran';"
        "fetch('/jobs').then((a) => { document.title = a.status; });</script>"
    )
    folder = tmp_path / "reports/mine"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(page)
    agents = LocalAgents(tmp_path / "nodes", {})
    with (
        LiveWorld(tmp_path, TableCosts({}), agents=agents) as world,
        Served(world, home=tmp_path) as served,
    ):
        yield served


def test_a_report_of_compare_is_opened_in_a_sandbox(served_report: Served, browser: Chrome) -> None:
    """Whatever is in it can run no script of the page's origin, and sends nothing."""
    tab = browser.tab(served_report.url).open("/ui/whatif")
    tab.page.get_by_role("link", name="mine").click()
    tab.page.wait_for_url("**/ui/reports/**")
    assert tab.page.locator("h1").inner_text() == "mine"
    assert tab.page.evaluate("() => window.origin") == "null"
    assert tab.page.title() == "kept"
    assert not any(url.endswith("/jobs") for url in tab.requests)
    browser.close_tabs()


LONG = "a-name-without-any-space-" + "x" * 60


def long_week(path: Path) -> str:
    """The page of a time in which jobs and a board with long names were there."""
    board = replace(nx(), id="board-on-the-second-floor-number-12345")
    store = Store(path)
    store.append(DeviceJoined(0.0, board))
    for number in range(1, 5):
        job = a_job(f"job-{number}-{'y' * 40}", name=LONG, user=LONG)
        placement = Placement(job, board, an_estimate(60.0), 100.0 * number, 100.0 * number + 60)
        end = Finished(100.0 * number + 50, job.id, 1, "failed", None, f"error: /{'z' * 90}")
        store.append(
            Submitted(100.0 * number, (job,)), Start(100.0 * number, placement, 1, None), end
        )
    store.close()
    return week_page(week_story(Span("all"), Source(path, "here")))


@pytest.mark.parametrize("look", [LIGHT, PHONE], ids=str)
def test_long_names_break_no_table(
    look: Look, served_report: Served, browser: Chrome, tmp_path: Path
) -> None:
    """They are broken within their column, which stays wide enough to be read; nobody scrolls."""
    (tmp_path / "past").mkdir()
    html = long_week(tmp_path / "past" / JOURNAL)
    (tmp_path / "reports" / "week.html").write_text(html)
    tab = browser.tab(served_report.url, look).open("/ui/reports/week.html")
    assert tab.overflow() == []
    regions = "() => [...document.querySelectorAll('.scroll')]"
    wider = f"{regions}.map((e) => e.scrollWidth - e.clientWidth)"
    assert not any(tab.page.evaluate(wider))
    widths = "() => [...document.querySelectorAll('tbody th, td.words')].map((e) => e.clientWidth)"
    assert min(tab.page.evaluate(widths)) > 60
    browser.close_tabs()
