"""Reports are one file: opened from a disk they ask nobody for anything, and keep nobody out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_world import Served
from browser import DARK, LIGHT, PHONE, Chrome, Look
from many_boards import many_boards

from jetsched.cluster.store import JOURNAL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report of a job and of a day, of a fleet with a past."""
    home, folder = tmp_path_factory.mktemp("fleet"), tmp_path_factory.mktemp("reports")
    with many_boards(home, 12, 80, hours=6, within_s=3):
        pass  # the journal is enough
    for name, words in (("job", ["3"]), ("day", ["--last", "24h"])):
        command = [sys.executable, "-m", "jetsched", "report", *words]
        command += ["--journal", str(home / JOURNAL), "--out", str(folder / f"{name}.html")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("look", [LIGHT, DARK, PHONE], ids=str)
@pytest.mark.parametrize("name", ["job", "day"])
def test_a_report_opens_from_a_file_alone(
    reports: Path, browser: Chrome, name: str, look: Look
) -> None:
    tab = browser.tab("file://", look)
    tab.open(str(reports / f"{name}.html"))
    assert [url.rpartition("/")[2] for url in tab.requests] == [f"{name}.html"]
    assert tab.page.locator("h1").count() == 1
    assert tab.overflow() == []
    assert tab.axe() == []
    tab.check()
    browser.close_tabs()


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
    with many_boards(tmp_path, 2, 0) as world, Served(world, home=tmp_path) as served:
        yield served
