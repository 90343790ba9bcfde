"""Lowest energy and energy x delay: what they save, and what they never cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from builders import a_job, an_estimate, nx, orin
from hypothesis import given, settings
from hypothesis import strategies as st
from wish_worlds import a_scheduler, finish, joules, remark, starts, the_bench

from jetsched import policies
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.truth import CostsAsTruth
from jetsched.policies.lowest_energy import LowestEnergy
from jetsched.policies.patient import Option, Pick
from jetsched.records import Job
from jetsched.scheduler.table import VerdictTable
from jetsched.scheduler.view import View


def test_lowest_energy_takes_the_device_with_the_fewest_joules_within_the_bound() -> None:
    """On the NX it takes 80 s more and 100 J less; it may take 100 s more, or 50."""
    costs = joules((100, 1000, 180, 900))
    assert starts(a_scheduler("lowest_energy", costs), 0, a_job()) == {"1": "nx-1"}
    policy = policies.load("lowest_energy", max_delay=0.5)
    assert starts(a_scheduler(policy, costs), 0, a_job()) == {"1": "orin-1"}
    policy = policies.load("lowest_energy", max_delay_s=79)
    assert starts(a_scheduler(policy, costs), 0, a_job()) == {"1": "orin-1"}


def test_lowest_energy_waits_for_a_busy_device_that_saves_energy() -> None:
    """The Orin is free at 50 and does it by 150, the NX by 120, which is 30 s sooner."""
    scheduler = a_scheduler("lowest_energy", joules((50, 500, 300, 900), (100, 1000, 120, 1400)))
    assert starts(scheduler, 0, a_job("1"), a_job("2")) == {"1": "orin-1"}
    reason = scheduler.why("2").reason
    assert reason is not None and reason.code == "BetterSoon"
    assert remark(scheduler, "2") == (
        "waits for orin-nano @ 25W, which takes 0.3 Wh instead of 0.4 Wh;"
        " done 3m 40s after submission at the latest"
    )
    assert finish(scheduler, 50, "1") == {"2": "orin-1"}


def test_lowest_energy_counts_those_who_wait_already() -> None:
    """2 waits for the Orin until 50, 3 would until 150 and be done at 250: later than 120 + 100."""
    costs = joules((50, 500, 300, 900), *[(100, 1000, 120, 1400)] * 2)
    scheduler = a_scheduler("lowest_energy", costs)
    assert starts(scheduler, 0, *(a_job(str(n)) for n in (1, 2, 3))) == {"1": "orin-1", "3": "nx-1"}


def test_who_has_waited_longer_than_promised_takes_any_device() -> None:
    """2 is promised the Orin until 120; at 200 it is still busy, and the NX becomes free."""
    costs = joules((50, 500, 900, 900), (100, 1000, 120, 1400), (900, 900, 199, 1), (9, 9, 9, 1))
    scheduler = a_scheduler("lowest_energy", costs)
    jobs = [a_job("1"), a_job("2"), a_job("3"), a_job("4")]
    assert starts(scheduler, 0, *jobs) == {"1": "orin-1", "3": "nx-1"}
    assert finish(scheduler, 200, "3") == {"2": "nx-1"}


def test_energy_that_is_not_known_is_the_last_resort_within_the_bound() -> None:
    def costs(orin_j: float | None, nx_j: float | None) -> VerdictTable:
        kinds = {"orin-nano": an_estimate(100.0, energy_j=orin_j)}
        return VerdictTable({"1": kinds | {"xavier-nx": an_estimate(150.0, energy_j=nx_j)}})

    def chosen(table: VerdictTable, **options: float) -> dict[str, str]:
        return starts(a_scheduler(policies.load("lowest_energy", **options), table), 0, a_job())

    assert chosen(costs(None, 900)) == {"1": "nx-1"}
    assert chosen(costs(None, 900), max_delay=0.1) == {"1": "orin-1"}
    assert chosen(costs(None, None)) == {"1": "orin-1"}


def test_energy_delay_weighs_a_per_cent_of_joules_like_one_of_seconds() -> None:
    """On the NX 20 % longer and 15 % less, then 25 % less."""
    dear, cheap = joules((100, 1000, 120, 850)), joules((100, 1000, 120, 750))
    assert starts(a_scheduler("energy_delay", dear), 0, a_job()) == {"1": "orin-1"}
    assert starts(a_scheduler("energy_delay", cheap), 0, a_job()) == {"1": "nx-1"}
    squared = policies.load("energy_delay", exponent=2)
    assert starts(a_scheduler(squared, cheap), 0, a_job()) == {"1": "orin-1"}
    energy_alone = policies.load("energy_delay", exponent=0)
    assert starts(a_scheduler(energy_alone, dear), 0, a_job()) == {"1": "nx-1"}


def test_energy_delay_counts_the_wait_for_a_busy_device() -> None:
    """Free at 50, the Orin needs 1000 J x 150 s; the NX 1200 J x 120 s, which is less."""
    scheduler = a_scheduler("energy_delay", joules((50, 1, 900, 900), (100, 1000, 120, 1200)))
    assert starts(scheduler, 0, a_job("1"), a_job("2")) == {"1": "orin-1", "2": "nx-1"}
    scheduler = a_scheduler("energy_delay", joules((50, 1, 900, 900), (100, 1000, 120, 1300)))
    assert starts(scheduler, 0, a_job("1"), a_job("2")) == {"1": "orin-1"}


class Watched(LowestEnergy):
    """Remembers what each job was promised when its turn came."""

    def __init__(self, **options: float) -> None:
        super().__init__(**options)
        self.latest_s: dict[str, float] = {}

    def pick(self, job: Job, options: Sequence[Option], promised_s: float, view: View) -> Pick:
        first_s = min(option.finish_s for option in options)
        shortest_s = min(option.cost.time_s for option in options)
        delay_s = min(self.max_delay * shortest_s, self.max_delay_s)
        self.latest_s.setdefault(job.id, first_s + delay_s)
        return super().pick(job, options, promised_s, view)


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[int, int, int, int, int]]:
    """When a job comes, and what it costs on an Orin and on an NX."""
    number = st.integers(1, 60)
    return [
        (draw(st.integers(0, 150)), draw(number), draw(number), draw(number), draw(number))
        for _ in range(draw(st.integers(1, 14)))
    ]


@settings(deadline=None)
@given(streams(), st.sampled_from([0.0, 0.5, 2.0]), st.integers(1, 2))
def test_no_job_is_delayed_beyond_the_bound_when_runs_last_as_estimated(
    rows: list[tuple[int, int, int, int, int]], max_delay: float, boards: int
) -> None:
    """Against the earliest finish that it could have when its turn came."""
    costs = joules(*(row[1:] for row in rows))
    jobs = [a_job(str(n), submitted_s=float(row[0])) for n, row in enumerate(rows, start=1)]
    devices = [make(n) for make in (orin, nx) for n in range(1, boards + 1)]
    policy = Watched(max_delay=max_delay)
    run = simulate(policy, Scenario(jobs, devices, CostsAsTruth(costs), lambda: costs))
    assert run.metrics.done == len(jobs) and not run.scheduler.policy_errors
    for record in run.scheduler.jobs.values():
        end_s = record.attempts[-1].end_s
        assert end_s is not None and end_s <= policy.latest_s[record.job.id] + 1e-6


@settings(deadline=None)
@given(streams(), st.integers(1, 2))
def test_without_any_delay_lowest_energy_is_earliest_finish(
    rows: list[tuple[int, int, int, int, int]], boards: int
) -> None:
    """Run times are made unlike by less than it matters, so that no two finishes are equal."""
    times = (
        (fast + 2.0**-n, slow + 2.0 ** -(n + 14)) for n, (_, fast, _, slow, _) in enumerate(rows)
    )
    costs = joules(*((fast, 1.0, slow, 1.0) for fast, slow in times))
    jobs = [a_job(str(n), submitted_s=float(row[0])) for n, row in enumerate(rows, start=1)]
    devices = [make(n) for make in (orin, nx) for n in range(1, boards + 1)]
    world = Scenario(jobs, devices, CostsAsTruth(costs), lambda: costs)
    policy = policies.load("lowest_energy", max_delay=0)
    one, other = (simulate(p, world).metrics for p in (policy, "earliest_finish"))
    assert one.mean_completion_s == pytest.approx(other.mean_completion_s)


def test_who_waits_for_a_device_has_its_turn_only_once() -> None:
    """However many events there are: that is what keeps a decision cheap."""

    turns: Counter[str] = Counter()

    class Counting(LowestEnergy):
        def pick(self, job: Job, options: Sequence[Option], promised_s: float, view: View) -> Pick:
            turns[job.id] += 1
            return super().pick(job, options, promised_s, view)

    costs = joules(*[(100.0, 10.0, 110.0, 1000.0)] * 200)
    jobs = [a_job(str(n)) for n in range(1, 201)]
    world = Scenario(jobs, [orin(1), orin(2), nx()], CostsAsTruth(costs), lambda: costs)
    run = simulate(Counting(), world)
    assert run.metrics.done == 200
    assert set(turns.values()) == {1}


def test_turns_come_in_the_order_of_the_queue_also_for_who_cannot_use_what_is_free() -> None:
    """1 keeps the Orin until 50. 2 fits nothing else; 3, which would wait for it too, is behind."""
    rows = {
        "1": {"orin-nano": an_estimate(50.0)},
        "2": {"orin-nano": an_estimate(30.0)},
        "3": {
            "orin-nano": an_estimate(10.0, energy_j=1.0),
            "xavier-nx": an_estimate(85.0, energy_j=900.0),
        },
    }
    policy = policies.load("lowest_energy", max_delay=10)
    scheduler = a_scheduler(policy, VerdictTable(rows))
    assert starts(scheduler, 0, *(a_job(n) for n in "123")) == {"1": "orin-1"}
    assert finish(scheduler, 50, "1") == {"2": "orin-1"}
    assert finish(scheduler, 80, "2") == {"3": "orin-1"}


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    with the_bench() as module:
        yield module


def test_lowest_energy_saves_energy_and_delays_the_mean_by_less_than_its_bound(bench: Any) -> None:
    worlds = [bench.stream(seed, jobs=300, load=0.7) for seed in range(3)]
    saving, quick = (bench.runs(p, worlds) for p in ("lowest_energy", "earliest_finish"))
    assert bench.energy_j(saving) < 0.99 * bench.energy_j(quick)
    assert bench.mean_s(saving) < 1.2 * bench.mean_s(quick)
