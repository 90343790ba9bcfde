"""`jetsched history`: jobs, attempts and what happened, in words, from the journal alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import a_job, an_estimate, nx, orin, paper_costs
from commands import Jetsched
from past_worlds import write_journal
from test_replay import OUTAGES, TURMOIL

from jetsched.cluster.history import entries_of, write_history
from jetsched.cluster.past import past_events, past_job, past_jobs
from jetsched.cluster.pastjobs import PastBook
from jetsched.cluster.store import JOURNAL, Store
from jetsched.cluster.telling import tell
from jetsched.errors import InputError
from jetsched.policies import load
from jetsched.records import Placement
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    DeviceJoined,
    DeviceLost,
    Entry,
    Finished,
    Reattached,
    Start,
    Submitted,
    Tick,
)


def a_start(job_id: str, attempt: int, at_s: float) -> Start:
    job = a_job(job_id, name="squad")
    return Start(at_s, Placement(job, nx(), an_estimate(60.0), at_s, at_s + 60), attempt)


def a_story() -> list[Entry]:
    """A job whose board goes away and comes back, then a cut-off one that is tried again."""
    return [
        DeviceJoined(0.0, nx()),
        DeviceJoined(0.0, orin()),
        Submitted(10.0, (a_job("1", name="squad"), a_job("2"))),
        a_start("1", 1, 11.0),
        DeviceLost(20.0, "nx-1", "nx-1 was lost: its node is gone"),
        DeviceJoined(30.0, nx()),
        Reattached(31.0, "1", 1),
        Tick(32.0),
        DeviceLost(40.0, "nx-1"),
        DeviceJoined(45.0, nx()),
        a_start("1", 2, 50.0),
        Finished(55.0, "1", 1, "done"),  # late: another attempt runs
        Finished(100.0, "1", 2, "done"),
    ]


def a_journal(folder: Path, entries: list[Entry]) -> Path:
    store = Store(folder / JOURNAL)
    store.append(*entries)
    store.close()
    return folder / JOURNAL


def test_a_job_is_told_from_its_submission_to_its_end(tmp_path: Path) -> None:
    past = past_job("1", a_journal(tmp_path, a_story()))
    (job,) = past.jobs
    ends = [(a.number, a.device, a.end_s, a.outcome, a.reattached) for a in job.attempts]
    assert ends == [(1, "nx-1", 40.0, "lost", True), (2, "nx-1", 100.0, "done", False)]
    assert (job.outcome, job.end_s) == ("done", 100.0)
    assert [line.text for line in past.told] == [
        "jobs 1 to 2 submitted",
        "attempt 1 started on nx-1, estimated 1m",
        "nx-1 was lost: its node is gone",
        "attempt 1 lives: its board is back, and it is the current one",
        "nx-1 was lost",
        "attempt 2 started on nx-1, estimated 1m",
        "attempt 1 ended on nx-1 after 44 s (estimated 1m): done, which counted no more",
        "attempt 2 ended on nx-1 after 50 s (estimated 1m): done",
    ]


def test_jobs_are_listed_by_span_by_board_and_the_last_ones_first_to_stay(tmp_path: Path) -> None:
    journal = write_journal(tmp_path, outages=OUTAGES)
    everything = past_jobs(journal)
    assert (len(everything.jobs), everything.of_jobs) == (40, 40)
    on_nx = past_jobs(journal, device="nx-1")
    assert 0 < on_nx.of_jobs < 40
    assert all(any(a.device == "nx-1" for a in job.attempts) for job in on_nx.jobs)
    late = past_jobs(journal, since_s=20_000.0)
    assert 0 < late.of_jobs < 40 and all(
        job.end_s is None or job.end_s >= 20_000.0 for job in late.jobs
    )
    few = past_jobs(journal, limit=3)
    assert (len(few.jobs), few.of_jobs) == (3, 40)
    assert {job.job.id for job in few.jobs} < {job.job.id for job in everything.jobs}
    with pytest.raises(InputError, match="no device 'nx-9'") as error:
        past_jobs(journal, device="nx-9")
    assert error.value.hint == "devices there: nx-1, orin-1"
    with pytest.raises(InputError, match="knows no job '99'"):
        past_job("99", journal)


def test_what_is_told_agrees_with_the_scheduler_that_replays_the_same_journal(
    tmp_path: Path,
) -> None:
    """After everything that people and boards can do: the same attempts with the same ends."""
    journal = write_journal(tmp_path, outages=OUTAGES, also=TURMOIL)
    scheduler = Scheduler(load("earliest_finish"), paper_costs())
    scheduler.replay(entries_of(journal))
    told = {job.job.id: job for job in past_jobs(journal, limit=1000).jobs}
    assert len(told) == len(scheduler.jobs) == 40
    for id, record in scheduler.jobs.items():
        ends = [(a.number, a.device, a.start_s, a.end_s, a.outcome) for a in record.attempts]
        assert ends == [
            (a.number, a.device, a.start_s, a.end_s, a.outcome) for a in told[id].attempts
        ]
        assert (record.state == "done") == (told[id].outcome == "done")


def test_every_kind_of_entry_but_a_tick_has_words(tmp_path: Path) -> None:
    journal = write_journal(tmp_path, outages=OUTAGES, also=TURMOIL)
    book = PastBook()
    seen, told = set(), set()
    for entry in (*entries_of(journal), *a_story()):
        book.take(entry)
        seen.add(type(entry).__name__)
        words = tell(entry, book)
        if words is not None:
            assert words.text and "None" not in words.text
            told.add(words.what)
    assert seen - told <= {"Tick", "DiskSeen", "FilesSeen"} and len(seen) > 15


def test_a_book_of_many_jobs_forgets_those_that_nobody_asked_for() -> None:
    """It holds a few thousand of a hundred thousand, and still tells the last ones right."""
    book, wanted, most = PastBook(), dict[str, None](), 0
    for number in range(20_000):
        id = str(number)
        for entry in (
            Submitted(float(number), (a_job(id),)),
            a_start(id, 1, float(number)),
            Finished(number + 0.5, id, 1, "done"),
        ):
            for touched in book.take(entry):
                wanted.pop(touched, None)
                wanted[touched] = None
            book.forget(wanted, 50)
        most = max(most, len(book.jobs))
    assert most <= 4000
    assert [book.jobs[id].outcome for id in list(wanted)[-50:]] == ["done"] * 50
    assert list(wanted)[-50:] == [str(n) for n in range(19_950, 20_000)]


def test_events_are_told_of_a_board_alone(tmp_path: Path) -> None:
    journal = write_journal(tmp_path, outages=OUTAGES, also=TURMOIL)
    told = past_events(journal, device="orin-1", limit=1000)
    assert told.told and {line.device for line in told.told} == {"orin-1"}
    assert any("orin-1 takes no new jobs: TooHot: 95 C" in line.text for line in told.told)
    last = past_events(journal, limit=5)
    assert len(last.told) == 5 < last.of_told
    assert [line.at_s for line in last.told] == sorted(line.at_s for line in last.told)


def test_the_verb_needs_no_scheduler_and_says_what_comes_next(
    tmp_path: Path, jetsched: Jetsched
) -> None:
    write_journal(tmp_path / "home", count=5)
    done = jetsched("history")
    assert done.code == 0 and "Next: jetsched history" in done.out and "DONE" in done.out
    rows = jetsched("history", "--json").json()
    assert len(rows["jobs"]) == 5 and rows["jobs"][0]["attempts"][0]["outcome"] == "done"
    one = jetsched("history", rows["jobs"][0]["id"])
    assert "TRY" in one.out and "submitted" in one.out and "jetsched logs" in one.out
    assert jetsched("history", "--events", "--limit", "3").out.count("\n") >= 4
    for words in (("--last", "7 parsecs"), ("--device", "x"), ("77",), ("--since", "x")):
        assert jetsched("history", *words).code == 2
    assert "No job" in jetsched("history", "--last", "1h").out  # it was long ago


def test_an_exported_history_is_told_like_a_journal(tmp_path: Path) -> None:
    journal = write_journal(tmp_path, count=6)
    write_history(tmp_path / "sent.jsonl", entries_of(journal))
    theirs, ours = past_job("3", tmp_path / "sent.jsonl"), past_job("3", journal)
    assert theirs.told == ours.told and theirs.jobs[0].to_json() == ours.jobs[0].to_json()


def test_one_job_of_a_large_journal_is_found_without_reading_all_of_it(tmp_path: Path) -> None:
    """The ids of others are not taken for it: 7 is no 17 and no 70."""
    entries: list[Entry] = []
    for number in range(300):
        entries += [
            Submitted(float(number), (a_job(str(number)),)),
            a_start(str(number), 1, number + 0.1),
            Finished(number + 0.2, str(number), 1, "done"),
        ]
    journal = a_journal(tmp_path, entries)
    read = list(entries_of(journal, job_id="7"))
    assert len(read) < 20 and [line.what for line in past_job("7", journal).told] == [
        "Submitted",
        "Start",
        "Finished",
    ]
