"""What is odd about a measurement: told as data, shown, and kept out of estimates where it must."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from builders import NX, ORIN, a_workload
from hypothesis import given
from hypothesis import strategies as st

from jetsched.cli import main
from jetsched.profiler.costs import CostModel
from jetsched.profiler.flaws import Flaw, flaws_of
from jetsched.profiler.judged import timed_of, warnings
from jetsched.profiler.quality import (
    Timed,
    contradictions,
    duplicates,
    odd_efficiency,
    too_fast,
    unit_slips,
)
from jetsched.profiler.store import MeasurementStore
from jetsched.records import DeviceClass, Estimate, Job, Measurement, Never, Verdict

WORK = a_workload("gpt2", batch_size=4, seq_len=128)
UNKNOWN = DeviceClass("some-board", "", "", 8000.0)


def a_run(rate_s: float = 0.5, where: DeviceClass = ORIN, **changes: Any) -> Measurement:
    base = Measurement(
        WORK,
        where,
        "done",
        amount=100.0,
        time_s=10 + 100 * rate_s,
        load_s=10.0,
        work_s=100 * rate_s,
        peak_memory_mib=2000.0,
        at="2026-11-20T08:00:00Z",
    )
    return replace(base, **changes)


def codes(measurement: Measurement) -> list[str]:
    return [flaw.code for flaw in warnings(measurement)]


def verdict(model: CostModel, where: DeviceClass = ORIN) -> Verdict:
    return model.verdict(Job("1", WORK, 100.0), where)


# -- one measurement -------------------------------------------------------------------------------


def test_a_measurement_like_any_other_has_no_warning() -> None:
    timed = timed_of(a_run())
    assert timed is not None
    assert timed.floor_s > 0
    assert warnings(a_run(timed.floor_s / 0.3)) == ()


@pytest.mark.parametrize("efficiency", [1.1, 3.0, 10.0])
def test_faster_than_the_data_sheet_is_odd(efficiency: float) -> None:
    timed = timed_of(a_run())
    assert timed is not None
    found = warnings(a_run(timed.floor_s / efficiency), row=7)
    assert [(flaw.code, flaw.row) for flaw in found] == [("Efficiency", 7)]
    assert f"{efficiency:.3g} of the data sheet" in found[0].text


def test_a_fiftieth_of_the_data_sheet_is_odd() -> None:
    """Launches count too: small models wait for them, and that is what the sheet says."""
    timed = timed_of(a_run())
    assert timed is not None
    assert timed.overhead_s is not None
    assert codes(a_run((timed.floor_s + timed.overhead_s) / 0.019)) == ["Efficiency"]
    assert codes(a_run((timed.floor_s + timed.overhead_s) / 0.03)) == []


def test_without_a_data_sheet_nothing_is_odd() -> None:
    assert warnings(a_run(1e-9, UNKNOWN)) == ()
    assert warnings(a_run(1e9, UNKNOWN)) == ()


def test_what_was_not_measured_is_no_flaw() -> None:
    assert warnings(Measurement(WORK, NX, "killed_memory")) == ()
    assert warnings(Measurement(WORK, NX, "failed", time_s=3.0)) == ()


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"time_s": nan}, "NonFinite", "time_s is nan"),
        ({"work_s": inf}, "NonFinite", "work_s is inf"),
        ({"energy_j": -3.0}, "Negative", "energy_j is negative: -3"),
        ({"peak_memory_mib": -1.0}, "Negative", "peak_memory_mib"),
        ({"phases_s": {"decode": -1.0}}, "Negative", "phases_s.decode"),
    ],
)
def test_a_number_that_cannot_be_is_named(changes: dict[str, Any], code: str, text: str) -> None:
    found = warnings(a_run(**changes))
    assert [flaw.code for flaw in found] == [code]
    assert text in found[0].text
    assert str(found[0]) == found[0].text  # no row: it is of no file


def test_cold_boards_freed_swap_and_odd_losses_are_no_flaws() -> None:
    fine = a_run(temperature_c=-8.0, swap_delta_mib=-20.0, loss_first=nan, loss_last=-1.0)
    assert list(flaws_of(fine)) == []


# -- the cost model --------------------------------------------------------------------------------

_NUMBERS = ("amount", "time_s", "load_s", "warmup_s", "work_s", "peak_memory_mib", "gpu_util_pct")


@given(name=st.sampled_from(_NUMBERS), value=st.sampled_from([nan, inf, -inf, -1.0, -1e-300]))
def test_estimates_do_not_change_by_a_measurement_that_cannot_be(name: str, value: float) -> None:
    good = [a_run(), a_run(0.6, at="2026-11-20T09:00:00Z")]
    changes: dict[str, Any] = {name: value}
    bad = replace(a_run(5.0, at="2026-11-20T10:00:00Z"), **changes)
    assert verdict(CostModel([*good, bad])) == verdict(CostModel(good))
    assert verdict(CostModel([bad, *good])) == verdict(CostModel(good))
    assert not CostModel(good).learn(bad)


def test_an_odd_efficiency_is_kept_in_estimates() -> None:
    odd = a_run(0.01)
    assert codes(odd) == ["Efficiency"]
    found = verdict(CostModel([odd]))
    assert isinstance(found, Estimate)
    assert found.source == "measured"
    assert found.time_s == pytest.approx(10 + 100 * 0.01)


def test_a_kill_counts_whatever_the_sensors_said() -> None:
    """A sensor that fails at the moment of a kill must not send the job there again."""
    killed = a_run(outcome="killed_memory", power_w=nan, peak_memory_mib=nan, work_s=None)
    found = verdict(CostModel([killed]))
    assert isinstance(found, Never)
    assert found.code == "NeverFits"


# -- rows beside each other ------------------------------------------------------------------------


def a_time(time_s: float, row: int = 1, floor_s: float = 0.3, key: str = "work") -> Timed:
    return Timed(row, time_s, floor_s, 0.0, key)


def test_a_slip_needs_a_data_sheet() -> None:
    assert unit_slips([a_time(1.0, n, floor_s=0.0) for n in range(5)]) == []
    assert unit_slips([]) == []
    assert odd_efficiency(a_time(1000.0, floor_s=0.0)) is None


def test_a_hundred_times_faster_than_the_sheet_is_a_slip_even_alone() -> None:
    assert [flaw.code for flaw in unit_slips([a_time(0.001)])] == ["UnitSlip"]
    assert unit_slips([a_time(0.1)]) == []  # three times faster only warns


@given(st.lists(st.floats(0.3, 14.0), min_size=1, max_size=20))
def test_no_plausible_time_is_ever_a_slip(times: list[float]) -> None:
    rows = [a_time(time_s, n) for n, time_s in enumerate(times)]
    assert unit_slips([*rows, a_time(1e6, 99)])[-1].row == 99
    assert unit_slips(rows) == []


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=12), st.randoms())
def test_what_is_left_of_repeats_agrees_and_order_does_not_matter(
    times: list[float], random: Any
) -> None:
    rows = [a_time(time_s, n) for n, time_s in enumerate(times, start=1)]
    named = {flaw.row for flaw in contradictions(rows)}
    left = [row.time_s for row in rows if row.row not in named]
    assert not left or max(left) <= 2.0001 * min(left)
    random.shuffle(rows)
    assert {flaw.row for flaw in contradictions(rows)} == named


def test_rows_of_other_work_do_not_contradict() -> None:
    assert contradictions([a_time(1.0, 1, key="a"), a_time(9.0, 2, key="b")]) == []


def test_a_duplicate_names_the_first_of_its_kind() -> None:
    found = duplicates([(1, "a"), (2, "b"), (3, "a"), (4, "a")])
    assert [flaw.row for flaw in found] == [3, 4]
    assert all("row 1" in flaw.text for flaw in found)
    assert str(Flaw("Zero", 3, "x is 0")) == "row 3: x is 0"


@given(st.lists(st.floats(0.01, 100), max_size=12))
def test_too_fast_is_told_by_the_median_of_all_other_rows(reached: list[float]) -> None:
    timed = [Timed(n, 1 / share, 1.0, 0.0) for n, share in enumerate(reached, 1)]
    shares = [each.floor_s / each.time_s for each in timed]
    right = [
        n
        for n, share in enumerate(shares, 1)
        if len(shares) > 2 and share > 3 and median(shares[: n - 1] + shares[n:]) < 1.5
    ]
    assert sorted(flaw.row for flaw in too_fast(timed)) == right


# -- where it is shown -----------------------------------------------------------------------------


def test_profiles_ls_shows_the_warnings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path))
    MeasurementStore().append(a_run(0.01))
    MeasurementStore().append(a_run(at="2026-11-20T09:00:00Z"))
    monkeypatch.setattr(sys, "argv", ["jetsched", "profiles", "ls", "--json"])
    main_until_exit()
    odd, fine = json.loads(capsys.readouterr().out)
    assert [each["code"] for each in odd["warnings"]] == ["Efficiency"]
    assert fine["warnings"] == []
    monkeypatch.setattr(sys, "argv", ["jetsched", "profiles", "ls"])
    main_until_exit()
    assert "! train gpt2 b4x128 fp32 on orin-nano" in capsys.readouterr().out


def main_until_exit() -> None:
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
