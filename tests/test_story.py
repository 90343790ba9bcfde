"""`jetsched report`: the page of a job and of a week, from a journal or a head elsewhere."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from api_world import TOKEN, Served
from builders import a_job, a_workload, an_estimate, nx, orin
from commands import Jetsched
from hypothesis import given
from hypothesis import strategies as st
from live_world import LiveWorld, a_command
from past_worlds import write_journal
from test_replay import OUTAGES, TURMOIL
from test_report import Page

from jetsched.cluster.history import entries_of, write_history
from jetsched.cluster.past import past_jobs
from jetsched.cluster.presences import Presences
from jetsched.cluster.store import JOURNAL, Store, journal_lines
from jetsched.cluster.story import job_story
from jetsched.cluster.storypage import job_page
from jetsched.cluster.storysource import LOG_BYTES, Source, source
from jetsched.cluster.storyspan import Span, span_named, span_of
from jetsched.cluster.storyweek import week_story
from jetsched.cluster.storyweekpage import week_page
from jetsched.cluster.timescale import elapsed, on_the_clock
from jetsched.errors import InputError
from jetsched.records import Decision, Measurement, Placement, Row
from jetsched.scheduler.events import (
    DeviceJoined,
    DeviceLost,
    Entry,
    Finished,
    GivenUp,
    Start,
    Submitted,
)

ALL = Span("all")
#: What somebody may call a job, and a job may say, to get into a page.
NASTY = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty jobs on two boards, with outages, a kill, cancelled and held jobs."""
    return write_journal(tmp_path_factory.mktemp("past"), outages=OUTAGES, also=TURMOIL)


def nasty_journal(folder: Path) -> Path:
    """A job with markup for a name is killed for memory on one board and given up."""
    job = a_job("1", name=NASTY, user=NASTY)
    rows = (
        Row("nx-1", "fits", None, NASTY, 2000.0, 2700.0, 6150.0, 11.0, 60.0, 72.0, 71.0, score=1.0,
            source="estimated", chosen=True),
        Row("orin-1", "never", "NeverFits", "too large", 9000.0, None, 6900.0, source="measured"),
    )  # fmt: skip
    decision = Decision(11.0, "1", "earliest_finish", "nx-1", None, rows)
    seen = Measurement(
        job.workload, nx().device_class, "killed_memory", time_s=30.0, peak_memory_mib=6150.0,
        text=NASTY, evidence=(f"oom_kill +1 {NASTY}",),
    )  # fmt: skip
    placement = Placement(job, nx(), an_estimate(60.0), 11.0, 71.0)
    entries: list[Entry] = [
        DeviceJoined(0.0, nx()),
        DeviceJoined(0.0, orin()),
        Submitted(10.0, (job,)),
        Start(11.0, placement, 1, decision),
        Finished(41.0, "1", 1, "killed_memory", seen, NASTY),
        GivenUp(41.0, "1", NASTY),
    ]
    store = Store(folder / JOURNAL)
    store.append(*entries)
    store.close()
    (folder / "logs").mkdir()
    (folder / "logs" / "1-1.log").write_text(f"step 1\n{NASTY}\n")
    return folder / JOURNAL


def own(path: Path) -> Source:
    return Source(path, str(path), path.parent / "logs")


def assert_one_file(html: str) -> Page:
    """No network, no script, no style from elsewhere; what is opened is closed."""
    page = Page(html)
    assert not page.open
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.elements)
    assert not [key for _, key, _ in page.attributes if key.startswith("on") or key == "style"]
    assert not re.search(r"https?://|url\((?!#)", html)
    (policy,) = [v for e, a, v in page.attributes if (e, a) == ("meta", "content") and "src" in v]
    assert policy.startswith("default-src 'none'") and "script" not in policy
    return page


# ------------------------------------------------------------------------------------------ a week


def test_a_week_counts_what_the_history_has(journal: Path) -> None:
    """Attempts by outcome, jobs, and the boards' busy time, as the past tells them job by job."""
    story = week_story(ALL, own(journal))
    jobs = past_jobs(journal, limit=1000).jobs
    attempts = [a for job in jobs for a in job.attempts]
    assert story.outcomes == Counter(a.outcome for a in attempts)
    assert len(story.submitted) == len(jobs) == 40
    assert {board.id for board in story.boards} == {"nx-1", "orin-1"}
    for board in story.boards:
        lasted = sum((a.end_s or 0) - a.start_s for a in attempts if a.device == board.id)
        assert story.busy_s(board.id) == pytest.approx(lasted)
        assert story.busy_s(board.id) <= board.there_s <= story.until_s - story.from_s
        away = sum(until_s - from_s for from_s, until_s in board.away)
        assert board.there_s + away == pytest.approx(story.until_s - story.from_s)


def test_days_add_up_to_the_whole(journal: Path) -> None:
    """What is told of parts of the time is together what is told of all of it."""
    whole = week_story(ALL, own(journal))
    middle_s = (whole.from_s + whole.until_s) / 2
    parts = [
        week_story(Span("first", whole.from_s, middle_s), own(journal)),
        week_story(Span("second", middle_s, whole.until_s + 1e-3), own(journal)),
    ]
    assert parts[0].outcomes + parts[1].outcomes == whole.outcomes
    assert sum(len(part.submitted) for part in parts) == len(whole.submitted)
    for board in whole.boards:
        busy_s = sum(part.busy_s(board.id) for part in parts)
        assert busy_s == pytest.approx(whole.busy_s(board.id), abs=0.01)


def test_the_page_of_a_week_names_kills_and_losses_with_their_causes(journal: Path) -> None:
    story = week_story(ALL, own(journal))
    page = assert_one_file(week_page(story))
    text = " ".join(page.words)
    for what in ("KILLED(memory)", "LOST", "simulated outage", "nx-1", "orin-1", "Next"):
        assert what in text
    bad = [one for one in story.ended if one.attempt.outcome in ("killed_memory", "lost")]
    assert len(bad) == story.outcomes["killed_memory"] + story.outcomes["lost"] > 1
    assert "svg" in page.elements and page.of("svg", "aria-label")
    assert page.of("th", "scope").count("row") > 40
    shown = [title for title in page.words if title.startswith("job ")]
    assert len(shown) > 40  # each bar and each point says what it is


def test_a_job_that_waited_through_a_week_is_in_it(tmp_path: Path) -> None:
    """One that nothing happened to but that was open, and none that had ended before."""
    store = Store(tmp_path / JOURNAL)
    done = Placement(a_job("1"), nx(), an_estimate(5.0), 1.0, 6.0)
    store.append(
        DeviceJoined(0.0, nx()),
        Submitted(1.0, (a_job("1", submitted_s=1.0), a_job("2", submitted_s=1.0))),
        Start(1.0, done, 1),
        Finished(6.0, "1", 1, "done"),
        DeviceLost(100.0, "nx-1"),
        DeviceJoined(300.0, nx()),
    )
    store.close()
    story = week_story(Span("x", 50.0, 200.0), own(tmp_path / JOURNAL))
    assert [job.job.id for job in story.jobs] == ["2"]
    assert story.boards[0].away == [(100.0, 200.0)] and story.boards[0].there_s == 50.0
    assert not story.ended
    assert "Nothing: no attempt was killed" in week_page(story)


def test_a_time_without_history_says_what_there_is(journal: Path) -> None:
    with pytest.raises(InputError, match="it goes from 1970-01-01"):
        week_story(span_of("7d"), own(journal))


# ------------------------------------------------------------------------------------------- a job


def test_the_page_of_a_job_holds_its_story(journal: Path) -> None:
    """The table of why, each attempt, measured beside estimated with their sources."""
    lost = next(job for job in past_jobs(journal, limit=100).jobs if len(job.attempts) == 2)
    story = job_story(lost.job.id, own(journal))
    assert sorted(story.decisions) == [1, 2]
    page = assert_one_file(job_page(story))
    text = " ".join(page.words)
    for decision in story.decisions.values():
        assert decision.chosen and decision.chosen in text and decision.policy in text
    assert "goes here" in text and "Measured beside estimated" in text
    assert {"measured", "assumed"} <= set(page.of("abbr", "title"))
    assert text.count("Try ") >= 2


def test_nothing_that_a_job_says_becomes_markup(tmp_path: Path) -> None:
    """Its name, its user, its cause of death, a reason, evidence and its log stay text."""
    path = nasty_journal(tmp_path)
    for html in (job_page(job_story("1", own(path))), week_page(week_story(ALL, own(path)))):
        page = assert_one_file(html)
        assert any("<script>alert(1)</script>" in words for words in page.words)
    assert "KILLED(memory)" in html and "given up" in html


def test_a_killed_job_says_why_and_shows_what_it_held(tmp_path: Path) -> None:
    story = job_story("1", own(nasty_journal(tmp_path)))
    text = " ".join(Page(job_page(story)).words)
    assert "Given up" in text and "Where the memory went" in text
    assert "6.0 GiB" in text and "2.6 GiB" in text  # held; admitted
    assert story.log is not None and story.log.text.startswith("step 1\n<script>")


def test_the_end_of_a_long_log_is_told_in_whole_lines(tmp_path: Path) -> None:
    path = nasty_journal(tmp_path)
    lines = [f"line {number:06d}" for number in range(5000)]
    (tmp_path / "logs" / "1-1.log").write_text("\n".join(lines) + "\n")
    log = job_story("1", own(path)).log
    assert log is not None
    assert log.text.splitlines() == lines[-len(log.text.splitlines()) :]
    assert log.left_out + len(log.text) + 1 == 5000 * 12 and len(log.text) <= LOG_BYTES


# ---------------------------------------------------------------------------------------- the verb


def test_the_verb_writes_one_file_and_says_how_to_look_at_it(
    tmp_path: Path, jetsched: Jetsched
) -> None:
    write_journal(tmp_path / "home", count=6)
    out = tmp_path / "week.html"
    done = jetsched("report", "all", "--out", str(out))
    assert done.code == 0 and str(out) in done.out and "Next: xdg-open" in done.out
    assert_one_file(out.read_text())
    assert jetsched("report", "3", "--out", str(tmp_path / "job.html")).code == 0
    assert "Job 3" in (tmp_path / "job.html").read_text()
    found = jetsched("report", "3", "--json").json()
    assert found["job"]["attempts"][0]["estimate"]["time_s"] > 0
    assert found["decisions"]["1"]["rows"]
    week = jetsched("report", "--last", "all", "--json").json()
    assert week["submitted"] == 6 and week["outcomes"] == {"done": 6}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say what the report is about"),
        (("3", "--last", "7d", "--out", "x.html"), "about 3 or about --last 7d, not about both"),
        (("-1", "--out", "x.html"), "-1 is no job's number"),
        (("--outt=x.html",), "there is no option --outt"),
        (("3",), "--out names the file"),
        (("3", "--out", "x.pdf"), "ends in .html"),
        (("3", "--out", "no-such/x.html"), "no folder no-such"),
        (("99", "--out", "x.html"), "knows no job '99'"),
        (("2026-W60", "--out", "x.html"), "there is no 2026-W60"),
        (("2026-02-30", "--out", "x.html"), "there is no 2026-02-30"),
        (("nonsense", "--out", "x.html"), "knows no job 'nonsense'"),
        (("--last", "nonsense", "--out", "x.html"), "'nonsense' is no time"),
        (("3", "--journal", "none.db", "--out", "x.html"), "no file none.db"),
    ],
)
def test_what_makes_no_sense_is_bad_input(
    words: tuple[str, ...],
    says: str,
    tmp_path: Path,
    jetsched: Jetsched,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is written then."""
    write_journal(tmp_path / "home", count=3)
    monkeypatch.chdir(tmp_path)
    done = jetsched("report", *words)
    assert done.code == 2 and says in done.err
    assert not list(tmp_path.glob("*.html"))


def test_what_is_no_report_is_not_written_over(tmp_path: Path, jetsched: Jetsched) -> None:
    """It is said what is there, and how to write over it all the same."""
    write_journal(tmp_path / "home", count=3)
    out = tmp_path / "thesis.html"
    out.write_text("my thesis")
    refused = jetsched("report", "all", "--out", str(out))
    assert refused.code == 2 and "is no report" in refused.err and "--force" in refused.err
    assert "9 B" in refused.err or "KiB" in refused.err
    assert out.read_text() == "my thesis"
    assert jetsched("report", "all", "--out", str(out), "--force").code == 0
    assert_one_file(out.read_text())
    assert jetsched("report", "1", "--out", str(out)).code == 0  # a report may be made anew
    assert "Job 1" in out.read_text()


def test_a_head_elsewhere_is_asked_for_its_journal_its_log_and_what_waits(
    tmp_path: Path, jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same story as from the journal itself, and what the policy sees of a job that waits."""
    with (
        LiveWorld(tmp_path / "head") as world,
        Served(world, journal=tmp_path / "head" / JOURNAL) as served,
    ):
        world.until_devices("nx-1", "orin-1")
        world.submit(a_command("1", "echo hello; exit 3"))
        world.until_state("1", "failed")
        world.tell(lambda now_s: Submitted(now_s, (a_command("2", "true"),)))
        world.until_state("2", "done")
        world.wait(lambda: "hello" in world.log("1"))
        world.desk.pause("for a test")
        world.submit(a_command("3", "true"))
        (tmp_path / "token").write_text(TOKEN)
        monkeypatch.setenv("JETSCHED_HEAD", served.url)
        monkeypatch.setenv("JETSCHED_TOKEN_FILE", str(tmp_path / "token"))
        found = jetsched("report", "1", "--json").json()
        assert found["source"] == served.url and "hello" in found["log"]["text"]
        assert found["job"]["outcome"] == "failed"
        with source(tmp_path / "head" / JOURNAL) as here:
            mine = job_story("1", here).to_json()
        assert mine["job"] == found["job"] and mine["told"] == found["told"]
        waiting = jetsched("report", "3", "--json").json()
        assert waiting["now"]["state"] == "waiting" and waiting["now"]["decision"]["rows"]
        out = tmp_path / "job.html"
        assert jetsched("report", "3", "--out", str(out)).code == 0
        assert "WAITING" in out.read_text() and "sees now" in out.read_text()


def test_the_lines_of_a_journal_are_those_of_its_entries(journal: Path, tmp_path: Path) -> None:
    """What a head sends is what `write_history` writes, to the byte."""
    write_history(tmp_path / "sent.jsonl", entries_of(journal))
    assert b"".join(journal_lines(journal)) == (tmp_path / "sent.jsonl").read_bytes()


# ------------------------------------------------------------------------------------------- time


def test_weeks_and_days_are_those_of_the_calendar() -> None:
    week = span_of("2026-W47")
    assert week.name == "2026-W47" and 167 * 3600 <= week.until_s - week.from_s <= 169 * 3600
    monday = span_of("2026-11-16")
    assert monday.from_s == week.from_s and span_of("2026-11-22").until_s == week.until_s
    assert span_of("7d", 1e9) == Span("7d", 1e9 - 7 * 86400, 1e9)
    assert span_named("7") is None and span_named("squad") is None
    assert span_of("2026-w7").name == "2026-W07"


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=30),
    st.integers(0, 500),
    st.integers(1, 500),
)
def test_a_board_is_there_or_away_at_any_moment(
    changes: list[tuple[int, bool]], from_s: int, lasts_s: int
) -> None:
    """Spans of absence lie within the time asked for, apart, and leave what it was there."""
    presences, until_s = Presences(), from_s + lasts_s
    there = False
    states: list[tuple[int, bool]] = []
    for at_s, joins in sorted(changes, key=lambda change: change[0]):
        presences.take(DeviceJoined(at_s, nx()) if joins else DeviceLost(at_s, "nx-1"))
        there = joins and True
        states.append((at_s, there))
    seconds = 0
    for second in range(from_s, until_s):
        seconds += next((on for at_s, on in reversed(states) if at_s <= second), False)
    found = presences.boards(from_s, until_s)
    assert (found[0].there_s if found else 0) == seconds
    for board in found:
        edges = [edge for span in board.away for edge in span]
        assert edges == sorted(edges)
        assert all(from_s <= edge <= until_s for edge in edges)


@given(st.floats(0.5, 4e7), st.floats(0, 2e9))
def test_a_scale_names_a_few_moments_within_it(span_s: float, from_s: float) -> None:
    for scale in (elapsed(span_s), on_the_clock(from_s, from_s + span_s)):
        assert len(scale.ticks) <= 9
        assert all(scale.from_s <= at_s <= scale.until_s * (1 + 1e-9) for at_s, _ in scale.ticks)
        places = [scale.at(at_s) for at_s, _ in scale.ticks]
        assert places == sorted(places) and len(set(places)) == len(places)


def test_thousands_of_bars_are_joined_and_kills_stay(tmp_path: Path) -> None:
    """A picture of 4,000 short jobs stays small, and each kill in it is drawn by itself."""
    store = Store(tmp_path / JOURNAL)
    entries: list[Entry] = [DeviceJoined(0.0, nx())]
    work = a_workload()
    for number in range(4000):
        job, at_s = a_job(str(number), workload=work, submitted_s=float(number)), float(number)
        placement = Placement(job, nx(), an_estimate(1.0), at_s, at_s + 1)
        outcome = "killed_memory" if number % 1000 == 500 else "done"
        entries += [
            Submitted(at_s, (job,)),
            Start(at_s, placement, 1),
            Finished(at_s + 0.9, job.id, 1, outcome),  # type: ignore[arg-type]
        ]
    store.append(*entries)
    store.close()
    html = week_page(week_story(ALL, own(tmp_path / JOURNAL)))
    assert html.count('class="mark"') == 4 + 1  # and one in the keys
    assert len(html) < 600_000
    assert "200 of 4,000 are shown" in html
