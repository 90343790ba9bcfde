"""Job files in a browser: dropped, checked, planned, sent, done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_world import Served
from browser import Chrome, Tab
from commands import Jetsched
from live_world import LiveWorld, table

pytestmark = pytest.mark.slow

JOB = """name: dropped
work:
  kind: command
  run: echo it came from a browser
  like: {kind: infer, model: tiny-gpt2}
"""
BAD = """name: bad
work:
  kind: train
  model: distilgpt2
  dataset: squad
  epoch: 2
needs:
  memory: 5
priority: 500
"""
#: What the browser does when somebody lets go of files over the page.
DROP = """(files) => {
    const held = new DataTransfer();
    for (const [name, text] of files) held.items.add(new File([text], name));
    const told = {dataTransfer: held, bubbles: true, cancelable: true};
    document.body.dispatchEvent(new DragEvent("dragenter", told));
    document.body.dispatchEvent(new DragEvent("dragover", told));
    document.body.dispatchEvent(new DragEvent("drop", told));
}"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two boards; the cost table knows the workload `tiny-gpt2` on both."""
    home = tmp_path_factory.mktemp("submit")
    with LiveWorld(home, table(**{"tiny-gpt2": 1.0})) as world:
        world.until_devices("nx-1", "orin-1")
        with Served(world, home=home) as served:
            yield served


@pytest.fixture
def tab(served: Served, browser: Chrome) -> Iterator[Tab]:
    yield browser.tab(served.url).open("/ui/submit")
    browser.close_tabs()


def drop(tab: Tab, **files: str) -> None:
    tab.page.evaluate(DROP, [[f"{name}.yaml", text] for name, text in files.items()])


def test_what_is_changed_while_it_is_checked_is_not_taken_for_checked(tab: Tab) -> None:
    """The answer to the older text offers nothing to send, and says why."""
    page = tab.page
    held: list[Any] = []
    page.route("**/ui/submit/look", lambda route: held.append(route))
    page.locator("#drafts textarea").fill(JOB)
    with page.expect_request("**/ui/submit/look"):
        page.get_by_role("button", name="Check and plan").click()
    page.locator("#drafts textarea").fill(JOB.replace("dropped", "other"))
    held.pop().continue_()
    page.get_by_text("it was changed while it was checked").wait_for()
    assert page.locator("#sending").is_hidden()
    page.unroute("**/ui/submit/look")
    page.get_by_role("button", name="Check and plan").click()
    page.get_by_role("button", name="Submit 1 job").wait_for()


def test_a_dropped_file_is_planned_then_sent_and_its_job_is_seen_to_be_done(
    tab: Tab, served: Served
) -> None:
    """Before a person says so nothing is submitted."""
    before = len(served.client.jobs())
    drop(tab, dropped=JOB)
    tab.page.get_by_role("heading", name="1 job can be sent").wait_for()
    plan = tab.page.locator("#looked table.decision tbody tr")
    assert {row.get_attribute("data-device") for row in plan.all()} == {"nx-1", "orin-1"}
    assert len(served.client.jobs()) == before
    tab.page.get_by_role("button", name="Submit 1 job").click()
    tab.page.locator("#sent-rows .badge", has_text=re.compile("DONE")).wait_for()
    (job,) = served.client.jobs()[before:]
    assert (job["name"], job["state"]) == ("dropped", "done")
    assert served.client.log(job["id"])["text"] == "it came from a browser\n"
    tab.page.get_by_role("link", name="dropped").click()
    tab.page.locator("#drawer[open]").get_by_role("log").filter(has_text="it came").wait_for()
    tab.check()


def test_what_is_wrong_is_said_with_line_and_column_as_check_says_it(
    tab: Tab, served: Served, jetsched: Jetsched, tmp_path: Path
) -> None:
    """All problems of all files at once; what is right is not sent either."""
    (tmp_path / "bad.yaml").write_text(BAD)
    checked = jetsched("check", str(tmp_path / "bad.yaml"))
    assert checked.code == 2
    drop(tab, bad=BAD, good=JOB)
    tab.page.get_by_role("heading", name="3 problems. Nothing was submitted").wait_for()
    places = tab.page.locator("#looked .problems a").all_inner_texts()
    assert len(places) == 3
    for place in places:
        assert place.startswith("bad.yaml:") and place in checked.err.replace(f"{tmp_path}/", "")
    frames = tab.page.locator("#looked .problems pre").all_inner_texts()
    assert any("did you mean 'epochs'" in frame for frame in frames)
    assert not tab.page.get_by_role("button", name="Submit").is_visible()
    assert tab.overflow() == [] and tab.axe() == []
    tab.check()


def test_a_problem_leads_to_its_place_in_the_text(tab: Tab) -> None:
    drop(tab, bad=BAD)
    tab.page.locator("#looked .problems a").first.click()
    at = tab.page.evaluate(
        "() => document.activeElement.value.slice(0, document.activeElement.selectionStart)"
    )
    assert at == BAD[: BAD.index("epoch: 2")]


def test_a_file_that_names_files_of_its_own_machine_is_refused_with_the_way_to_send_them(
    tab: Tab,
) -> None:
    drop(tab, reads="work: {kind: infer, model: tiny-gpt2, prompts: prompts.jsonl}\n")
    refused = tab.page.locator("#looked .problems")
    refused.wait_for()
    assert "jetsched submit" in refused.inner_text()


def test_a_name_that_is_markup_stays_text_where_it_is_planned(tab: Tab) -> None:
    name = "<img src=/nothing onerror=window.hacked=1>"
    drop(tab, **{name.replace("/", ""): JOB.replace("dropped", f"'{name}'")})
    tab.page.get_by_role("heading", name="1 job can be sent").wait_for()
    assert name in tab.page.locator("#looked").inner_text()
    assert tab.page.locator("#looked img").count() == 0
    assert tab.page.evaluate("() => window.hacked") is None
    tab.check()
