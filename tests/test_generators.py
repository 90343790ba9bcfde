"""Generated jobs and arrivals: the load that was asked for, the same bytes each time, and small."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from math import inf, sqrt

import pytest
from builders import TableCosts, a_job
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.cluster.capacity import capacity, demand, lp_capacity
from jetsched.cluster.fleet import numbered, read_fleet
from jetsched.cluster.generators import (
    SWING,
    Stream,
    amount_between,
    arrivals,
    mean_amount,
    merged,
    random_outages,
)
from jetsched.cluster.paper_world import mix_capacity, paper_mix, paper_truth
from jetsched.cluster.simulated import Outage
from jetsched.cluster.simulating import simulate
from jetsched.cluster.truth import CostsAsTruth
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import worlds
from jetsched.errors import InputError
from jetsched.files import json_bytes, to_json
from jetsched.records import DeviceClass, Needs

KINDS = ["poisson", "bursty", "diurnal"]

# ---------------------------------------------------------------------------------------- arrivals


@pytest.mark.parametrize("kind", KINDS)
def test_arrivals_start_at_0_and_come_in_order_as_often_as_asked(kind: str) -> None:
    times = list(arrivals(Stream(kind, 10.0, burstiness=2), 20_000, 3))  # type: ignore[arg-type]
    assert times[0] == 0.0 and all(a <= b for a, b in pairwise(times))
    # Of 20,000 gaps with a coefficient of variation of 2 the mean is within 5 sigma = 7 %.
    assert times[-1] / 19_999 == pytest.approx(10.0, rel=0.07)
    assert times == list(arrivals(Stream(kind, 10.0, burstiness=2), 20_000, 3))  # type: ignore[arg-type]
    assert times != list(arrivals(Stream(kind, 10.0, burstiness=2), 20_000, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "cv"), [("poisson", 1.0), ("bursty", 3.0), ("bursty", 0.5)])
def test_gaps_vary_as_much_as_they_should(kind: str, cv: float) -> None:
    times = list(arrivals(Stream(kind, 5.0, burstiness=cv), 50_000, 1))  # type: ignore[arg-type]
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert spread / mean == pytest.approx(cv, rel=0.08)


def test_diurnal_arrivals_are_many_by_day_and_few_by_night() -> None:
    """The rate is 1 + SWING sin: the first half of a period has (1 + 2 SWING / pi) of its share."""
    period_s = 1000.0
    times = list(arrivals(Stream("diurnal", 1.0, period_s=period_s), 100_000, 0))
    day = sum(at_s % period_s < period_s / 2 for at_s in times) / len(times)
    assert day == pytest.approx(0.5 + SWING / 3.14159, abs=0.01)


def test_diurnal_arrivals_take_whole_days_unless_a_period_is_given() -> None:
    """So that a few hours of jobs have the load that was asked for, not that of their hour."""
    times = list(arrivals(Stream("diurnal", 1.0), 5000, 0))
    assert times[-1] == pytest.approx(5000, rel=0.06)


def test_static_jobs_all_come_at_once() -> None:
    assert list(arrivals(Stream("static", 10.0), 3, 0)) == [0.0, 0.0, 0.0]


# -------------------------------------------------------------------------------------------- jobs


def test_another_load_brings_the_same_jobs_at_other_times() -> None:
    slow, fast = (paper_mix(100, 5, stream=Stream("poisson", gap)) for gap in (60.0, 30.0))
    assert [(j.workload, j.amount) for j in slow] == [(j.workload, j.amount) for j in fast]
    for a, b in zip(slow, fast, strict=True):
        assert a.submitted_s == pytest.approx(2 * b.submitted_s)


def test_generated_jobs_are_the_same_bytes_each_time() -> None:
    first, second = (json_bytes(to_json(paper_mix(500, 9, mean_gap_s=3.0))) for _ in range(2))
    assert first == second


def test_generated_jobs_are_small() -> None:
    """Under 500 bytes a job: what jobs have in common is kept once."""
    paper_mix(10, 0)
    tracemalloc.start()
    jobs = paper_mix(20_000, 0, mean_gap_s=1.0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / len(jobs) < 400
    assert len({id(job.workload) for job in jobs}) == 6


def test_the_mean_of_drawn_amounts_is_known() -> None:
    from random import Random

    random = Random(0)
    drawn = [amount_between(100, 10_000, random) for _ in range(50_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(mean_amount(100, 10_000), rel=0.02)
    assert mean_amount(7, 7) == 7


# ---------------------------------------------------------------------------------------- capacity

times = st.one_of(st.floats(0.1, 1000), st.just(inf))
shares = st.integers(1, 50)


def two_kinds(classes: list[tuple[int, float, float]], counts: tuple[int, int]) -> float:
    """The capacity for two kinds of devices without a linear program.

    Sorted by how much faster the first kind is, a head of the classes goes there and the rest to
    the other one; the class in between is shared so that both kinds are busy all the time.
    """
    total = sum(share for share, _, _ in classes)
    rows = sorted(classes, key=lambda c: c[1] / c[2] if c[2] < inf else -1)
    if any(a == inf and b == inf for _, a, b in rows):
        return 0.0
    low, high = 0.0, 1e9
    for _ in range(200):  # bisection over the rate
        rate = (low + high) / 2
        room = float(counts[0])
        rest = 0.0
        for share, a, b in rows:
            need = rate * share / total
            here = 0.0 if a == inf else min(need, room / a)
            room -= here * (0.0 if a == inf else a)
            left = need - here
            rest += inf if b == inf and left > 1e-12 * need else (0.0 if b == inf else left * b)
        low, high = (rate, high) if rest <= counts[1] else (low, rate)
    return low


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(shares, times, times), min_size=1, max_size=6),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_capacity_is_that_of_the_exchange_argument(
    classes: list[tuple[int, float, float]], counts: tuple[int, int]
) -> None:
    found = lp_capacity([c[0] for c in classes], [[c[1], c[2]] for c in classes], counts)
    assert found == pytest.approx(two_kinds(classes, counts), rel=1e-5, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 4))
def test_no_way_to_share_out_the_work_does_more_than_the_capacity(
    data: st.DataObject, classes: int, kinds: int
) -> None:
    finite = st.floats(0.5, 200)
    rows = [[data.draw(finite) for _ in range(kinds)] for _ in range(classes)]
    weights = [data.draw(shares) for _ in range(classes)]
    counts = [data.draw(st.integers(1, 9)) for _ in range(kinds)]
    found = lp_capacity(weights, rows, counts)
    parts = [[data.draw(st.floats(0.01, 1)) for _ in range(kinds)] for _ in range(classes)]
    total = sum(weights)
    busy = [
        sum(
            w / total * p[k] / sum(p) * row[k]
            for w, p, row in zip(weights, parts, rows, strict=True)
        )
        for k in range(kinds)
    ]
    assert min(count / b for count, b in zip(counts, busy, strict=True)) <= found * (1 + 1e-6)


def test_a_class_that_can_run_nowhere_leaves_no_capacity() -> None:
    assert lp_capacity([1, 1], [[1.0], [inf]], [3]) == 0.0
    assert lp_capacity([1, 0], [[2.0], [inf]], [3]) == pytest.approx(1.5)
    assert lp_capacity([1], [[1.0, 2.0]], [0, 4]) == pytest.approx(2.0)


def test_jobs_with_the_same_ratios_are_one_class() -> None:
    costs = CostsAsTruth(TableCosts({("a", "x"): 1.0, ("a", "y"): 2.0, ("b", "x"): 3.0}))
    fleet = numbered(
        [(DeviceClass("x", memory_mib=1e6), 2, ()), (DeviceClass("y", memory_mib=1e6), 1, ())]
    )
    jobs = [a_job(str(n), "a", amount=float(n + 1)) for n in range(50)] + [a_job("b", "b")]
    counts, numbers, means = demand(jobs, fleet, costs)
    assert counts == [2, 1] and sorted(numbers) == [1, 50]
    assert sorted(means) == [[3.0, inf], pytest.approx([25.5, 51.0])]
    wish = [a_job("c", "a", needs=Needs(("y",)))]
    assert demand(wish, fleet, costs)[2] == [[inf, 2.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_load_that_was_asked_for_is_the_load_that_is_there(kind: str) -> None:
    """Measured on the jobs themselves: offered work over what the fleet can do of such jobs."""
    options = WorldOptions(
        generate=6000,
        load=0.7,
        arrivals=kind,  # type: ignore[arg-type]
        fleet="orin-nano:3,xavier-nx:5",
    )
    (world,) = worlds(options)
    rate = (len(world.jobs) - 1) / world.jobs[-1].submitted_s
    load = rate / capacity(world.jobs, world.devices, world.truth)
    assert load == pytest.approx(0.7, rel=0.2 if kind == "bursty" else 0.06)


def test_what_no_board_can_run_counts_for_nothing() -> None:
    """GPT-2 Small is killed on a Xavier NX: alone, its capacity is that for the other workloads."""
    truth = paper_truth()
    alone = mix_capacity(read_fleet("xavier-nx:2").devices, truth)
    both = mix_capacity(read_fleet("xavier-nx:2,orin-nano:2").devices, truth)
    assert 0 < alone < both


def test_ten_thousand_boards_are_as_quick_to_judge_as_two() -> None:
    """The capacity asks once per workload and kind of board."""
    asked = []

    class Counting:
        def run(self, job: object, kind: object) -> object:
            asked.append((job, kind))
            return paper_truth().run(job, kind)  # type: ignore[arg-type]

    mix_capacity(read_fleet("orin-nano:5000,xavier-nx:5000").devices, Counting())  # type: ignore[arg-type]
    assert len(asked) == 12


# ----------------------------------------------------------------------------------------- outages


def test_outages_are_as_frequent_and_as_long_as_asked() -> None:
    fleet = read_fleet("orin-nano:200").devices
    found = random_outages(fleet, 1000.0, 100.0, 50_000.0, 1)
    gone = sum(o.until_s - o.from_s for o in found)
    assert gone / (200 * 50_000) == pytest.approx(1 / 11, rel=0.1)
    assert found == random_outages(fleet, 1000.0, 100.0, 50_000.0, 1)
    assert [o for o in found if o.device_id == "orin-1"] == random_outages(
        fleet[:1], 1000.0, 100.0, 50_000.0, 1
    )


def test_outages_that_overlap_are_one() -> None:
    given = [
        Outage("b", 5, 6),
        Outage("a", 0, 10),
        Outage("a", 2, 3),
        Outage("a", 10, 12),
        Outage("a", 20, inf),
        Outage("a", 30, 40),
    ]
    assert merged(given) == [Outage("a", 0, 12), Outage("a", 20, inf), Outage("b", 5, 6)]


def test_a_fleet_that_is_never_up_is_refused() -> None:
    with pytest.raises(InputError, match="outages"):
        random_outages(read_fleet("orin-nano:1000").devices, 1.0, 1.0, 1e7, 0)


def test_jobs_survive_outages() -> None:
    (world,) = worlds(WorldOptions(generate=60, load=0.5, outages="2h,10m", seed=2))
    run = simulate("earliest_finish", world)
    assert run.metrics.lost > 0 and run.metrics.unfinished < 5


@pytest.mark.parametrize("text", ["", "1h", "1h,x", "1,2", "0s,1m", "1h,2h,3h"])
def test_outages_that_make_no_sense_are_told(text: str) -> None:
    with pytest.raises(InputError, match="--outages"):
        worlds(WorldOptions(generate=5, outages=text))
