"""The simulated cluster: what happens when, and that the same seed gives the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import TableCosts, a_job, nx, orin, paper_costs

from jetsched import policies
from jetsched.cluster.simulated import Outage, SimulatedCluster
from jetsched.cluster.truth import TrueRun
from jetsched.errors import InputError
from jetsched.files import to_json
from jetsched.records import Device, DeviceClass, Job, Placement, Preempt
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceJoined,
    DeviceLost,
    Event,
    Finished,
    Started,
    Submitted,
)
from jetsched.scheduler.journal import MemoryJournal
from jetsched.scheduler.loop import run
from jetsched.scheduler.view import View


class FixedTruth:
    """Every run is the same one; by device model where that is given."""

    def __init__(self, run: TrueRun | None, **by_model: TrueRun) -> None:
        self._run = run
        self._by_model = by_model

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        return self._by_model.get(device_class.model.replace("-", "_"), self._run)


def a_run(time_s: float = 100.0, load_s: float = 10.0, memory_mib: float = 2000.0) -> TrueRun:
    return TrueRun(time_s, load_s, memory_mib, energy_j=10 * time_s, gpu_util_pct=90.0)


def play(
    cluster: SimulatedCluster, costs: TableCosts | None = None, policy: str = "earliest_finish"
) -> tuple[Scheduler, list[Event]]:
    """Run to the end: the scheduler afterwards, and all events."""
    scheduler = Scheduler(policies.load(policy), costs or paper_costs())
    return scheduler, [event for event, _ in run(scheduler, cluster)]


def a_cluster(
    jobs: Iterable[Job],
    truth: FixedTruth | None = None,
    devices: Iterable[Device] = (nx(), orin()),
    **more: Any,
) -> SimulatedCluster:
    return SimulatedCluster(devices, jobs, truth or FixedTruth(a_run()), **{"seed": 0, **more})


def attempts(scheduler: Scheduler, job_id: str = "1") -> list[tuple[str, float, float | None, str]]:
    """(device, start, end, outcome) of each attempt."""
    return [(a.device, a.start_s, a.end_s, str(a.outcome)) for a in scheduler.jobs[job_id].attempts]


def test_a_job_is_submitted_started_loaded_and_finished() -> None:
    scheduler, events = play(a_cluster([a_job(submitted_s=5.0)]))
    assert [(type(e).__name__, e.at_s) for e in events] == [
        ("DeviceJoined", 0.0),
        ("DeviceJoined", 0.0),
        ("Submitted", 5.0),
        ("Started", 15.0),
        ("Finished", 105.0),
    ]
    assert attempts(scheduler) == [("orin-1", 5.0, 105.0, "done")]


def test_jobs_of_the_same_instant_come_in_one_event() -> None:
    """A policy sees all of them at once; others come by themselves."""
    jobs = [a_job("1"), a_job("2"), a_job("3", submitted_s=1.0)]
    submitted = [e for e in play(a_cluster(jobs))[1] if isinstance(e, Submitted)]
    assert [[job.id for job in e.jobs] for e in submitted] == [["1", "2"], ["3"]]


def test_an_unsorted_trace_is_sorted_and_keeps_its_order_at_equal_times() -> None:
    jobs = [a_job("1", submitted_s=2.0), a_job("2", submitted_s=1.0), a_job("3", submitted_s=2.0)]
    submitted = [e for e in play(a_cluster(jobs))[1] if isinstance(e, Submitted)]
    assert [[job.id for job in e.jobs] for e in submitted] == [["2"], ["1", "3"]]


def test_at_equal_times_ends_come_before_losses_before_joins_before_arrivals() -> None:
    """At 100 s job 1 ends, the NX is lost, an Orin is back, job 3 arrives and 2 is cancelled."""
    cluster = a_cluster(
        [a_job("1"), a_job("2", submitted_s=1.0), a_job("3", submitted_s=100.0)],
        FixedTruth(a_run(100.0, 0.0), orin_nano=a_run(100.0)),
        outages=[Outage("nx-1", 100.0), Outage("orin-2", 50.0, 100.0)],
        devices=(nx(), orin(1), orin(2)),
        also=[CancelAsked(100.0, "2")],
    )
    kinds = [type(e).__name__ for e in play(cluster)[1] if e.at_s == 100.0]
    assert kinds[:5] == ["Finished", "DeviceLost", "DeviceJoined", "Submitted", "CancelAsked"]
    assert kinds[5:] == ["Finished"]  # of the cancelled run, which could not be known before


def test_ends_at_the_same_time_come_in_the_order_of_submission() -> None:
    jobs = [a_job(str(i)) for i in range(6)]
    devices = [orin(i) for i in range(6)]
    events = play(a_cluster(reversed(jobs), devices=devices))[1]
    assert [e.job_id for e in events if isinstance(e, Finished)] == ["5", "4", "3", "2", "1", "0"]


def test_the_estimate_may_be_wrong_but_the_truth_decides() -> None:
    scheduler, _ = play(a_cluster([a_job()], FixedTruth(a_run(777.0))))
    assert attempts(scheduler) == [("orin-1", 0.0, 777.0, "done")]
    assert scheduler.jobs["1"].attempts[0].estimate.time_s == 100.0


def test_a_run_that_needs_more_than_there_is_is_killed_and_learnt() -> None:
    """The scheduler believed that it fits the NX; the kill comes within the run, not at its end."""
    times = {("distilgpt2", "xavier-nx"): 50.0, ("distilgpt2", "orin-nano"): 100.0}
    costs = TableCosts(times)
    truth = FixedTruth(a_run(100.0), xavier_nx=a_run(100.0, memory_mib=7000.0))
    scheduler, events = play(a_cluster([a_job()], truth), costs)
    (first, second) = attempts(scheduler)
    assert first[0] == "nx-1" and first[3] == "killed_memory"
    assert first[2] is not None and 0 < first[2] <= 50
    assert second == ("orin-1", first[2], first[2] + 100, "done")
    assert costs.killed == {("distilgpt2", "xavier-nx")}
    kill = next(e.measurement for e in events if isinstance(e, Finished))
    assert kill is not None
    assert kill.outcome == "killed_memory" and kill.source == "assumed"
    assert kill.peak_memory_mib == nx().device_class.memory_mib
    assert kill.identity == {"simulated": True} and not kill.emulated


def test_only_kills_bring_a_measurement_unless_all_are_asked_for() -> None:
    def measured(**options: Any) -> list[Finished]:
        events = play(a_cluster([a_job(amount=5)], **options))[1]
        return [e for e in events if isinstance(e, Finished)]

    assert measured()[0].measurement is None
    whole = measured(measures="all")[0].measurement
    assert whole is not None
    assert (whole.outcome, whole.amount, whole.time_s, whole.load_s, whole.work_s) == (
        "done",
        5.0,
        100.0,
        10.0,
        90.0,
    )
    assert whole.energy_j == 1000.0 and whole.rate_s == 18.0


def test_the_time_limit_ends_an_attempt() -> None:
    scheduler, _ = play(a_cluster([a_job(time_limit_s=30.0)]))
    assert attempts(scheduler) == [("orin-1", 0.0, 30.0, "killed_time")]
    assert scheduler.jobs["1"].state == "killed"


def test_a_job_that_cannot_even_start_fails() -> None:
    scheduler, _ = play(a_cluster([a_job()], FixedTruth(None)))
    assert scheduler.jobs["1"].state == "failed"


def test_a_lost_device_loses_its_run_and_comes_back() -> None:
    """The job starts again on the NX at once; a second one takes the Orin when it is back."""
    cluster = a_cluster(
        [a_job("1"), a_job("2", submitted_s=60.0)],
        outages=[Outage("orin-1", 50.0, 60.0)],
    )
    scheduler, events = play(cluster)
    assert attempts(scheduler, "1") == [
        ("orin-1", 0.0, 50.0, "lost"),
        ("nx-1", 50.0, 150.0, "done"),
    ]
    assert attempts(scheduler, "2") == [("orin-1", 60.0, 160.0, "done")]
    assert [e.at_s for e in events if isinstance(e, DeviceLost)] == [50.0]
    assert [e.at_s for e in events if isinstance(e, DeviceJoined)] == [0.0, 0.0, 60.0]
    assert sum(isinstance(e, Finished) for e in events) == 2  # nothing is heard of the lost run


def test_a_cancelled_run_ends_at_once_and_its_device_is_free() -> None:
    cluster = a_cluster([a_job("1"), a_job("2")], devices=[orin()], also=[CancelAsked(30.0, "1")])
    scheduler, _ = play(cluster)
    assert attempts(scheduler, "1") == [("orin-1", 0.0, 30.0, "cancelled")]
    assert scheduler.jobs["1"].state == "cancelled"
    assert attempts(scheduler, "2") == [("orin-1", 30.0, 130.0, "done")]


class Preempting:
    """In the order of the queue; one of high priority at the cost of job 1."""

    def decide(self, view: View) -> Iterator[Placement | Preempt]:
        queue = list(view.queue())
        if view.free_count and queue:
            yield view.options(queue[0])[0]
        elif queue and queue[0].priority > 50:
            yield Preempt("1")


def test_a_preempted_training_run_goes_on_from_its_checkpoint() -> None:
    """10 s of loading and 20 of 90 s of work are done; loading and 70 s are left."""
    cluster = a_cluster([a_job("1"), a_job("2", submitted_s=30.0, priority=60)], devices=[orin()])
    scheduler = Scheduler(Preempting(), paper_costs())
    for _ in run(scheduler, cluster):
        pass
    first, second = attempts(scheduler, "1")
    assert first == ("orin-1", 0.0, 30.0, "preempted")
    assert second[2] is not None and second[2] - second[1] == pytest.approx(80.0)


def test_a_lost_training_run_goes_on_from_its_last_periodic_checkpoint() -> None:
    """At 50 s, 40 of 90 s of work are done, 30 of them are saved: 10 + 60 s are left."""
    cluster = a_cluster([a_job(checkpoint_every_s=15.0)], outages=[Outage("orin-1", 50.0)])
    scheduler, _ = play(cluster)
    lost, done = attempts(scheduler)
    assert lost == ("orin-1", 0.0, 50.0, "lost")
    assert done[2] == pytest.approx(50 + 10 + 60)


def test_energy_is_that_of_every_run_for_as_long_as_it_ran() -> None:
    """1,000 J for the whole run of 100 s, and half of that for the one that was lost at 50 s."""
    cluster = a_cluster([a_job()], outages=[Outage("orin-1", 50.0)])
    play(cluster)
    assert cluster.energy_known and cluster.energy_j == pytest.approx(500 + 1000)


@pytest.mark.parametrize(
    "outage", [Outage("moon-1", 1.0), Outage("nx-1", 5.0, 4.0), Outage("nx-1", -1.0)]
)
def test_an_outage_that_makes_no_sense_is_refused(outage: Outage) -> None:
    with pytest.raises(InputError, match="an outage of"):
        a_cluster([], outages=[outage])


def test_an_empty_trace_ends() -> None:
    assert len(play(a_cluster([]))[1]) == 2


# ----------------------------------------------------------------------------------- the same bytes


SCRIPT = """
import hashlib, json, sys
from dataclasses import replace
from jetsched.cluster.moves import Transfer
from jetsched.cluster.simulating import simulate
from jetsched.cluster.paper_world import paper_scenario
from jetsched.cluster.simulated import Outage
from jetsched.files import to_json
from jetsched.scheduler.journal import MemoryJournal
digest = hashlib.sha256()
for policy in ("random", "comparative_advantage", "shortest_remaining", "colocation"):
    journal = MemoryJournal()
    outage = Outage("orin-1", 3000.0, 9000.0)
    world = paper_scenario(5, mean_gap_s=300, estimate_error=0.5, outages=[outage])
    world = replace(world, share=2, transfer=Transfer(50.0, 4000.0))
    run = simulate(policy, world, journal=journal, explain=True)
    for entry in journal:
        digest.update(json.dumps(to_json(entry, tag=True)).encode())
    digest.update(json.dumps(to_json(run.metrics)).encode())
print(digest.hexdigest())
"""


def test_the_same_seed_gives_the_same_bytes_in_every_process() -> None:
    """Also when Python hashes strings differently."""
    root = Path(__file__).parent.parent
    digests = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": seed, "PATH": "", "HOME": "/nonexistent"},
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_two_seeds_give_different_kills() -> None:
    truth = FixedTruth(a_run(memory_mib=9000.0))

    def first_end(seed: int) -> float | None:
        return attempts(play(a_cluster([a_job()], truth, seed=seed))[0])[0][2]

    assert first_end(1) == first_end(1) != first_end(2)


def test_a_journal_of_a_simulation_rebuilds_its_state() -> None:
    journal = MemoryJournal()
    scheduler = Scheduler(policies.load("earliest_finish"), paper_costs(), journal=journal)
    for _ in run(scheduler, a_cluster([a_job(str(i)) for i in range(5)])):
        pass
    again = Scheduler(policies.load("random"), paper_costs())
    again.replay(journal)
    assert json.dumps([to_json(r.attempts) for r in again.jobs.values()]) == json.dumps(
        [to_json(r.attempts) for r in scheduler.jobs.values()]
    )
    assert any(isinstance(e, Started) for e in journal)
