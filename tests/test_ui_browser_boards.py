"""What people do with boards, and on the pages about them, in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from api_world import LIKE, Served
from browser import Chrome, Tab
from live_world import LiveWorld, table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two boards that really run jobs; two ran on nx-1, and one runs there."""
    home = tmp_path_factory.mktemp("boards")
    with LiveWorld(home, table(**{"tiny-gpt2": 1.0})) as world:
        world.until_devices("nx-1", "orin-1")
        with Served(world, home=home) as served:
            for run in ("true", "true", "sleep 600"):
                work = {"kind": "command", "run": run, "like": LIKE}
                spec = {"work": work, "needs": {"device": ["nx-1"]}, "time_limit": "1h"}
                served.client.submit_specs([spec])
            world.until_state("3", "running")
            yield served


@pytest.fixture
def tab(served: Served, browser: Chrome) -> Iterator[Tab]:
    tab = browser.tab(served.url)
    yield tab
    tab.check()
    browser.close_tabs()


def test_a_board_is_drained_and_given_jobs_again_without_reloading(
    tab: Tab, served: Served
) -> None:
    tab.open("/ui/fleet")
    tab.page.get_by_role("button", name="Drain orin-1", exact=True).click()
    tab.page.locator("#ask").get_by_role("button", name="Drain").click()
    again = tab.page.get_by_role("button", name="Undrain orin-1")
    again.wait_for()
    assert {d["id"]: d["state"] for d in served.client.devices()}["orin-1"] == "draining"
    again.click()
    tab.page.get_by_role("button", name="Drain orin-1", exact=True).wait_for()


def test_the_reason_of_a_drain_is_there_for_others_to_read(
    tab: Tab, served: Served, browser: Chrome
) -> None:
    other = browser.tab(served.url).open("/ui/fleet")
    tab.open("/ui/fleet")
    tab.page.locator("#open-orin-1").click()
    form = tab.page.locator("#drawer[open] form.drain")
    form.get_by_role("textbox").fill("<b>a new fan</b>")
    form.get_by_role("button").click()
    tab.page.locator("#drawer[open]").get_by_text("<b>a new fan</b>").first.wait_for()
    other.page.get_by_text("<b>a new fan</b>").first.wait_for()
    served.client.undrain("orin-1")


def test_the_doctor_is_asked_about_a_board_from_its_card(tab: Tab) -> None:
    tab.open("/ui/fleet")
    tab.page.get_by_role("button", name="Ask the doctor about orin-1").click()
    tab.page.get_by_text(re.compile("doctor: ")).first.wait_for()


def test_arrow_keys_go_from_bar_to_bar_of_a_board_and_enter_opens_its_job(tab: Tab) -> None:
    tab.open("/ui/timeline")
    tab.page.locator(".lane-bars a[tabindex='0']").first.focus()
    where = "() => document.activeElement.closest('.lane-bars a')?.getAttribute('href')"
    runs = tab.page.evaluate(where)
    assert runs == "/ui/jobs/3"
    tab.page.keyboard.press("ArrowLeft")
    assert tab.page.evaluate(where) not in (None, runs)
    tab.page.keyboard.press("ArrowRight")
    assert tab.page.evaluate(where) == runs
    tab.page.keyboard.press("Enter")
    tab.page.locator("#drawer[open] h1").wait_for()
    assert tab.axe() == []
    tab.page.keyboard.press("Escape")
    assert tab.page.evaluate(where) == runs


def test_a_cell_of_the_fit_map_opens_megabyte_by_megabyte_and_gets_the_focus_back(
    tab: Tab,
) -> None:
    tab.open("/ui/fit?kind=train&all=1")
    cell = tab.page.locator("td.fit a").first
    cell.focus()
    name = cell.get_attribute("id")
    tab.page.keyboard.press("Enter")
    tab.page.locator("#drawer[open]").get_by_text("megabyte by megabyte").wait_for()
    assert tab.axe() == []
    tab.page.keyboard.press("Escape")
    assert tab.page.evaluate("() => document.activeElement.id") == name


def test_what_the_model_has_not_seen_is_worked_out_while_one_looks_on(tab: Tab) -> None:
    tab.open("/ui/costs")
    tab.page.get_by_role("button", name="Work it out").click()
    tab.page.get_by_role("button", name="Work it out again").wait_for()
