"""Predicted against measured on a report: the same is compared as on the page Cost model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import a_job, a_workload, an_estimate, nx

from jetsched.cluster.pastjobs import PastAttempt, PastJob
from jetsched.cluster.storycosts import cost_parts
from jetsched.cluster.storyguess import compared
from jetsched.cluster.storyweek import Ended
from jetsched.cluster.svg_scatter import MOST_WHISKERS, Dot, scatter
from jetsched.profiler.accuracy import of_runs
from jetsched.profiler.drift import ran_of
from jetsched.records import Measurement, Workload


def an_end(load_s: float = 10.0, work_s: float = 100.0, command: bool = False) -> Ended:
    """A run that is done: 120 s were estimated for it, 20 s of them loading."""
    workload = Workload("command", "work") if command else a_workload()
    job = a_job("1", workload=workload, amount=4.0) if command else a_job("1", amount=4.0)
    kind = nx().device_class
    seen = Measurement(
        workload, kind, "done", device="nx-1", amount=4.0, time_s=load_s + work_s, load_s=load_s,
        work_s=work_s, job_id="1",
    )  # fmt: skip
    thought = an_estimate(120.0, load_s=20.0, source="estimated" if command else "measured")
    attempt = PastAttempt(1, "nx-1", 0.0, thought, kind, load_s + work_s, "done", "", seen)
    return Ended(PastJob(job, 0.0, [attempt]), attempt)


def test_loading_is_on_neither_side() -> None:
    """A model that lies in memory already loads in no time: that says nothing of the estimate."""
    (run,), guessed = compared([an_end(load_s=0.5)])
    assert (run.measured_s, run.estimated_s, guessed) == (100.0, 100.0, 0)
    assert run.p90_s == pytest.approx(120.0)
    assert "as estimated" in "".join(cost_parts([an_end(load_s=0.5).attempt]))


def test_it_is_what_the_page_cost_model_has() -> None:
    one = an_end(work_s=130.0)
    (run,), _ = compared([one])
    attempt = one.attempt
    assert attempt.measurement is not None
    ran = ran_of(attempt.measurement, 0.0, attempt.estimate, one.job.job.amount)
    assert ran is not None
    (there,) = of_runs([ran])
    assert run.ratio == pytest.approx(there.ratio) and run.ratio == pytest.approx(1.3)


def test_commands_whose_time_was_only_guessed_are_counted_and_left_out() -> None:
    """And nothing is said of how far such a guess was off."""
    guess = an_end(command=True)
    runs, guessed = compared([guess, an_end()])
    assert len(runs) == 1 and guessed == 1
    assert "than estimated" not in "".join(cost_parts([guess.attempt]))


def test_what_went_on_from_a_checkpoint_or_was_cut_short_is_not_compared() -> None:
    one = an_end()
    lost = replace(one.attempt, outcome="lost", measurement=None)
    again = Ended(PastJob(one.job.job, 0.0, [lost, one.attempt]), one.attempt)
    killed = replace(one.attempt, outcome="killed_time")
    cut = Ended(PastJob(one.job.job, 0.0, [killed]), killed)
    assert compared([again, cut]) == ([], 0)


@pytest.mark.parametrize("count", [1, MOST_WHISKERS, MOST_WHISKERS + 1, 3000])
def test_a_scatter_shows_so_many_points_and_whiskers_as_can_be_told_apart(count: int) -> None:
    dots = [Dot(1e-4 * (n + 1), 1.1e-4 * (n + 1), f"kind {n % 7}", "x", 2e-4) for n in range(count)]
    drawn = scatter(dots, title="<t>", what="<b>")
    shapes = {words.split('">')[0] for words in drawn.split('<path d="')[1:]}
    assert len(shapes) == min(7, count)
    assert ('class="whisker"' in drawn) == (count <= MOST_WHISKERS)
    assert ("are drawn" in drawn) == (count == 3000)
    assert "&lt;b&gt;" in drawn and "<b>" not in drawn


def test_a_scatter_of_nothing_is_nothing() -> None:
    assert scatter([], title="none") == "" == scatter([Dot(0.0, 1.0, "a", "x")], title="none")
