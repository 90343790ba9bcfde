"""A job on a page: why it is where it is, what it took, its log and files, its past."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import ORIN, a_workload
from job_pages import PAGE, Paged, Tables, a_ui, job_pages, wait_for

from jetsched import words
from jetsched.cluster.jobpast import job_past
from jetsched.cluster.store import JOURNAL
from jetsched.cluster.ui_job import JobView, difference, head_of, helps_of
from jetsched.cluster.ui_joblog import plain
from jetsched.cluster.ui_live import View
from jetsched.cluster.ui_queue import Asked, QueueView
from jetsched.files import from_json
from jetsched.records import Decision, Measurement, Outcome


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paged]:
    with job_pages(tmp_path_factory.mktemp("pages")) as served:
        yield served


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


def a_run(
    outcome: Outcome = "done", kind: str = "train", load_s: float | None = 10.0
) -> Measurement:
    workload = a_workload(kind=kind, command="x" if kind == "command" else "")
    return Measurement(workload, ORIN, outcome, 100.0, 110.0, load_s)


@pytest.mark.parametrize(
    ("seen", "guess", "told"),
    [
        (a_run(), {"load_s": 30.0}, "25 % more than estimated, without loading"),
        (a_run(load_s=None), {"load_s": 30.0}, "as estimated"),
        (a_run("killed_memory"), {"load_s": 30.0}, ""),
        (a_run("failed", load_s=None), {"load_s": 0.0}, ""),
        (a_run(kind="command", load_s=None), {"load_s": 0.0}, ""),
        (a_run(kind="command", load_s=None), {"load_s": 0.0, "source": "measured"}, "as estimated"),
        (None, {"load_s": 0.0}, ""),
    ],
)
def test_like_is_compared_with_like(
    seen: Measurement | None, guess: dict[str, Any], told: str
) -> None:
    """The same part of a run on both sides, of runs that came to their end, by own measurements."""
    assert difference(seen, {"time_s": 110.0, "source": "estimated", **guess}) == told


def test_no_difference_is_told_of_an_attempt_that_failed(served: Paged) -> None:
    ((*_, took, _, _, _, ended),) = served.rows("/ui/jobs/2", "attempts")
    assert "FAILED" in ended and "(m)" in took and "than estimated" not in took


def test_only_a_time_that_is_foreseen_is_marked_as_estimated(served: Paged) -> None:
    """Job 9 is held: no time stands there, and its reason is none."""
    line = re.compile(r'<p class="told-now">.*?</p>', re.S)
    for job_id, marked in {"1": False, "3": True, "9": False}.items():
        (said,) = line.findall(served.get(f"/ui/jobs/{job_id}").text)
        assert ('title="estimated"' in said) is marked


def test_a_job_that_waits_after_an_attempt_says_where_it_was(served: Paged) -> None:
    failed = served.client.job("2")
    device = failed["attempts"][-1]["device"]
    again = head_of({**failed, "state": "waiting", "device": None})
    assert (again["where"], again["was_on"]) == ("", device)
    assert (head_of(failed)["where"], head_of(failed)["was_on"]) == (device, "")


def test_of_a_job_that_the_scheduler_holds_the_page_says_what_would_help(served: Paged) -> None:
    page = served.get("/ui/jobs/9").text
    assert "What would help" in page and "once a board joins that it fits" in page
    for job_id in ("6", "3", "1"):
        assert "What would help" not in served.get(f"/ui/jobs/{job_id}").text


def test_what_would_help_names_the_smallest_changes_of_the_work() -> None:
    reason = {"code": "NeverFits", "text": "too large"}
    ways = {"nx-1": ["batch_size 4 (5.1 GiB e)", "method lora (3.2 GiB e)"]}
    first, last = helps_of(reason, {"changes": ways, "least": ""})
    assert first == (
        "Submitted with batch_size 4 (5.1 GiB e) or method lora (3.2 GiB e) it fits nx-1."
    )
    none_helps = helps_of(reason, {"changes": {}, "least": "no change makes it fit here"})
    assert none_helps == ["No change makes it fit here.", last]
    unknown = helps_of({**reason, "code": "NotProfiled"}, {"changes": {}, "least": ""})
    assert "jetsched profile" in unknown[0]


def test_a_job_says_what_its_file_says(served: Paged) -> None:
    page = served.get("/ui/jobs/1").text
    for text in ("project=qa", "<dd>2m</dd>", "<dt>run</dt>", "2 times on killed_memory, lost"):
        assert text in page


def test_each_state_offers_what_makes_sense_and_no_more(served: Paged) -> None:
    offers = {"1": [], "2": ["retry"], "3": ["cancel"], "6": ["hold", "cancel"],
              "9": ["cancel"]}  # fmt: skip
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


def test_a_reason_can_be_given_where_a_job_can_be_held(served: Paged) -> None:
    """Its script shows the form where the button *Hold* is."""
    forms = [a for tag, a in Tables(served.get("/ui/jobs/6").text).tags if tag == "form"]
    (form,) = [form for form in forms if "because" in (form.get("class") or "")]
    assert form["data-post"] == "/jobs/6/hold" and "hidden" in form


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
    began_s = served.client.status()["at_s"]
    wait_for(lambda: served.client.status()["at_s"] > began_s + 1.0)
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
