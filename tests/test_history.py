"""One's own history, from the journal that the scheduler writes, as a world to simulate."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from builders import ORIN, a_job, a_workload, nx, orin

from jetsched import policies
from jetsched.cluster.fleet import default_fleet
from jetsched.cluster.history import History, history_of, read_history, span_s, write_history
from jetsched.cluster.paper_world import KILLED_ON_NX, paper_mix, paper_profile, paper_truth
from jetsched.cluster.simulated import Outage, SimulatedCluster
from jetsched.cluster.simulating import simulate
from jetsched.cluster.store import JOURNAL, Store
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import worlds
from jetsched.errors import InputError
from jetsched.records import Estimate, Job, Measurement, Placement
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceJoined,
    DeviceLost,
    Entry,
    Event,
    Finished,
    Start,
    Submitted,
)
from jetsched.scheduler.loop import run

EPOCH = 1_700_000_000.0  # the journal's clock: seconds since the Unix epoch
DAY = 86_400.0


def a_journal(folder: Path, *, outages: list[Outage] | None = None, count: int = 40) -> Store:
    """A journal that a scheduler has written of jobs of the mix on the paper's boards.

    Without the workload that is killed on one of them: what is learnt changes what comes after.
    """
    store = Store(folder / JOURNAL)
    scheduler = Scheduler(
        policies.load("earliest_finish"),
        paper_profile(0.0, 0),
        fallback=policies.load("earliest_finish"),
        journal=store,
    )
    jobs = paper_mix(2 * count, 4, mean_gap_s=600.0)
    cluster = SimulatedCluster(
        default_fleet(),
        [job for job in jobs if job.workload != KILLED_ON_NX][:count],
        paper_truth(),
        seed=0,
        outages=outages or [],
        measures="all",
    )
    for _ in run(scheduler, cluster):
        pass
    return store


def test_a_replay_under_the_same_policy_is_what_happened(tmp_path: Path) -> None:
    """Same arrivals, same boards, same run times: the same attempts, to the second."""
    store = a_journal(tmp_path, outages=[Outage("orin-1", 4000.0, 9000.0)])
    before = [
        (e.placement.job.id, e.attempt, e.placement.device.id, e.at_s)
        for e in store.entries()
        if isinstance(e, Start)
    ]
    store.close()
    (world,) = worlds(WorldOptions(replay="all", history=tmp_path / JOURNAL))
    done = simulate("earliest_finish", world)
    after = [
        (record.job.id, a.number, a.device, a.start_s)
        for record in done.scheduler.jobs.values()
        for a in record.attempts
    ]
    assert done.metrics.lost == 1 and done.metrics.unfinished == 0
    origin_s = min(at_s for *_, at_s in before)
    for had, has in zip(sorted(before), sorted(after), strict=True):
        assert had[:3] == has[:3] and has[3] == pytest.approx(had[3] - origin_s)


def test_run_times_that_were_seen_are_the_truth(tmp_path: Path) -> None:
    store = a_journal(tmp_path, count=20)
    history = history_of(store.entries())
    store.close()
    work, truth = history.work(), paper_truth()
    assert len(history.ran) == 20
    for job in history.jobs:
        seen = history.ran[job.id]
        found, true = work.truth.run(job, seen.device_class), truth.run(job, seen.device_class)
        assert found == seen.run and true is not None
        assert found.time_s == pytest.approx(true.time_s)
        said = work.costs().verdict(job, seen.device_class)
        assert isinstance(said, Estimate) and said.source != "estimated"


def test_a_job_that_took_longer_than_the_model_says_does_so_elsewhere() -> None:
    entries = _one_run(lasts_s=600.0)
    history = history_of(entries)
    work = history.work()
    (job,) = history.jobs
    here = work.truth.run(job, orin().device_class)
    there = work.truth.run(job, nx().device_class)
    model = work.costs()
    says_here, says_there = (
        model.verdict(job, orin().device_class),
        model.verdict(job, nx().device_class),
    )
    assert here is not None and there is not None
    assert isinstance(says_here, Estimate) and isinstance(says_there, Estimate)
    assert here.time_s == 600.0
    assert there.time_s / says_there.time_s == pytest.approx(here.time_s / says_here.time_s)


def _one_run(lasts_s: float, at_s: float = EPOCH, job: Job | None = None) -> list[Entry]:
    job = job or a_job("1", amount=500.0)
    job = Job(job.id, a_workload(), amount=500.0, submitted_s=at_s)
    estimate = Estimate(99, 99, 0, 1000, 1500, None, None, "estimated", "datasheet")
    placement = Placement(job, orin(), estimate, at_s, at_s + 99)
    return [
        DeviceJoined(at_s - 100, orin()),
        DeviceJoined(at_s - 100, nx()),
        Submitted(at_s, (job,)),
        Start(at_s, placement, 1),
        Finished(at_s + lasts_s, job.id, 1, "done"),
    ]


def test_an_attempt_that_went_on_from_a_checkpoint_is_counted_whole() -> None:
    entries = _one_run(300.0)
    start = entries[3]
    assert isinstance(start, Start)
    seen = Measurement(
        a_workload(), ORIN, "done", amount=100.0, time_s=60.0, load_s=10.0, work_s=50.0
    )
    entries[3:] = [
        Start(EPOCH, start.placement, 2),
        Finished(EPOCH + 60, "1", 2, "done", seen),
    ]
    assert history_of(entries).ran["1"].run.time_s == pytest.approx(10 + 500 / 100 * 50)
    entries[4] = Finished(EPOCH + 60, "1", 2, "done")
    assert history_of(entries).ran == {}


def test_boards_that_came_late_left_and_came_back_do_so_again() -> None:
    job = a_job("1", submitted_s=EPOCH)
    history = history_of(
        [
            DeviceJoined(EPOCH - 50, orin()),
            Submitted(EPOCH, (job,)),
            DeviceJoined(EPOCH + 100, nx()),
            DeviceLost(EPOCH + 200, "orin-1"),
            DeviceJoined(EPOCH + 300, orin()),
            DeviceJoined(EPOCH + 310, orin()),
            DeviceLost(EPOCH + 400, "nx-1"),
        ]
    )
    assert [d.id for d in history.devices] == ["nx-1", "orin-1"]
    assert history.outages == [
        Outage("nx-1", 0.0, 100.0),
        Outage("nx-1", 400.0, inf),
        Outage("orin-1", 200.0, 300.0),
    ]
    scenario = history.work().scenario(history.devices, outages=history.outages)
    cluster = SimulatedCluster(
        scenario.devices, [], scenario.truth, seed=0, outages=scenario.outages
    )
    seen: list[Event] = [e for e in cluster.events() if not isinstance(e, DeviceLost)]
    joined = [(e.at_s, e.device.id) for e in seen if isinstance(e, DeviceJoined)]
    assert joined == [(0.0, "orin-1"), (100.0, "nx-1"), (300.0, "orin-1")]


def test_boards_that_became_others_do_so_again() -> None:
    """Another power mode joins as another device class; what it was before it came is not known."""
    slow = replace(orin(), device_class=replace(ORIN, power_mode="15W"))
    history = history_of(
        [
            DeviceJoined(EPOCH - 50, orin()),
            Submitted(EPOCH, (a_job("1", submitted_s=EPOCH),)),
            DeviceJoined(EPOCH + 60, slow),
            DeviceJoined(EPOCH + 90, nx()),
        ]
    )
    assert history.devices == [nx(), orin()]
    assert history.also == [DeviceJoined(60.0, slow)]
    assert history.outages == [Outage("nx-1", 0.0, 90.0)]


def test_cancelled_jobs_are_left_out_unless_they_were_quicker() -> None:
    entries = _one_run(300.0)
    other = a_job("2", submitted_s=EPOCH + 5)
    entries[4:4] = [
        Submitted(EPOCH + 5, (other,)),
        CancelAsked(EPOCH + 6, "1"),
        CancelAsked(EPOCH + 7, "2"),
    ]
    history = history_of(entries)
    assert [job.id for job in history.jobs] == ["1"] and history.cancelled == 1


def test_a_span_counts_back_from_the_last_entry_and_starts_at_its_first_job() -> None:
    entries = _one_run(300.0)
    late = a_job("2", submitted_s=EPOCH + 3 * DAY, deadline_s=EPOCH + 3 * DAY + 60)
    entries.append(Submitted(late.submitted_s, (late,)))
    entries.append(DeviceLost(late.submitted_s + 10, "nx-1"))

    def ids(span: str) -> list[str]:
        return [job.id for job in history_of(entries, span_s(span)).jobs]

    assert ids("all") == ids("last-week") == ids("4d") == ["1", "2"]
    assert ids("last-day") == ids("1m") == ["2"] and ids("5s") == []
    history = history_of(entries, DAY)
    assert history.jobs[0].submitted_s == 0 and history.jobs[0].deadline_s == 60
    assert [d.id for d in history.devices] == ["nx-1", "orin-1"]
    assert history.outages == [Outage("nx-1", 10.0, inf)]


def test_a_history_can_be_written_as_lines_and_read_back(tmp_path: Path) -> None:
    store = a_journal(tmp_path, count=6)
    write_history(tmp_path / "history.jsonl", store.entries())
    store.close()
    both: list[History] = [
        read_history(tmp_path / name, "all") for name in (JOURNAL, "history.jsonl")
    ]
    assert both[0] == both[1]
    assert (tmp_path / "history.jsonl").stat().st_mode & 0o077 == 0


def test_a_journal_is_read_while_its_owner_writes_on(tmp_path: Path) -> None:
    store = a_journal(tmp_path, count=3)
    assert len(read_history(tmp_path / JOURNAL, "all").jobs) == 3
    store.append(Submitted(9e9, (a_job("x", submitted_s=9e9),)))
    assert len(read_history(tmp_path / JOURNAL, "all").jobs) == 4
    store.close()


def test_what_is_no_history_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path))
    with pytest.raises(InputError, match="there is no history"):
        worlds(WorldOptions(replay="all"))
    Store(tmp_path / JOURNAL).close()
    with pytest.raises(InputError, match="no job was submitted"):
        worlds(WorldOptions(replay="last-week"))
    (tmp_path / "other.db").write_text("no database at all, but text that is long enough" * 30)
    with pytest.raises(InputError, match="is no journal"):
        worlds(WorldOptions(replay="all", history=tmp_path / "other.db"))
    (tmp_path / "bad.jsonl").write_text('{"type": "Submitted"}\n')
    with pytest.raises(InputError, match=r"bad.jsonl:1: "):
        worlds(WorldOptions(replay="all", history=tmp_path / "bad.jsonl"))


def test_a_history_runs_on_another_fleet_too(tmp_path: Path) -> None:
    a_journal(tmp_path, count=12).close()
    options = WorldOptions(replay="all", history=tmp_path / JOURNAL, fleet="orin-nano:3")
    (world,) = worlds(options)
    assert [d.id for d in world.devices] == ["orin-1", "orin-2", "orin-3"]
    assert simulate("earliest_finish", world).metrics.done == 12
