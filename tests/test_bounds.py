"""Lower bounds: nothing that runs can beat them, and small optima meet them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product
from math import inf
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from builders import NX, ORIN, TableCosts, a_job, nx, orin, paper_costs
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched import policies
from jetsched.cluster.bounds import (
    Bounds,
    best_prices,
    bounds,
    bounds_after,
    bounds_of_run,
    makespan_bound_s,
    mean_bounds_s,
    priced_work,
)
from jetsched.cluster.paper_world import paper_scenario
from jetsched.cluster.simulated import Outage
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.truetimes import TrueTimes, true_times
from jetsched.cluster.truth import CostsAsTruth, TrueRun
from jetsched.records import Device, DeviceClass, Job, Needs, Placement, Preempt
from jetsched.scheduler.events import DeviceJoined
from jetsched.scheduler.table import VerdictTable, known_run
from jetsched.scheduler.view import View

BRAUN = Path(__file__).parent.parent.parent / "shared" / "data" / "etc"


def some_times(
    run_s: list[list[float]], devices: list[int], release_s: list[float] | None = None
) -> TrueTimes:
    release = np.array(release_s or [0.0] * len(run_s))
    times = np.array(run_s, dtype=float).reshape(len(run_s), len(devices))
    return TrueTimes(release, times, np.array(devices, dtype=float), float(release.min()))


# ------------------------------------------------------------------- what can be worked out by hand


def test_one_job_takes_its_best_time() -> None:
    times = some_times([[100.0, 40.0]], [3, 1])
    assert makespan_bound_s(times) == pytest.approx(40.0)
    assert mean_bounds_s(times) == pytest.approx((40.0, 40.0))


def test_equal_jobs_on_equal_devices_share_them() -> None:
    """Eight jobs of 10 s on two devices: all done after 40 s; on average after 25."""
    times = some_times([[10.0]] * 8, [2])
    assert makespan_bound_s(times) == pytest.approx(40.0)
    any_s, whole_s = mean_bounds_s(times)
    assert whole_s == pytest.approx(25.0)
    assert any_s == pytest.approx((8 + 1) * 10 / 4 + 10 / 4)  # Eastman, Even and Isaacs


def test_one_device_is_served_best_by_shortest_remaining_time() -> None:
    """A long job of 10 s, and at 1 s a short one of 2 s that it must let pass."""
    times = some_times([[10.0], [2.0]], [1], [0.0, 1.0])
    assert mean_bounds_s(times)[0] == pytest.approx((12 + 2) / 2)


def test_late_work_counts_from_when_it_comes() -> None:
    times = some_times([[10.0]] * 5, [1], [0.0, 100.0, 100.0, 100.0, 100.0])
    assert makespan_bound_s(times) == pytest.approx(140.0)


def test_unlike_devices_share_by_a_linear_program() -> None:
    """Jobs of either sort run on their own class only as long as that is the shorter way."""
    times = some_times([[10.0, 1000.0]] * 4 + [[1000.0, 10.0]] * 4, [1, 1])
    assert makespan_bound_s(times) == pytest.approx(40.0)
    prices = best_prices(times)
    assert prices @ times.devices == pytest.approx(1.0)
    assert priced_work(times, prices).sum() == pytest.approx(40.0)


def test_a_large_batch_is_bound_closely() -> None:
    """2,000 jobs, shortest first on eight equal devices, which is optimal: within 1 %."""
    draw = random.Random(1)
    run_s = sorted(draw.lognormvariate(6, 1) for _ in range(2_000))
    ends = [0.0] * 8
    total_s = 0.0
    for number, time_s in enumerate(run_s):
        ends[number % 8] += time_s
        total_s += ends[number % 8]
    any_s, _ = mean_bounds_s(some_times([[time_s] for time_s in run_s], [8]))
    assert any_s is not None
    assert 0.99 * total_s / 2_000 < any_s <= total_s / 2_000


def test_a_long_stream_knows_that_the_fast_devices_are_not_enough() -> None:
    """If all wanted the fast device it would be busy 1.6 times; on the slow one they take 3x."""
    draw = random.Random(2)
    arrivals = sorted(draw.uniform(0.0, 1e6) for _ in range(1_000))
    run_s = [[t, 3 * t] for t in (draw.uniform(1_000, 2_200) for _ in arrivals)]
    times = some_times(run_s, [1, 3], arrivals)
    any_s, _ = mean_bounds_s(times)
    assert any_s is not None and any_s > 1.3 * float(times.best_s.mean())


def test_no_jobs_have_no_bounds() -> None:
    empty = TrueTimes(np.empty(0), np.empty((0, 1)), np.ones(1), 0.0)
    assert makespan_bound_s(empty) is None
    assert mean_bounds_s(empty) == (None, None)


# --------------------------------------------------------------------------- against all schedules

matrices = st.integers(1, 2).flatmap(
    lambda kinds: st.tuples(
        st.lists(
            st.lists(
                st.one_of(st.floats(1.0, 50.0), st.just(inf)), min_size=kinds, max_size=kinds
            ).filter(lambda row: min(row) < inf),
            min_size=1,
            max_size=4,
        ),
        st.lists(st.integers(1, 2), min_size=kinds, max_size=kinds),
    )
)


def all_schedules(times: TrueTimes) -> tuple[float, float]:
    """The least makespan and mean completion of every order of the jobs on every device."""
    devices = [kind for kind, count in enumerate(times.devices) for _ in range(int(count))]
    best_makespan_s, best_mean_s = inf, inf
    for order in permutations(range(len(times))):
        for where in product(range(len(devices)), repeat=len(times)):
            free_s = [0.0] * len(devices)
            ends = []
            for job, device in zip(order, where, strict=True):
                start_s = max(free_s[device], times.release_s[job])
                free_s[device] = start_s + times.run_s[job, devices[device]]
                ends.append(free_s[device] - times.release_s[job])
            best_makespan_s = min(best_makespan_s, max(free_s) - times.first_s)
            best_mean_s = min(best_mean_s, sum(ends) / len(times))
    return best_makespan_s, best_mean_s


@settings(max_examples=40, deadline=None)
@given(matrices, st.data())
def test_no_schedule_of_a_small_world_beats_the_bounds(
    world: tuple[list[list[float]], list[int]], data: st.DataObject
) -> None:
    run_s, devices = world
    release = data.draw(st.lists(st.floats(0.0, 60.0), min_size=len(run_s), max_size=len(run_s)))
    times = some_times(run_s, devices, release)
    makespan_s, mean_s = all_schedules(times)
    any_s, whole_s = mean_bounds_s(times)
    bound_s = makespan_bound_s(times)
    assert bound_s is not None and any_s is not None and whole_s is not None
    assert bound_s <= makespan_s
    assert any_s <= whole_s <= mean_s


@settings(max_examples=25, deadline=None)
@given(matrices)
def test_the_mean_of_a_small_batch_is_its_optimum(
    world: tuple[list[list[float]], list[int]],
) -> None:
    times = some_times(*world)
    assert mean_bounds_s(times)[1] == pytest.approx(all_schedules(times)[1], rel=1e-6)


def interrupted(times: TrueTimes, draw: random.Random, step_s: float) -> tuple[float, float]:
    """Makespan and mean completion when every so often all devices are given out anew.

    Now and then at random, mostly to the jobs with the least work left, on their best device.
    """
    devices = [kind for kind, count in enumerate(times.devices) for _ in range(int(count))]
    left = [1.0] * len(times)
    ends = [inf] * len(times)
    now_s = 0.0
    while max(ends) == inf:
        waiting = [j for j in range(len(left)) if left[j] > 0 and times.release_s[j] <= now_s]
        free = set(range(len(devices)))
        if draw.random() < 0.2:
            draw.shuffle(waiting)
        else:
            waiting.sort(key=lambda j: (left[j] * times.best_s[j], j))
        for job in waiting:
            run_s = {d: times.run_s[job, devices[d]] for d in sorted(free)}
            device = min(run_s, key=lambda d: (run_s[d], d), default=None)
            if device is None or run_s[device] == inf:
                continue
            free.discard(device)
            need_s = left[job] * run_s[device]
            if need_s <= step_s:
                left[job], ends[job] = 0.0, now_s + need_s
            else:
                left[job] -= step_s / run_s[device]
        now_s += step_s
    spans = [end - come for end, come in zip(ends, times.release_s, strict=True)]
    return max(ends) - times.first_s, sum(spans) / len(spans)


@settings(max_examples=40, deadline=None)
@given(matrices, st.integers(0, 1_000_000))
def test_no_schedule_with_interruptions_and_moves_beats_the_bounds(
    world: tuple[list[list[float]], list[int]], seed: int
) -> None:
    run_s, devices = world
    draw = random.Random(seed)
    times = some_times(run_s, devices, [draw.choice((0.0, 5.0, 20.0)) for _ in run_s])
    makespan_s, mean_s = interrupted(times, draw, step_s=draw.choice((0.3, 1.0, 4.0)))
    bound_s, (any_s, _) = makespan_bound_s(times), mean_bounds_s(times)
    assert bound_s is not None and bound_s <= makespan_s * (1 + 1e-9)
    assert any_s is not None and any_s <= mean_s * (1 + 1e-9)


# ----------------------------------------------------------------------------- against simulations


def a_random_world(draw: random.Random) -> Scenario:
    """Jobs with run times of their own on three classes, some that cannot run everywhere."""
    kinds = [NX, ORIN, DeviceClass("v100", memory_mib=16_000)]
    devices = [
        Device(f"{kind.model}-{n}", kind) for kind in kinds for n in range(draw.randint(1, 2))
    ]
    jobs: list[Job] = []
    verdicts = {}
    at_s = 0.0
    for number in range(draw.randint(1, 25)):
        size_s = draw.lognormvariate(4, 1)
        able = [kind for kind in kinds if draw.random() < 0.8] or kinds[:1]
        verdicts[str(number)] = {k.model: known_run(size_s * draw.uniform(1, 5)) for k in able}
        needs = Needs(device=(draw.choice(devices).id,)) if draw.random() < 0.05 else Needs()
        jobs.append(a_job(str(number), submitted_s=at_s, needs=needs))
        at_s += draw.choice((0.0, draw.expovariate(1 / 30)))
    outages = [Outage(devices[0].id, 100.0, 400.0)] if draw.random() < 0.3 else []
    table = VerdictTable(verdicts)
    return Scenario(
        jobs, devices, CostsAsTruth(table), lambda: VerdictTable(verdicts), 0, tuple(outages)
    )


@pytest.mark.parametrize("name", sorted(policies.BUILT_IN))
def test_no_policy_beats_the_bounds(name: str) -> None:
    bounded = 0
    for seed in range(6):
        world = a_random_world(random.Random(seed))
        done = simulate(name, world)
        finished = {r.job.id for r in done.scheduler.jobs.values() if r.state == "done"}
        bound = bounds(world, finished)
        found = bound.distance(done.metrics)
        if bound.jobs:
            bounded += 1
            assert found.makespan is not None and found.makespan >= 1
            assert found.mean_completion is not None and found.mean_completion >= 1
    assert bounded >= 4  # where an outage stops all, there is nothing to bound


@pytest.mark.parametrize("name", ["earliest_finish", "round_robin", "fastest_device"])
def test_a_world_with_load_times_and_kills_respects_the_bounds(name: str) -> None:
    for seed in range(3):
        world = paper_scenario(seed, mean_gap_s=300.0 * seed, estimate_error=0.3 * seed)
        found = bounds(world).distance(simulate(name, world).metrics)
        assert found.makespan is not None and found.makespan >= 1
        assert found.mean_completion is not None and found.mean_completion >= 1


# ------------------------------------------------------------------------------- the true run times


class Given:
    """A truth that is a table of (seconds, peak MiB) by device model."""

    def __init__(self, runs: dict[str, tuple[float, float]]) -> None:
        self.runs = runs

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        found = self.runs.get(device_class.model)
        return None if found is None else TrueRun(found[0], 0.0, found[1])


def times_of(job: Job, runs: dict[str, tuple[float, float]]) -> TrueTimes:
    return true_times(Scenario([job], [nx(), orin()], Given(runs), paper_costs))


KILLS_ON_NX = {"xavier-nx": (10.0, 9_000.0), "orin-nano": (50.0, 100.0)}


def test_a_class_that_kills_the_job_does_not_count() -> None:
    job = replace(a_job(), workload=replace(a_job().workload, kind="infer"))
    assert times_of(job, KILLS_ON_NX).run_s.tolist() == [[inf, 50.0]]


def test_a_class_that_kills_a_training_job_may_do_a_part_of_it() -> None:
    """If it is interrupted before the kill it goes on elsewhere; in one go it does not."""
    times = times_of(a_job(), KILLS_ON_NX)
    assert times.run_s.tolist() == [[10.0, 50.0]]
    assert times.in_one_go().run_s.tolist() == [[inf, 50.0]]
    world = Scenario([a_job()], [nx(), orin()], Given(KILLS_ON_NX), paper_costs)
    found = bounds(world)
    assert found.makespan_s == pytest.approx(10) and found.whole_makespan_s == pytest.approx(50)
    assert found.mean_completion_s == pytest.approx(10)
    assert found.whole_mean_completion_s == pytest.approx(50)


def test_a_job_that_is_killed_everywhere_cannot_be_done() -> None:
    runs = {"xavier-nx": (10.0, 9_000.0), "orin-nano": (50.0, 9_000.0)}
    assert len(times_of(a_job(), runs)) == 0


class PreemptsOnce:
    """Starts on the NX, and moves to the Orin when the second job comes."""

    def decide(self, view: View) -> Iterator[Placement | Preempt]:
        for job in view.queue():
            name = "xavier-nx" if view.now_s == 0 else "orin-nano"
            for kind in view.kinds:
                if kind.device_class.model == name and (placed := view.place(job, kind)):
                    yield placed
        if view.now_s == 1.0:
            yield Preempt("1")


def test_a_job_that_was_interrupted_before_its_kill_does_not_beat_its_bounds() -> None:
    """A twentieth is done on the NX, which would have killed it at a fiftieth at the earliest."""
    truth = Given({"xavier-nx": (10.0, 9_000.0), "orin-nano": (50.0, 100.0)})
    costs = TableCosts({("distilgpt2", "xavier-nx"): 10.0, ("distilgpt2", "orin-nano"): 50.0})
    for seed in range(20):  # one in which the kill comes after a second
        jobs = [a_job("1"), a_job("2", submitted_s=1.0)]
        world = Scenario(jobs, [nx(), orin()], truth, lambda: costs, seed, disk_mib_s=None)
        done = simulate(PreemptsOnce(), world)
        if done.metrics.preempted:
            break
    assert done.metrics.preempted == 1 and done.metrics.resumed >= 1
    found = bounds_of_run(world, done).distance(done.metrics)
    assert found.makespan is not None and found.makespan >= 1
    assert found.mean_completion is not None and found.mean_completion >= 1


def test_a_class_that_the_job_does_not_ask_for_does_not_count() -> None:
    runs = {"xavier-nx": (10.0, 0.0), "orin-nano": (50.0, 0.0)}
    assert times_of(a_job(needs=Needs(device=("orin-1",))), runs).run_s.tolist() == [[inf, 50.0]]
    assert times_of(a_job(needs=Needs(memory_mib=6_500)), runs).run_s.tolist() == [[inf, 50.0]]


def test_a_job_that_can_run_nowhere_is_left_out_but_its_arrival_begins_the_makespan() -> None:
    jobs = [a_job("lost", "unknown"), a_job("2", submitted_s=50.0)]
    world = Scenario(jobs, [orin()], CostsAsTruth(paper_costs()), paper_costs)
    found = bounds(world)
    assert found.jobs == 1
    assert found.makespan_s == pytest.approx(150.0)
    assert found.mean_completion_s == pytest.approx(100.0)


def test_runs_are_only_compared_with_the_bounds_of_the_jobs_that_they_finished() -> None:
    world = Scenario([a_job()], [orin()], CostsAsTruth(paper_costs()), paper_costs)
    metrics = simulate("earliest_finish", world).metrics
    assert bounds(world).distance(metrics).makespan == pytest.approx(1.0)
    other = Bounds(2, 10.0, 10.0, 10.0, 10.0)
    assert other.distance(metrics).makespan is None
    warm = replace(metrics, counted=0)
    assert bounds(world).distance(warm).mean_completion is None


def test_a_fleet_where_nothing_runs_has_no_bounds() -> None:
    costs = TableCosts({})
    found = bounds(Scenario([a_job()], [nx()], CostsAsTruth(costs), lambda: costs))
    assert found == Bounds(0, None, None, None)


@pytest.mark.slow
def test_two_hundred_thousand_jobs_are_bound_by_class() -> None:
    """The same jobs ten times over take ten times as long."""
    draw = random.Random(3)
    rows = [[t, t * draw.uniform(1, 4)] for t in (draw.lognormvariate(5, 1) for _ in range(20_000))]
    few, many = some_times(rows, [40, 60]), some_times(rows * 10, [40, 60])
    one, ten = makespan_bound_s(few), makespan_bound_s(many)
    assert one is not None and ten is not None
    assert ten == pytest.approx(10 * one, rel=2e-3)


@pytest.mark.skipif(not BRAUN.is_dir(), reason="needs the data set of Braun et al.")
def test_the_makespan_bound_is_the_linear_programs_on_real_instances() -> None:
    for line in (BRAUN / "best_known.csv").read_text().splitlines()[1:]:
        name, best_s, bound_s, *_ = line.split(",")
        words = (BRAUN / name).read_text().split()
        jobs, machines = int(words[0]), int(words[1])
        numbers = [float(word) for word in words[3:]]
        rows = [numbers[machines * i : machines * (i + 1)] for i in range(jobs)]
        found = makespan_bound_s(some_times(rows, [1] * machines))
        assert found is not None and found <= float(best_s)
        assert found == pytest.approx(float(bound_s), rel=1e-5)


def test_an_estimate_is_not_what_bounds() -> None:
    """The scheduler believes in 1 s, the run takes 100."""
    costs = TableCosts({("distilgpt2", "orin-nano"): 1.0})
    world = Scenario([a_job()], [orin()], CostsAsTruth(paper_costs()), lambda: costs)
    assert bounds(world).mean_completion_s == pytest.approx(100.0)


def test_a_device_that_changes_its_power_mode_counts_in_both_classes() -> None:
    """At 50 s the slow NX becomes a faster board, and what runs there goes on faster."""
    faster = replace(nx(), device_class=ORIN)
    world = Scenario(
        [a_job(), a_job("2", submitted_s=50.0)],
        [nx()],
        CostsAsTruth(paper_costs()),
        paper_costs,
        also=[DeviceJoined(50.0, faster)],
    )
    times = true_times(world)
    assert times.devices.tolist() == [1, 1] and not times.steady
    done = simulate("earliest_finish", world)
    found = bounds_of_run(world, done)
    assert done.metrics.mean_completion_s is not None
    assert found.whole_mean_completion_s is not None
    assert found.whole_mean_completion_s <= done.metrics.mean_completion_s
    assert found.whole_mean_completion_s == found.mean_completion_s


SMALL, LARGE = (
    DeviceClass("orin-nano", mode, "", mib) for mode, mib in (("25W", 1e3), ("15W", 8e3))
)


class ByMode:
    """A truth that is a table of runs by power mode."""

    def __init__(self, runs: dict[str, TrueRun]) -> None:
        self.runs = runs

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun:
        return self.runs[device_class.power_mode]


def switched(job: Job, runs: dict[str, TrueRun], kinds: tuple[DeviceClass, DeviceClass]) -> None:
    """Let the one board change its class after 1.5 s, and hold the run against its bounds."""
    costs = TableCosts({("distilgpt2", "orin-nano"): 100.0})
    first, then = (Device("o", kind) for kind in kinds)
    also = [DeviceJoined(1.5, then)]
    world = Scenario([job], [first], ByMode(runs), lambda: costs, also=also)
    done = simulate("first_fit", world)
    (attempt,) = done.scheduler.jobs["1"].attempts
    assert attempt.outcome == "done" and attempt.start_s == 0.0
    found = bounds_of_run(world, done).distance(done.metrics)
    assert found.makespan is not None and found.makespan >= 1
    assert found.mean_completion is not None and found.mean_completion >= 1
    assert true_times(world).kills is None


@pytest.mark.parametrize("kind", ["train", "infer"])
def test_a_run_whose_board_changes_before_its_kill_does_not_beat_its_bounds(
    kind: Literal["train", "infer"],
) -> None:
    """It began where it would be killed after 2 s at the earliest, and was fast until then."""
    job = replace(a_job(), workload=replace(a_job().workload, kind=kind))
    runs = {"25W": TrueRun(100.0, 0.0, 2_000.0), "15W": TrueRun(400.0, 0.0, 2_000.0)}
    switched(job, runs, (SMALL, LARGE))


def test_a_run_whose_board_becomes_one_it_did_not_ask_for_does_not_beat_its_bounds() -> None:
    runs = {"15W": TrueRun(400.0, 0.0, 500.0), "25W": TrueRun(100.0, 0.0, 500.0)}
    switched(a_job(needs=Needs(memory_mib=4_000.0)), runs, (LARGE, SMALL))


def test_a_run_that_loads_before_its_board_changes_does_not_beat_its_bounds() -> None:
    """It loads in 1 s where work is slow, and then works where loading would be."""
    runs = {"15W": TrueRun(400.0, 1.0, 500.0), "25W": TrueRun(400.0, 300.0, 500.0)}
    switched(a_job(), runs, (LARGE, SMALL))


def test_after_a_warm_up_the_makespan_is_still_bound() -> None:
    """Of jobs of 100 s on one Orin the first does not count in the mean; all do in the makespan."""
    jobs = [a_job("1"), a_job("2", submitted_s=150.0), a_job("3", submitted_s=200.0)]
    world = Scenario(jobs, [orin()], CostsAsTruth(paper_costs()), paper_costs)
    found, plain = bounds_after(world, 0.1), bounds(world)
    assert (found.jobs, found.makespan_s, found.whole_makespan_s) == (
        *(3, plain.makespan_s, plain.whole_makespan_s),
    )
    assert found.whole_makespan_s == pytest.approx(350)
    assert found.whole_mean_completion_s == pytest.approx((100 + 150) / 2)
    done = simulate("earliest_finish", world, warmup=0.1)
    assert bounds_of_run(world, done) == found and bounds_after(world, 0.0) == plain


def test_the_bounds_of_a_run_are_of_what_it_has_done() -> None:
    """The second job is killed by its time limit, so only the first one counts."""
    jobs = [a_job("1"), a_job("2", submitted_s=5.0, time_limit_s=1.0)]
    world = Scenario(jobs, [orin()], CostsAsTruth(paper_costs()), paper_costs)
    done = simulate("earliest_finish", world)
    assert bounds_of_run(world, done).jobs == 1 and bounds(world).jobs == 2
    assert bounds(world).distance(done.metrics).makespan is None


def test_a_run_is_in_one_go_unless_something_was_resumed() -> None:
    outage = (Outage("orin-1", 50.0, 60.0),)
    for every_s, resumed in ((None, 0), (10.0, 1)):
        job = a_job(checkpoint_every_s=every_s)
        costs = CostsAsTruth(paper_costs())
        world = Scenario([job], [orin()], costs, paper_costs, outages=outage)
        done = simulate("earliest_finish", world)
        assert done.metrics.attempts == 2 and done.metrics.resumed == resumed
        found = Bounds(1, 1.0, 2.0, 4.0, 3.0)
        assert found.of(done.metrics) == ((1.0, 2.0) if resumed else (3.0, 4.0))


def test_shared_boards_are_bound_by_what_they_run_at_once() -> None:
    """Two jobs of 100 s on one Orin that both may share: neither is faster than alone."""
    world = Scenario(
        [a_job("1"), a_job("2")], [orin()], CostsAsTruth(paper_costs()), paper_costs, share=2
    )
    times = true_times(world)
    assert times.devices.tolist() == [2] and not times.steady
    found = bounds(world)
    assert found.makespan_s == pytest.approx(100) and found.mean_completion_s == pytest.approx(100)
