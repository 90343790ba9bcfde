"""A live history decided once more: the same decisions, or where not and why."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import Jetsched
from past_worlds import write_journal

from jetsched.cluster.following import moments
from jetsched.cluster.history import entries_of, write_history
from jetsched.cluster.paper_world import paper_mix
from jetsched.cluster.replaying import ReplayReport, replay
from jetsched.cluster.simulated import Outage
from jetsched.errors import InputError
from jetsched.records import Retry
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceClosed,
    DeviceOpened,
    Entry,
    Event,
    Finished,
    HoldAsked,
    Learned,
    PolicyChanged,
    QueuePaused,
    RetryAsked,
    ServiceStarted,
    Start,
    Tick,
)

#: What people and boards do beside: each of these changes what is decided.
TURMOIL: list[Event] = [
    QueuePaused(2000.0, True, "maintenance"),
    QueuePaused(5000.0, False),
    DeviceClosed(7000.0, "orin-1", "TooHot", "95 C"),
    DeviceOpened(9000.0, "orin-1", "TooHot"),
    HoldAsked(9500.0, "20", True),
    HoldAsked(30_000.0, "20", False),
    CancelAsked(12_000.0, "12"),
    CancelAsked(12_500.0, "25"),
    RetryAsked(20_000.0, "25"),
    Tick(15_000.0),
    PolicyChanged(16_000.0, "shortest_first"),
    PolicyChanged(26_000.0, "auto"),
]
OUTAGES = [Outage("nx-1", 10_000.0, 14_000.0), Outage("orin-1", 22_000.0, 24_000.0)]


def edited(journal: Path, change: Callable[[Iterator[Entry]], Iterator[Entry]]) -> Path:
    """The journal with other entries in it, exported."""
    path = journal.with_name("edited.jsonl")
    write_history(path, change(entries_of(journal)))
    return path


# -------------------------------------------------------------------------------------------- exact


@pytest.mark.parametrize("policy", ["earliest_finish", "auto", "shortest_remaining", "round_robin"])
def test_every_decision_of_a_history_is_taken_again(tmp_path: Path, policy: str) -> None:
    """Kills that are learnt, outages, pauses, closings, holds, cancels and other policies too."""
    journal = write_journal(tmp_path, policy=policy, outages=OUTAGES, also=TURMOIL)
    starts = [entry for entry in entries_of(journal) if isinstance(entry, Start)]
    found = replay(journal, mode="exact")
    assert found.followed is not None
    assert (found.followed.differences, found.followed.starts) == (0, len(starts))
    assert [spec for _, spec in found.followed.policies] == [policy, "shortest_first", "auto"]
    assert len(starts) > 40  # some were tried more than once


def test_a_history_with_aging_is_decided_with_the_same_aging(tmp_path: Path) -> None:
    jobs = [
        replace(job, priority=(37 * n) % 100, submitted_s=job.submitted_s / 3)
        for n, job in enumerate(paper_mix(60, 1, mean_gap_s=600.0))
    ]
    journal = write_journal(tmp_path / "aged", jobs=jobs, aging_s=600.0)
    assert replay(journal, mode="exact").same
    unsaid = edited(
        journal,
        lambda es: (replace(e, aging_s=0.0) if isinstance(e, ServiceStarted) else e for e in es),
    )
    assert not replay(unsaid, mode="exact").same


def test_a_journal_that_does_not_say_which_policy_decided_tells_it_by_its_decisions(
    tmp_path: Path,
) -> None:
    journal = write_journal(tmp_path, policy="shortest_first", began=False)
    found = replay(journal, mode="exact")
    assert found.same and found.followed is not None
    assert [spec for _, spec in found.followed.policies] == ["shortest_first"]


def test_a_part_of_a_history_is_decided_in_the_state_that_it_found(tmp_path: Path) -> None:
    journal = write_journal(tmp_path, outages=OUTAGES, also=TURMOIL)
    whole, part = replay(journal, mode="exact"), replay(journal, mode="exact", last="4h")
    assert whole.same and part.same
    assert whole.followed is not None and part.followed is not None
    assert 0 < part.followed.decisions < whole.followed.decisions
    assert part.until_s - part.from_s == 4 * 3600.0


def test_another_policy_differs_and_each_decision_is_compared_in_the_state_of_then(
    tmp_path: Path,
) -> None:
    journal = write_journal(tmp_path)
    found = replay(journal, mode="exact", policy="lowest_energy")
    assert found.followed is not None
    assert 0 < found.followed.differences < 2 * found.followed.decisions
    first = found.differences[0]
    assert (first.policy, first.live_policy) == ("lowest_energy", "earliest_finish")
    assert found.causes[0] == "lowest_energy decides here, earliest_finish did then"
    same = found.followed.decisions - sum(d.live is not None for d in found.differences)
    assert len(found.differences) == 20 or same > 0


def test_a_measurement_that_the_journal_lost_is_found_as_the_cause(tmp_path: Path) -> None:
    """The cost model says something else then: both numbers are told."""
    journal = write_journal(tmp_path)

    def without_profile(entries: Iterator[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if isinstance(entry, Learned):
                slower = [
                    replace(m, time_s=m.time_s and 3 * m.time_s, work_s=m.work_s and 3 * m.work_s)
                    if m.device_class.model == "orin-nano"
                    else m
                    for m in entry.measurements
                ]
                entry = Learned(entry.at_s, tuple(slower))
            yield entry

    found = replay(edited(journal, without_profile), mode="exact")
    assert not found.same
    assert "the cost model says otherwise: time on orin-1 was" in found.causes[0]
    first = found.differences[0]
    assert first.live_decision is not None and first.replayed_decision is not None
    assert first.live_decision.rows and first.replayed_decision.rows
    assert first.live_decision.job_id == first.replayed_decision.job_id


def test_a_decision_that_was_taken_out_is_named_and_no_other(tmp_path: Path) -> None:
    """What follows is compared in the state that was, so one difference stays one."""
    journal = write_journal(tmp_path, count=12)
    last = [entry for entry in entries_of(journal) if isinstance(entry, Start)][-1]
    gone = last.placement.job.id

    def without(entries: Iterator[Entry]) -> Iterator[Entry]:
        for entry in entries:
            starts = isinstance(entry, Start) and entry == last
            ends = isinstance(entry, Finished) and entry.job_id == gone
            if not (starts or ends):
                yield entry

    found = replay(edited(journal, without), mode="exact")
    assert [(d.live, d.replayed and d.replayed.job_id) for d in found.differences] == [(None, gone)]


def test_a_policy_that_draws_from_the_clock_is_found_out(tmp_path: Path) -> None:
    file = tmp_path / "moody.py"
    file.write_text(
        "import os\nfrom jetsched.policies.base import Greedy\n\n\nclass Moody(Greedy):\n"
        '    """Decides by something that it does not see in the view."""\n\n'
        "    def score(self, placement, view):\n"
        "        sign = 1 if os.environ.get('MOOD') else -1\n"
        "        return sign * placement.finish_s\n"
    )
    journal = write_journal(tmp_path, policy=str(file), count=12)
    assert replay(journal, mode="exact").same
    moody = pytest.MonkeyPatch()
    moody.setenv("MOOD", "1")
    try:
        found = replay(journal, mode="exact")
    finally:
        moody.undo()
    assert not found.same and "the policy scored" in found.causes[0]
    file.unlink()
    gone = replay(journal)
    assert gone.followed is not None and str(file) in gone.followed.missing
    assert "decides here" in gone.causes[0] and gone.free is not None and gone.free.jobs == 12


def test_profiles_that_a_starting_scheduler_finds_are_taken_in_without_a_decision(
    tmp_path: Path,
) -> None:
    """It does so before it knows which boards are there."""
    journal = write_journal(tmp_path)
    profile = next(e for e in entries_of(journal) if isinstance(e, Learned)).measurements
    news = tuple(replace(m, at="2026-11-24T12:00:00+00:00") for m in profile)

    def restarted(entries: Iterator[Entry]) -> Iterator[Entry]:
        held = False
        for moment in moments(entries):
            yield moment.event
            yield from moment.decided
            if not held and moment.event.at_s > 10_000.0:
                held = True
                yield ServiceStarted(moment.event.at_s, "earliest_finish")
                yield Learned(moment.event.at_s, news)

    found = replay(edited(journal, restarted), mode="exact")
    assert found.followed is not None and len(found.followed.restarts) == 2
    assert found.followed.events > 0


# --------------------------------------------------------------------------------------------- free


def free(journal: Path, **options: Any) -> ReplayReport:
    return replay(journal, mode="free", **options)


@pytest.mark.parametrize("policy", ["earliest_finish", "auto"])
def test_the_simulator_comes_to_the_same_starts_and_the_same_makespan(
    tmp_path: Path, policy: str
) -> None:
    """With the durations and outcomes that were measured, on its own clock."""
    journal = write_journal(tmp_path, policy=policy)
    found = free(journal).free
    assert found is not None
    assert found.parting is None and found.jobs == 40
    assert found.off == pytest.approx(0.0, abs=1e-6)
    assert found.simulated_mean_s == pytest.approx(found.live_mean_s)


def test_boards_that_went_and_people_who_asked_are_there_in_the_simulation(tmp_path: Path) -> None:
    """Attempts that a lost board cut off would have gone on: how long is the model's guess."""
    journal = write_journal(tmp_path, outages=OUTAGES, also=TURMOIL)
    found = free(journal).free
    assert found is not None
    assert found.same_starts and found.off == pytest.approx(0.0, abs=0.01)


def test_what_boards_did_not_measure_shows_in_the_makespan_or_as_the_way_there_and_back(
    tmp_path: Path,
) -> None:
    """The same for each attempt is the way; half of what it took is none."""
    journal = write_journal(tmp_path, count=20)

    def measuring(left_s: Callable[[float], float]) -> Callable[[Iterator[Entry]], Iterator[Entry]]:
        def change(entries: Iterator[Entry]) -> Iterator[Entry]:
            for entry in entries:
                if isinstance(entry, Finished) and entry.measurement is not None:
                    seen = entry.measurement
                    assert seen.time_s is not None
                    entry = replace(entry, measurement=replace(seen, time_s=left_s(seen.time_s)))
                yield entry

        return change

    the_way = free(edited(journal, measuring(lambda time_s: time_s - 20.0))).free
    assert the_way is not None and the_way.overhead_s == pytest.approx(20.0)
    assert the_way.same_starts and the_way.off == pytest.approx(0.0, abs=1e-6)
    at_random = iter([0.9, 0.1] * 100)
    none = free(edited(journal, measuring(lambda time_s: next(at_random) * time_s))).free
    assert none is not None and abs(none.off) > 0.02


def test_a_job_that_fails_and_is_retried_is_so_in_the_simulation(tmp_path: Path) -> None:
    jobs = [
        replace(job, time_limit_s=500.0, retry=Retry(1, ("killed_time", "killed_memory", "lost")))
        for job in paper_mix(10, 2, mean_gap_s=600.0)
    ]
    journal = write_journal(tmp_path, jobs=jobs)
    ends = [e.outcome for e in entries_of(journal) if isinstance(e, Finished)]
    assert ends.count("killed_time") > 2
    report = replay(journal)
    assert report.same and report.free is not None and report.free.same_starts


# ----------------------------------------------------------------------------------------- the verb


def test_the_verb_says_that_all_is_the_same(tmp_path: Path, jetsched: Jetsched) -> None:
    write_journal(tmp_path / "home")
    done = jetsched("replay")
    assert done.code == 0, done.err
    assert "decisions the same" in done.out and "Free: 40 jobs" in done.out
    told = jetsched("replay", "--json").json()
    assert told["same"] is True and told["free"]["same_starts"] is True
    assert told["exact"]["policies"] == [{"from_s": 0.0, "policy": "earliest_finish"}]


def test_the_verb_shows_where_not_and_why(tmp_path: Path, jetsched: Jetsched) -> None:
    journal = write_journal(tmp_path)
    done = jetsched("replay", "--journal", str(journal), "--policy", "lowest_energy")
    assert done.code == 1
    for words in ("are not the same", "LIKELY CAUSE", "What was seen then", "What is seen now"):
        assert words in done.out
    asked = ("replay", "--journal", str(journal), "--policy", "random", "--json")
    first = jetsched(*asked).json()["differences"][0]
    assert first["cause"] and first["live_decision"]["rows"] and first["number"] >= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"since": "yesterday"}, "is no date and time"),
        ({"last": "7 parsecs"}, "--last"),
        ({"since": "2026-11-20", "last": "7d"}, "one of --since and --last"),
        ({"policy": "nonsense"}, "no policy"),
        ({"since": "2999-01-01"}, "nothing is in it of that time"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    journal = write_journal(tmp_path, count=2)
    with pytest.raises(InputError, match=words):
        replay(journal, **options)


def test_without_a_history_it_says_what_writes_one(jetsched: Jetsched) -> None:
    done = jetsched("replay")
    assert done.code == 2 and "there is no history" in done.err


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (a)")
    with pytest.raises(InputError, match="no journal"):
        replay(path)
