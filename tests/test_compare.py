"""Comparing policies in simulation: the paper's mix, the table, the picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from builders import TableCosts, a_job, nx, orin, paper_costs
from matplotlib.text import Text

from jetsched import policies
from jetsched.cluster.compare import FIGURES, Comparison, Point, compare, interval
from jetsched.cluster.drawing import as_bytes, drawing
from jetsched.cluster.fanout import Children
from jetsched.cluster.gantt import gantt
from jetsched.cluster.paper_world import MIX, paper_kill, paper_mix, paper_scenario
from jetsched.cluster.simulated import Outage
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.summaries import RunSummary, summarise
from jetsched.cluster.truth import CostsAsTruth
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.records import Never
from jetsched.scheduler.journal import MemoryJournal


def a_scenario(jobs: int = 6, seed: int = 0) -> Scenario:
    return Scenario(
        [a_job(str(i), ("tiny-gpt2", "distilgpt2")[i % 2]) for i in range(jobs)],
        [nx(), orin()],
        CostsAsTruth(paper_costs()),
        paper_costs,
        seed,
    )


# ---------------------------------------------------------------------------------------- one run


def test_a_simulation_gives_its_figures_and_what_they_come_from() -> None:
    journal = MemoryJournal()
    run = simulate("earliest_finish", a_scenario(), journal=journal)
    assert run.policy == "earliest_finish" and run.metrics.done == 6
    assert len(run.scheduler.jobs) == 6 and run.events == 2 + 1 + 2 * 6
    assert len(journal.entries) == run.events + 6
    assert run.jobs_per_cpu_s > 0


def test_every_run_starts_without_what_another_has_learnt() -> None:
    made = []

    def estimates() -> TableCosts:
        made.append(paper_costs())
        return made[-1]

    scenario = Scenario([a_job()], [orin()], CostsAsTruth(paper_costs()), estimates)
    simulate("earliest_finish", scenario)
    simulate("earliest_finish", scenario)
    assert len(made) == 2 and made[0] is not made[1]


def test_a_broken_policy_does_not_break_the_run() -> None:
    class Broken:
        def decide(self, view: object) -> list[object]:
            raise RuntimeError("a bug")

    run = simulate(Broken(), a_scenario())  # type: ignore[arg-type]
    assert run.metrics.done == 6 and run.policy == "Broken"
    assert "a bug" in run.scheduler.policy_errors[0]


# --------------------------------------------------------------------------------------- many runs


def figures(comparison: Comparison) -> list[RunSummary]:
    """The runs without their CPU seconds, which are never the same twice."""
    return [replace(run, loop_cpu_s=0.0) for run in comparison.runs]


def test_a_comparison_has_a_row_per_policy_and_all_runs() -> None:
    heard: list[tuple[int, int]] = []
    (found,) = compare(
        ["random", "earliest_finish"],
        [Point(WorldOptions(generate=24))],
        3,
        progress=lambda done, total: heard.append((done, total)),
    )
    assert [row.policy for row in found.rows] == ["random", "earliest_finish"]
    assert [row.runs for row in found.rows] == [3, 3]
    assert [run.seed for run in found.runs] == [0, 1, 2, 0, 1, 2]
    assert heard == [(n, 9) for n in range(10)]  # three bounds among them
    assert set(found.rows[0].figures) == set(FIGURES) - {"fairness", "worst_user_slowdown"}


def test_no_run_is_better_than_the_bound() -> None:
    (found,) = compare(list(policies.BUILT_IN), [Point(WorldOptions(generate=24, load=0.8))], 2)
    for row in found.rows:
        assert row.distance["mean_completion_s"].mean >= 1
        assert row.distance["makespan_s"].mean >= 1


def test_the_same_in_processes_as_here() -> None:
    """Byte for byte but for CPU seconds, in the same order, with any number of processes."""
    points = [Point(WorldOptions(generate=10, load=load), "load", str(load)) for load in (0.5, 0.9)]
    here = compare(["random", "auto"], points, 2)
    there = compare(["random", "auto"], points, 2, engine=Children(2))
    assert [figures(c) for c in here] == [figures(c) for c in there]
    assert [(c.rows, c.bounds, c.best) for c in here] == [(c.rows, c.bounds, c.best) for c in there]


def test_differences_are_taken_within_each_world() -> None:
    """Random is worse than earliest_finish by what the differences say, not by what means do."""
    (found,) = compare(["random", "earliest_finish"], [Point(WorldOptions(generate=24))], 4)
    means = [
        [r.metrics.mean_completion_s or 0.0 for r in found.runs_of(row.policy)]
        for row in found.rows
    ]
    best = min(range(2), key=lambda i: sum(means[i]))
    other = 1 - best
    assert found.best["mean_completion_s"] == found.rows[best].policy
    differences = [a - b for a, b in zip(means[other], means[best], strict=True)]
    base = sum(means[best]) / 4
    worse, expected = found.rows[other].worse["mean_completion_s"], interval(differences)
    assert worse.mean == pytest.approx(expected.mean / base)
    assert worse.half == pytest.approx((expected.half or 0) / base)
    assert found.rows[best].worse["mean_completion_s"].mean == 0


def test_an_interval_is_students_t() -> None:
    """Mean 2, standard deviation 1, n = 3: 4.303 / sqrt(3)."""
    found = interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0 and found.half == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert interval([1.0]).half is None


def test_a_comparison_gives_the_same_figures_again() -> None:
    (first,), (second,) = (
        compare(["random"], [Point(WorldOptions(generate=24, seed=1))]) for _ in range(2)
    )
    assert first.rows == second.rows and figures(first) == figures(second)


# -------------------------------------------------------------------------------- the paper's mix


def test_every_24_jobs_have_exactly_the_shares_of_the_mix() -> None:
    assert sum(share.count for share in MIX) == 24
    for seed in range(5):
        jobs = paper_mix(48, seed)
        counts = Counter(job.workload for job in jobs)
        assert counts == {share.workload: 2 * share.count for share in MIX}
        for job in jobs:
            share = next(s for s in MIX if s.workload == job.workload)
            assert share.least <= job.amount <= share.most


def test_the_mix_is_the_same_for_the_same_seed_and_arrives_at_random() -> None:
    assert paper_mix(30, 1) == paper_mix(30, 1) != paper_mix(30, 2)
    assert {job.submitted_s for job in paper_mix(30, 1)} == {0.0}
    jobs = paper_mix(2000, 1, mean_gap_s=60.0)
    assert jobs[0].submitted_s == 0
    assert jobs[-1].submitted_s / 1999 == pytest.approx(60, rel=0.1)
    assert [j.submitted_s for j in jobs] == sorted(j.submitted_s for j in jobs)


def test_by_the_data_sheet_gpt2_fits_the_nx_but_in_truth_it_is_killed() -> None:
    """Otherwise no policy would ever see the paper's kill."""
    scenario = paper_scenario()
    kill = paper_kill()
    job = a_job(workload=kill.workload)
    verdict = scenario.estimates().verdict(job, kill.device_class)
    assert not isinstance(verdict, Never) and verdict.fit == "fits"
    assert verdict.source == "assumed"
    true = scenario.truth.run(job, kill.device_class)
    assert true is not None and true.peak_memory_mib > kill.device_class.memory_mib
    where = next(d.device_class for d in scenario.devices if d.model == "orin-nano")
    orins = scenario.truth.run(job, where)
    assert orins is not None and orins.peak_memory_mib <= where.memory_mib


@pytest.mark.parametrize("name", policies.BUILT_IN)
def test_a_kill_is_suffered_at_most_once_and_the_job_ends_on_the_orin(name: str) -> None:
    """After the first kill the workload is never placed on the NX again, in any of ten runs."""
    for seed in range(10):
        run = simulate(name, paper_scenario(seed))
        assert run.metrics.unfinished == 0
        killed = [
            (record, attempt)
            for record in run.scheduler.jobs.values()
            for attempt in record.attempts
            if attempt.outcome == "killed_memory"
        ]
        assert len(killed) <= 1
        for record, attempt in killed:
            assert attempt.device == "nx-1" and record.job.workload == paper_kill().workload
            assert record.attempts[-1].device == "orin-1" and record.state == "done"


def test_the_demo_shows_kills_and_that_policies_differ() -> None:
    """As issue 2 asks: all policies on 24 jobs, 1 NX + 1 Orin; some see a kill."""
    (found,) = compare(list(policies.BUILT_IN), [Point(WorldOptions(generate=24))])
    assert any(run.metrics.killed for run in found.runs)
    assert all(run.policy_errors == () for run in found.runs)
    means = {run.policy: run.metrics.mean_completion_s or 0.0 for run in found.runs}
    assert means["comparative_advantage"] < means["earliest_finish"] < means["fastest_device"]


# ------------------------------------------------------------------------------------- the picture


def png_size(data: bytes) -> tuple[int, int]:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def drawn(runs: list[RunSummary], **options: Any) -> bytes:
    with drawing():
        return as_bytes(gantt(runs, **options), "png")


def test_the_picture_is_large_enough_to_read() -> None:
    (found,) = compare(list(policies.BUILT_IN), [Point(WorldOptions(generate=24))], 2)
    picture = drawn(found.drawn, title="24 jobs", note="assumed", rows=found.rows)
    width, height = png_size(picture)
    assert width >= 1200 and height >= 800
    assert drawn(found.drawn, title="24 jobs", note="assumed", rows=found.rows) == picture


def test_the_picture_has_room_for_many_boards_and_none() -> None:
    many = Scenario(
        [a_job(str(i)) for i in range(100)],
        [nx(i) for i in range(150)],
        CostsAsTruth(paper_costs()),
        paper_costs,
        outages=[Outage("nx-0", 50.0, 60.0)],
    )
    none = Scenario([], [orin()], CostsAsTruth(paper_costs()), paper_costs)
    for scenario in (many, none):
        for narrow in (False, True):
            run = summarise(simulate("earliest_finish", scenario), lanes=72)
            assert max(png_size(drawn([run], narrow=narrow))) < 10_000


def test_lanes_are_of_all_models_when_not_all_devices_have_one() -> None:
    fleet = [*(nx(i) for i in range(50)), *(orin(i) for i in range(3))]
    scenario = Scenario([a_job()], fleet, CostsAsTruth(paper_costs()), paper_costs)
    run = summarise(simulate("earliest_finish", scenario), lanes=8)
    assert [lane.model for lane in run.lanes].count("orin-nano") == 3
    assert len(run.lanes) == 8 and run.devices == 53


def test_names_are_text_in_pictures() -> None:
    """Neither formulas nor markup: `$` and `<` are drawn as they are."""
    jobs = [a_job("$x^$<b>", amount=1.0), a_job("\\frac{", amount=1.0)]
    scenario = Scenario(jobs, [orin()], CostsAsTruth(paper_costs()), paper_costs)
    run = summarise(simulate("earliest_finish", scenario), policy="$a_$<script>", lanes=2)
    with drawing():
        figure = gantt([run])
        png_size(as_bytes(figure, "png"))
    texts = figure.findobj(Text)
    assert not any(isinstance(text, Text) and text.get_parse_math() for text in texts)
    words = {text.get_text() for text in texts if isinstance(text, Text)}
    assert {"$a\n$<script>", "$x^$<b>", "\\frac{"} <= words  # names break at underscores


def test_a_job_of_the_mix_takes_from_half_a_minute_to_three_hours_on_either_board() -> None:
    world = paper_scenario(0, count=48)
    runs = [
        world.truth.run(job, device.device_class) for job in world.jobs for device in world.devices
    ]
    assert all(run is not None and 30 < run.time_s < 3 * 3600 for run in runs)
