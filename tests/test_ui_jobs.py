"""The queue and the job on a page: the same words as the terminal's, and nothing that is markup."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_world import LIKE, Served
from hypothesis import given
from hypothesis import strategies as st
from live_world import SOON_S, LiveWorld, table

from jetsched import words
from jetsched.cluster.jobpast import job_past
from jetsched.cluster.store import JOURNAL
from jetsched.cluster.ui_base import Ui
from jetsched.cluster.ui_job import JobView
from jetsched.cluster.ui_joblog import plain
from jetsched.cluster.ui_live import View
from jetsched.cluster.ui_queue import Asked, QueueView
from jetsched.errors import InputError
from jetsched.files import from_json
from jetsched.records import Decision

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
PAGE = {"X-Jetsched-Page": "1"}


def a_spec(name: str, run: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "work": {"kind": "command", "run": run, "like": LIKE}, **more}


class Paged(Served):
    """With a browser that has been let in."""

    http: httpx.Client

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.http.get(path, **more)

    def rows(self, path: str, table: str) -> list[list[str]]:
        """The cells of the body of the table of that class, as text."""
        return Tables(self.get(path).text).bodies[table]


class Tables(HTMLParser):
    """The tables of a page, and everything that could do harm."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.bodies: dict[str, list[list[str]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._table, self._in_body, self._cell = "", False, False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "table":
            self._table = found.get("class") or "?"
            self.bodies[self._table] = []
        elif tag == "tbody":
            self._in_body = True
        elif tag == "tr" and self._in_body:
            self.bodies[self._table].append([])
        elif tag in ("td", "th") and self._in_body:
            self.bodies[self._table][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "tbody":
            self._in_body = False
        elif tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.bodies[self._table][-1][-1] += data

    @property
    def buttons(self) -> list[str]:
        return [str(a["data-post"]) for tag, a in self.tags if tag == "button" and "data-post" in a]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paged]:
    """Job 1 is done and left a file, 2 has failed, 3 and 4 run, 5 to 8 wait, 9 is held by nobody.

    The boards are agents in this process; what waits is behind what runs for as long as that is.
    """
    home = tmp_path_factory.mktemp("pages")
    with (
        LiveWorld(home, table(**{"tiny-gpt2": 100.0})) as world,
        closing(Paged(world, home=home)) as served,
    ):
        world.until_devices("nx-1", "orin-1")
        run = (
            "printf 'one\\rtwo\\033[31m red\\033[0m\\nthree\\n'; echo 42 > $JETSCHED_OUT/answer.txt"
        )
        there = {"device": ["orin-1"]}
        more = {"needs": there, "labels": {"project": "qa"}, "time_limit": "2m"}
        served.client.submit_specs([a_spec("leaves", run, **more)], user="ada")
        world.until_state("1", "done")
        served.client.submit_specs([a_spec("fails", "echo no >&2; exit 3", retry={"times": 0})])
        world.until_state("2", "failed")
        sleeps = [a_spec(f"sleeps-{n}", "echo here; sleep 600") for n in (3, 4)]
        served.client.submit_specs(sleeps)
        for job_id in "34":
            world.until_state(job_id, "running")
        waits = [a_spec(name, "true", priority=10 * n) for n, name in enumerate((EVIL, "b", "c"))]
        served.client.submit_specs(waits, user="bob")
        served.client.submit_specs([a_spec("deadline", "true", deadline="2h")], user="ada")
        never = {**LIKE, "model": "gpt2"}
        held = {"name": "never", "work": {"kind": "command", "run": "true", "like": never}}
        served.client.submit_specs([held], hold=True)
        wait_for(lambda: served.client.job("1")["artefacts"]["state"] == "complete")
        with httpx.Client(base_url=served.url, trust_env=False) as http:
            served.http = http
            yield served


def wait_for(fact: Any) -> None:
    end = time.monotonic() + SOON_S
    while not fact():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)


def a_ui(served: Paged) -> Ui:
    """The pages' side, beside the one that is served: to look at views without a browser."""
    made = object.__new__(Ui)
    made.desk, made.home = served.world.desk, served.world.home
    return made


# ------------------------------------------------------------------------------------------- queue


def test_a_row_has_the_words_of_the_terminal(served: Paged) -> None:
    rows = served.rows("/ui/queue?state=all", "jobs")
    jobs = served.client.page(order="queue")
    assert [row[0] for row in rows] == [job["id"] for job in jobs]
    for row, job in zip(rows, jobs, strict=True):
        cells = words.job_cells(job)
        assert [cell.strip() for cell in row[:4]] == [cells[0], cells[1], cells[2], cells[3]]
        assert row[4].split()[-1] == cells[4]
        assert row[5].split()[:1] == cells[5].split()
        text = words.progress_parts(job, job["attempts"][-1] if job["attempts"] else None)[0]
        assert row[7].strip().startswith(text)


def test_emulated_boards_are_marked_where_their_name_stands(served: Paged) -> None:
    where = {row[0]: row[5] for row in served.rows("/ui/queue?state=all", "jobs")}
    assert where["1"].endswith(" emulated")
    assert where["5"] == ""


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["3", "4", "8", "7", "6", "5", "9"]),
        ("?state=waiting&user=bob", ["7", "6", "5"]),
        ("?text=sleeps", ["3", "4"]),
        ("?state=all&order=newest&size=2&page=2", ["7", "6"]),
        ("?state=done&device=orin-1", ["1"]),
        ("?state=done&device=nx-1", []),
        ("?order=-priority&priority=0-20&state=waiting", ["7", "6", "5"]),
    ],
)
def test_the_address_says_what_is_shown(served: Paged, query: str, expected: list[str]) -> None:
    assert [row[0] for row in served.rows(f"/ui/queue{query}", "jobs")] == expected


def test_a_page_behind_the_last_one_shows_the_last_one(served: Paged) -> None:
    answer = served.get("/ui/queue?state=all&order=submitted&size=4&page=99")
    assert [row[0] for row in Tables(answer.text).bodies["jobs"]] == ["9"]
    assert "page 3 of 3" in answer.text


@pytest.mark.parametrize("query", ["priority=high", "order=up", "state=wating", "page=0", "size=x"])
def test_a_filter_that_cannot_be_meant_is_told_on_the_page(served: Paged, query: str) -> None:
    answer = served.get(f"/ui/queue?{query}&text=kept")
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text and 'value="kept"' in answer.text


def test_a_head_of_a_column_turns_its_order(served: Paged) -> None:
    links = [a["href"] for tag, a in Tables(served.get("/ui/queue?order=name").text).tags
             if tag == "a" and "order=" in (a.get("href") or "")]  # fmt: skip
    assert "/ui/queue?order=-name" in links and "/ui/queue?order=priority" in links
    assert 'aria-sort="ascending"' in served.get("/ui/queue?order=name").text
    assert 'aria-sort="descending"' in served.get("/ui/queue?order=-name").text


asked = st.builds(
    Asked,
    state=st.sampled_from(["open", "all", "waiting,held"]),
    text=st.text(max_size=20).map(str.strip),
    user=st.text(max_size=20).map(str.strip),
    order=st.sampled_from(["queue", "-name"]),
    page=st.integers(1, 10_000),
)


@given(asked)
def test_an_address_says_the_same_as_it_was_made_from(wish: Asked) -> None:
    assert Asked.of(wish.params) == wish


@given(st.dictionaries(st.sampled_from(list(Asked.__dataclass_fields__)), st.text(max_size=30)))
def test_whatever_an_address_says_it_is_taken_or_refused_with_a_word(
    params: dict[str, str],
) -> None:
    try:
        assert Asked.of(Asked.of(params).params) == Asked.of(params)
    except InputError as error:
        assert str(error)


# ---------------------------------------------------------------------------------------- markup


@pytest.mark.parametrize(
    "path",
    [
        "/ui/queue",
        "/ui/jobs/5",
        "/ui/queue?text={evil}",
        "/ui/queue?priority={evil}",
        "/ui/jobs/{evil}",
    ],
)
def test_nothing_that_a_person_wrote_becomes_markup(served: Paged, path: str) -> None:
    quoted = str(httpx.QueryParams({"x": EVIL}))[2:]
    answer = served.get(path.replace("{evil}", quoted))
    page = answer.text
    if answer.headers["content-type"] == "application/json":  # a browser takes it for nothing else
        assert answer.status_code == 404
        return
    parsed = Tables(page)
    assert not [a for tag, a in parsed.tags if tag == "script" and "src" not in a]
    assert not [tag for tag, a in parsed.tags if tag == "img" or any(n.startswith("on") for n in a)]
    assert not [tag for tag, a in parsed.tags if tag == "style" or "style" in a]
    if "{evil}" not in path:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


# --------------------------------------------------------------------------------------------- job


@pytest.mark.parametrize("job_id", ["1", "3", "6", "9"])
def test_the_table_of_why_is_the_one_of_the_terminal(served: Paged, job_id: str) -> None:
    """Done, running, waiting and held: every cell, and every line below."""
    page = served.get(f"/ui/jobs/{job_id}").text
    found = served.client.why(job_id)
    decision = from_json(Decision, {k: v for k, v in found.items() if k != "job"})
    expected = [[cell.strip() for cell in cells] for cells in words.decision_rows(decision)]
    rows = Tables(page).bodies["decision"]
    assert [[" ".join(c.split()) for c in row] for row in rows] == [
        [f"{cells[0]} emulated", *cells[1:]] for cells in expected
    ]
    assert len(rows) == 2
    for line in words.why_of(found).below:
        assert line.strip() in page


def test_what_was_measured_stands_beside_what_was_estimated(served: Paged) -> None:
    ((number, where, _, took, live, whole, energy, ended),) = served.rows("/ui/jobs/1", "attempts")
    assert number.strip().startswith("1 of 3") and where.endswith("emulated")
    assert "(m)" in took and "1m 40s, p90 2m (m)" in took and "less than estimated" in took
    assert "(m)" in whole and "at most" in whole
    assert live and energy
    assert "DONE" in ended


def test_a_job_says_what_its_file_says(served: Paged) -> None:
    page = served.get("/ui/jobs/1").text
    for text in ("project=qa", "<dd>2m</dd>", "<dt>run</dt>", "2 times on killed_memory, lost"):
        assert text in page


def test_each_state_offers_what_makes_sense_and_no_more(served: Paged) -> None:
    offers = {"1": [], "2": ["retry"], "3": ["cancel"], "6": ["hold", "cancel"],
              "9": ["hold", "cancel"]}  # fmt: skip
    for job_id, expected in offers.items():
        posts = Tables(served.get(f"/ui/jobs/{job_id}").text).buttons
        own = [post.rpartition("/")[2] for post in posts if post.startswith(f"/jobs/{job_id}/")]
        assert own == expected


def test_a_job_is_held_and_released_from_its_page(served: Paged) -> None:
    served.get("/ui/queue")  # the cookie
    assert served.http.post("/jobs/6/hold", headers=PAGE, json={"text": "later"}).is_success
    page = served.get("/ui/jobs/6").text
    assert "/jobs/6/release" in Tables(page).buttons and "Held: later" in page
    assert "held: later" in page  # in its history
    assert served.http.post("/jobs/6/release", headers=PAGE).is_success
    assert "/jobs/6/hold" in Tables(served.get("/ui/jobs/6").text).buttons


def test_what_a_job_left_is_listed_and_can_be_had(served: Paged) -> None:
    (row,) = served.rows("/ui/jobs/1", "files")
    assert row[0] == "answer.txt" and row[1] == "3 B"
    links = [a["href"] for tag, a in Tables(served.get("/ui/jobs/1").text).tags if "download" in a]
    answer = served.get(str(links[0]))
    assert answer.content == b"42\n"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-security-policy"].startswith("sandbox")


def test_a_drawer_gets_the_part_alone(served: Paged) -> None:
    part = served.get("/ui/jobs/1", headers={"X-Jetsched-Part": "1"}).text
    assert "<html" not in part and '<nav aria-label="Pages"' not in part
    assert 'data-live="' in part and "<h1>Job 1 leaves" in part


def test_a_job_that_is_not_there_is_said_so_on_a_page(served: Paged) -> None:
    for path in ("/ui/jobs/99", "/ui/jobs/%00", "/ui/jobs/1e3"):
        answer = served.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "jetsched queue --all" in answer.text
    assert served.get("/ui/jobs/1?attempt=7").status_code == 400


def test_a_look_at_what_has_not_changed_is_the_same_later(served: Paged) -> None:
    """Moments are in it, spans are not: nothing is drawn again because time goes by."""
    ui = a_ui(served)
    views: list[View] = [
        QueueView(ui, Asked.of({"state": "all"})),
        JobView(ui, "3"),
        JobView(ui, "7"),
    ]
    before = [view.look() for view in views]
    time.sleep(1.1)
    after = [view.look() for view in views]
    for old, new in zip(before, after, strict=True):
        for name in new:
            if name != "queue-rows" and name != "job-now":  # a foreseen start may have moved
                assert new[name] == old[name]
    first = {k: v for k, v in before[0]["queue-rows"].items() if v["state"] != "waiting"}
    assert first == {k: after[0]["queue-rows"][k] for k in first}


# --------------------------------------------------------------------------------------------- log


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\nb\n", "a\nb\n"),
        ("a\r\nb", "a\nb"),
        ("  0%\r 50%\r100%\ndone", "100%\ndone"),
        ("100%\r", "100%"),
        ("\x1b[31mred\x1b[0m \x1b[2K\x1b[1Aup", "red up"),
        ("\x1b]0;title\x07text\x1b(B", "text"),
        ("bell\x07 nul\x00 tab\tkept", "bell nul tab\tkept"),
        ("<b>&amp;</b> 日本語", "<b>&amp;</b> 日本語"),
    ],
)
def test_what_only_a_terminal_understands_is_left_out_of_a_log(raw: str, shown: str) -> None:
    assert plain(raw) == shown


def test_the_log_is_on_the_page_and_as_a_file(served: Paged) -> None:
    page = served.get("/ui/jobs/1").text
    assert "two red\nthree\n</pre>" in page and "That is all of it." in page
    assert "data-over" in page and "data-over" not in served.get("/ui/jobs/3").text
    answer = served.get("/ui/jobs/1/log.txt")
    assert answer.text == "one\rtwo\033[31m red\033[0m\nthree\n"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "It has written nothing yet." in served.get("/ui/jobs/6").text


def test_a_log_is_followed_from_where_the_page_ends(served: Paged) -> None:
    place = 'data-place="1-5"'
    wait_for(lambda: place in served.get("/ui/jobs/3").text)  # `here`, with its line's end
    with served.http.stream("GET", "/jobs/1/log/stream?begin=1-21") as answer:
        told = "".join(answer.iter_text())
    assert '"text":"three\\n"' in told.replace(": ", ":") and "one" not in told
    assert served.get("/jobs/1/log/stream?begin=x").status_code == 400


# -------------------------------------------------------------------------------------- the journal


def test_the_past_of_a_job_is_read_without_what_came_with_it(
    served: Paged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand jobs may have come at once: their submission is not read for one of them."""
    from jetsched.cluster import jobpast, store

    read: list[str] = []
    real = store.journal_entries

    def noted(*args: Any, **named: Any) -> Any:
        for entry in real(*args, **named):
            read.append(type(entry).__name__)
            yield entry

    monkeypatch.setattr(jobpast, "journal_entries", noted)
    past = job_past(served.world.desk.spec("1"), served.world.home / JOURNAL)
    told = [told.what for told in past.told if told.what != "Started"]  # it may be too quick
    assert told == ["Submitted", "Start", "Finished"]
    assert past.measured[1].outcome == "done"
    assert "Submitted" not in read and "Finished" in read


def test_without_a_journal_a_job_has_its_submission_only(served: Paged, tmp_path: Path) -> None:
    past = job_past(served.world.desk.spec("1"), tmp_path / JOURNAL)
    assert [told.what for told in past.told] == ["Submitted"] and not past.measured
