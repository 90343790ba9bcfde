"""The fit of times: what it recovers, what it extrapolates, and how sure it is."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.errors import InputError
from jetsched.profiler.additive import fit_factors
from jetsched.profiler.boosting import Boosted
from jetsched.profiler.costrows import CostRow
from jetsched.profiler.residual import Likeness, Residual, drawn
from jetsched.profiler.timefit import Asked, TimeFit

FAST, SLOW = ("fast", 10_000.0, 500.0), ("slow", 2_000.0, 60.0)


def a_row(
    flops: float,
    moved: float,
    device: tuple[str, float, float] = FAST,
    *,
    noise: float = 1.0,
    **more: str,
) -> CostRow:
    """A time that is exactly additive: 1.25 x operations, 2 x bytes, 10 us for a launch."""
    name, peak, bandwidth = device
    time_s = (1.25 * flops / peak + 2 * moved / bandwidth) / 1e9 + 300 * 1e-5
    row = CostRow(
        name,
        f"w{flops:.0f}",
        "train",
        time_s * noise,
        "fp32",
        peak_gflops=peak,
        bandwidth_gb_s=bandwidth,
        flops=flops,
        bytes=moved,
        launches=300.0,
    )
    return replace(row, **more)  # type: ignore[arg-type]


def some_rows(count: int = 24, sigma: float = 0.0, seed: int = 1) -> list[CostRow]:
    draw = Random(seed)
    return [
        a_row(
            10 ** draw.uniform(10, 13),
            10 ** draw.uniform(8, 11),
            draw.choice([FAST, SLOW]),
            noise=draw.lognormvariate(0, sigma),
        )
        for _ in range(count)
    ]


def test_an_additive_time_is_recovered_far_outside_of_what_was_seen() -> None:
    fit = TimeFit.fit(some_rows(40))
    far = a_row(1e15, 1e12)
    assert fit.predict([far])[0].time_s == pytest.approx(far.time_s, rel=0.1)


def test_a_device_that_was_never_seen_is_predicted_from_its_sheet() -> None:
    fit = TimeFit.fit(some_rows(40))
    new = a_row(3e12, 1e10, ("new", 5_000.0, 200.0))
    seen = a_row(3e12, 1e10)
    found, known = fit.predict([new, seen])
    assert found.time_s == pytest.approx(new.time_s, rel=0.1)
    assert found.time_p90_s / found.time_s > known.time_p90_s / known.time_s


def test_a_precision_that_was_never_measured_is_wide_and_says_so() -> None:
    known, unseen = TimeFit.fit(some_rows()).predict(
        [a_row(3e12, 1e10), a_row(3e12, 1e10, precision="fp16")]
    )
    assert known.note == "" and "fp16" in unseen.note
    assert unseen.time_p90_s / unseen.time_s > 1.5 * known.time_p90_s / known.time_s


def test_a_framework_that_was_never_measured_is_wide_and_says_so() -> None:
    rows = [replace(row, framework="eager") for row in some_rows()]
    unseen = TimeFit.fit(rows).predict([replace(rows[0], framework="vllm")])[0]
    assert "vllm fp32" in unseen.note


def test_the_p90_holds_in_nine_of_ten_cases() -> None:
    """Of work that was not seen, on devices that were, with 15 % of noise; 400 cases."""
    fit = TimeFit.fit(some_rows(80, sigma=0.15))
    held = some_rows(400, sigma=0.15, seed=2)
    within = [
        row.time_s <= found.time_p90_s for row, found in zip(held, fit.predict(held), strict=True)
    ]
    assert 0.85 <= sum(within) / len(within) <= 0.95


@pytest.mark.parametrize("factor", [60.0, 10.0, 0.1, 1 / 60])
def test_a_few_times_that_are_wrong_do_not_move_what_is_said_of_others(factor: float) -> None:
    rows, asked = some_rows(60, sigma=0.1), some_rows(20, seed=5)
    spoilt = [
        replace(row, time_s=row.time_s * factor) if number in (3, 17, 40) else row
        for number, row in enumerate(rows)
    ]
    before, after = (TimeFit.fit(each).predict(asked) for each in (rows, spoilt))
    for a, b in zip(before, after, strict=True):
        assert b.time_s == pytest.approx(a.time_s, rel=0.25)
        assert b.time_p90_s == pytest.approx(a.time_p90_s, rel=0.5)


def test_a_device_all_of_whose_times_are_off_is_believed() -> None:
    """Three rows of a new device, five times as slow as its sheet: no slip, a slow device."""
    slow = [
        replace(row, device="new", time_s=5 * row.time_s)
        for row in some_rows(3, sigma=0.05, seed=6)
    ]
    fit = TimeFit.fit([*some_rows(60, sigma=0.1), *slow])
    asked = [replace(row, device="new") for row in some_rows(10, seed=7)]
    for row, found in zip(asked, fit.predict(asked), strict=True):
        assert 2.5 < found.time_s / row.time_s < 6


@given(st.permutations(range(12)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    rows = some_rows(12, sigma=0.2)
    asked = some_rows(5, seed=3)
    straight = TimeFit.fit(rows).predict(asked)
    shuffled = TimeFit.fit([rows[index] for index in order]).predict(asked)
    for a, b in zip(straight, shuffled, strict=True):
        assert a.time_s == pytest.approx(b.time_s)
        assert a.time_p90_s == pytest.approx(b.time_p90_s)


@given(st.floats(1e9, 1e15), st.floats(1e6, 1e12), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_times_are_positive_and_the_p90_is_above_the_p50(
    flops: float, moved: float, seed: int
) -> None:
    found = TimeFit.fit(some_rows(6, sigma=0.3, seed=seed)).predict([a_row(flops, moved)])[0]
    assert 0 < found.time_s < found.time_p90_s < float("inf")


def test_rows_without_a_peak_or_launches_are_fitted_by_what_they_tell() -> None:
    rows = [replace(row, peak_gflops=None, launches=None) for row in some_rows(20)]
    assert TimeFit.fit(rows).predict(rows[:1])[0].time_s > 0
    # And a row that tells more than any that was fitted to is asked no more than they tell.
    full = TimeFit.fit(rows).predict(some_rows(20)[:1])[0]
    assert full.time_s == pytest.approx(TimeFit.fit(rows).predict(rows[:1])[0].time_s)


def test_a_row_that_tells_less_uses_all_that_tell_as_much() -> None:
    full, poor = some_rows(20), replace(a_row(3e12, 1e10), launches=None)
    assert TimeFit.fit(full).predict([poor])[0].time_s > 0


def test_nothing_to_fit_to_is_an_error() -> None:
    with pytest.raises(InputError, match="no row"):
        TimeFit.fit([])
    with pytest.raises(InputError, match="no row"):
        TimeFit.fit([replace(a_row(1e12, 1e9), time_s=float("nan"))])


def test_factors_are_never_negative_and_stay_near_what_is_believed() -> None:
    terms = np.array([[1.0, 0.01], [2.0, 0.01], [4.0, 0.01]])
    times = np.array([1.0, 1.9, 4.1])
    free = fit_factors(terms, times, None, 0.0)
    held = fit_factors(terms, times, np.array([1.0, 1.0]), 1.0)
    assert (free >= 0).all()
    # A term of one per cent of the time does not take up what the large one leaves over.
    assert held[1] == pytest.approx(1.0, abs=0.1)


def test_a_row_that_shares_nothing_is_as_wide_as_before_anything_was_seen() -> None:
    alike = Likeness(
        {"board": ["a", "a"], "device": ["a", "a"], "workload": ["w", "v"], "stack": ["s", "s"]},
        np.array([[0.0], [0.1]]),
    )
    other = Likeness(
        {"board": ["b"], "device": ["b"], "workload": ["x"], "stack": ["t"]}, np.array([[50.0]])
    )
    fit = Residual(alike, np.array([0.5, 0.5]))
    mean, sigma = fit.predict(other)
    same_mean, same_sigma = fit.predict(alike)
    assert mean[0] == pytest.approx(0.0, abs=1e-6)
    assert (same_mean > 0.3).all() and (same_sigma < sigma[0]).all()


def kinked_rows(count: int, seed: int) -> list[CostRow]:
    """Times that jump by 40 % from so many operations on: no smooth effect is like that."""
    rows = some_rows(count, sigma=0.02, seed=seed)
    slow = [row.flops is not None and row.flops > 3e11 for row in rows]
    return [
        replace(row, time_s=row.time_s * (1.4 if jumps else 1.0), workload=f"w{number % 40}")
        for number, (row, jumps) in enumerate(zip(rows, slow, strict=True))
    ]


def error(fit: TimeFit, rows: list[CostRow]) -> float:
    pairs = zip(rows, fit.predict(rows), strict=True)
    return sum(abs(found.time_s / row.time_s - 1) for row, found in pairs) / len(rows)


@pytest.mark.slow
def test_with_enough_rows_trees_find_what_no_smooth_effect_describes() -> None:
    held = kinked_rows(200, seed=9)
    few, many = (TimeFit.fit(kinked_rows(count, seed=8)) for count in (500, 1000))
    assert error(many, held) < 0.6 * error(few, held)


def test_trees_that_do_not_help_on_workloads_held_out_are_not_used() -> None:
    draw = np.random.default_rng(1)
    features, workloads = draw.normal(size=(600, 4)), [f"w{number % 30}" for number in range(600)]
    assert Boosted.fit(features, draw.normal(size=600), workloads) is None
    helped = Boosted.fit(features, np.sign(features[:, 0]), workloads)
    assert helped is not None and helped.left < 0.1
    assert Boosted.fit(features[:599], np.sign(features[:599, 0]), workloads[:599]) is None


@pytest.mark.slow
def test_trees_say_nothing_of_a_board_that_was_never_seen() -> None:
    fit = TimeFit.fit(kinked_rows(1000, seed=8))
    new = [replace(row, device="new") for row in kinked_rows(40, seed=7)]
    slow = [row for row in new if row.flops and row.flops > 3e11]
    known = [replace(row, device=FAST[0]) for row in slow]
    assert error(fit, known) < error(fit, slow)


def test_nearness_at_hand_changes_no_prediction() -> None:
    draw = np.random.default_rng(0)
    names = {
        "board": ["a", "b", "c"] * 4,
        "device": ["a", "b", "c"] * 4,
        "workload": [str(number) for number in range(12)],
        "stack": ["s"] * 12,
    }
    fit = Residual(Likeness(names, draw.normal(size=(12, 2))), draw.normal(size=12))
    one = {"board": ["b"], "device": ["b"], "workload": ["new"], "stack": ["s"]}
    asked = Likeness(one, draw.normal(size=(30, 2)))
    for plain, quick in zip(
        fit.predict(asked), fit.predict(asked, fit.nearness(asked.features)), strict=True
    ):
        assert plain == pytest.approx(quick)


def test_one_row_that_tells_more_does_not_make_the_others_forgotten() -> None:
    """Rows with launches are predicted from those without, while only one row has any."""
    rows = some_rows(40)
    held, rest = rows[:8], [replace(row, launches=None) for row in rows[8:]]
    alone, beside = TimeFit.fit(rest).predict(held), TimeFit.fit([*rest, rows[8]]).predict(held)
    for without, one in zip(alone, beside, strict=True):
        assert one.time_s == pytest.approx(without.time_s, rel=0.05)


@pytest.mark.parametrize("most", [300, 1200])
def test_the_rows_of_a_large_table_that_are_fitted_to_follow_no_period(most: int) -> None:
    """Of our own tables every other row is a prefill."""
    chosen = drawn(2 * most, most)
    assert chosen == sorted(set(chosen)) == drawn(2 * most, most)
    assert len(chosen) == most
    assert 0.4 < sum(row % 2 for row in chosen) / most < 0.6


def test_what_many_rows_share_with_the_fitted_ones_goes_when_they_go() -> None:
    fit = TimeFit.fit(some_rows())
    asked = Asked.of(some_rows(200, seed=2))
    first = fit.predict_all(asked)
    inner = fit._fit_for(next(iter(fit._told)))
    assert len(inner._near) == 1
    assert np.array_equal(fit.predict_all(asked)[0], first[0])
    del asked
    assert not inner._near
