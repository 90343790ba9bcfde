"""The figures of a run, each checked by hand on a run that is small enough."""

from __future__ import annotations

import pytest
from builders import a_job, an_estimate, nx, orin, paper_costs

from jetsched import policies
from jetsched.cluster.simulated import Outage, SimulatedCluster
from jetsched.cluster.truth import CostsAsTruth
from jetsched.files import to_json
from jetsched.records import Attempt, Device, Job, Needs
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import Submitted
from jetsched.scheduler.loop import run
from jetsched.scheduler.metrics import Metrics, measure


def figures(
    jobs: list[Job],
    devices: list[Device],
    policy: str = "least_loaded",
    outages: tuple[Outage, ...] = (),
) -> Metrics:
    scheduler = Scheduler(policies.load(policy), paper_costs())
    cluster = SimulatedCluster(devices, jobs, CostsAsTruth(paper_costs()), seed=0, outages=outages)
    for _ in run(scheduler, cluster):
        pass
    return measure(scheduler, devices)


def test_completion_is_from_submission_to_the_end_of_the_last_attempt() -> None:
    """Three runs of 100 s on one Orin, submitted at 0, 0 and 50 s: done after 100, 200, 250 s."""
    jobs = [a_job("1"), a_job("2"), a_job("3", submitted_s=50.0)]
    found = figures(jobs, [orin()])
    assert (found.jobs, found.done, found.unfinished, found.attempts) == (3, 3, 0, 3)
    assert found.mean_completion_s == pytest.approx((100 + 200 + 250) / 3)
    assert found.p50_completion_s == 200
    assert found.p95_completion_s == pytest.approx(245)
    assert found.p99_completion_s == pytest.approx(249)
    assert found.makespan_s == 300


def test_the_makespan_counts_from_the_first_submission() -> None:
    jobs = [a_job("1", submitted_s=1000.0), a_job("2", submitted_s=1050.0)]
    assert figures(jobs, [orin()]).makespan_s == 200


def test_slowdown_is_against_the_fastest_device_of_the_fleet() -> None:
    """On the NX the job takes 250 s, on the Orin it would take 100."""
    found = figures([a_job()], [nx(), orin()])  # least_loaded takes the first free one, the NX
    assert found.mean_slowdown == found.p99_slowdown == 2.5


def test_slowdown_only_counts_devices_that_the_job_may_use() -> None:
    job = a_job(needs=Needs(device=("xavier-nx",)))
    assert figures([job], [nx(), orin()]).mean_slowdown == 1.0


def test_utilisation_is_busy_time_per_model_within_the_makespan() -> None:
    """250 s on one of two NX, 100 s on the Orin, in 250 s."""
    found = figures([a_job("1"), a_job("2", "gpt2", amount=0.5)], [nx(1), nx(2), orin()])
    assert found.utilisation == {"orin-nano": pytest.approx(0.4), "xavier-nx": pytest.approx(0.5)}


def test_a_missed_deadline_is_one_that_passed_without_the_job_being_done() -> None:
    jobs = [
        a_job("early", deadline_s=500.0),
        a_job("late", deadline_s=150.0),
        a_job("never", "unknown", deadline_s=200.0),
        a_job("none"),
    ]
    assert figures(jobs, [orin()]).missed_deadlines == 2


def test_a_lost_attempt_counts_and_so_does_its_energy() -> None:
    """By the estimates: 1,000 J for 100 s, 500 J for the half that was lost."""
    found = figures([a_job()], [orin(1), orin(2)], outages=(Outage("orin-1", 50.0),))
    assert (found.done, found.lost, found.attempts) == (1, 1, 2)
    assert found.energy_j == pytest.approx(1500)
    assert found.mean_completion_s == 150


def test_a_job_that_is_not_done_is_unfinished_and_in_no_mean() -> None:
    found = figures([a_job("1"), a_job("2", "unknown")], [orin()])
    assert (found.done, found.unfinished) == (1, 1)
    assert found.mean_completion_s == 100


def test_a_run_without_jobs_has_no_figures_and_no_error() -> None:
    found = figures([], [orin()])
    assert (found.jobs, found.mean_completion_s, found.makespan_s) == (0, None, None)
    assert found.utilisation == {"orin-nano": 0.0}


def test_killed_attempts_are_counted_by_the_attempt() -> None:
    found = figures([a_job("1", time_limit_s=10.0), a_job("2")], [orin()])
    assert (found.killed, found.done, found.unfinished) == (1, 1, 1)


def test_what_the_caller_knows_better_is_taken() -> None:
    scheduler = Scheduler(policies.load("earliest_finish"), paper_costs())
    for _ in run(
        scheduler, SimulatedCluster([orin()], [a_job()], CostsAsTruth(paper_costs()), seed=0)
    ):
        pass
    found = measure(scheduler, [orin()], fastest_s=lambda job: 50.0, energy_j=7.0)
    assert (found.mean_slowdown, found.energy_j) == (2.0, 7.0)


def test_the_figures_are_json_with_their_own_names() -> None:
    found = to_json(figures([a_job()], [orin()]))
    assert found["mean_completion_s"] == 100 and found["utilisation"] == {"orin-nano": 1.0}
    assert Metrics(**found) == figures([a_job()], [orin()])


# -------------------------------------------------------------------------------- what is cut out


def warm(jobs: list[Job], devices: list[Device], warmup: float, cooldown: float = 0.0) -> Metrics:
    scheduler = Scheduler(policies.load("least_loaded"), paper_costs())
    cluster = SimulatedCluster(devices, jobs, CostsAsTruth(paper_costs()), seed=0)
    for _ in run(scheduler, cluster):
        pass
    return measure(scheduler, devices, warmup=warmup, cooldown=cooldown)


def test_a_warm_up_leaves_early_jobs_out_of_the_figures_per_job() -> None:
    """Jobs come at 0, 50 and 100 s; each takes 100 s on the one Orin: 100, 150, 200 s."""
    jobs = [a_job(str(n), submitted_s=50.0 * n, deadline_s=1.0) for n in range(3)]
    cold, found = warm(jobs, [orin()], 0.0), warm(jobs, [orin()], 0.4)
    assert (cold.counted, cold.mean_completion_s, cold.missed_deadlines) == (3, 150, 3)
    assert (found.counted, found.mean_completion_s, found.missed_deadlines) == (2, 175, 2)
    assert (found.jobs, found.done, found.attempts, found.makespan_s) == (3, 3, 3, 300)


def test_a_cool_down_leaves_late_jobs_out() -> None:
    jobs = [a_job(str(n), submitted_s=50.0 * n) for n in range(3)]
    found = warm(jobs, [orin()], 0.4, 0.4)
    assert (found.counted, found.mean_completion_s) == (1, 150)


def test_utilisation_is_that_after_the_warm_up() -> None:
    """Busy from 0 to 100 s and from 400 s to 500 s; the first 200 s are left out."""
    jobs = [a_job("1"), a_job("2", submitted_s=400.0)]
    assert warm(jobs, [orin()], 0.5).utilisation == {"orin-nano": pytest.approx(1 / 3)}


# ------------------------------------------------------------------------------------------- users


def test_fairness_is_jains_index_of_the_speeds_that_users_got() -> None:
    """One after the other on the Orin: ann's job is as fast as it can be, bob's takes twice that.

    Speeds 1 and 1/2: (3/2)^2 / (2 * 5/4) = 0.9.
    """
    jobs = [a_job("1", user="ann"), a_job("2", user="bob")]
    found = figures(jobs, [orin()])
    assert found.fairness == pytest.approx(0.9)
    assert found.worst_user_slowdown == 2.0


def test_one_user_alone_is_neither_fair_nor_unfair() -> None:
    found = figures([a_job("1", user="ann"), a_job("2", user="ann")], [orin()])
    assert found.fairness is None and found.worst_user_slowdown is None


def test_a_shared_device_is_busy_once_however_many_jobs_it_runs() -> None:
    """From 0 to 100 and from 50 to 150 s on one of two Orins; until 200 s on the other."""
    jobs = [a_job(str(n)) for n in range(3)]
    scheduler = Scheduler(policies.load("least_loaded"), paper_costs(), share=2)
    fleet = [orin(1), orin(2)]
    scheduler.apply(Submitted(0.0, tuple(jobs)))
    for job, device, start_s, end_s in ((0, 0, 0, 100), (1, 0, 50, 150), (2, 1, 0, 200)):
        record = scheduler.jobs[jobs[job].id]
        estimate = an_estimate()
        attempt = Attempt(1, fleet[device].id, float(start_s), estimate, float(end_s), "done")
        record.attempts.append(attempt)
        record.state = "done"
    assert measure(scheduler, fleet).utilisation == {"orin-nano": pytest.approx(350 / 400)}
