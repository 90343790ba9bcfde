"""Every page in a real browser: quiet, whole at any width, and nobody is kept out.

The fleet is a large one with a past and boards in trouble, so that the pages are full.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from api_world import Served
from browser import DARK, LIGHT, PHONE, Chrome, Look, Tab
from many_boards import many_boards

from jetsched.cluster.ui_base import NAV

pytestmark = pytest.mark.slow

PAGES = [*(item.path for item in NAV), "/ui/jobs/3", "/ui/devices/nx-1", "/ui/login"]
LOOKS = [LIGHT, DARK, PHONE]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Twenty boards and the jobs of six hours, behind HTTP."""
    home = tmp_path_factory.mktemp("fleet")
    with (
        many_boards(home, 20, 160, hours=6, within_s=4) as world,
        Served(world, home=home) as served,
    ):
        yield served


@pytest.fixture
def look() -> Look:
    """How a tab looks at pages, unless a test is parametrized with it."""
    return LIGHT


@pytest.fixture
def tab(served: Served, browser: Chrome, look: Look) -> Iterator[Tab]:
    yield browser.tab(served.url, look)
    browser.close_tabs()


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_quiet_and_keeps_nobody_out(tab: Tab, path: str) -> None:
    """No error, no request to elsewhere, no sideways scroll, nothing serious for axe-core."""
    tab.open(path)
    tab.page.wait_for_timeout(300)  # for what comes live
    assert tab.overflow() == []
    assert tab.axe() == []
    assert tab.page.locator("html[lang=en]").count() == 1
    assert tab.page.locator("main").count() == tab.page.locator("h1:visible").count() == 1
    assert "jetsched " in tab.page.locator("footer").inner_text()  # the next command
    tab.check()


@pytest.mark.parametrize("path", PAGES)
def test_every_control_is_reached_by_keyboard(tab: Tab, path: str) -> None:
    """While nothing changes: what is drawn anew would have to be reached again."""
    tab.page.route("**/ui/live*", lambda route: route.abort())
    tab.open(path)
    assert tab.unreached() == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_shows_itself_without_scripts(served: Served, browser: Chrome, path: str) -> None:
    tab = browser.tab(served.url, java_script_enabled=False).open(path)
    assert tab.page.locator("h1").count() == 1
    assert len(tab.page.locator("main").inner_text()) > 100
    browser.close_tabs()


def test_a_pages_title_says_which_it_is(served: Served) -> None:
    """To whoever has several of them open."""
    with httpx.Client(base_url=served.url, trust_env=False) as http:
        texts = [http.get(path).text for path in PAGES]
    titles = [re.findall("<title>(.+) · jetsched</title>", text)[0] for text in texts]
    assert len(set(titles)) == len(PAGES)
