"""Watts, joules and GPU utilisation: measured first, and never beyond what a board can draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from builders import NX, ORIN, a_workload
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.profiler.bundled import bundled_profile, paper_class, paper_workload
from jetsched.profiler.costs import CostModel
from jetsched.profiler.devices import DEVICE_MODELS, POWER_MODES, sheet_of
from jetsched.profiler.evidence import RECENT
from jetsched.profiler.paper import FIGURES, TABLE_3, paper_model
from jetsched.profiler.power import Draw, PowerModel, Utilisation, measured_watts
from jetsched.profiler.powerline import (
    Point,
    PowerLine,
    Prior,
    as_prior,
    fit_line,
    points_prior,
    sheet_prior,
)
from jetsched.profiler.subjects import Subjects
from jetsched.records import DeviceClass, Estimate, Job, Measurement, Workload

BOARDS = sorted(set(DEVICE_MODELS) - {"cpu"})
AGX = DeviceClass("agx-orin", "MAXN", "jetpack-6", 60000.0)
points = st.builds(Point, st.floats(0, 100), st.floats(0.5, 80))


def a_prior(idle_w: float = 5.0, max_w: float = 25.0) -> Prior:
    prior = sheet_prior(idle_w, max_w)
    assert prior is not None
    return prior


def a_run(
    workload: Workload | None = None, where: DeviceClass = ORIN, **changes: Any
) -> Measurement:
    """A hundred samples in a hundred seconds of work, after ten of loading."""
    base: dict[str, Any] = {"amount": 100.0, "time_s": 112.0, "load_s": 10.0, "work_s": 100.0}
    return Measurement(workload or a_workload(), where, "done", **{**base, **changes})


def generate(model: str = "tinyllama-1.1b", **changes: Any) -> Workload:
    base: dict[str, Any] = {"prompt_tokens": 64, "max_new_tokens": 64, "precision": "fp16"}
    return Workload("infer", model, **{**base, **changes})


def utilisation(model: PowerModel, workload: Workload, where: DeviceClass) -> Utilisation | None:
    subjects = Subjects()
    return model.utilisation(subjects.card(workload), subjects.place(where))


def draw(model: PowerModel, workload: Workload, where: DeviceClass) -> Draw:
    subjects = Subjects()
    found = model.draw(subjects.card(workload), subjects.place(where))
    assert found is not None
    return found


def line(model: PowerModel, where: DeviceClass) -> PowerLine:
    found = model.line(Subjects().place(where))
    assert found is not None
    return found


# -- the line ------------------------------------------------------------------------------------


@given(st.lists(points, max_size=12), st.floats(0.5, 20), st.floats(1, 60))
def test_neither_term_of_a_line_is_negative_and_power_grows(
    seen: list[Point], idle_w: float, more_w: float
) -> None:
    found = fit_line(seen, a_prior(idle_w, idle_w + more_w))
    assert found.idle_w >= 0 and found.busy_w >= 0
    watts = [found.power_w(pct) for pct in range(-10, 120, 10)]
    assert watts == sorted(watts)
    assert watts[0] == found.idle_w
    assert watts[-1] == pytest.approx(found.idle_w + found.busy_w)
    assert all(math.isfinite(found.sigma(pct)) and found.sigma(pct) >= 0 for pct in (0, 50, 100))


@given(st.floats(0, 100), st.sampled_from(BOARDS), st.data())
def test_by_the_sheet_power_lies_between_idle_and_the_modes_budget(
    pct: float, board: str, data: st.DataObject
) -> None:
    mode = data.draw(st.sampled_from([mode.name for mode in POWER_MODES[board]]))
    where = DeviceClass(board, mode)
    sheet = sheet_of(where)
    watts = line(PowerModel(), where).power_w(pct)
    assert sheet.idle_w - 1e-9 <= watts <= sheet.max_w + 1e-9


def test_without_points_the_line_is_the_sheets_and_with_many_it_is_theirs() -> None:
    truth = [Point(pct, 8 + 0.3 * pct) for pct in (5, 20, 40, 60, 80, 95)] * 5
    prior = a_prior(5, 25)
    none, few, many = (fit_line(seen, prior) for seen in ([], truth[-1:], truth))
    assert none.idle_w == pytest.approx(5) and none.points == 0
    assert many.idle_w == pytest.approx(8, rel=0.1)
    assert many.busy_w == pytest.approx(30, rel=0.1)
    assert none.power_w(95) < few.power_w(95) < 1.02 * (8 + 0.3 * 95)
    assert none.sigma(95) > few.sigma(95) > many.sigma(95)


def test_one_workload_alone_moves_idle_power_little() -> None:
    found = fit_line([Point(97, 14.0)], a_prior(5, 25))
    assert found.power_w(97) == pytest.approx(14, rel=0.2)
    assert found.idle_w == pytest.approx(5, rel=0.25)


def test_points_that_scatter_make_a_wider_line() -> None:
    calm = [Point(pct, 5 + 0.15 * pct) for pct in (20, 40, 60, 80)] * 3
    wild = [Point(p.util_pct, p.power_w * f) for p, f in zip(calm, (0.7, 1.4) * 6, strict=True)]
    assert fit_line(wild, a_prior()).sigma(50) > 1.5 * fit_line(calm, a_prior()).sigma(50)


@given(st.lists(points, min_size=1, max_size=6))
def test_a_board_without_power_figures_gets_a_line_from_points_alone(seen: list[Point]) -> None:
    found = fit_line(seen, points_prior(seen))
    lowest, highest = min(p.power_w for p in seen), max(p.power_w for p in seen)
    assert found.idle_w <= highest * 1.001
    assert found.power_w(100) >= 0.5 * lowest


def test_a_sheet_without_power_has_no_prior() -> None:
    assert sheet_prior(0.0, 0.0) is None
    assert sheet_prior(10.0, 10.0) is None


def test_a_line_as_a_prior_is_itself() -> None:
    first = fit_line([Point(50, 12), Point(90, 17)], a_prior())
    again = fit_line([], as_prior(first))
    assert again.idle_w == pytest.approx(first.idle_w)
    assert again.busy_w == pytest.approx(first.busy_w)


# -- what a run drew -----------------------------------------------------------------------------


def test_integrated_energy_goes_before_the_mean_of_samples() -> None:
    """Energy is of warm-up and work, not of loading."""
    run = a_run(energy_j=1530.0, power_w=99.0, warmup_s=2.0)
    assert measured_watts(run) == pytest.approx(1530 / 102)
    assert measured_watts(a_run(power_w=14.0)) == 14.0
    assert measured_watts(a_run()) is None


def test_the_energy_of_a_command_is_of_all_its_time() -> None:
    run = a_run(Workload("command", "", command="x"), work_s=None, load_s=None, energy_j=1120.0)
    assert measured_watts(run) == pytest.approx(10)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -5.0])
def test_values_that_cannot_be_are_not_learnt(bad: float) -> None:
    model = PowerModel()
    assert not model.learn(a_run(power_w=bad, gpu_util_pct=bad, energy_j=bad))
    assert not model.learn(a_run(gpu_util_pct=101.0))


def test_a_failed_run_says_nothing_about_power() -> None:
    model = PowerModel()
    failed = Measurement(a_workload(), ORIN, "failed", power_w=5.0, gpu_util_pct=3.0)
    assert not model.learn(failed)


def test_a_run_that_swapped_says_nothing_about_power_either() -> None:
    model = PowerModel()
    assert not model.learn(a_run(power_w=9.0, gpu_util_pct=20.0, swap_delta_mib=500.0))
    assert model.learn(a_run(power_w=9.0, gpu_util_pct=20.0, swap_delta_mib=1.0))


def test_a_measured_power_is_the_median_of_the_runs() -> None:
    model = PowerModel([a_run(power_w=w, gpu_util_pct=95.0) for w in (13.0, 14.0, 21.0)])
    found = draw(model, a_workload(), ORIN)
    assert (found.work_w, found.source, found.measurements) == (14.0, "measured", 3)
    alike = PowerModel([a_run(power_w=w, gpu_util_pct=95.0) for w in (13.9, 14.0, 14.1)])
    assert found.sigma > draw(alike, a_workload(), ORIN).sigma


def dated(day: int, watts: float | None, pct: float | None) -> Measurement:
    return a_run(power_w=watts, gpu_util_pct=pct, at=f"2026-11-{day:02d}T08:00:00+00:00")


def test_the_latest_runs_tell_what_a_board_draws() -> None:
    """One that got another power supply, or another driver, is believed in the end."""
    before = [dated(1 + n % 8, 10.0, 60.0) for n in range(3 * RECENT)]
    now = [dated(10 + n % 9, 14.0, 90.0) for n in range(RECENT)]
    model = PowerModel([*before, *now])
    found, use = draw(model, a_workload(), ORIN), utilisation(model, a_workload(), ORIN)
    assert (found.work_w, found.measurements) == (14.0, RECENT)
    assert use is not None and (use.pct, use.measurements) == (90.0, RECENT)


maybe_pct = st.none() | st.floats(1, 99)
drew = st.builds(dated, st.integers(1, 28), maybe_pct, maybe_pct)


@given(st.lists(drew, max_size=2 * RECENT), st.randoms(use_true_random=False))
def test_the_order_in_which_runs_become_known_does_not_matter(
    seen: list[Measurement], random: Random
) -> None:
    shuffled = random.sample(seen, len(seen))
    first, second = PowerModel(seen), PowerModel(shuffled)
    assert draw(first, a_workload(), ORIN) == draw(second, a_workload(), ORIN)
    assert utilisation(first, a_workload(), ORIN) == utilisation(second, a_workload(), ORIN)


def test_another_workloads_power_follows_the_line_that_was_measured_here() -> None:
    before = draw(PowerModel(), generate(), ORIN)
    model = PowerModel([a_run(power_w=12.0, gpu_util_pct=96.0), a_run(generate(), gpu_util_pct=30)])
    after = draw(model, generate(), ORIN)
    assert (before.source, after.source) == ("assumed", "estimated")
    assert after.work_w < line(model, ORIN).power_w(96) < 16
    assert after.sigma < before.sigma


def test_one_power_modes_points_speak_of_another_less_surely() -> None:
    slow = DeviceClass("orin-nano", "15W", "jetpack-6", 6900.0)
    runs = [
        a_run(a_workload(batch_size=size), power_w=11.0, gpu_util_pct=96.0) for size in (1, 2, 4, 8)
    ]
    model = PowerModel(runs)
    lines = [line(PowerModel(), slow), line(model, slow), line(model, ORIN)]
    assert lines[1].power_w(96) < lines[0].power_w(96)
    assert lines[1].power_w(96) < lines[2].power_w(96)  # the lower clock
    assert lines[1].sigma(96) > lines[2].sigma(96)


# -- utilisation ---------------------------------------------------------------------------------


def test_utilisation_measured_on_the_pair_goes_before_all_else() -> None:
    model = PowerModel([a_run(gpu_util_pct=p) for p in (88.0, 90.0, 91.0)])
    found = utilisation(model, a_workload(), ORIN)
    assert found is not None
    assert (found.pct, found.source, found.measurements) == (90.0, "measured", 3)
    assert found.p10_pct < 90 < found.p90_pct


def test_utilisation_is_carried_within_an_architecture_only() -> None:
    model = PowerModel([a_run(generate(), gpu_util_pct=20.0)])
    same, other = utilisation(model, generate(), AGX), utilisation(model, generate(), NX)
    alone = utilisation(PowerModel(), generate(), NX)
    assert same is not None and other is not None and alone is not None
    assert same.source == "estimated" and same.pct < 40
    assert other == alone and other.source == "assumed"


def test_what_was_measured_beside_it_corrects_the_roofline() -> None:
    """And it needs more than one workload to be believed whole."""
    models = ["tinyllama-1.1b", "phi-2", "distilgpt2"]
    runs = [a_run(generate(name), gpu_util_pct=10.0) for name in models]
    asked = generate("qwen1.5-1.8b")
    found = [utilisation(PowerModel(runs[:n]), asked, ORIN) for n in range(4)]
    pcts = [each.pct for each in found if each is not None]
    assert len(pcts) == 4
    assert pcts[0] > pcts[1] > pcts[3] and pcts[3] < pcts[0] / 2
    widths = [each.p90_pct - each.p10_pct for each in found if each is not None]
    assert widths[3] < widths[0]
    trained = utilisation(PowerModel(runs), a_workload(), ORIN)
    assert trained == utilisation(PowerModel(), a_workload(), ORIN)  # another kind of work


def test_the_roofline_alone_is_assumed_and_wide() -> None:
    found = utilisation(PowerModel(), generate(), ORIN)
    assert found is not None
    assert (found.source, found.measurements) == ("assumed", 0)
    assert found.p90_pct - found.p10_pct > 40


def test_what_is_only_assumed_gives_way_to_what_was_measured() -> None:
    assumed = a_run(gpu_util_pct=50.0, source="assumed")
    model = PowerModel([assumed])
    found = utilisation(model, a_workload(), ORIN)
    assert found is not None and (found.pct, found.source) == (50.0, "assumed")
    model.learn(a_run(gpu_util_pct=90.0))
    found = utilisation(model, a_workload(), ORIN)
    assert found is not None and (found.pct, found.source) == (90.0, "measured")


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_spread_holds_its_middle_and_stays_a_percentage(first: float, second: float) -> None:
    model = PowerModel([a_run(gpu_util_pct=first), a_run(gpu_util_pct=second)])
    for where in (ORIN, AGX, DeviceClass("orin-nano", "15W")):
        found = utilisation(model, a_workload(), where)
        assert found is not None
        assert 0 <= found.p10_pct <= found.pct <= found.p90_pct <= 100


def test_a_cpu_and_an_emulated_board_have_neither() -> None:
    subjects, model = Subjects(), PowerModel([a_run(power_w=12.0, gpu_util_pct=90.0)])
    for where in (DeviceClass("cpu"), DeviceClass("orin-nano", emulated=True, memory_mib=2000)):
        card, place = subjects.card(a_workload()), subjects.place(where)
        assert model.utilisation(card, place) is None
        assert model.draw(card, place) is None


# -- energy --------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e6)), min_size=1, max_size=5))
def test_energy_is_additive(parts: Sequence[tuple[float, float]]) -> None:
    found = draw(PowerModel(), a_workload(), ORIN)
    whole = found.energy_j(sum(load for load, _ in parts), sum(work for _, work in parts))
    assert sum(found.energy_j(*part) for part in parts) == pytest.approx(whole)


@given(st.floats(1, 10), st.floats(0, 1))
def test_an_energys_p90_is_at_least_that_of_its_time(time_p90: float, sigma: float) -> None:
    found = Draw(5.0, 15.0, "assumed", sigma)
    assert found.p90_factor(time_p90) >= time_p90 * (1 - 1e-12)
    assert found.p90_factor(time_p90) >= found.p90_factor() >= 1


def test_loading_draws_less_than_work() -> None:
    """A model that stays loaded for long costs little; none of it is measured."""
    for workload in (a_workload(), generate()):
        for where in (NX, ORIN, AGX):
            found = draw(PowerModel(), workload, where)
            assert sheet_of(where).idle_w < found.load_w <= found.work_w


def test_the_published_power_of_an_agx_orin_lies_within_the_sheets_interval() -> None:
    """Llama-3.2-1B, eager transformers, bf16: 27.5 W at 48 %, 8B in llama.cpp 52 W at 94 %.

    kevinhe5/IISWC2026-Artifact-Paper-177 @ 1db7395.
    """
    found = line(PowerModel(), AGX)
    for pct, watts in ((48.0, 27.5), (94.0, 52.0)):
        assert abs(math.log(found.power_w(pct) / watts)) < 1.2816 * found.sigma(pct)


# -- through the cost model ----------------------------------------------------------------------


def estimate(model: CostModel, workload: Workload, where: DeviceClass, amount: float) -> Estimate:
    found = model.verdict(Job("1", workload, amount), where)
    assert isinstance(found, Estimate)
    return found


@pytest.mark.parametrize("board", BOARDS)
def test_every_board_gets_energy_and_utilisation_before_anything_was_measured(board: str) -> None:
    for workload in (a_workload(), generate()):
        found = estimate(CostModel(), workload, DeviceClass(board, memory_mib=60000.0), 100)
        assert found.source == "assumed"
        assert found.gpu_util_pct is not None and 0 < found.gpu_util_pct < 100
        assert found.energy_j is not None
        sheet = sheet_of(DeviceClass(board))
        assert sheet.idle_w < found.energy_j / found.time_s <= sheet.max_w


def test_the_bundled_profile_has_energy_at_the_papers_utilisation() -> None:
    model = CostModel(bundled_profile())
    for figure in FIGURES:
        workload, where = paper_workload(paper_model(figure.title)), paper_class("orin-nano")
        found = estimate(model, workload, where, 100)
        assert found.energy_j is not None
        assert found.gpu_util_pct == TABLE_3["orin-nano"][figure.title]


def test_a_cpu_has_neither_energy_nor_gpu_utilisation() -> None:
    found = estimate(CostModel(), a_workload(), DeviceClass("cpu", memory_mib=60000.0), 10)
    assert (found.energy_j, found.gpu_util_pct) == (None, None)


def test_energy_is_what_was_integrated_for_each_unit_of_work_and_loading_beside_it() -> None:
    """1,500 J over 100 samples: fifteen for each; loading draws less than that a second."""
    run = a_run(energy_j=1500.0, gpu_util_pct=96.0, peak_memory_mib=3000.0)
    model = CostModel([run])
    hundred, thousand = (estimate(model, a_workload(), ORIN, amount) for amount in (100, 1000))
    assert hundred.energy_j is not None and thousand.energy_j is not None
    assert thousand.energy_j - hundred.energy_j == pytest.approx(900 * 15)
    loading_j = hundred.energy_j - 1500
    assert 5.3 * hundred.load_s < loading_j < 15 * hundred.load_s


runs = st.builds(
    lambda size, where, pct, watts: a_run(
        a_workload(batch_size=size), where, gpu_util_pct=pct, power_w=watts, peak_memory_mib=3000.0
    ),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([ORIN, NX, DeviceClass("orin-nano", "15W", "jetpack-6", 6900.0)]),
    st.none() | st.floats(1, 99),
    st.none() | st.floats(6, 24),
)


@settings(deadline=None)  # the first fit imports scipy
@given(st.lists(runs, max_size=5))
def test_it_does_not_matter_what_was_asked_before_a_run_was_learnt(seen: list[Measurement]) -> None:
    questions = [(a_workload(batch_size=size), where) for size in (1, 4, 8) for where in (ORIN, NX)]
    asked = CostModel()
    for run in seen:
        for question in questions:
            asked.cost(*question)
        asked.learn(run)
    fresh = CostModel(seen)
    for question in questions:
        assert asked.cost(*question) == fresh.cost(*question)


def test_the_cost_model_tells_how_sure_it_is_of_power() -> None:
    use, drawn = CostModel().power(generate(), ORIN)
    assert use is not None and drawn is not None
    assert use.p10_pct < use.pct < use.p90_pct
    assert drawn.source == "assumed" and drawn.p90_factor(1.5) > 1.5
    assert CostModel().power(generate(), DeviceClass("cpu")) == (None, None)
