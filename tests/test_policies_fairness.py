"""Fair share: who is served next, and what a second on which board counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from builders import a_job, an_estimate, nx, orin
from hypothesis import given, settings
from hypothesis import strategies as st
from wish_worlds import a_scheduler, finish, of_user, one_kind, starts, the_bench, two_kinds

from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.truth import CostsAsTruth
from jetsched.policies.accounts import equal_share_s
from jetsched.policies.fair_share import FairShare
from jetsched.records import Job
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import Start
from jetsched.scheduler.journal import MemoryJournal
from jetsched.scheduler.table import VerdictTable


def order_of_starts(scheduler: Scheduler, *jobs: Job) -> list[str]:
    """On one board: the ids in the order in which they are served when all come at once."""
    served = list(starts(scheduler, 0, *jobs))
    while scheduler.fleet.job_on:
        (job_id,) = scheduler.fleet.job_on.values()
        end_s = scheduler.fleet.finish_s["orin-1"]
        served += finish(scheduler, end_s, job_id)
    return served


def test_users_take_turns_by_what_they_have_had() -> None:
    """ann's jobs take 10 s and bob's 30 s: three of hers are worth one of his."""
    costs = one_kind(*[10] * 7, *[30] * 3)
    jobs = of_user("ann", 1, 2, 3, 4, 5, 6, 7) + of_user("bob", 8, 9, 10)
    served = order_of_starts(a_scheduler("fair_share", costs, orin()), *jobs)
    # had: ann 10, bob 30, ann 20 30 40, bob 60, ann 50 60 70, bob
    assert served == ["1", "8", "2", "3", "4", "9", "5", "6", "7", "10"]


def test_who_comes_gets_an_equal_share_from_then_on_and_no_credit() -> None:
    """ann has had 40 s when bob comes; his three jobs do not all go before her next one."""
    scheduler = a_scheduler("fair_share", one_kind(*[10] * 10), orin())
    starts(scheduler, 0, *of_user("ann", 1, 2, 3, 4, 5, 6))
    for n in (1, 2, 3):
        finish(scheduler, 10.0 * n, str(n))
    starts(scheduler, 35, *of_user("bob", 7, 8, 9, submitted_s=35))
    served = [
        next(iter(finish(scheduler, at_s, job_id)))
        for at_s, job_id in ((40, "4"), (50, "7"), (60, "5"), (70, "8"))
    ]
    assert served == ["7", "5", "8", "6"]


def test_a_second_on_a_slow_board_counts_less() -> None:
    """Both have had one job, bob on the NX, 2.5 times as long: it is booked the same."""
    scheduler = a_scheduler("fair_share", two_kinds(*[(100.0, 250.0)] * 4))
    jobs = of_user("ann", 1, 3) + of_user("bob", 2, 4)
    assert starts(scheduler, 0, *jobs) == {"1": "orin-1", "2": "nx-1"}
    assert finish(scheduler, 100, "1") == {"3": "orin-1"}  # equal: ann came first
    assert finish(scheduler, 200, "3") == {"4": "orin-1"}  # bob, who has had less


def test_what_fits_only_scarce_boards_is_booked_for_what_is_scarce() -> None:
    """One Orin and three NX: a second of the Orin, for a job that fits nothing else, is four."""
    table = VerdictTable({"1": {"orin-nano": an_estimate(100.0)}})
    view = a_scheduler("fair_share", table, orin(), *(nx(n) for n in (1, 2, 3))).view(0.0)
    assert equal_share_s([an_estimate(100.0), None], view) == 400.0
    assert equal_share_s([an_estimate(100.0), an_estimate(100.0)], view) == 100.0
    assert equal_share_s([an_estimate(100.0), an_estimate(300.0)], view) == 200.0
    assert equal_share_s([None, None], view) == 0.0


def test_what_a_job_really_took_is_set_right_when_it_has_ended() -> None:
    """ann's first job was to take 30 s, but failed after 1: her next one is before bob's second."""
    scheduler = a_scheduler("fair_share", one_kind(30, 10, 10, 10, 10), orin())
    first = of_user("ann", 1, priority=90)
    starts(scheduler, 0, *first, *of_user("ann", 2, 3), *of_user("bob", 4, 5))
    assert finish(scheduler, 1, "1") == {"4": "orin-1"}
    assert finish(scheduler, 11, "4") == {"2": "orin-1"}
    assert finish(scheduler, 21, "2") == {"5": "orin-1"}


def test_no_device_is_left_idle_for_the_sake_of_fairness() -> None:
    """bob has had less, but his jobs do not fit the NX: ann's third one takes it."""
    fits = {n: {"xavier-nx": an_estimate(50.0), "orin-nano": an_estimate(60.0)} for n in "125"}
    table = VerdictTable(fits | {n: {"orin-nano": an_estimate(200.0)} for n in "34"})
    scheduler = a_scheduler("fair_share", table)
    starts(scheduler, 0, *of_user("ann", 1, 2, 5), *of_user("bob", 3, 4))
    assert sorted(scheduler.fleet.job_on.values()) == ["1", "3"]
    assert finish(scheduler, 50, "1") == {"2": "nx-1"}
    assert finish(scheduler, 100, "2") == {"5": "nx-1"}


def test_priority_orders_a_users_own_jobs_only() -> None:
    jobs = of_user("ann", 1, 2) + of_user("ann", 3, priority=90) + of_user("bob", 4)
    served = order_of_starts(a_scheduler("fair_share", one_kind(*[10] * 4), orin()), *jobs)
    assert served == ["3", "4", "1", "2"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50)), max_size=25))
def test_a_device_always_goes_to_who_has_had_the_least_of_those_who_wait(
    rows: list[tuple[str, int]],
) -> None:
    """Max-min fairness, as it shows on boards of one kind."""
    jobs = [a_job(str(n), user=user) for n, (user, _) in enumerate(rows, start=1)]
    costs = one_kind(*(float(time_s) for _, time_s in rows))
    journal = MemoryJournal()
    world = Scenario(jobs, [orin(1), orin(2)], CostsAsTruth(costs), lambda: costs)
    run = simulate(FairShare(), world, journal=journal)
    assert run.metrics.done == len(jobs) and not run.scheduler.policy_errors
    had_s = dict.fromkeys("abc", 0.0)
    waiting = Counter(user for user, _ in rows)
    for entry in journal.entries:
        if isinstance(entry, Start):
            user = entry.placement.job.user
            assert had_s[user] == min(had_s[u] for u in waiting if waiting[u])
            waiting[user] -= 1
            had_s[user] += entry.placement.estimate.time_s


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    with the_bench() as module:
        yield module


def test_fair_share_helps_who_is_worst_off_and_costs_little_mean_completion(bench: Any) -> None:
    """Against comparative advantage, which serves short jobs first and knows no users."""
    worlds = [bench.stream(seed, load=1.1) for seed in range(4)]
    fair, plain = (bench.runs(p, worlds) for p in ("fair_share", "comparative_advantage"))
    assert bench.mean_s(fair) < 1.2 * bench.mean_s(plain)
    ours, theirs = (bench.user_completions_s(runs) for runs in (fair, plain))
    assert max(ours.values()) < 0.9 * max(theirs.values())


def test_a_users_flood_of_short_jobs_does_not_keep_another_users_long_ones_waiting() -> None:
    """60 jobs of 10 s and three of 30 s: bob's are not the last ones, as they are by size."""
    costs = one_kind(*[10] * 60, *[30] * 3)
    jobs = of_user("ann", *range(1, 61)) + of_user("bob", 61, 62, 63)
    world = Scenario(jobs, [orin()], CostsAsTruth(costs), lambda: costs)
    ends = {}
    for policy in ("fair_share", "shortest_first"):
        records = simulate(policy, world).scheduler.jobs
        ends[policy] = [records[n].attempts[-1].end_s for n in ("61", "62", "63")]
    assert ends == {"fair_share": [40, 100, 160], "shortest_first": [630, 660, 690]}
