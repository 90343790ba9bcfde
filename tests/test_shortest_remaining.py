"""shortest_remaining: whom it stops, whom it leaves alone, and what that is worth."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from builders import TableCosts, a_job, orin

from jetsched import policies
from jetsched.cluster.simulated import SimulatedCluster
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.truth import CostsAsTruth
from jetsched.policies.contract import PolicyContract
from jetsched.policies.shortest_remaining import ShortestRemaining
from jetsched.records import Device, DeviceClass, Job, Kind, Verdict, Workload
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.loop import run
from jetsched.scheduler.metrics import Metrics
from jetsched.scheduler.table import VerdictTable, known_run
from jetsched.scheduler.view import Policy

LOAD_S, MEMORY_MIB = 10.0, 2000.0


class TestContract(PolicyContract):
    def make(self, seed: int) -> Policy:
        return policies.load("shortest_remaining")


def a_run(time_s: float) -> Verdict:
    return known_run(time_s, load_s=LOAD_S, memory_mib=MEMORY_MIB, energy_j=time_s)


def a_world(
    sizes: dict[str, tuple[float, float]], kind: Kind = "train", priority: int = 50
) -> Scenario:
    """Jobs by id, with (arrival, seconds) each, on one Orin; job 1 is of this kind and priority."""
    jobs = [
        Job(name, Workload(kind, "m"), priority=priority)
        if name == "1"
        else Job(name, Workload("train", "m"), submitted_s=at_s)
        for name, (at_s, _) in sizes.items()
    ]
    table = {name: {"orin-nano": a_run(time_s)} for name, (_, time_s) in sizes.items()}
    return Scenario(jobs, [orin()], CostsAsTruth(VerdictTable(table)), lambda: VerdictTable(table))


def attempts(world: Scenario, policy: Policy | None = None) -> dict[str, list[tuple[float, str]]]:
    """(start, outcome) of each attempt, by job."""
    done = simulate(policy or ShortestRemaining(), world)
    assert not done.scheduler.policy_errors and not done.metrics.unfinished
    return {
        record.job.id: [(a.start_s, str(a.outcome)) for a in record.attempts]
        for record in done.scheduler.jobs.values()
    }


LONG = {"1": (0.0, 10_000.0), "2": (2000.0, 60.0)}


def test_a_long_training_makes_room_for_a_short_job_and_goes_on() -> None:
    """Job 2 waits only for the checkpoint; job 1 pays for two trips to the disk and loading."""
    found = simulate(ShortestRemaining(), a_world(LONG))
    assert found.metrics.preempted == 1 and found.metrics.done == 2
    first, second = (found.scheduler.jobs[name].attempts for name in "12")
    assert [a.outcome for a in first] == ["preempted", "done"]
    assert first[0].end_s is not None and 2000 < first[0].end_s < 2010
    assert second[0].start_s == first[0].end_s
    assert found.metrics.makespan_s is not None
    assert found.metrics.makespan_s < 10_000 + 60 + 4 * LOAD_S


def test_it_says_why_a_run_was_stopped() -> None:
    found = simulate(ShortestRemaining(), a_world(LONG))
    text = found.scheduler.jobs["1"].attempts[0].text
    assert text.startswith("2 takes 1m, this has ") and "stopping costs about" in text


@pytest.mark.parametrize("kind", ["infer", "command"])
def test_what_cannot_go_on_is_never_stopped(kind: Kind) -> None:
    assert attempts(a_world(LONG, kind))["1"] == [(0.0, "done")]


def test_a_more_important_run_is_never_stopped() -> None:
    assert attempts(a_world(LONG, priority=60))["1"] == [(0.0, "done")]


@pytest.mark.parametrize(
    "sizes",
    [
        {"1": (0.0, 10_000.0), "2": (2000.0, 6000.0)},  # it takes nearly what is left
        {"1": (0.0, 10_000.0), "2": (9_990.0, 60.0)},  # the device is free in a moment
        {"1": (0.0, 10_000.0), "2": (50.0, 60.0)},  # the run has hardly begun to work
    ],
)
def test_nobody_is_stopped_where_it_does_not_pay(sizes: dict[str, tuple[float, float]]) -> None:
    later = attempts(a_world(sizes))
    outcomes = [outcome for _, outcome in later["1"]]
    # The third one is stopped a moment later, if something happens then; here nothing does.
    assert outcomes == ["done"]


def test_who_finds_a_free_device_stops_nobody() -> None:
    world = a_world(LONG)
    assert attempts(replace(world, devices=[orin(1), orin(2)]))["1"] == [(0.0, "done")]


def test_one_run_is_stopped_at_a_time_for_those_who_wait() -> None:
    """Five jobs of a minute come at once: the first stop lets all of them through."""
    sizes = {"1": (0.0, 10_000.0)} | {str(n): (2000.0, 60.0) for n in range(2, 7)}
    found = simulate(ShortestRemaining(), a_world(sizes))
    assert found.metrics.preempted == 1
    starts = [found.scheduler.jobs[str(n)].attempts[0].start_s for n in range(2, 7)]
    assert starts == sorted(starts) and starts[-1] < 2260


def test_stopping_takes_no_more_than_its_part_of_the_time() -> None:
    """A short job every two minutes, and one training of a day: patience 4 allows a fifth."""
    sizes = {"1": (0.0, 86_400.0)} | {str(n): (120.0 * n, 30.0) for n in range(2, 700)}
    found = simulate(ShortestRemaining(), a_world(sizes))
    runs = found.scheduler.jobs["1"].attempts
    shorts = 698 * 30.0
    assert len(runs) > 100
    assert found.metrics.makespan_s is not None
    wasted_s = found.metrics.makespan_s - 86_400.0 - shorts
    swap_s = LOAD_S + 2 * MEMORY_MIB / 200
    for ran in runs[:-1]:
        assert ran.end_s is not None and ran.end_s - ran.start_s >= 4 * swap_s
    assert wasted_s <= 0.25 * 86_400.0


def test_a_job_that_only_one_board_may_run_does_not_stop_another() -> None:
    costs = TableCosts({("distilgpt2", "orin-nano"): 100.0, ("gpt2", "orin-nano"): 5000.0})
    jobs = [
        a_job("1", "gpt2"),
        a_job("2", "gpt2"),
        replace(a_job("3"), submitted_s=1000.0, needs=replace(a_job().needs, device=("lab",))),
    ]
    devices = [orin(1, labels=("lab",)), orin(2)]
    scheduler = Scheduler(ShortestRemaining(), costs)
    cluster = SimulatedCluster(devices, jobs, CostsAsTruth(costs), seed=0)
    for _ in run(scheduler, cluster):
        pass
    stopped = [r.job.id for r in scheduler.jobs.values() if len(r.attempts) > 1]
    on_lab = next(r.job.id for r in scheduler.jobs.values() if r.attempts[0].device == "orin-1")
    assert stopped in ([], [on_lab])
    assert not scheduler.policy_errors


def test_options_that_make_no_sense_are_refused() -> None:
    for options in ({"factor": 0.5}, {"patience": 0.0}, {"disk_mib_s": 0.0}, {"bias": -1.0}):
        with pytest.raises(ValueError):
            ShortestRemaining(**options)


# ------------------------------------------------------------------------------- what it is worth


def heavy_tailed(seed: int, *, boards: int, jobs: int = 1500) -> Scenario:
    """Trainings whose sizes differ by orders of magnitude (lognormal, sigma 2), at load 0.9."""
    random = Random(seed)
    kinds = [DeviceClass("xavier-nx", "", "", 6150.0), DeviceClass("orin-nano", "", "", 6900.0)]
    devices = [Device(f"{k.model}-{n}", k) for k in kinds for n in range(boards)]
    sizes = [random.lognormvariate(0.0, 2.0) for _ in range(jobs)]
    scale = 600 * jobs / sum(sizes)
    times = [(size * scale, size * scale * random.uniform(1.3, 3.0)) for size in sizes]
    rate = boards * sum(jobs / sum(column) for column in zip(*times, strict=True))
    at_s, stream, table = 0.0, [], {}
    for number, (orin_s, nx_s) in enumerate(times):
        at_s += random.expovariate(0.9 * rate)
        stream.append(Job(str(number), Workload("train", "m"), submitted_s=at_s))
        table[str(number)] = {
            "orin-nano": a_run(LOAD_S + orin_s),
            "xavier-nx": a_run(LOAD_S + nx_s),
        }
    truth = CostsAsTruth(VerdictTable(table))
    return Scenario(stream, devices, truth, lambda: VerdictTable(table), seed)


def mean_s(policy: str, worlds: list[Scenario]) -> tuple[float, list[Metrics]]:
    found = [simulate(policy, world).metrics for world in worlds]
    assert all(metrics.unfinished == 0 for metrics in found)
    return sum(m.mean_completion_s or 0.0 for m in found) / len(found), found


@pytest.mark.parametrize(("boards", "at_most"), [(1, 0.6), (4, 0.9)])
def test_it_is_worth_much_where_sizes_differ_by_orders_of_magnitude(
    boards: int, at_most: float
) -> None:
    """Mean completion beside shortest_first: -40 % on two boards, -10 % on eight, or better."""
    worlds = [heavy_tailed(seed, boards=boards) for seed in range(3)]
    ours, found = mean_s("shortest_remaining", worlds)
    plain, _ = mean_s("shortest_first", worlds)
    assert all(metrics.preempted for metrics in found)
    assert ours <= at_most * plain
