"""What if: the past and the queue under another policy or with more boards, beside what was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from past_worlds import write_journal
from test_replay import OUTAGES

from jetsched.cluster.fleet import default_fleet
from jetsched.cluster.history import entries_of
from jetsched.cluster.paper_world import paper_mix
from jetsched.cluster.past import past_jobs
from jetsched.cluster.simulating import simulate
from jetsched.cluster.store import JOURNAL, Store
from jetsched.cluster.whatif import Answer, Question, answer_of
from jetsched.cluster.whatif_child import answer, work
from jetsched.cluster.whatif_history import history_world
from jetsched.cluster.whatif_queue import queue_world
from jetsched.cluster.whatif_worlds import with_boards
from jetsched.errors import InputError
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceClosed,
    Entry,
    Finished,
    QueuePaused,
    Start,
    Submitted,
)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty jobs of the paper's mix on its two boards, all over."""
    return write_journal(tmp_path_factory.mktemp("past"), began=True)


def ask(journal: Path, now_s: float = 0.0, **question: str) -> Answer:
    return answer(Question(**question).check(), journal, now_s)  # type: ignore[arg-type]


def cut_after(journal: Path, folder: Path, *, started: int) -> tuple[Path, float]:
    """The journal up to the start of the so-manieth attempt, and when that was."""
    kept: list[Entry] = []
    for entry in entries_of(journal):
        kept.append(entry)
        started -= isinstance(entry, Start)
        if not started:
            break
    store = Store(folder / JOURNAL)
    store.append(*kept)
    store.close()
    return folder / JOURNAL, kept[-1].at_s


# --------------------------------------------------------------------------------------- the past


def test_the_same_policy_in_the_simulation_does_what_was_done(journal: Path) -> None:
    """A history without mistakes comes out as it was: the simulation is no other world."""
    found = ask(journal, of="history", span="all", policy="earliest_finish")
    was, same, whatif = found.came
    assert was.source == "measured" and same.source == whatif.source == "estimated"
    assert was.jobs == was.done == same.done == 40
    assert same.mean_completion_s == pytest.approx(was.mean_completion_s, rel=0.02)
    assert whatif == replace(same, title="What if")
    assert not found.changes and found.changed == 0
    assert "as soon as before" in found.verdict


def test_what_was_is_what_the_past_tells(journal: Path) -> None:
    jobs = past_jobs(journal, limit=100).jobs
    was = ask(journal, of="history", span="all", policy="random").came[0]
    times = [(job.end_s or 0.0) - job.submitted_s for job in jobs]
    assert was.mean_completion_s == pytest.approx(sum(times) / len(times))
    seen = [a.measurement for job in jobs for a in job.attempts if a.measurement is not None]
    assert was.energy_j == pytest.approx(sum(m.energy_j or 0.0 for m in seen))
    assert was.makespan_s == max(job.end_s or 0.0 for job in jobs) - jobs[0].submitted_s


def test_more_boards_are_used_and_jobs_are_done_sooner(journal: Path) -> None:
    """One more of a board that was there, and one by its data sheet; both run something."""
    found = ask(journal, of="history", span="all", boards="nx-1:1,orin-nano:1")
    _, before, after = found.came
    assert after.boards == before.boards + 2 and after.policy == before.policy
    assert (after.mean_completion_s or 0) < 0.8 * (before.mean_completion_s or 0)
    assert "sooner" in found.verdict
    assert {"new-1", "new-2"} & {change.then_on for change in found.changes}
    drawn = found.picture.drawn
    assert "new-1 · xavier-nx" in drawn and "new-2 · orin-nano" in drawn
    most = [abs(change.more_s or 0.0) for change in found.changes]
    assert most == sorted(most, reverse=True) and len(most) <= found.changed <= 40


def test_outages_and_pauses_of_the_past_stay(tmp_path: Path) -> None:
    """Boards are away and the queue is paused when they were: that is not the policy's doing."""
    first_s = min(job.submitted_s for job in paper_mix(40, 4, mean_gap_s=600.0))
    wishes = [QueuePaused(first_s + 3000.0, True), QueuePaused(first_s + 9000.0, False)]
    journal = write_journal(tmp_path, outages=OUTAGES, also=wishes)
    world = history_world("all", journal)
    assert len(world.scenario.outages) == len(OUTAGES)
    paused = [event for event in world.scenario.also if isinstance(event, QueuePaused)]
    assert [event.at_s for event in paused] == pytest.approx([3000.0, 9000.0])
    found = ask(journal, of="history", span="all", policy="auto")
    assert found.came[1].lost + found.came[1].killed <= found.came[0].lost + found.came[0].killed
    assert any("away when they were away" in note for note in found.notes)


def test_a_board_that_was_drained_before_the_span_is_drained_in_it(tmp_path: Path) -> None:
    drained = DeviceClosed(1.0, "nx-1", "Draining", "for a test")
    journal = write_journal(tmp_path, also=[drained], count=10)
    jobs = past_jobs(journal, limit=20).jobs
    late_s = jobs[5].submitted_s
    last_s = max(entry.at_s for entry in entries_of(journal))
    span = f"{last_s - late_s + 1:.0f}s"
    world = history_world(span, journal)
    assert DeviceClosed(0.0, "nx-1", "Draining", "for a test") in world.scenario.also
    run = simulate("round_robin", world.scenario)
    attempts = [a for record in run.scheduler.jobs.values() for a in record.attempts]
    assert attempts and {attempt.device for attempt in attempts} == {"orin-1"}


def test_jobs_that_are_not_over_are_left_out_and_said_to_be(journal: Path, tmp_path: Path) -> None:
    path, now_s = cut_after(journal, tmp_path, started=20)
    found = ask(path, now_s, of="history", span="all", policy="auto")
    was = found.came[0]
    assert 0 < was.jobs == was.done < 20
    assert any("that are not over yet" in note for note in found.notes)


def test_what_still_runs_takes_up_its_board_in_all_worlds(journal: Path, tmp_path: Path) -> None:
    """It is drawn in what was, without an end, runs as long in the simulations, and no figure of
    a job is of it; the boards' use counts it."""
    path, cut_s = cut_after(journal, tmp_path, started=20)
    now_s = cut_s + 40_000.0
    running = {
        id: job.attempts[-1]
        for id, job in ((job.job.id, job) for job in past_jobs(path, limit=100).jobs)
        if job.outcome == "running"
    }
    world = history_world("all", path, now_s)
    assert running and world.pinned == set(running)
    for policy in ("earliest_finish", "makespan"):
        run = simulate(policy, world.scenario)
        for id, attempt in running.items():
            (there,) = run.scheduler.jobs[id].attempts
            assert there.device == attempt.device
            assert (there.end_s or 0.0) - there.start_s >= now_s - attempt.start_s - 1.0
    found = ask(path, now_s, of="history", span="all", policy="makespan")
    was = found.came[0]
    assert was.done == was.jobs > 0 and was.attempts == 20 - len(running)
    bars = [bar for track in found.picture.groups[0].tracks for bar in track.bars]
    assert {bar.job for bar in bars if bar.end_s is None} == set(running)
    assert {bar.job for g in found.picture.groups[1:] for t in g.tracks for bar in t.bars} >= set(
        running
    )
    assert not {change.job for change in found.changes} & set(running)
    assert any("still running" in note for note in found.notes)
    span_s = was.makespan_s or 0.0
    busy_s = sum(
        min(span_s, span_s if bar.end_s is None else bar.end_s) - min(span_s, bar.start_s)
        for bar in bars
    )
    assert was.in_use == pytest.approx(busy_s / (2 * span_s))
    assert max(one.in_use or 0.0 for one in found.came) <= 1.0


def test_little_is_not_said_to_be_less_than_nothing(journal: Path) -> None:
    found = ask(journal, of="history", span="all", policy="earliest_finish")
    same = found.came[-1]
    for factor, words in (
        (0.999, "about the same"),
        (1.001, "about the same"),
        (0.5, "-50 % (less)"),
    ):
        energy_j = (same.energy_j or 0.0) * factor
        other = replace(found, came=[*found.came[:-1], replace(same, energy_j=energy_j)])
        assert other.difference("energy_j") == words


# -------------------------------------------------------------------------------------- the queue


def test_the_queue_is_what_waits_and_what_runs_keeps_its_board(
    journal: Path, tmp_path: Path
) -> None:
    """Jobs are those of the cut journal; what runs is there first, for as long as is left of it."""
    path, now_s = cut_after(journal, tmp_path, started=20)
    entries = list(entries_of(path))
    came = {job.id for e in entries if isinstance(e, Submitted) for job in e.jobs}
    ended = {e.job_id for e in entries if isinstance(e, Finished)}
    running = {
        e.placement.job.id: e.placement.device.id
        for e in entries
        if isinstance(e, Start) and e.placement.job.id not in ended
    }
    world = queue_world(path, now_s)
    waiting = came - ended - set(running)
    assert world.pinned == set(running) and waiting
    assert {job.id for job in world.scenario.jobs} == waiting | set(running)
    found = ask(path, now_s, of="queue", policy="shortest_first")
    assert [one.title for one in found.came] == ["As it is now", "What if"]
    assert [one.jobs for one in found.came] == [len(waiting)] * 2
    for job_id, device in running.items():
        pinned = next(job for job in world.scenario.jobs if job.id == job_id)
        assert pinned.needs.device == (device,) and pinned.submitted_s == 0.0
        left = world.scenario.truth.run(pinned, default_fleet()[0].device_class)
        assert left is not None and left.time_s >= 30.0
    assert {change.job for change in found.changes} <= waiting


def test_what_runs_is_never_put_behind_what_waits(journal: Path, tmp_path: Path) -> None:
    """Under any policy: the bars of what runs begin at 0, on its board."""
    path, now_s = cut_after(journal, tmp_path, started=20)
    world = queue_world(path, now_s)
    for policy in ("earliest_finish", "shortest_first", "makespan", "round_robin", "auto"):
        run = simulate(policy, world.scenario)
        for job_id in world.pinned:
            record = run.scheduler.jobs[job_id]
            assert [a.start_s for a in record.attempts] == [0.0], policy
            assert record.attempts[0].device == record.job.needs.device[0]


def test_a_board_that_takes_no_jobs_now_is_left_out(journal: Path, tmp_path: Path) -> None:
    path, now_s = cut_after(journal, tmp_path, started=20)
    store = Store(path)
    store.append(DeviceClosed(now_s, "nx-1", "TooHot", "95 C"))
    store.close()
    found = ask(path, now_s, of="queue", boards="orin-1:1")
    assert [one.boards for one in found.came] == [1, 2]
    assert any("nx-1 (TooHot)" in note for note in found.notes)


def test_an_empty_queue_is_no_question(journal: Path) -> None:
    with pytest.raises(InputError, match="nothing waits now"):
        ask(journal, of="queue", policy="auto")


# ---------------------------------------------------------------------------------- the question


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({}, "nothing is to be other than it was"),
        ({"policy": "/tmp/evil.py"}, "there is no policy"),
        ({"policy": "os:system"}, "there is no policy"),
        ({"policy": "auto:/tmp/evil.py"}, "there is no policy"),
        ({"policy": "auto:evil.py:Evil"}, "there is no policy"),
        ({"policy": "auto:evil.py:Evil:objective=energy"}, "there is no policy"),
        ({"policy": "jetsched.policies.auto:Auto"}, "there is no policy"),
        ({"policy": "auto:objective"}, "there is no policy"),
        ({"policy": "auto:a=1,b"}, "not of the form"),
        ({"policy": "auot"}, "there is no policy 'auot'"),
        ({"policy": "auto", "span": "nonsense"}, "not a duration"),
        ({"boards": "nx-1:0"}, "boards: 'nx-1:0' is none"),
        ({"boards": "nx-1:1,,"}, "is none"),
        ({"boards": "orin-nano:65"}, "more than 64"),
        ({"boards": "orin-nano:40,nx-1:40"}, "more than 64"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(question: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Question(**question).check()  # type: ignore[arg-type]


def test_a_board_that_nobody_knows_is_told_with_those_there_are(journal: Path) -> None:
    with pytest.raises(InputError, match="'orin-9' is no board here and no model"):
        with_boards(history_world("all", journal), Question(boards="orin-9:1"))


def test_names_of_added_boards_are_nobody_elses(journal: Path) -> None:
    world = history_world("all", journal)
    taken = [*world.scenario.devices, replace(default_fleet()[0], id="new-1")]
    crowded = replace(world, scenario=replace(world.scenario, devices=taken))
    scenario, added = with_boards(crowded, Question(boards="nx-1:2,orin-nano:1"))
    ids = [device.id for device in scenario.devices]
    assert len(added) == 3 and len(ids) == len(set(ids))
    assert added[0].device_class == world.scenario.devices[0].device_class


def test_an_answer_comes_back_from_the_child_as_it_was(journal: Path) -> None:
    """And it hears how far it is: twice the jobs, for two simulations."""
    told: list[tuple[int, int]] = []
    given = {"of": "history", "span": "all", "policy": "random", "boards": ""}
    result = work(journal, given, lambda done, total: told.append((done, total)))
    found = answer_of(result)
    assert found.question == Question("history", "all", "random", "")
    assert len(found.came) == 3 and found.difference("jobs") == "the same"
    assert told and all(total == 80 and 0 <= done <= total for done, total in told)


@pytest.mark.parametrize(
    ("changed", "jobs", "words"),
    [(1, 1, "1 of 1 job changes"), (1, 2, "1 of 2 jobs changes"), (0, 9, "0 of 9 jobs change")],
)
def test_one_is_not_many(journal: Path, changed: int, jobs: int, words: str) -> None:
    found = ask(journal, of="history", span="all", policy="earliest_finish")
    came = [replace(one, jobs=jobs, done=jobs) for one in found.came]
    assert replace(found, changed=changed, came=came).many_change == words
    fewer = [*came[:-1], replace(came[-1], done=jobs - 1)]
    assert "1 fewer job is done" in replace(found, came=fewer).verdict
    more = [*came[:-1], replace(came[-1], done=jobs + 1)]
    assert "1 more job is done" in replace(found, came=more).verdict


def test_what_the_child_says_never_becomes_markup(journal: Path) -> None:
    """Policies run in the child, and they may be anybody's: the picture is drawn from figures."""
    given = {"of": "history", "span": "all", "policy": "random", "boards": "nx-1:1"}
    result = json.loads(json.dumps(work(journal, given, lambda done, total: None)))
    nasty = "<script>alert(1)</script>"
    picture = result["picture"]
    picture["words"] = picture["caption"] = nasty
    for group in picture["groups"]:
        group["title"] = nasty
        for track in group["tracks"]:
            track["name"] = nasty
            for bar in track["bars"]:
                bar["job"] = bar["label"] = nasty
    drawn = answer_of(result).picture.drawn
    assert "<script" not in drawn and "&lt;script&gt;" in drawn
    with pytest.raises(InputError, match="not a valid Answer"):
        answer_of({**result, "picture": nasty})


def test_a_cancelled_job_is_not_simulated(tmp_path: Path) -> None:
    jobs = paper_mix(12, 4, mean_gap_s=600.0)
    cancel = CancelAsked(jobs[-1].submitted_s + 1.0, jobs[-1].id)
    journal = write_journal(tmp_path, jobs=jobs, also=[cancel])
    found = ask(journal, of="history", span="all", policy="auto")
    assert found.came[0].jobs == 11
    assert any("1 job that was cancelled" in note for note in found.notes)
