"""A board that got slower is noticed; noise, wrong estimates and odd work are not taken for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import exp, inf, nan
from random import Random
from typing import Any

import pytest
from builders import NX, a_workload, an_estimate
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.profiler.drift import Drift, DriftWatch, ran_of
from jetsched.profiler.drift_scores import KEPT, STEPS, Ran, Scores
from jetsched.profiler.evidence import speed_class
from jetsched.records import Measurement, Workload

TINY, GPT2, DISTIL = (a_workload(model) for model in ("tiny-gpt2", "gpt2", "distilgpt2"))
RATES = {TINY: 0.01, GPT2: 2.0, DISTIL: 0.7}


def a_ran(at_s: float, workload: Workload = GPT2, device: str = "nx-1", **changes: Any) -> Ran:
    """A run at the usual speed, rightly predicted."""
    rate_s = changes.pop("times", 1.0) * RATES[workload]
    base = Ran(at_s, device, speed_class(NX), workload, rate_s, RATES[workload], behind=5)
    return replace(base, **changes)


def runs(random: Random, count: int, sigma: float, **changes: Any) -> Iterator[Ran]:
    """Runs of several kinds of work with log-normal noise; ``from_s`` and ``times`` as given."""
    begin_s, times, works = changes.pop("from_s", 0.0), changes.pop("times", 1.0), list(RATES)
    for n in range(count):
        if n % len(works) == 0:
            random.shuffle(works)
        noise = exp(random.gauss(0.0, sigma))
        yield a_ran(begin_s + n, works[n % len(works)], times=times * noise, **changes)


def drift_of(runs: Sequence[Ran], device: str = "nx-1") -> Drift:
    return DriftWatch(runs).drift(device)


def alarms(runs: Sequence[Ran], device: str = "nx-1") -> list[int]:
    """After which of the runs the board was said to have drifted."""
    watch, found = DriftWatch(), []
    for number, ran in enumerate(runs):
        watch.add(ran)
        if watch.drift(device).verdict in ("slower", "faster"):
            found.append(number)
    return found


# -------------------------------------------------------------------------------- how often it errs


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.15])
def test_steady_noise_gives_no_alarm_in_99_of_100_sequences(sigma: float) -> None:
    """Sixty runs each; noise of 2 to 15 %, as of quiet and of busy boards."""
    false = [
        seed for seed in range(300) if alarms(list(runs(Random(f"{sigma} {seed}"), 60, sigma)))
    ]
    assert len(false) <= 3


@pytest.mark.parametrize(("times", "verdict"), [(1.5, "slower"), (1 / 1.5, "faster")])
def test_a_change_by_half_is_noticed_within_five_runs(times: float, verdict: str) -> None:
    late = []
    for seed in range(200):
        random = Random(f"{times} {seed}")
        before = list(runs(random, 12, 0.05))
        after = list(runs(random, 5, 0.05, from_s=100.0, times=times))
        if drift_of([*before, *after]).verdict != verdict:
            late.append(seed)
    assert len(late) <= 2


@given(st.integers(0, 10**6), st.floats(0.0, 0.05), st.floats(1.5, 20.0))
@settings(max_examples=60, deadline=None)
def test_a_slow_down_is_noticed_by_the_fifth_run_and_not_before_the_third(
    seed: int, sigma: float, times: float
) -> None:
    random = Random(seed)
    before = list(runs(random, 20, sigma))
    after = list(runs(random, 5, sigma, from_s=100.0, times=times))
    found = alarms([*before, *after])
    assert found and found[0] >= len(before) + 2
    drift = drift_of([*before, *after])
    assert drift.verdict == "slower"
    assert drift.ratio == pytest.approx(times, rel=0.25)
    assert drift.since_s is not None and drift.since_s >= 0


def test_one_wild_run_or_two_are_no_drift() -> None:
    steady = [a_ran(n) for n in range(20)]
    wild = [a_ran(30, times=50.0), a_ran(31, times=50.0)]
    assert not alarms([*steady, *wild, *(a_ran(40 + n) for n in range(10))])


# ----------------------------------------------------------------------------- what it is made from


@given(st.integers(0, 10**6), st.permutations(range(30)))
@settings(max_examples=50, deadline=None)
def test_the_order_in_which_runs_become_known_does_not_matter(seed: int, order: list[int]) -> None:
    random = Random(seed)
    known = [
        *runs(random, 10, 0.1),
        *runs(random, 10, 0.1, device="nx-2", from_s=5.5),
        *runs(random, 10, 0.1, from_s=50.0, times=random.choice([1.0, 1.6])),
    ]
    watch = DriftWatch()
    for number in order:
        watch.add(known[number])
        watch.drift("nx-1")  # asking in between changes nothing
    for device in ("nx-1", "nx-2"):
        assert watch.drift(device) == drift_of(known, device)


def scored(scores: Scores) -> list[tuple[Ran, float | None, bool]]:
    """Each run with what was made of it, and all that later ones are compared with."""
    scores.strayed("")
    return [(s.ran, s.off, s.counts) for s in scores.scored]


@given(st.integers(0, 10**6), st.lists(st.floats(0.0, 200.0), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_run_that_becomes_known_late_is_as_if_it_had_been_known(
    seed: int, late_s: list[float]
) -> None:
    """What came after it is taken back and scored again; the rest stays."""
    random = Random(seed)
    known = [
        *runs(random, 2 * STEPS, 0.1),
        *runs(random, 40, 0.1, device="nx-2", from_s=5.5, times=random.choice([1.0, 2.0])),
        *runs(random, 20, 0.1, from_s=150.0, times=random.choice([1.0, 2.0])),
        replace(a_ran(160.5), profiled=random.random() < 0.5),
    ]
    scores = Scores()
    for ran in sorted(known, key=lambda ran: ran.at_s):
        scores.add(ran)
    for number, at_s in enumerate(late_s):
        scored(scores)
        ran = a_ran(at_s + 1e-3 * number, random.choice(list(RATES)), times=random.choice([1, 3]))
        known.append(ran)
        scores.add(ran)
        fresh = Scores()
        for ran in sorted(known, key=lambda ran: ran.order):
            fresh.add(ran)
        assert scored(scores) == scored(fresh)
        assert scores.strayed("nx-1") == fresh.strayed("nx-1")
        assert [scores._sigma(same) for same in (True, False)] == [
            fresh._sigma(same) for same in (True, False)
        ]


@given(st.sampled_from([nan, inf, -inf, 0.0, -1.0]), st.sampled_from(["rate_s", "at_s"]))
@settings(max_examples=20, deadline=None)
def test_numbers_that_are_none_are_left_out(value: float, name: str) -> None:
    known = [a_ran(n) for n in range(10)]
    watch = DriftWatch(known)
    if name == "rate_s" or value in (inf, -inf) or value != value:
        bad = a_ran(20.0, rate_s=value) if name == "rate_s" else a_ran(value)
        assert not watch.add(bad)
    for _ in range(5):
        watch.add(replace(a_ran(20.0, times=1.0), predicted_s=value, predicted_p90_s=value))
    assert watch.drift("nx-1").verdict == "steady"


def test_amounts_do_not_matter() -> None:
    def run(n: int, amount: float, rate_s: float) -> Ran | None:
        estimate = an_estimate(10.0 + 2.0 * amount, load_s=10.0, measurements=4)
        made = Measurement(
            GPT2, NX, "done", amount=amount / 2, work_s=rate_s * amount / 2, device="nx-1"
        )  # it was resumed halfway
        return ran_of(made, n, estimate, amount)

    known = [run(n, amount, 2.0) for n, amount in enumerate((1, 10, 1000, 3, 7, 500, 2, 90))]
    drift = drift_of([ran for ran in known if ran])
    assert (drift.verdict, drift.ratio, drift.predicted_ratio) == ("steady", 1.0, 1.0)


def test_a_run_that_swapped_or_told_no_rate_is_no_evidence() -> None:
    done = Measurement(GPT2, NX, "done", amount=10.0, work_s=5.0, device="nx-1")
    assert ran_of(done, 1.0) is not None
    for changes in (
        {"swap_delta_mib": 500.0},
        {"work_s": None},
        {"amount": 0.0},
        {"outcome": "killed_memory"},
        {"device": ""},
        {"source": "assumed"},
        {"work_s": nan},
    ):
        assert ran_of(replace(done, **changes), 1.0) is None
    assert ran_of(done, nan) is None
    assert ran_of(replace(done, outcome="preempted"), 1.0) is not None


def test_too_few_runs_are_unknown() -> None:
    assert drift_of([]).verdict == "unknown"
    first = [a_ran(n, behind=0) for n in range(3)]
    assert drift_of(first).verdict == "unknown"
    assert drift_of([*first, *(a_ran(9 + n, behind=0) for n in range(3))]).verdict == "steady"


# -------------------------------------------------------------------- what is not the board's fault


def test_a_wrong_estimate_of_new_work_is_no_drift() -> None:
    """It takes twice as long as predicted, each time, and other work takes what it did."""
    known = [a_ran(n, GPT2) for n in range(10)]
    new = [a_ran(20 + n, TINY, times=2.0, behind=n) for n in range(10)]
    assert not alarms([*known, *new])


def test_an_assumed_estimate_is_never_a_yardstick() -> None:
    estimate = an_estimate(1.0, source="assumed", measurements=99)
    known = []
    for n, work in enumerate([TINY, GPT2, DISTIL] * 5):
        made = Measurement(work, NX, "done", amount=1.0, work_s=50.0 * RATES[work], device="nx-1")
        known.append(ran_of(made, n, estimate, 1.0))
    assert not alarms([ran for ran in known if ran])


def test_commands_that_take_what_they_will_are_no_drift_of_their_board() -> None:
    """What a command is like is a first guess, however many runs stand behind that."""
    estimate = an_estimate(1.0, source="estimated", measurements=99)
    known = []
    for n in range(15):
        like = replace(GPT2, kind="command", like="train", command=f"sleep {n}")
        made = Measurement(like, NX, "done", amount=1.0, work_s=50.0, device="nx-1")
        known.append(ran_of(made, n, estimate, 1.0))
    assert not alarms([ran for ran in known if ran])
    assert [ran.behind for ran in known if ran] == [0] * 15


def a_class(times: dict[str, float]) -> list[Ran]:
    """Three boards of a class at the usual speed, then each at its own."""
    boards = ("nx-1", "nx-2", "nx-3")
    before = [a_ran(3 * n + i, GPT2, b) for n in range(10) for i, b in enumerate(boards)]
    after = [
        a_ran(100 + 3 * n + i, GPT2, b, times=times.get(b, 1.0))
        for n in range(8)
        for i, b in enumerate(boards)
    ]
    return [*before, *after]


def test_a_board_that_is_slow_against_its_peers_is_told_apart_from_them() -> None:
    known = a_class({"nx-2": 1.6})
    assert [drift_of(known, f"nx-{n}").verdict for n in (1, 2, 3)] == ["steady", "slower", "steady"]
    drift = drift_of(known, "nx-2")
    assert drift.text.startswith("1.6x slower than usual in its last 5 runs")
    assert (drift.runs, drift.since_s) == (5, 101.0)


def test_when_all_boards_of_a_class_are_off_alike_none_of_them_is_at_fault() -> None:
    known = a_class({f"nx-{n}": 1.6 for n in (1, 2, 3)})
    for n in (1, 2, 3):
        drift = drift_of(known, f"nx-{n}")
        assert drift.verdict == "steady"
        assert drift.text == "all boards of its class are 1.6x slower than usual"


def test_when_the_estimates_have_followed_nothing_is_said_of_the_class() -> None:
    known = [
        replace(ran, predicted_s=ran.rate_s) for ran in a_class({f"nx-{n}": 1.6 for n in (1, 2, 3)})
    ]
    assert drift_of(known).text == ""


def test_when_only_one_kind_of_work_is_off_it_is_not_the_board() -> None:
    before = [a_ran(n, work) for n, work in enumerate([GPT2, TINY] * 10)]
    slow = [a_ran(100 + n, GPT2, times=2.0) for n in range(6)]
    assert drift_of([*before, *slow]).verdict == "slower"  # nothing else has run since
    drift = drift_of([*before, *slow, a_ran(200, TINY)])
    assert drift.verdict == "steady"
    assert drift.text.startswith("only train gpt2 b8x384 fp32 is 2.0x slower than usual")


def test_predictions_from_many_measurements_show_a_drift_on_ever_new_work() -> None:
    """No two jobs are alike; the predictions are always 30 % too low, and that is the usual."""

    def new(n: int, times: float) -> Ran:
        return replace(a_ran(n, times=1.3 * times), workload=a_workload("gpt2", batch_size=n + 1))

    steady = [new(n, 1.0) for n in range(20)]
    assert not alarms(steady)
    assert drift_of([*steady, *(new(30 + n, 3.0) for n in range(5))]).verdict == "slower"


# --------------------------------------------------------------------------------------- afterwards


def test_a_slow_board_stays_slow_although_its_estimates_have_followed() -> None:
    known = [a_ran(n) for n in range(10)]
    known += [a_ran(20 + n, times=1.5, predicted_s=1.5 * RATES[GPT2]) for n in range(100)]
    drift = drift_of(known)
    assert (drift.verdict, drift.since_s) == ("slower", 20.0)
    assert drift.predicted_ratio == pytest.approx(1.0)


def test_a_board_that_has_recovered_is_steady_after_a_few_runs() -> None:
    known = [a_ran(n) for n in range(10)] + [a_ran(20 + n, times=1.5) for n in range(10)]
    assert drift_of(known).verdict == "slower"
    assert drift_of([*known, *(a_ran(50 + n) for n in range(4))]).verdict == "steady"


def test_a_profile_makes_the_new_speed_the_usual_one() -> None:
    known = [a_ran(n) for n in range(10)] + [a_ran(20 + n, times=1.5) for n in range(10)]
    profile = a_ran(50, times=1.5, predicted_s=None, profiled=True)
    later = [a_ran(60 + n, times=1.5) for n in range(10)]
    assert drift_of([*known, profile]).verdict == "steady"
    assert drift_of([*known, profile, *later]).verdict == "steady"
    assert not alarms([*known, profile, *later])[-1] > len(known)


def test_a_profile_does_not_hide_that_a_board_is_slower_than_its_peers() -> None:
    known = a_class({"nx-2": 1.6})
    profile = a_ran(200, device="nx-2", times=1.6, predicted_s=None, profiled=True)
    later = [a_ran(210 + n, device="nx-2", times=1.6) for n in range(6)]
    assert drift_of([*known, profile, *later], "nx-2").verdict == "slower"


def test_another_power_mode_is_said_and_is_no_drift() -> None:
    watch = DriftWatch([a_ran(n) for n in range(10)])
    now = replace(NX, power_mode="10W_2CORE")
    drift = watch.drift("nx-1", now)
    assert drift.verdict == "unknown"
    assert "15W_6CORE > 10W_2CORE" in drift.text
    assert watch.drift("nx-1", NX).verdict == "steady"
    assert watch.drift("nx-1", replace(NX, memory_mib=5000.0)).verdict == "steady"


def test_the_history_of_a_board_has_an_end() -> None:
    watch = DriftWatch(a_ran(n) for n in range(5 * KEPT))
    (scores,) = watch._classes.values()
    assert len(scores._runs) <= 2 * KEPT
    assert len(scores.scored) == len(scores.of_board["nx-1"]) <= 2 * KEPT
    assert watch.drift("nx-1").verdict == "steady"


def test_a_board_stays_slower_when_the_runs_are_forgotten_with_which_it_began() -> None:
    watch = DriftWatch([a_ran(n) for n in range(20)])
    for n in range(5 * KEPT):
        watch.add(a_ran(100 + n, times=1.6))
    drift = watch.drift("nx-1")
    assert (drift.verdict, drift.since_s) == ("slower", 100)
    watch.add(a_ran(50.0))  # known late, and older than all that is left
    assert watch.drift("nx-1").verdict == "slower"


# ---------------------------------------------------------------------- what the measurements carry


def seen(**telemetry: Any) -> tuple[str, ...]:
    """The evidence beside a slow-down whose runs carry this; before it the board was well."""

    def run(n: int, times: float, record: dict[str, Any]) -> Ran:
        celsius = record.pop("temperature_c", None)
        board = {"power_mode": record.pop("board_mode", "15W_6CORE"), "clocks_locked": True}
        made = Measurement(
            GPT2,
            NX,
            "done",
            amount=1.0,
            work_s=times * RATES[GPT2],
            device="nx-1",
            temperature_c=celsius,
            identity={**board, "telemetry": record},
        )
        ran = ran_of(made, n, an_estimate(RATES[GPT2], measurements=5), 1.0)
        assert ran is not None
        return ran

    well = {"temperature_c": 55.0, "gpu_busy_mhz": 1100.0}
    known = [run(n, 1.0, dict(well)) for n in range(10)]
    known += [run(20 + n, 1.5, {**well, **telemetry}) for n in range(5)]
    drift = drift_of(known)
    assert drift.verdict == "slower"
    assert all(word in drift.text for word in drift.evidence)
    return (*drift.evidence, drift.text.rpartition(": ")[2])


def test_what_was_different_is_named_with_what_to_do() -> None:
    assert seen() == ("run jetsched doctor there, then jetsched profile",)
    cool = "see to its cooling and power supply"
    assert seen(throttling=["hot: gpu-throttle-alert"]) == ("hot: gpu-throttle-alert", cool)
    assert seen(temperature_c=71.0) == ("71 °C (55 before)", cool)
    assert seen(temperature_c=58.0) == seen()
    assert seen(gpu_busy_mhz=620.0)[0] == "GPU at 620 MHz (1100 before)"
    back = "set it back, or run jetsched profile there"
    for changed in ({"power_mode": "10W_2CORE"}, {"board_mode": "10W_2CORE"}):
        assert seen(**changed) == ("power mode 15W_6CORE > 10W_2CORE", back)


def test_the_p90_of_what_was_estimated_is_counted() -> None:
    known = [a_ran(n, predicted_p90_s=1.2 * RATES[GPT2]) for n in range(10)]
    known += [
        a_ran(20 + n, times=t, predicted_p90_s=1.2 * RATES[GPT2])
        for n, t in enumerate((1.6, 1.6, 1.15, 1.6, 1.6))
    ]
    assert drift_of(known).over_p90 == 4
