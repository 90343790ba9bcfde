"""Several jobs on a board: who may, how they slow each other, and what packing them is worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from builders import ORIN, a_job, an_estimate, nx, orin
from hypothesis import given, settings
from hypothesis import strategies as st
from invariants import check_invariants

from jetsched import policies
from jetsched.cluster.livepolicy import live_policy
from jetsched.cluster.simulated import Outage, SimulatedCluster
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.truth import CostsAsTruth, TrueRun
from jetsched.cluster.worldchecks import arguments, describe
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import scenario
from jetsched.errors import InputError
from jetsched.policies.colocation import Colocation
from jetsched.policies.contract import PolicyContract
from jetsched.policies.interference import SharedGpu
from jetsched.records import Device, DeviceClass, Job, Placement, Verdict
from jetsched.scheduler.checks import policy_name
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceJoined,
    DeviceLost,
    Event,
    Finished,
    Start,
    Submitted,
)
from jetsched.scheduler.journal import MemoryJournal
from jetsched.scheduler.loop import run
from jetsched.scheduler.table import VerdictTable
from jetsched.scheduler.view import Policy, View


def a_run(
    time_s: float = 100.0, *, mib: float = 2000.0, gpu_pct: float | None = 40.0, **more: Any
) -> Verdict:
    return an_estimate(time_s, peak_memory_mib=mib, admitted_mib=mib, gpu_util_pct=gpu_pct, **more)


def table(**runs: Verdict) -> VerdictTable:
    """The same on either board, by job id: j1 is job "1"."""
    return VerdictTable(
        {name[1:]: {"orin-nano": found, "xavier-nx": found} for name, found in runs.items()}
    )


class Packing:
    """Everything on the first board with room, be it good or not."""

    def decide(self, view: View) -> Iterator[Placement]:
        for job in list(view.queue()):
            for kind in view.kinds:
                found = view.place(job, kind)
                if found is None or found.start_s > view.now_s:
                    beside = (view.beside(job, device) for device in view.with_room(kind))
                    found = next((p for p in beside if p is not None), None)
                if found is not None:
                    yield found
                    break


class TestContract(PolicyContract):
    def make(self, seed: int) -> Policy:
        return policies.load("colocation")


# --------------------------------------------------------------------------------------- the core


def a_scheduler(costs: VerdictTable, share: int = 2, policy: Policy | None = None) -> Scheduler:
    scheduler = Scheduler(policy or Packing(), costs, share=share)
    scheduler.handle(DeviceJoined(0.0, orin()))
    return scheduler


def started(actions: list[Any]) -> list[tuple[str, str]]:
    return [(a.placement.job.id, a.placement.device.id) for a in actions if isinstance(a, Start)]


def submitted(*names: str, at_s: float = 0.0) -> Submitted:
    return Submitted(at_s, tuple(a_job(name) for name in names))


def test_two_jobs_share_a_board_where_the_scheduler_was_told_so() -> None:
    scheduler = a_scheduler(table(j1=a_run(), j2=a_run(60.0), j3=a_run()))
    actions = scheduler.handle(submitted("1", "2", "3"))
    assert started(actions) == [("1", "orin-1"), ("2", "orin-1")]  # in one decision
    check_invariants(scheduler)
    assert scheduler.fleet.jobs_on("orin-1") == ["1", "2"]
    assert [job.id for job, _ in scheduler.view(0.0).running()] == ["1", "2"]
    actions = scheduler.handle(Finished(50.0, "1", 1, "done"))
    assert started(actions) == [("3", "orin-1")]
    check_invariants(scheduler)
    assert scheduler.fleet.finish_s["orin-1"] == 150.0  # of the last of them


def test_nobody_shares_a_board_unless_told_so() -> None:
    """Whoever tries is refused, and told."""

    class Wild:
        def decide(self, view: View) -> Iterator[Placement]:
            for job in view.queue():
                found = view.place_on(job, orin())
                assert found is not None
                yield replace(found, start_s=view.now_s)

    scheduler = a_scheduler(table(j1=a_run(), j2=a_run()), share=1, policy=Wild())
    assert started(scheduler.handle(submitted("1", "2"))) == [("1", "orin-1")]
    assert "which is busy" in scheduler.policy_errors[0]
    shared = a_scheduler(table(j1=a_run(), j2=a_run(mib=6000.0)), policy=Wild())
    assert started(shared.handle(submitted("1", "2"))) == [("1", "orin-1")]
    assert "no room for it beside others" in shared.policy_errors[0]


@pytest.mark.parametrize(
    ("other", "shares"),
    [
        (a_run(mib=4900.0), True),  # 2,000 + 4,900 are just what the board has
        (a_run(mib=4901.0), False),
        (a_run(fit="tight"), False),
        (a_run(mib=0.0), False),  # nothing is known of its memory
    ],
)
def test_memory_is_admitted_for_all_of_them_together(other: Verdict, shares: bool) -> None:
    scheduler = a_scheduler(table(j1=a_run(), j2=other))
    scheduler.handle(submitted("1"))
    scheduler.handle(submitted("2", at_s=1.0))
    assert (scheduler.jobs["2"].state == "starting") == shares
    assert not scheduler.policy_errors


def test_a_board_takes_no_more_jobs_than_it_may() -> None:
    runs = {f"j{n}": a_run(mib=100.0) for n in range(6)}
    scheduler = a_scheduler(table(**runs), share=4)
    assert len(started(scheduler.handle(submitted(*"012345")))) == 4
    check_invariants(scheduler)


def test_of_boards_with_room_the_idlest_comes_first() -> None:
    scheduler = Scheduler(Packing(), table(j1=a_run(gpu_pct=70.0), j2=a_run(gpu_pct=20.0)), share=2)
    for number in (1, 2):
        scheduler.handle(DeviceJoined(0.0, orin(number)))
    scheduler.handle(submitted("1", "2"))
    view = scheduler.view(0.0)
    assert [device.id for device in view.with_room(view.kinds[0])] == ["orin-2", "orin-1"]


def test_where_a_gpu_share_is_not_known_there_is_no_room() -> None:
    scheduler = a_scheduler(table(j1=a_run(gpu_pct=None), j2=a_run()))
    assert started(scheduler.handle(submitted("1", "2"))) == [("1", "orin-1")]
    view = scheduler.view(0.0)
    assert list(view.with_room(view.kinds[0])) == []


def test_a_lost_board_loses_all_that_run_there() -> None:
    scheduler = a_scheduler(table(j1=a_run(), j2=a_run()))
    scheduler.handle(submitted("1", "2"))
    scheduler.handle(DeviceLost(10.0, "orin-1"))
    assert [scheduler.jobs[n].attempts[0].outcome for n in "12"] == ["lost", "lost"]
    check_invariants(scheduler)
    assert len(started(scheduler.handle(DeviceJoined(20.0, orin())))) == 2


def test_a_board_that_joins_again_in_another_mode_keeps_what_runs() -> None:
    scheduler = a_scheduler(table(j1=a_run(), j2=a_run(), j3=a_run()))
    scheduler.handle(submitted("1", "2"))
    scheduler.handle(
        DeviceJoined(5.0, replace(orin(), device_class=replace(ORIN, power_mode="7W")))
    )
    check_invariants(scheduler)
    assert scheduler.fleet.jobs_on("orin-1") == ["1", "2"]
    scheduler.handle(Finished(10.0, "1", 1, "done"))
    assert started(scheduler.handle(submitted("3", at_s=11.0))) == [("3", "orin-1")]
    check_invariants(scheduler)


def test_a_replay_brings_all_of_a_board_back() -> None:
    costs = table(j1=a_run(), j2=a_run())
    journal = MemoryJournal()
    scheduler = Scheduler(Packing(), costs, share=2, journal=journal)
    scheduler.handle(DeviceJoined(0.0, orin()))
    scheduler.handle(submitted("1", "2"))
    again = Scheduler(Packing(), costs, share=2)
    again.replay(list(journal))
    assert again.fleet.jobs_on("orin-1") == ["1", "2"]


def test_a_share_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one job"):
        Scheduler(Packing(), table(), share=0)


# ------------------------------------------------------------------------------ the simulated board


class Truth:
    """How each job really goes, whatever board it is on."""

    def __init__(self, **runs: TrueRun) -> None:
        self._runs = runs

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        return self._runs["j" + job.id]


def truly(time_s: float, gpu_pct: float | None = 40.0, mib: float = 2000.0) -> TrueRun:
    return TrueRun(time_s, 0.0, mib, energy_j=10 * time_s, gpu_util_pct=gpu_pct)


def play(
    jobs: list[Job], truth: Truth, costs: VerdictTable, share: int = 2, **how: Any
) -> tuple[dict[str, list[Any]], SimulatedCluster, list[Event]]:
    """(start, end, outcome) of each attempt, the cluster, all events."""
    cluster = SimulatedCluster([orin()], jobs, truth, seed=0, **how)
    scheduler = Scheduler(Packing(), costs, share=share)
    events = []
    for event, _ in run(scheduler, cluster):
        events.append(event)
        check_invariants(scheduler)
    assert not scheduler.policy_errors
    attempts = {
        record.job.id: [(a.start_s, a.end_s or -1.0, str(a.outcome)) for a in record.attempts]
        for record in scheduler.jobs.values()
    }
    return attempts, cluster, events


def half(own: float, others: Any) -> float:
    """Beside others everything takes twice as long."""
    return 0.5 if others else 1.0


TWO = [a_job("1"), a_job("2", submitted_s=40.0)]
PAIR = table(j1=a_run(), j2=a_run())


def test_a_run_slows_down_when_another_comes_and_speeds_up_when_it_goes() -> None:
    """Job 1 has 60 s left at 40 s: they take 120; job 2 has done 60 by then and has 40 left."""
    truth = Truth(j1=truly(100.0), j2=truly(100.0))
    attempts, cluster, _ = play(TWO, truth, PAIR, interference=half)
    assert attempts["1"] == [(0.0, pytest.approx(160.0), "done")]
    assert attempts["2"] == [(40.0, pytest.approx(200.0), "done")]
    assert cluster.energy_j == pytest.approx(2000.0)  # each as much as alone: assumed


def test_without_an_own_model_the_gpu_is_shared_as_assumed() -> None:
    """Two jobs of 40 % each hardly notice each other, two of 100 % take more than twice as long."""
    jobs = [a_job("1"), a_job("2")]
    small, _, _ = play(jobs, Truth(j1=truly(100.0), j2=truly(100.0)), PAIR)
    assert small["1"][0][1] == pytest.approx(100 * (1 + 0.15 * 0.4))
    full, _, _ = play(jobs, Truth(j1=truly(100.0, 100.0), j2=truly(100.0, None)), PAIR)
    assert full["2"][0][1] == pytest.approx(100 * 2 * 1.15)


def test_who_is_alone_runs_as_if_nobody_ever_shared() -> None:
    truth = Truth(j1=truly(30.0), j2=truly(100.0))
    attempts, _, _ = play(TWO, truth, PAIR, interference=half)
    assert attempts == {"1": [(0.0, 30.0, "done")], "2": [(40.0, 140.0, "done")]}


def test_a_cancelled_neighbour_gives_its_time_back() -> None:
    truth = Truth(j1=truly(100.0), j2=truly(100.0))
    also = [CancelAsked(60.0, "1")]
    attempts, cluster, _ = play(TWO, truth, PAIR, interference=half, also=also)
    assert attempts["1"] == [(0.0, 60.0, "cancelled")]
    assert attempts["2"] == [(40.0, pytest.approx(60 + 90), "done")]
    assert cluster.energy_j == pytest.approx(10 * 50 + 1000)


def test_a_time_limit_is_one_of_the_clock() -> None:
    jobs = [a_job("1", time_limit_s=120.0), a_job("2")]
    truth = Truth(j1=truly(100.0), j2=truly(100.0))
    attempts, _, _ = play(jobs, truth, PAIR, interference=half)
    assert attempts["1"] == [(0.0, 120.0, "killed_time")]
    assert attempts["2"][0][1] == pytest.approx(160.0)


def test_a_limit_that_was_feared_is_forgotten_when_the_neighbour_goes() -> None:
    jobs = [a_job("1", time_limit_s=120.0), a_job("2")]
    truth = Truth(j1=truly(100.0), j2=truly(10.0))
    attempts, _, _ = play(jobs, truth, PAIR, interference=half)
    assert attempts["1"] == [(0.0, pytest.approx(110.0), "done")]


def test_a_lost_board_ends_all_runs_and_saves_what_was_saved() -> None:
    """Half a second's work per second: 40 s are worked off in 80, of which 20 + 20 are saved."""
    jobs = [a_job(name, checkpoint_every_s=20.0) for name in "12"]
    truth = Truth(j1=truly(100.0), j2=truly(100.0))
    outage = Outage("orin-1", 90.0, 100.0)
    attempts, _, _ = play(jobs, truth, PAIR, interference=half, outages=[outage])
    for name in "12":
        assert [outcome for *_, outcome in attempts[name]] == ["lost", "done"]
        assert attempts[name][1][1] == pytest.approx(100 + 2 * 60)


def test_what_needs_more_memory_than_was_admitted_is_lost_and_teaches_nothing() -> None:
    """Alone it fits: that it was killed beside another says nothing about the workload."""
    jobs = [a_job("1"), a_job("2")]
    truth = Truth(j1=truly(100.0, mib=4000.0), j2=truly(100.0, mib=4000.0))
    attempts, _, events = play(jobs, truth, PAIR)
    assert attempts["1"][0][2] == "done" and attempts["2"][0][2] == "lost"
    texts = [event.text for event in events if isinstance(event, Finished)]
    assert "memory ran out beside 1 other" in texts
    assert all(event.measurement is None for event in events if isinstance(event, Finished))


fleet = (orin(1), nx(1), nx(2))
worlds = st.fixed_dictionaries(
    {
        "share": st.integers(1, 4),
        "jobs": st.lists(
            st.tuples(
                st.integers(0, 50),  # arrival
                st.integers(1, 60),  # seconds
                st.sampled_from([0.0, 500.0, 2000.0, 5000.0]),  # MiB
                st.sampled_from([None, 10.0, 60.0, 100.0]),  # GPU
            ),
            max_size=20,
        ),
        "outages": st.lists(
            st.tuples(st.sampled_from(fleet), st.integers(0, 60), st.integers(1, 30)), max_size=3
        ),
        "cancels": st.lists(st.tuples(st.integers(0, 60), st.integers(0, 19)), max_size=3),
    }
)


@settings(max_examples=80, deadline=None)
@given(drawn=worlds, packs=st.booleans())
def test_the_books_are_right_whoever_shares_what(drawn: dict[str, Any], packs: bool) -> None:
    jobs, runs = [], {}
    for number, (at_s, time_s, mib, gpu_pct) in enumerate(drawn["jobs"]):
        jobs.append(a_job(str(number), submitted_s=float(at_s)))
        runs[f"j{number}"] = a_run(float(time_s), mib=mib, gpu_pct=gpu_pct)
    costs = table(**runs)

    def once() -> list[str]:
        cluster = SimulatedCluster(
            fleet,
            jobs,
            CostsAsTruth(costs),
            seed=0,
            outages=[
                Outage(d.id, float(at), float(at + lasts)) for d, at, lasts in drawn["outages"]
            ],
            also=[CancelAsked(float(at_s), str(n)) for at_s, n in drawn["cancels"]],
        )
        policy: Policy = Packing() if packs else Colocation(gain=0.0, least_speed=0.1)
        journal = MemoryJournal()
        scheduler = Scheduler(policy, costs, share=drawn["share"], journal=journal)
        for _ in run(scheduler, cluster):
            check_invariants(scheduler)
        assert not scheduler.policy_errors
        for record in scheduler.jobs.values():
            assert record.state in ("done", "cancelled", "lost"), record
        return [repr(entry) for entry in journal]

    assert once() == once()


# --------------------------------------------------------------------------------------- the policy


def test_small_shares_add_up_and_full_ones_do_not() -> None:
    speed = SharedGpu()
    assert speed(40.0, []) == 1.0
    assert speed(40.0, [40.0]) > 0.9
    assert 2 * speed(100.0, [100.0]) < 1.0
    assert speed(10.0, [90.0]) < speed(90.0, [10.0]) < 1.0
    with pytest.raises(ValueError, match="coupling"):
        SharedGpu(-1.0)


def a_stream(gpu_pct: float, share: int, seed: int = 0) -> Scenario:
    """Twice as many jobs as four boards can do one at a time."""
    random = Random(seed)
    jobs, runs = [], {}
    for number in range(300):
        runs[f"j{number}"] = a_run(random.uniform(50.0, 150.0), mib=2000.0, gpu_pct=gpu_pct)
        jobs.append(a_job(str(number), submitted_s=12.5 * number))
    costs = table(**runs)
    devices = [Device(f"orin-{n}", ORIN) for n in range(4)]
    return Scenario(jobs, devices, CostsAsTruth(costs), lambda: table(**runs), seed, share=share)


def test_packing_is_worth_much_where_gpus_are_half_idle() -> None:
    """At 40 % each, two on a board get 1.9 times as much done: the overload is gone."""
    alone = simulate("colocation", a_stream(40.0, share=1)).metrics
    plain = simulate("comparative_advantage", a_stream(40.0, share=2)).metrics
    packed = simulate("colocation", a_stream(40.0, share=2)).metrics
    assert alone.mean_completion_s == plain.mean_completion_s is not None
    assert packed.mean_completion_s is not None and packed.makespan_s is not None
    assert packed.mean_completion_s < 0.35 * plain.mean_completion_s
    assert plain.makespan_s is not None and packed.makespan_s < 0.6 * plain.makespan_s
    assert packed.unfinished == 0


@pytest.mark.parametrize("gpu_pct", [90.0, 100.0])
def test_nothing_is_packed_where_gpus_are_full(gpu_pct: float) -> None:
    plain = simulate("comparative_advantage", a_stream(gpu_pct, share=2)).metrics
    packed = simulate("colocation", a_stream(gpu_pct, share=2)).metrics
    assert packed == plain


def test_it_stays_within_its_margin_where_interference_is_worse_than_it_thinks() -> None:
    """The truth couples three times as much: still better than one job per board."""
    world = replace(a_stream(40.0, share=2), interference=SharedGpu(0.45))
    plain = simulate("comparative_advantage", world).metrics
    packed = simulate("colocation", world).metrics
    assert packed.mean_completion_s is not None and plain.mean_completion_s is not None
    assert packed.mean_completion_s < 0.6 * plain.mean_completion_s


def test_options_that_make_no_sense_are_refused() -> None:
    for options in ({"gain": -1.0}, {"least_speed": 2.0}, {"coupling": -1.0}, {"bias": 99.0}):
        with pytest.raises(ValueError):
            Colocation(**options)


def test_real_boards_are_not_shared() -> None:
    """A policy that would is refused, with what it is for."""
    with pytest.raises(InputError, match="one GPU job at a time") as refused:
        live_policy("colocation")
    assert "--share" in str(refused.value.hint)
    assert policy_name(live_policy("earliest_finish")) == "earliest_finish"


def test_share_is_an_option_of_a_world() -> None:
    options = WorldOptions(generate=20, fleet="orin-nano:2", share=3)
    assert scenario(options, 0).share == 3
    words = arguments(options)
    assert words[words.index("--share") + 1] == "3"
    assert "A board may run 3 jobs at a time." in describe(options)
    with pytest.raises(InputError, match="--share 0"):
        scenario(replace(options, share=0), 0)
