"""The policies that come with the package keep the contract; what the oldest of them are for."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import inf

import pytest
from builders import TableCosts, a_job, a_kill, nx, orin, paper_costs

from jetsched import policies
from jetsched.policies.base import Greedy
from jetsched.policies.comparative_advantage import ComparativeAdvantage
from jetsched.policies.contract import PolicyContract, check
from jetsched.records import Device, Job, Needs, Placement, Preempt
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    DeviceJoined,
    Finished,
    Learned,
    Start,
    Submitted,
)
from jetsched.scheduler.view import Policy, View

FLEET = (nx(), orin())


def a_scheduler(
    policy: str | Policy, costs: TableCosts | None = None, *devices: Device
) -> Scheduler:
    chosen = policies.load(policy) if isinstance(policy, str) else policy
    scheduler = Scheduler(chosen, costs or paper_costs())
    for device in devices or FLEET:
        scheduler.handle(DeviceJoined(0, device))
    return scheduler


def starts(scheduler: Scheduler, at_s: float, *jobs: Job) -> dict[str, str]:
    """Where the jobs went that started because of these: job id -> device id."""
    actions = scheduler.handle(Submitted(at_s, jobs))
    return {a.placement.job.id: a.placement.device.id for a in actions if isinstance(a, Start)}


def finish(scheduler: Scheduler, at_s: float, job_id: str) -> dict[str, str]:
    attempt = scheduler.jobs[job_id].attempts[-1].number
    actions = scheduler.handle(Finished(at_s, job_id, attempt, "done"))
    return {a.placement.job.id: a.placement.device.id for a in actions if isinstance(a, Start)}


# ------------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("name", policies.BUILT_IN)
class TestBuiltIn(PolicyContract):
    """Every policy that comes with the package keeps the contract."""

    @pytest.fixture(autouse=True)
    def _name(self, name: str) -> None:
        self.name = name

    def make(self, seed: int) -> Policy:
        return policies.load(self.name, seed=seed)


# ------------------------------------------------------------------------------------- each policy


def test_earliest_finish_prefers_the_faster_of_two_free_devices() -> None:
    assert starts(a_scheduler("earliest_finish"), 0, a_job()) == {"1": "orin-1"}


def test_earliest_finish_takes_a_slower_device_when_waiting_would_be_longer() -> None:
    """The Orin is taken for 60 s; tiny-gpt2 there is done after 120 s, on the NX after 100 s."""
    scheduler = a_scheduler("earliest_finish")
    jobs = [a_job(str(i), "tiny-gpt2") for i in (1, 2)]
    assert starts(scheduler, 0, *jobs) == {"1": "orin-1", "2": "nx-1"}


def test_earliest_finish_holds_a_job_for_a_better_device() -> None:
    """distilgpt2 takes 250 s on the free NX, and 100 + 100 s on the Orin."""
    scheduler = a_scheduler("earliest_finish")
    assert starts(scheduler, 0, a_job("1"), a_job("2")) == {"1": "orin-1"}
    reason = scheduler.why("2").reason
    assert reason is not None and reason.code == "BetterSoon"


def test_clocks_are_set_right_when_a_job_ends_sooner_than_estimated() -> None:
    """The estimate said that the Orin is busy until 300 s; it ended at 10 s, so it is taken now."""
    scheduler = a_scheduler("earliest_finish")
    assert starts(scheduler, 0, a_job("1", amount=3)) == {"1": "orin-1"}
    finish(scheduler, 10, "1")
    assert starts(scheduler, 11, a_job("2")) == {"2": "orin-1"}


def test_clocks_are_set_right_when_a_job_takes_longer_than_estimated() -> None:
    """At 190 s the Orin, which should have been free at 100 s, is busy: a stale clock takes it."""
    slow = TableCosts({("distilgpt2", "xavier-nx"): 100.5, ("distilgpt2", "orin-nano"): 100.0})
    scheduler = a_scheduler("earliest_finish", slow)
    assert starts(scheduler, 0, a_job("1")) == {"1": "orin-1"}
    assert starts(scheduler, 190, a_job("2")) == {"2": "nx-1"}


def test_fastest_device_waits_however_long_it_takes() -> None:
    scheduler = a_scheduler("fastest_device")
    jobs = [a_job(str(i), "tiny-gpt2") for i in range(20)]
    assert starts(scheduler, 0, *jobs) == {"0": "orin-1"}
    assert finish(scheduler, 60, "0") == {"1": "orin-1"}


def test_least_loaded_takes_whatever_is_free_first() -> None:
    scheduler = a_scheduler("least_loaded")
    assert starts(scheduler, 0, a_job("1"), a_job("2"), a_job("3")) == {"1": "nx-1", "2": "orin-1"}
    assert finish(scheduler, 100, "2") == {"3": "orin-1"}


def test_round_robin_gives_the_devices_turns() -> None:
    scheduler = a_scheduler("round_robin", paper_costs(), nx(1), nx(2), orin())
    jobs = [a_job(str(i), "tiny-gpt2") for i in range(6)]
    # The classes in order are orin-nano and xavier-nx: one turn, then two.
    assert starts(scheduler, 0, *jobs) == {"0": "orin-1", "1": "nx-1", "2": "nx-2"}
    assert finish(scheduler, 100, "1") == {"4": "nx-1"}  # not 3: that waits for the Orin's turn
    assert finish(scheduler, 101, "0") == {"3": "orin-1"}


def test_round_robin_passes_a_device_that_cannot_run_the_job() -> None:
    """gpt2 never fits the NX, so its turn there goes to the Orin."""
    scheduler = a_scheduler("round_robin")
    jobs = [a_job("0", "tiny-gpt2"), a_job("1", "gpt2")]
    assert starts(scheduler, 0, *jobs) == {"0": "orin-1"}
    assert finish(scheduler, 60, "0") == {"1": "orin-1"}


def test_random_draws_in_proportion_to_how_many_devices_there_are() -> None:
    fleet = [nx(i) for i in range(3)] + [orin()]
    drawn = Counter(
        next(
            iter(
                starts(
                    a_scheduler(policies.load("random", seed=s), None, *fleet), 0, a_job()
                ).values()
            )
        )[:2]
        for s in range(400)
    )
    assert 250 < drawn["nx"] < 350  # 300 expected, standard deviation 9


def test_random_is_the_same_for_the_same_seed_only() -> None:
    def drawn(seed: int) -> list[str]:
        policy = policies.load("random", seed=seed)
        return [
            next(iter(starts(a_scheduler(policy), 0, a_job(str(i))).values())) for i in range(20)
        ]

    assert drawn(1) == drawn(1) != drawn(2)


def test_comparative_advantage_gives_each_device_what_it_is_good_at() -> None:
    """tiny-gpt2 loses 1.7x on the NX, distilgpt2 2.5x: so the NX takes the former."""
    scheduler = a_scheduler("comparative_advantage")
    jobs = [a_job("1", "distilgpt2"), a_job("2", "distilgpt2"), a_job("3", "tiny-gpt2")]
    jobs = [replace(job, amount=0.6) if job.id != "3" else job for job in jobs]
    placed = starts(scheduler, 0, *jobs)
    assert placed == {"1": "nx-1", "3": "orin-1"} or placed == {"3": "nx-1", "1": "orin-1"}


def test_comparative_advantage_serves_short_jobs_first() -> None:
    scheduler = a_scheduler("comparative_advantage", paper_costs(), orin())
    assert starts(scheduler, 0, a_job("1", amount=10), a_job("2")) == {"2": "orin-1"}


def test_comparative_advantage_obeys_priorities() -> None:
    scheduler = a_scheduler("comparative_advantage", paper_costs(), orin())
    long = a_job("1", amount=10, priority=90)
    assert starts(scheduler, 0, long, a_job("2")) == {"1": "orin-1"}


def test_comparative_advantage_without_bias_is_shortest_first() -> None:
    """The shortest pair of all is distilgpt2 on the Orin; the NX takes the shortest of the rest."""
    scheduler = a_scheduler(ComparativeAdvantage(bias=0))
    jobs = [a_job("1", amount=2), a_job("2"), a_job("3", amount=3)]
    assert starts(scheduler, 0, *jobs) == {"2": "orin-1", "1": "nx-1"}


@pytest.mark.parametrize("name", policies.BUILT_IN)
def test_a_job_that_names_its_device_gets_it(name: str) -> None:
    scheduler = a_scheduler(name, paper_costs(), nx(1), nx(2), orin(1), orin(2))
    job = a_job(needs=Needs(device=("nx-2",)))
    assert starts(scheduler, 0, job) == {"1": "nx-2"}


@pytest.mark.parametrize("name", policies.BUILT_IN)
def test_what_the_policy_thought_is_what_why_prints(name: str) -> None:
    scheduler = a_scheduler(name)
    starts(scheduler, 0, a_job("1", "tiny-gpt2"))
    rows = scheduler.why("1").rows
    assert [r.device for r in rows] == ["nx-1", "orin-1"]
    assert all(r.score is not None for r in rows)
    assert sum(r.chosen for r in rows) == 1


# ----------------------------------------------------------------------------------------- Greedy


class Finish(Greedy):
    def score(self, placement: Placement, view: View) -> float:
        return placement.finish_s


def test_greedy_looks_no_further_than_its_bound() -> None:
    """With 10,000 jobs that all wait for the Orin, the free NX does not make it walk the queue."""

    class Fastest(Greedy):
        def score(self, placement: Placement, view: View) -> float:
            return placement.estimate.time_s

    policy = Fastest()
    scheduler = a_scheduler(policy)
    starts(scheduler, 0, *(a_job(str(i), "tiny-gpt2") for i in range(10_000)))
    view = scheduler.view(1.0)
    decided = 0
    for choice in policy.decide(view):
        assert isinstance(choice, Placement)
        view.assume(choice)
        decided += 1
    assert decided == Greedy.lookahead


def test_greedy_goes_on_past_jobs_that_nothing_here_can_run() -> None:
    """Jobs without any option do not use up the bound: who stands behind them still starts."""
    scheduler = a_scheduler(Finish())
    nowhere = [a_job(f"x{i}", needs=Needs(device=("moon",))) for i in range(500)]
    assert starts(scheduler, 0, *nowhere, a_job("1")) == {"1": "orin-1"}


def test_equal_scores_go_to_the_earlier_start_then_to_the_first_id() -> None:
    class Same(Greedy):
        def score(self, placement: Placement, view: View) -> float:
            return 1.0

    scheduler = a_scheduler(Same())
    assert starts(scheduler, 0, a_job("1"), a_job("2")) == {"1": "nx-1", "2": "orin-1"}


def test_a_score_that_is_not_a_number_is_a_policy_error() -> None:
    class Nan(Greedy):
        def score(self, placement: Placement, view: View) -> float:
            return float("nan")

    scheduler = Scheduler(Nan(), paper_costs(), fallback=Finish())
    for device in FLEET:
        scheduler.handle(DeviceJoined(0, device))
    assert starts(scheduler, 0, a_job()) == {"1": "orin-1"}
    assert "score() is not a number for 1" in scheduler.policy_errors[0]


def test_a_kill_that_was_learnt_sends_the_job_elsewhere() -> None:
    """After the cost model knows, no policy is offered the device any more."""
    scheduler = a_scheduler("least_loaded")
    scheduler.handle(Learned(0, (a_kill(a_job(), nx()),)))
    assert starts(scheduler, 0, a_job()) == {"1": "orin-1"}


# ---------------------------------------------------------------- the contract suite finds breakage


class _Base(Finish):
    """Starts from a good policy; each breaks it in one way."""


class KeepsTheView(_Base):
    def decide(self, view: View) -> Iterator[Placement]:
        self.view = view
        return super().decide(view)


class NeverFinishes(_Base):
    """Never starts anything."""

    def decide(self, view: View) -> Iterator[Placement]:
        return iter(())


class PlacesTwice(_Base):
    def decide(self, view: View) -> Iterator[Placement]:
        for placement in super().decide(view):
            yield placement
            yield placement


class Flickers(_Base):
    """Draws from a generator that two instances share."""

    turns: Iterator[int] = iter(range(1_000_000_000))

    def score(self, placement: Placement, view: View) -> float:
        return hash((next(Flickers.turns), placement.device.id)) % 97


class Crashes(_Base):
    def score(self, placement: Placement, view: View) -> float:
        return 1 / (len(placement.job.id) - 2)


class FeedsOnTight(_Base):
    """Places on whatever the table does not forbid, tight or not."""

    def decide(self, view: View) -> Iterator[Placement]:
        for job in view.queue():
            for device in list(view.free_devices()):
                yield Placement(job, device, None, view.now_s, view.now_s)  # type: ignore[arg-type]
                break


class Cheats(_Base):
    """Takes a device out of the fleet's books."""

    def decide(self, view: View) -> Iterator[Placement]:
        for state in view._fleet.classes:
            state.free.clear()
        return iter(())


class Moody(_Base):
    """Takes the best and the worst device in turns."""

    def __init__(self) -> None:
        self.sign = 1

    def decide(self, view: View) -> Iterator[Placement]:
        self.sign = -self.sign
        return super().decide(view)

    def score(self, placement: Placement, view: View) -> float:
        return self.sign * placement.finish_s


class Forgetful(Moody):
    """Its copies begin anew."""

    def __deepcopy__(self, memo: object) -> Forgetful:
        return Forgetful()


class Locked(_Base):
    def __init__(self) -> None:
        self.lock = threading.Lock()


class Snob(_Base):
    """Serves the least important job first."""

    def decide(self, view: View) -> Iterator[Placement]:
        for job in sorted(view.queue(), key=lambda job: job.priority):
            if view.free_count and (best := self.best(job, view)) is not None:
                yield best


class OpenSnob(Snob):
    heeds_priority = False


class Impatient(_Base):
    """Always the shortest job."""

    def decide(self, view: View) -> Iterator[Placement]:
        def time_s(job: Job) -> float:
            return min((p.estimate.time_s for p in view.options(job)), default=inf)

        for job in sorted(view.queue(), key=lambda job: (-job.priority, time_s(job))):
            if view.free_count and (best := self.best(job, view)) is not None:
                yield best


class ImpatientAndSaysNot(Impatient):
    ages = True


class ShortSighted(_Base):
    def decide(self, view: View) -> Iterator[Placement]:
        return iter(()) if view.planning else super().decide(view)


class FlipFlop(_Base):
    """Stops whatever runs, to start something else."""

    def decide(self, view: View) -> Iterator[Placement | Preempt]:  # type: ignore[override]
        yield from (Preempt(job.id) for job, _ in view.running())
        yield from super().decide(view)


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (KeepsTheView, "leaves the view alone"),
        (NeverFinishes, "no job starves"),
        (NeverFinishes, "holding never stalls"),
        (NeverFinishes, "memory rule"),
        (NeverFinishes, "looks ahead"),
        (PlacesTwice, "legal choices"),
        (Flickers, "same seed, same decisions"),
        (Crashes, "legal choices"),
        (FeedsOnTight, "legal choices"),
        (Cheats, "leaves the view alone"),
        (Moody, "asked twice, same decision"),
        (Forgetful, "a copy decides the same"),
        (Locked, "a copy decides the same"),
        (Snob, "higher priority first"),
        (ImpatientAndSaysNot, "no job starves in a stream"),
        (ShortSighted, "looks ahead"),
        (FlipFlop, "no job starves"),
    ],
)
def test_the_contract_suite_finds(bad: type[Greedy], rule: str) -> None:
    found = {(finding.rule, finding.kind) for finding in check(lambda seed: bad(), worlds=8)}
    assert (rule, "error") in found


@pytest.mark.parametrize(
    ("policy", "rule"),
    [(OpenSnob, "higher priority first"), (Impatient, "no job starves in a stream")],
)
def test_what_a_policy_does_not_promise_is_a_warning(policy: type[Greedy], rule: str) -> None:
    found = check(lambda seed: policy(), worlds=8)
    assert {(finding.rule, finding.kind) for finding in found} == {(rule, "warning")}


def test_a_finding_names_the_line_that_raised() -> None:
    found = check(lambda seed: Crashes(), worlds=3)
    line = inspect.getsourcelines(Crashes.score)[1] + 1
    assert f"{__file__}:{line} in score" in {finding.where for finding in found}


def test_the_contract_suite_accepts_a_good_policy() -> None:
    assert check(lambda seed: Finish(), worlds=8) == []


@pytest.mark.slow
def test_decisions_do_not_depend_on_the_hash_seed() -> None:
    """Sets of strings have another order in every process; no decision may follow it."""
    script = (
        "from jetsched import policies\n"
        "from jetsched.policies.contract import digest\n"
        "for name in policies.BUILT_IN:\n"
        "    print(name, digest(lambda seed: policies.load(name, seed=seed)))\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    assert len(said[0]) == len(policies.BUILT_IN)
    assert said[0] == said[1]
