"""`costs evaluate`: each group is predicted from all others, and how good that is."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from builders import NX, ORIN, a_workload
from cost_worlds import Cells, a_cost, all_costs, as_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.cli import main
from jetsched.errors import InputError
from jetsched.files import to_json
from jetsched.profiler.costs import CostModel
from jetsched.profiler.costtable import table_of
from jetsched.profiler.evaluate import (
    Evaluation,
    evaluate,
    evaluate_groups,
    evaluate_measured,
    evaluate_table,
)
from jetsched.profiler.measured import read_measured
from jetsched.profiler.scoring import HeldOut, score, wilson
from jetsched.profiler.store import MeasurementStore
from jetsched.profiler.timefit import Predicted, TimeFit
from jetsched.records import Estimate, Job, Measurement

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "cost"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the tables of others are not here")


def of(rows: list[Cells], column: str, *more: str) -> Evaluation:
    return evaluate_table(table_of(as_csv(rows, *more)), column)


# -- scores ----------------------------------------------------------------------------------------


def a_result(time_s: float, predicted_s: float | None, **changes: Any) -> HeldOut:
    p90 = None if predicted_s is None else 1.2 * predicted_s
    return replace(HeldOut(1, "g", "a", "work", time_s, predicted_s, p90), **changes)


def test_errors_are_shares_of_the_measured_time() -> None:
    found = score([a_result(10.0, 11.0), a_result(10.0, 8.0), a_result(10.0, 16.0)])
    assert found.mape_pct == pytest.approx((10 + 20 + 60) / 3)
    assert found.median_ape_pct == pytest.approx(20)


def test_the_p90_covers_what_took_no_longer() -> None:
    found = score([a_result(12.0, 10.0), a_result(12.1, 10.0), a_result(5.0, 10.0)])
    assert found.p90_coverage == pytest.approx(2 / 3)
    assert found.p90_coverage_95 == wilson(2, 3)


def test_a_row_without_a_prediction_counts_as_a_row_only() -> None:
    found = score([a_result(10.0, 11.0), a_result(10.0, None)])
    assert (found.rows, found.predicted) == (2, 1)
    assert found.mape_pct == pytest.approx(10)
    nothing = score([a_result(10.0, None)])
    assert (nothing.mape_pct, nothing.p90_coverage, nothing.pairs_ordered_pct) == (None, None, None)


def test_pairs_are_of_the_same_work_on_two_devices() -> None:
    fast = a_result(1.0, 1.0)
    right, wrong = a_result(2.0, 3.0, device="b"), a_result(2.0, 0.5, device="c")
    assert score([fast, right]).pairs_ordered_pct == 100
    assert score([fast, wrong]).pairs_ordered_pct == 0
    three = score([fast, right, wrong])
    assert (three.pairs, three.pairs_ordered_pct) == (2, 50)  # b and c took the same time
    assert score([fast, replace(right, work="other")]).pairs_ordered_pct is None
    assert score([fast, replace(right, device="a")]).pairs_ordered_pct is None


def test_a_pair_that_is_predicted_equal_is_half_right() -> None:
    assert score([a_result(1.0, 3.0), a_result(2.0, 3.0, device="b")]).pairs_ordered_pct == 50


def test_a_peer_is_scored_on_the_rows_that_it_predicts() -> None:
    found = score([a_result(10.0, 10.0, peer_time_s=12.0), a_result(10.0, 10.0)])
    assert found.peer_mape_pct == pytest.approx(20)


def test_the_interval_of_a_share_is_wilsons() -> None:
    """8 of 10: the figures of Wilson (1927) as tables print them."""
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0


@given(hits=st.integers(0, 50), misses=st.integers(0, 50))
def test_the_interval_of_a_share_contains_it(hits: int, misses: int) -> None:
    if hits + misses:
        low, high = wilson(hits, hits + misses)
        assert 0 <= low <= hits / (hits + misses) <= high <= 1


# -- holding out -----------------------------------------------------------------------------------


def test_a_group_is_predicted_without_its_own_rows() -> None:
    seen: list[tuple[set[str], set[str]]] = []

    def spy(others: Any, rows: Any) -> list[Predicted]:
        seen.append(({row.workload for row in others}, {row.workload for row in rows}))
        return [Predicted(1.0, 2.0)] * len(rows)

    rows = table_of(as_csv(all_costs())).rows
    names = list(dict.fromkeys(row.workload for row in rows))
    groups = {name: [row for row in rows if row.workload == name] for name in names}
    evaluate_groups(groups, "workload", spy)
    assert seen == [(set(groups) - {name}, {name}) for name in groups]


def test_a_fit_does_not_see_the_time_that_it_is_to_predict() -> None:
    """The held-out rows' times are made a hundredth: no prediction changes."""
    rows = all_costs()
    honest = of(rows, "workload")
    changed = [
        {**row, "time_s": row["time_s"] * 0.99} if row["workload"] == "deep" else row
        for row in rows
    ]
    other = of(changed, "workload")
    for before, after in zip(honest.rows, other.rows, strict=True):
        if before.group == "deep":
            assert after.predicted_s == pytest.approx(before.predicted_s)
            assert after.time_s != before.time_s


@pytest.mark.parametrize("column", ["workload", "device", "batch", "family"])
def test_a_world_that_is_a_roofline_is_predicted_well_whatever_is_held_out(column: str) -> None:
    rows = [{**row, "family": row["device"][0]} for row in all_costs((1, 2, 4))]
    found = of(rows, column, "family")
    assert found.overall.rows == found.overall.predicted == len(rows)
    assert found.overall.mape_pct is not None
    assert found.overall.mape_pct < 15
    assert sum(each.rows for each in found.groups.values()) == len(rows)
    assert [each.row for each in found.rows] == list(range(1, len(rows) + 1))


def test_pairs_of_devices_need_no_fold_in_common() -> None:
    """With a device held out, each of a pair is predicted by its own fold."""
    found = of(all_costs(), "device")
    assert all(each.pairs_ordered_pct is None for each in found.groups.values())
    assert found.overall.pairs == 4 * 2 * 3
    assert found.overall.pairs_ordered_pct == 100


def test_where_no_workload_stands_on_two_devices_there_is_no_order() -> None:
    rows = [a_cost("small", "tiny"), a_cost("small", "wide"), a_cost("large", "deep")]
    assert of(rows, "workload").overall.pairs_ordered_pct is None


def test_a_group_that_cannot_be_fitted_is_reported() -> None:
    def some(others: Any, rows: Any) -> list[Predicted]:
        if rows[0].workload == "deep":
            raise InputError("too few rows")
        return TimeFit.fit(others).predict(rows)

    rows = table_of(as_csv(all_costs())).rows
    names = list(dict.fromkeys(row.workload for row in rows))
    groups = {name: [row for row in rows if row.workload == name] for name in names}
    found = evaluate_groups(groups, "workload", some)
    assert found.problems == {"deep": "too few rows"}
    assert found.groups["deep"].mape_pct is None
    assert found.overall.predicted == 18


def test_a_prediction_that_is_not_finite_counts_as_none() -> None:
    def wild(others: Any, rows: Any) -> list[Predicted]:
        return [Predicted(float("inf"), float("nan"))] * len(rows)

    rows = table_of(as_csv(all_costs())).rows
    found = evaluate_groups({"a": rows[:12], "b": rows[12:]}, "x", wild)
    assert (found.overall.predicted, found.overall.mape_pct) == (0, None)


@pytest.mark.parametrize(
    ("column", "words", "hint"),
    [
        ("worklaod", "no column 'worklaod'", "did you mean 'workload'?"),
        ("zzz", "no column 'zzz'", "there are: device, "),
        ("precision", "the same precision, 'fp32'", "another column"),
        ("note", "the column note is empty", "another column"),
    ],
)
def test_a_column_that_cannot_be_held_out_is_bad_input(column: str, words: str, hint: str) -> None:
    with pytest.raises(InputError) as raised:
        of(all_costs(), column, "note")
    assert words in str(raised.value)
    assert hint in raised.value.hint


def test_rows_without_a_value_are_a_group_too() -> None:
    rows = [{**row, "family": "A" if row["device"] == "small" else ""} for row in all_costs()]
    assert list(of(rows, "family", "family").groups) == ["A", "(empty)"]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    rows = all_costs()
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    found = of(rows, "workload")
    shuffled = of([rows[place] for place in order], "workload")
    assert shuffled.overall.mape_pct == pytest.approx(found.overall.mape_pct)
    assert shuffled.overall.pairs_ordered_pct == found.overall.pairs_ordered_pct
    predicted = {order[each.row - 1] + 1: each.predicted_s for each in shuffled.rows}
    for each in found.rows:
        assert predicted[each.row] == pytest.approx(each.predicted_s)


_BAD: tuple[Cells, ...] = (
    {"time_s": "nan"},
    {"time_s": -3.0},
    {"time_s": 0},
    {"flops": "inf"},
    {"bytes": "many"},
    {"time_s": a_cost("large", "deep")["time_s"] * 1000, "seq_len": 64},
    {"time_s": a_cost("large", "deep")["time_s"] / 1000, "seq_len": 64},
    {"device": "who", "peak_gflops": "", "bandwidth_gb_s": ""},
    {},  # a duplicate
)


@settings(max_examples=20, deadline=None)
@given(bad=st.lists(st.sampled_from(_BAD), min_size=1, max_size=4), place=st.integers(0, 24))
def test_a_bad_row_is_left_out_and_changes_no_other_prediction(
    bad: list[Cells], place: int
) -> None:
    rows = all_costs()
    honest = of(rows, "device")
    worse = [{**a_cost("large", "deep"), **changes} for changes in bad]
    found = of([*rows[:place], *worse, *rows[place:]], "device")
    assert len({flaw.row for flaw in found.left_out}) == len(bad)
    assert len(found.rows) == len(rows)
    after = {(each.device, each.work): each.predicted_s for each in found.rows}
    for each in honest.rows:
        assert after[each.device, each.work] == pytest.approx(each.predicted_s, rel=1e-9)


# -- the bars --------------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
    ("name", "column", "most_pct"),
    [
        ("transformers_on_gpus", "workload", 8.5),
        ("transformers_on_gpus", "device", 12.0),
        ("jetson_decode", "workload", 11.0),
    ],
)
def test_the_bars_are_met(name: str, column: str, most_pct: float) -> None:
    found = evaluate(DATA / f"{name}.csv", column)
    assert found.overall.mape_pct is not None
    assert found.overall.mape_pct <= most_pct
    assert found.problems == {}


@needs_data
def test_devices_that_were_never_seen_are_ordered_rightly() -> None:
    found = evaluate(DATA / "transformers_on_gpus.csv", "device").overall
    assert found.pairs == 153
    assert found.pairs_ordered_pct is not None
    assert found.pairs_ordered_pct >= 97
    assert found.peer_mape_pct == pytest.approx(10.1, abs=0.1)


# -- measurements of our own -----------------------------------------------------------------------


def a_run(
    model: str = "distilgpt2", where: Any = NX, rate_s: float = 0.2, **changes: Any
) -> Measurement:
    base = Measurement(
        a_workload(model, batch_size=1, seq_len=128),
        where,
        "done",
        amount=100.0,
        time_s=12.0 + 100 * rate_s,
        load_s=10.0,
        warmup_s=2.0,
        work_s=100 * rate_s,
        peak_memory_mib=2000.0,
        at=f"2026-11-20T08:00:{rate_s}",
    )
    return replace(base, **changes)


def runs() -> list[Measurement]:
    """Three models on two boards; the Orin is twice as fast."""
    rates = {"tiny-gpt2": 0.02, "distilgpt2": 2.0, "gpt2": 4.0}
    return [
        a_run(model, where, rate_s * (1.0 if where is NX else 0.5))
        for model, rate_s in rates.items()
        for where in (NX, ORIN)
    ]


def a_store(path: Path, measurements: list[Measurement]) -> Path:
    store = MeasurementStore(path / "measurements.jsonl")
    for measurement in measurements:
        store.append(measurement)
    return store.path


def test_our_own_measurements_are_predicted_by_the_cost_model_itself(tmp_path: Path) -> None:
    path = a_store(tmp_path, runs())
    found = evaluate(path, "model")
    assert list(found.groups) == ["tiny-gpt2", "distilgpt2", "gpt2"]
    assert found.overall.predicted == 6
    first = runs()[0]
    rest = [m for m in runs() if m.workload.model != "tiny-gpt2"]
    verdict = CostModel(rest).verdict(Job("1", first.workload, first.amount), first.device_class)
    assert isinstance(verdict, Estimate)
    assert found.rows[0].predicted_s == verdict.time_s
    assert found.rows[0].time_s == pytest.approx(12.0)  # less the two seconds of warm-up
    assert verdict.source in found.rows[0].note


@pytest.mark.parametrize("column", ["workload", "device", "model", "software", "power_mode"])
def test_measurements_are_held_out_by_any_of_their_columns(tmp_path: Path, column: str) -> None:
    found = evaluate(a_store(tmp_path, runs()), column)
    assert found.overall.rows == 6
    assert found.overall.pairs == 3
    assert len(found.groups) in (2, 3)


@pytest.mark.parametrize("column", ["workload", "model"])
def test_a_model_is_one_group_under_all_its_names(tmp_path: Path, column: str) -> None:
    """Its runs under another name would tell the answer."""
    alias = a_run("openai-community/gpt2", NX, 4.0, at="2026-11-20T09:00:00")
    found = evaluate(a_store(tmp_path, [*runs(), alias]), column)
    assert len(found.groups) == 3
    assert not any("table" in each.note for each in found.rows)


def test_what_cannot_be_compared_is_named_by_its_line(tmp_path: Path) -> None:
    killed = a_run("gpt2", NX, 9.0, outcome="killed_memory", work_s=None)
    path = a_store(tmp_path, [*runs(), killed, a_run("gpt2", ORIN, 1.9, swap_delta_mib=500.0)])
    with path.open("a") as file:
        file.write('{"workload": 3}\n')
        negative = to_json(a_run("gpt2", ORIN, 2.1)) | {"energy_j": -4.0}
        file.write(json.dumps(negative) + "\n")
        file.write(path.read_text().splitlines()[0] + "\n")
        nan = json.dumps(to_json(a_run("gpt2", ORIN, 2.2)) | {"power_w": float("nan")})
        file.write(nan + "\n")
    found = evaluate(path, "model")
    assert [(flaw.row, flaw.code) for flaw in found.left_out] == [
        (7, "NotTimed"),
        (8, "NotTimed"),
        (9, "Unreadable"),
        (10, "Negative"),
        (11, "Duplicate"),
        (12, "Unreadable"),
    ]
    assert found.overall.rows == 6


def test_a_kill_makes_its_workload_never_when_its_board_is_known(tmp_path: Path) -> None:
    """A kill is no row to compare, but fits know of it."""
    killed = a_run("gpt2", NX, 9.0, outcome="killed_memory", work_s=None)
    table = read_measured(a_store(tmp_path, [*runs(), killed]))
    found = evaluate_measured(table, "model")
    assert found.overall.predicted == 6  # it is held out with its model
    by_board = evaluate_measured(table, "device")
    assert [each.note[:5] for each in by_board.rows if each.predicted_s is None] == []


def test_measurements_that_contradict_each_other_are_left_out(tmp_path: Path) -> None:
    path = a_store(tmp_path, [*runs(), a_run("gpt2", NX, 10.0)])
    found = evaluate(path, "device")
    assert [(flaw.row, flaw.code) for flaw in found.left_out] == [
        (5, "Contradiction"),
        (7, "Contradiction"),
    ]


def test_a_file_without_a_measured_time_is_bad_input(tmp_path: Path) -> None:
    path = a_store(tmp_path, [a_run(outcome="failed", work_s=None)])
    with pytest.raises(InputError, match="no measurement with a time"):
        evaluate(path, "model")
    other = tmp_path / "trace.json"
    other.write_text('{"jobs": []}\n')
    with pytest.raises(InputError, match="row 1: not a valid Measurement"):
        evaluate(other, "model")


# -- the command -----------------------------------------------------------------------------------


@dataclass
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `jetsched costs evaluate` in this process."""
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JETSCHED_DEBUG", "")  # what --debug sets is undone with it

    def call(*words: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["jetsched", "costs", "evaluate", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return call


def a_file(path: Path, rows: list[Cells]) -> str:
    file = path / "costs.csv"
    file.write_text(as_csv(rows))
    return str(file)


def test_the_table_has_a_line_per_group_and_one_for_all(run: Run, tmp_path: Path) -> None:
    bad = a_cost("small", "tiny", time_s=-1)
    found = run(a_file(tmp_path, [*all_costs(), bad]), "--hold-out", "device")
    assert found.code == 0
    lines = found.out.splitlines()
    assert lines[0].split()[:3] == ["DEVICE", "ROWS", "MAPE"]
    assert [line.split()[0] for line in lines[1:5]] == ["small", "medium", "large", "all"]
    assert "1 row was left out" in found.out
    assert found.err == "✗ row 25 left out: time_s is negative: -1\n"
    assert found.out.rstrip().splitlines()[-1].startswith("Next: jetsched")


def test_the_json_is_as_documented(run: Run, tmp_path: Path) -> None:
    rows = [*all_costs(), a_cost("small", "tiny", time_s="nan")]
    found = run(a_file(tmp_path, rows), "--hold-out", "workload", "--json")
    said = json.loads(found.out)
    assert set(said) == {"column", "overall", "groups", "rows", "left_out", "warnings"}
    assert {"mape_pct", "median_ape_pct", "p90_coverage", "pairs_ordered_pct"} <= set(
        said["overall"]
    )
    assert set(said["groups"]) == {"tiny", "short", "wide", "deep"}
    assert 0 <= said["overall"]["p90_coverage"] <= 1
    assert said["rows"][0].keys() >= {
        *("row", "time_s", "predicted_s", "predicted_p90_s", "group", "note")
    }
    assert [row["row"] for row in said["rows"]] == list(range(1, 25))
    assert said["left_out"] == [
        {"row": 25, "code": "NonFinite", "text": "time_s is nan, not a finite number"}
    ]


def test_order_is_null_where_no_workload_stands_on_two_devices(run: Run, tmp_path: Path) -> None:
    rows = [a_cost("small", w) for w in ("tiny", "short", "wide", "deep")]
    said = json.loads(run(a_file(tmp_path, rows), "--json").out)
    assert said["overall"]["pairs_ordered_pct"] is None
    assert said["overall"]["pairs"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is empty"), ("a,b\n1,2\n", "lacks the columns device, workload, time_s")],
)
def test_a_bad_file_is_told_without_a_traceback(
    run: Run, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    found = run(str(path))
    assert (found.code, found.out) == (2, "")
    assert words in found.err
    assert "Traceback" not in found.err


def test_a_file_that_is_not_there_is_bad_input(run: Run, tmp_path: Path) -> None:
    found = run(str(tmp_path / "none.csv"))
    assert found.code == 2
    assert "No such file" in found.err


def test_the_help_has_an_example(run: Run) -> None:
    assert "Example: jetsched costs evaluate" in run("--help").out
