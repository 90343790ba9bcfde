"""What moving, saving and switching cost in a simulated cluster: models, checkpoints, modes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from builders import ORIN, a_job, a_workload, nx, orin, paper_costs

from jetsched import policies
from jetsched.cluster.moves import Checkpoints, ModelCaches, Transfer, checkpoint_mib
from jetsched.cluster.simulated import Outage, SimulatedCluster
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.truth import TrueRun
from jetsched.errors import InputError
from jetsched.profiler.models import shape
from jetsched.records import Device, DeviceClass, Job, Measurement, Placement, Preempt
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import DeviceJoined, DeviceLost, Event, Finished, Started
from jetsched.scheduler.loop import run
from jetsched.scheduler.view import Policy, View

#: The same board in a mode in which everything takes twice as long.
SLOW = replace(ORIN, power_mode="7W")
MIB = 1024 * 1024


class ByMode:
    """100 s, 10 of them loading; twice that in the slow mode, at half the power."""

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        times = 2 if device_class.power_mode == "7W" else 1
        return TrueRun(100.0 * times, 10.0 * times, 2000.0, energy_j=1000.0)


def play(
    jobs: Iterable[Job], devices: Iterable[Device] = (orin(),), *, policy: Policy | None = None,
    **how: Any,
) -> tuple[dict[str, list[Any]], SimulatedCluster, list[Event]]:  # fmt: skip
    """(start, end, outcome) of each attempt by job id, the cluster, and all events."""
    cluster = SimulatedCluster(devices, jobs, ByMode(), seed=0, **how)
    scheduler = Scheduler(policy or policies.load("earliest_finish"), paper_costs())
    events = [event for event, _ in run(scheduler, cluster)]
    attempts = {
        record.job.id: [(a.start_s, a.end_s or -1.0, str(a.outcome)) for a in record.attempts]
        for record in scheduler.jobs.values()
    }
    return attempts, cluster, events


# ------------------------------------------------------------------------------- models and caches


def weights_mib(model: str) -> float:
    known = shape(model)
    assert known is not None
    return 4 * known.parameters / MIB


def test_a_board_fetches_a_model_before_its_first_use_and_not_before_the_next() -> None:
    fetch_s = weights_mib("distilgpt2") / 10.0
    jobs = [a_job("1"), a_job("2"), a_job("3", model="tiny-gpt2")]
    attempts, _, events = play(jobs, transfer=Transfer(10.0))
    first, second, third = (attempts[job.id][0] for job in jobs)
    assert first[1] == pytest.approx(fetch_s + 100) and fetch_s > 30
    assert second[1] - second[0] == pytest.approx(100)
    assert third[1] - third[0] == pytest.approx(100 + weights_mib("tiny-gpt2") / 10.0)
    started = [event.at_s for event in events if isinstance(event, Started)]
    assert started[0] == pytest.approx(fetch_s + 10)


def test_each_board_has_its_own_cache() -> None:
    jobs = [a_job("1"), a_job("2")]
    attempts, _, _ = play(jobs, [orin(1), orin(2)], transfer=Transfer(10.0))
    ends = {end_s for runs in attempts.values() for _, end_s, _ in runs}
    assert sorted(ends) == [pytest.approx(100 + weights_mib("distilgpt2") / 10.0)]


def test_a_full_cache_forgets_what_was_used_longest_ago() -> None:
    one, two = a_workload("distilgpt2"), a_workload("gpt2")
    mib = weights_mib("distilgpt2") + weights_mib("gpt2")
    caches = ModelCaches(Transfer(1.0, cache_mib=mib))
    for used in (one, two, one, a_workload("tiny-gpt2")):
        caches.keep("a", used)
    assert caches.fetch_s("a", one) == 0.0
    assert caches.fetch_s("a", two) == pytest.approx(weights_mib("gpt2"))
    assert caches.fetch_s("b", one) == pytest.approx(weights_mib("distilgpt2"))


def test_what_is_larger_than_the_cache_is_fetched_each_time() -> None:
    caches = ModelCaches(Transfer(2.0, cache_mib=1.0))
    caches.keep("a", a_workload("gpt2"))
    assert caches.fetch_s("a", a_workload("gpt2")) == pytest.approx(weights_mib("gpt2") / 2)


def test_a_model_of_unknown_size_takes_no_time_to_fetch() -> None:
    assert ModelCaches(Transfer(1.0)).fetch_s("a", a_workload("nobody/knows-it")) == 0.0


def test_a_model_is_only_there_once_it_was_fetched_to_the_end() -> None:
    """The board is lost 1 s into a transfer of half a minute: all of it is done again."""
    attempts, _, _ = play([a_job()], transfer=Transfer(10.0), outages=[Outage("orin-1", 1.0, 2.0)])
    lost, done = attempts["1"]
    assert lost == (0.0, 1.0, "lost")
    assert done[1] - done[0] == pytest.approx(100 + weights_mib("distilgpt2") / 10.0)


@pytest.mark.parametrize(("link", "cache"), [(0.0, 1.0), (float("inf"), 1.0), (1.0, -1.0)])
def test_a_link_or_a_cache_that_makes_no_sense_is_refused(link: float, cache: float) -> None:
    with pytest.raises(InputError):
        Transfer(link, cache)


# ------------------------------------------------------------------------------------- checkpoints


class PreemptOnce:
    """In the order of the queue; a job of high priority stops job 1."""

    def decide(self, view: View) -> Iterator[Placement | Preempt]:
        queue = list(view.queue())
        if view.free_count and queue:
            yield view.options(queue[0])[0]
        elif queue and queue[0].priority > 50:
            yield Preempt("1", "for another")


def checkpoint_s(disk_mib_s: float) -> float:
    mib = checkpoint_mib(a_workload())
    assert mib is not None
    return mib / disk_mib_s


def test_a_checkpoint_is_the_trained_weights_with_two_moments_each() -> None:
    full, known = checkpoint_mib(a_workload("gpt2")), shape("gpt2")
    assert known is not None and full is not None
    assert full == pytest.approx(12 * known.parameters_with("qa") / MIB)
    lora = checkpoint_mib(a_workload("gpt2", method="lora", lora_rank=8))
    assert lora is not None and lora < 0.01 * full
    assert checkpoint_mib(a_workload("nobody/knows-it")) is None


def test_what_cannot_be_resumed_costs_no_checkpoint() -> None:
    checkpoints, whole = Checkpoints(100.0), TrueRun(100.0, 10.0, 500.0)
    assert checkpoints.seconds(a_workload(kind="infer"), whole) == 0.0
    assert checkpoints.seconds(a_workload("nobody/knows-it"), whole) == 5.0  # all that it holds


def test_preempting_costs_a_checkpoint_and_reading_it_again() -> None:
    """At 30 s, 20 of 90 s of work are done. Nothing is lost but the two trips to the disk."""
    trip_s = checkpoint_s(100.0)
    jobs = [a_job("1"), a_job("2", submitted_s=30.0, priority=60)]
    attempts, _, _ = play(jobs, policy=PreemptOnce(), disk_mib_s=100.0)
    first, second = attempts["1"]
    assert first == (0.0, pytest.approx(30 + trip_s), "preempted") and trip_s > 5
    assert attempts["2"][0][:2] == (first[1], first[1] + 100)
    assert second[1] - second[0] == pytest.approx(10 + trip_s + 70)


def test_who_has_not_begun_to_work_has_no_checkpoint_to_write() -> None:
    jobs = [a_job("1"), a_job("2", submitted_s=5.0, priority=60)]
    attempts, _, _ = play(jobs, policy=PreemptOnce(), disk_mib_s=100.0)
    first, second = attempts["1"]
    assert first == (0.0, 5.0, "preempted")
    assert second[1] - second[0] == pytest.approx(100.0)


def test_a_board_that_is_lost_while_it_saves_has_saved_nothing() -> None:
    trip_s = checkpoint_s(100.0)
    jobs = [a_job("1"), a_job("2", submitted_s=30.0, priority=60)]
    outages = [Outage("orin-1", 30.0 + trip_s / 2, 40.0 + trip_s)]
    attempts, _, _ = play(jobs, policy=PreemptOnce(), disk_mib_s=100.0, outages=outages)
    lost, done = attempts["1"]
    assert lost == (0.0, outages[0].from_s, "lost")
    assert done[1] - done[0] == pytest.approx(100.0)


def test_checkpoints_now_and_then_make_a_run_longer_by_what_they_take() -> None:
    """Every 30 s of work; lost at 100 s, so that as many whole periods are saved as went in."""
    trip_s = checkpoint_s(100.0)
    stretch = 1 + trip_s / 30
    whole, _, _ = play([a_job(checkpoint_every_s=30.0)], disk_mib_s=100.0)
    assert whole["1"][0][1] == pytest.approx(10 + 90 * stretch)
    outage = Outage("orin-1", 100.0, 100.0 + 1e-6)
    attempts, _, _ = play([a_job(checkpoint_every_s=30.0)], disk_mib_s=100.0, outages=[outage])
    _, done = attempts["1"]
    periods = (100.0 - 10.0) // (30 + trip_s)
    assert periods >= 1
    assert done[1] - done[0] == pytest.approx(10 + trip_s + (90 - 30 * periods) * stretch)


def test_a_checkpoint_is_not_made_worse_by_an_attempt_that_got_less_far() -> None:
    """The second attempt is lost while it still loads: the third goes on from the first."""
    outages = [Outage("orin-1", 55.0, 56.0), Outage("orin-1", 60.0, 61.0)]
    attempts, _, _ = play([a_job(checkpoint_every_s=15.0)], outages=outages)
    assert [outcome for _, _, outcome in attempts["1"]] == ["lost", "lost", "done"]
    assert attempts["1"][-1][1] == pytest.approx(61 + 10 + 45)


def test_energy_is_booked_for_moving_and_saving_too() -> None:
    """10 W on average, fetching and the trips of the checkpoint included."""
    jobs = [a_job("1"), a_job("2", submitted_s=60.0, priority=60)]
    attempts, cluster, _ = play(
        jobs, policy=PreemptOnce(), disk_mib_s=100.0, transfer=Transfer(10.0)
    )
    busy_s = sum(end_s - start_s for runs in attempts.values() for start_s, end_s, _ in runs)
    assert cluster.energy_j == pytest.approx(10 * busy_s)
    assert busy_s > 230


# ------------------------------------------------------------------------------------- power modes


def switch(at_s: float, kind: DeviceClass = SLOW) -> DeviceJoined:
    return DeviceJoined(at_s, replace(orin(), device_class=kind))


def test_a_run_goes_on_at_the_pace_of_the_mode_that_its_board_is_switched_to() -> None:
    """At 55 s half of its work is done; the rest takes 90 s instead of 45. So does what follows."""
    attempts, cluster, events = play([a_job("1"), a_job("2")], also=[switch(55.0)])
    assert attempts["1"] == [(0.0, pytest.approx(145.0), "done")]
    assert attempts["2"] == [(pytest.approx(145.0), pytest.approx(345.0), "done")]
    assert cluster.energy_j == pytest.approx(55 * 10 + 90 * 5 + 1000)
    assert sum(isinstance(event, Finished) for event in events) == 2


def test_a_switch_while_a_model_loads_slows_the_rest_of_loading() -> None:
    attempts, _, events = play([a_job()], also=[switch(5.0)])
    assert [event.at_s for event in events if isinstance(event, Started)] == [15.0]
    assert attempts["1"] == [(0.0, 195.0, "done")]


def test_there_and_back_again_costs_the_time_between() -> None:
    attempts, _, _ = play([a_job()], also=[switch(30.0), switch(50.0, ORIN)])
    assert attempts["1"] == [(0.0, pytest.approx(110.0), "done")]


def test_a_board_comes_back_in_the_mode_that_it_was_given_meanwhile() -> None:
    outage = Outage("orin-1", 10.0, 50.0)
    attempts, _, events = play([a_job(submitted_s=5.0)], outages=[outage], also=[switch(20.0)])
    assert attempts["1"][-1] == (50.0, 250.0, "done")
    joined = [(e.at_s, e.device.device_class) for e in events if isinstance(e, DeviceJoined)]
    assert joined == [(0.0, ORIN), (50.0, SLOW)]


def test_a_time_limit_holds_whatever_the_mode_is() -> None:
    attempts, _, _ = play([a_job(time_limit_s=120.0)], also=[switch(55.0)])
    assert attempts["1"] == [(0.0, 120.0, "killed_time")]


def test_a_disturbed_run_is_no_measurement() -> None:
    """Its seconds per unit of work are those of no mode."""

    def measured(**how: Any) -> list[Measurement | None]:
        _, _, events = play([a_job("1"), a_job("2")], measures="all", **how)
        return [event.measurement for event in events if isinstance(event, Finished)]

    assert None not in measured()
    first, second = measured(also=[switch(55.0)])
    assert first is None
    assert second is not None and second.work_s == pytest.approx(180.0)


def test_devices_that_are_lost_and_come_by_other_events_are_as_told() -> None:
    also = [DeviceLost(10.0, "orin-1"), DeviceJoined(30.0, orin()), DeviceJoined(5.0, nx())]
    attempts, _, events = play([a_job("1")], also=also)
    assert [outcome for *_, outcome in attempts["1"]] == ["lost", "done"]
    assert [e.at_s for e in events if isinstance(e, DeviceJoined)] == [0.0, 5.0, 30.0]


def test_a_scenario_says_what_moving_and_saving_cost_and_what_else_happens() -> None:
    world = Scenario([a_job()], [orin()], ByMode(), paper_costs)
    plain = simulate("earliest_finish", world).metrics
    assert plain.makespan_s == 100.0
    fetched = simulate("earliest_finish", replace(world, transfer=Transfer(10.0))).metrics
    assert fetched.makespan_s == pytest.approx(100 + weights_mib("distilgpt2") / 10.0)
    slowed = simulate("earliest_finish", replace(world, also=[switch(55.0)])).metrics
    assert slowed.makespan_s == pytest.approx(145.0)
    jobs = [a_job("1"), a_job("2", submitted_s=30.0, priority=60)]
    saved = simulate(PreemptOnce(), replace(world, jobs=jobs, disk_mib_s=100.0)).metrics
    free = simulate(PreemptOnce(), replace(world, jobs=jobs, disk_mib_s=None)).metrics
    assert free.makespan_s == pytest.approx(210.0) and saved.makespan_s is not None
    assert saved.makespan_s - 210.0 == pytest.approx(2 * checkpoint_s(100.0))


def test_a_board_that_comes_later_and_a_faster_mode_count_in_the_figures() -> None:
    """The second job runs on the new board; slowdown is measured by the fastest mode there is."""
    jobs = [a_job("1"), a_job("2", submitted_s=60.0)]
    slow = [replace(orin(), device_class=SLOW)]
    also = [DeviceJoined(50.0, orin(2))]
    found = simulate("earliest_finish", Scenario(jobs, slow, ByMode(), paper_costs, also=also))
    assert [device.id for device in found.devices] == ["orin-1", "orin-2"]
    assert found.metrics.mean_slowdown == pytest.approx((2.0 + 1.0) / 2)
    assert found.metrics.utilisation == {"orin-nano": pytest.approx((200 + 100) / (2 * 200))}
