"""The queue on a page: the same words as the terminal's, and an address that says what is shown."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_pages import EVIL, Paged, Tables, job_pages

from jetsched import words
from jetsched.cluster.ui_queue import Asked, row_of
from jetsched.errors import InputError


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paged]:
    with job_pages(tmp_path_factory.mktemp("pages")) as served:
        yield served


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


def test_a_job_that_waits_for_another_attempt_is_on_no_board(served: Paged) -> None:
    """Where it was is no answer to where it is: the page of the job says that it was there."""
    failed = served.client.job("2")
    device = failed["attempts"][-1]["device"]
    assert row_of(failed)["where"] == device
    for state in ("waiting", "held"):
        row = row_of({**failed, "state": state, "device": None})
        assert (row["where"], row["emulated"]) == ("", False)


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
