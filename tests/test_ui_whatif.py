"""The page What if over a real socket: asking, stopping, answers, and the reports that are kept."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_world import TOKEN, Served
from commands import Jetsched
from live_world import SOON_S, LiveWorld, a_command, table

from jetsched.cluster.keptreports import REPORTS, file_of_report, kept_reports
from jetsched.cluster.store import JOURNAL
from jetsched.errors import InputError
from jetsched.scheduler.events import Submitted

PAGE = {"X-Jetsched-Page": "1"}
NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two boards and a past of four jobs, one of which is called a script."""
    home = tmp_path_factory.mktemp("whatif")
    with LiveWorld(home, table(short=1.0)) as world:
        world.until_devices("nx-1", "orin-1")
        for number in range(1, 5):
            job = a_command(str(number), "true", name=NASTY)
            world.tell(lambda now_s, job=job: Submitted(now_s, (job,)))  # type: ignore[misc]
        for number in range(1, 5):
            world.until_state(str(number), "done")
        with Served(world, home=home, journal=home / JOURNAL) as found:
            yield found


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    head = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=served.url, headers=head, trust_env=False, timeout=SOON_S) as found:
        yield found


@pytest.fixture
def browser(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, trust_env=False, timeout=SOON_S) as found:
        yield found


def until_told(http: httpx.Client) -> dict[str, Any]:
    """The state once nothing is being worked out any more."""
    end = time.monotonic() + SOON_S
    while (state := http.get("/whatif").json())["running"]:
        assert time.monotonic() < end, "it does not end"
        time.sleep(0.05)
    return dict(state)


def test_a_question_is_answered_beside_the_service(
    served: Served, http: httpx.Client, browser: httpx.Client
) -> None:
    """The page has its figures with their sources, and a job's name is text in all of it."""
    assert http.post("/whatif", json={"span": "all", "boards": "nx-1:2"}).status_code == 202
    state = until_told(http)
    assert not state["error"], state
    was, same, then = state["answer"]["came"]
    assert (was["jobs"], was["source"], then["source"]) == (4, "measured", "estimated")
    assert then["boards"] == same["boards"] + 2 == 4
    assert state["answer"]["emulated"] is True
    page = browser.get("/ui/whatif")
    assert page.status_code == 200 and NASTY not in page.text
    assert "the history (all) with 2 more nx-1" in page.text
    assert '<abbr class="source" title="measured">(m)</abbr>' in page.text
    assert "Boards are emulated" in page.text and "<figure" in page.text
    assert "style=" not in page.text and "onclick" not in page.text


def test_one_question_at_a_time_and_it_can_be_stopped(served: Served, http: httpx.Client) -> None:
    """The child is gone then, and the next question is taken."""
    first = {"span": "all", "policy": "random"}
    for _ in range(50):  # it may be done before it is stopped
        assert http.post("/whatif", json=first).status_code == 202
        busy = http.post("/whatif", json={"span": "all", "policy": "makespan"})
        stopped = http.delete("/whatif")
        if stopped.status_code == 200 and busy.status_code == 400:
            break
        until_told(http)
    assert "works on something else" in busy.json()["error"]
    state = stopped.json()
    assert not state["running"] and state["error"] == "it was cancelled"
    assert http.delete("/whatif").status_code == 400  # nothing is to be stopped any more
    assert http.post("/whatif", json=first).status_code == 202
    assert not until_told(http)["error"]
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"whatif_child {served.world.home}" not in found


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({}, "nothing is to be other"),
        ({"policy": "x.py"}, "there is no policy"),
        ({"policy": "auto", "span": "1 parsec"}, "parsec"),
        ({"boards": "nx-1:99"}, "more than 64"),
        ({"of": "dreams"}, "body.of"),
        ({"policy": "auto", "more": 1}, "more"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    http: httpx.Client, question: dict[str, Any], says: str
) -> None:
    answer = http.post("/whatif", json=question)
    assert answer.status_code in (400, 422)
    assert says in json.dumps(answer.json()) and answer.json()["kind"]


def test_what_only_the_child_can_know_is_told_with_what_to_do(http: httpx.Client) -> None:
    assert http.post("/whatif", json={"span": "all", "boards": "nx-7:1"}).status_code == 202
    state = until_told(http)
    assert "'nx-7' is no board here and no model" in state["error"] and state["hint"]
    assert http.post("/whatif", json={"of": "queue", "policy": "auto"}).status_code == 202
    assert until_told(http)["error"] == "nothing waits now"


def test_another_site_cannot_ask(browser: httpx.Client) -> None:
    """The cookie alone changes nothing: our header is wanted, and the same origin."""
    browser.post("/ui/login", data={"token": TOKEN})
    question = {"span": "all", "policy": "auto"}
    assert browser.post("/whatif", json=question).status_code == 403
    elsewhere = {**PAGE, "Origin": "https://elsewhere.example"}
    assert browser.post("/whatif", json=question, headers=elsewhere).status_code == 403
    assert browser.delete("/whatif").status_code == 403


def test_without_a_script_the_page_says_what_to_type(browser: httpx.Client) -> None:
    page = browser.get("/ui/whatif?of=history&span=all&policy=makespan&count=0&like=nx-1")
    assert "jetsched compare --replay all --policies makespan" in page.text
    odd = browser.get("/ui/whatif?of=x&span=%3Cu%3E&policy=%3Cscript%3E&count=-1&like=%22")
    assert odd.status_code == 200 and "<u>" not in odd.text and "<script>" not in odd.text


# ------------------------------------------------------------------------------------ kept reports


@pytest.mark.slow
def test_a_comparison_that_is_kept_opens_on_the_page(
    served: Served, browser: httpx.Client, jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `compare` wrote it, in a sandbox: no script, no form, nothing of the head's."""
    home = served.world.home
    monkeypatch.setenv("JETSCHED_HOME", str(home))
    words = ["--generate", "6", "--policies", "auto,random", "--seeds", "1"]
    done = jetsched("compare", *words, "--jobs-parallel", "1", "--keep", "a-week")
    assert done.code == 0, done.err
    page = browser.get("/ui/whatif")
    assert '<a href="/ui/reports/a-week/index.html">a-week</a>' in page.text
    answer = browser.get("/ui/reports/a-week/index.html")
    assert answer.content == (home / REPORTS / "a-week" / "index.html").read_bytes()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'") and "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert browser.get("/ui/reports/a-week/gantt.png").headers["content-type"] == "image/png"
    assert jetsched("compare", *words, "--keep", "../out").code == 2


@pytest.mark.parametrize(
    "path",
    [
        "../journal.db",
        "..%2fjournal.db",
        "%2e%2e/journal.db",
        "odd/../../journal.db",
        "odd/link.html",
        "linked/index.html",
        "odd/secret.txt",
        "odd/run.svg",
        "odd/index.html/x",
        "/etc/passwd",
        ".hidden.html",
        "none.html",
        "linked",
        "linked/",
        "odd//",
        "",
    ],
)
def test_nothing_else_of_the_head_can_be_read(
    served: Served, browser: httpx.Client, path: str
) -> None:
    """Not by dots, not by links, no other kinds of files."""
    home = served.world.home
    folder = home / REPORTS / "odd"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text("<p>fine")
    (folder / "secret.txt").write_text("classified")
    (folder / "run.svg").write_text("<svg/>")
    (folder.parent / ".hidden.html").write_text("classified")
    for link, target in (
        (folder / "link.html", home / JOURNAL),
        (folder.parent / "linked", Path("/etc")),
    ):
        if not link.is_symlink():
            os.symlink(target, link)
    assert browser.get("/ui/reports/odd/index.html").text == "<p>fine"
    answer = browser.get(f"/ui/reports/{path}", headers={"Accept": "text/html"})
    assert answer.status_code == 404 and "classified" not in answer.text
    assert all(report.name not in ("linked", ".hidden.html") for report in kept_reports(home))


def test_a_report_opens_by_its_name(served: Served, browser: httpx.Client) -> None:
    """With and without a slash, at the address of its page: its pictures lie beside that."""
    folder = served.world.home / REPORTS / "kept1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text("<p>kept")
    for name in ("kept1", "kept1/"):
        answer = browser.get(f"/ui/reports/{name}", follow_redirects=True)
        assert answer.text == "<p>kept" and answer.url.path == "/ui/reports/kept1/index.html"
        assert answer.headers["content-security-policy"].startswith("sandbox;")
    (folder / "index.html").unlink()
    assert browser.get("/ui/reports/kept1", follow_redirects=True).status_code == 404


def test_reports_want_the_same_leave_as_any_page(served: Served) -> None:
    with httpx.Client(base_url=served.url, trust_env=False) as stranger:
        head = {"Host": "attacker.example"}
        assert stranger.get("/ui/reports/a-week/index.html", headers=head).status_code == 303


def test_a_home_without_reports_has_none(tmp_path: Path) -> None:
    assert kept_reports(tmp_path) == []
    with pytest.raises(InputError, match="there is no report"):
        file_of_report(tmp_path, "x/index.html")
