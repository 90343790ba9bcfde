"""A report that the head keeps is shown as what it is: somebody's file, which may hold anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_world import Served
from browser import Chrome
from builders import TableCosts
from live_world import LiveWorld
from local_agents import LocalAgents

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
