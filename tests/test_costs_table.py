"""Tables of measured costs: what is read, and that whatever cannot be right is named by its row."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from cost_worlds import COLUMNS, a_cost, all_costs, as_csv
from hypothesis import given
from hypothesis import strategies as st

from jetsched.errors import InputError
from jetsched.profiler.costtable import CostTable, groups_of, read_table, table_of

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "cost"


def flaws(table: CostTable) -> list[tuple[int, str]]:
    return [(flaw.row, flaw.code) for flaw in table.left_out]


def with_row(**changes: Any) -> CostTable:
    """A good table whose third row is changed."""
    rows = all_costs()
    rows[2] = {**rows[2], **changes}
    return table_of(as_csv(rows))


# -- what is read ----------------------------------------------------------------------------------


def test_a_good_table_is_read_whole() -> None:
    table = table_of(as_csv(all_costs()))
    assert len(table.rows) == 24
    assert table.left_out == table.warnings == ()
    assert table.columns == COLUMNS
    first = table.rows[0]
    assert (first.device, first.workload, first.number) == ("small", "tiny", 1)
    assert first.flops == 2e11
    assert first.launches == 300  # the column is called kernels


def test_an_empty_cell_is_not_known_and_the_row_stays() -> None:
    """As a table of decodes: neither the peak nor the number of launches is known."""
    cells = {"peak_gflops": "", "kernels": "", "batch": "", "seq_len": ""}
    table = table_of(as_csv([{**row, **cells} for row in all_costs((1,))]))
    assert len(table.rows) == 12
    first = table.rows[0]
    assert (first.peak_gflops, first.launches, first.batch) == (None, None, None)


def test_other_columns_are_kept_as_labels() -> None:
    rows = [{**row, "family": "A" if row["device"] == "small" else "B"} for row in all_costs()]
    table = table_of(as_csv(rows, "family"))
    assert table.columns[-1] == "family"
    groups = groups_of(table.rows, "family")
    assert {name: len(group) for name, group in groups.items()} == {"A": 8, "B": 16}


def test_numbers_in_a_column_are_one_group_however_they_are_written() -> None:
    table = table_of(as_csv([a_cost(), {**a_cost("medium", "wide"), "batch": "1.0"}]))
    assert list(groups_of(table.rows, "batch")) == ["1"]


def test_launches_is_another_name_for_kernels() -> None:
    text = as_csv(all_costs()).replace("kernels", "launches")
    assert table_of(text).rows[0].launches == 300


def test_spaces_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    """Blank lines are no rows: the row after one has the next number."""
    lines = as_csv(all_costs()).splitlines()
    text = "\r\n".join([lines[0], "", *(line.replace(",", " , ") for line in lines[1:]), "", ""])
    path = tmp_path / "costs.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    table = read_table(path)
    assert [row.number for row in table.rows] == list(range(1, 25))
    assert table.left_out == ()


def test_a_board_that_is_known_here_brings_its_data_sheet() -> None:
    board = {"device": "Jetson Orin Nano 8GB", "peak_gflops": "", "bandwidth_gb_s": ""}
    table = table_of(as_csv([*all_costs(), {**a_cost(), **board}]))
    assert table.rows[-1].bandwidth_gb_s == pytest.approx(102.0)
    assert table.rows[-1].peak_gflops == pytest.approx(1024 * 2 * 1.020)


@pytest.mark.skipif(not DATA.exists(), reason="the tables of others are not here")
@pytest.mark.parametrize(("name", "rows"), [("transformers_on_gpus", 72), ("jetson_decode", 23)])
def test_other_peoples_tables_are_read_without_a_complaint(name: str, rows: int) -> None:
    table = read_table(DATA / f"{name}.csv")
    assert (len(table.rows), table.left_out, table.warnings) == (rows, (), ())


# -- rows that are left out ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"time_s": "nan"}, "NonFinite", "time_s is nan"),
        ({"time_s": "inf"}, "NonFinite", "time_s is inf"),
        ({"flops": "1e999"}, "NonFinite", "flops is 1e999"),
        ({"time_s": -1.5}, "Negative", "time_s is negative: -1.5"),
        ({"bytes": -1}, "Negative", "bytes is negative"),
        ({"time_s": 0}, "Zero", "time_s is 0"),
        ({"bandwidth_gb_s": 0}, "Zero", "unknown number is an empty cell"),
        ({"time_s": "fast"}, "NotANumber", "time_s is not a number: 'fast'"),
        ({"flops": "1_000"}, "NotANumber", "flops"),
        ({"time_s": ""}, "Missing", "time_s is empty"),
        ({"workload": " "}, "Missing", "workload is empty"),
        ({"flops": "", "bytes": ""}, "NothingCounted", "neither flops nor bytes"),
        ({"peak_gflops": "", "bandwidth_gb_s": ""}, "NoDataSheet", "small has no data sheet"),
        ({"peak_gflops": "", "bytes": ""}, "NoDataSheet", "peak_gflops is not"),
        ({"time_s": "1,2"}, "WrongCells", "13 cells, and the header has 12"),
    ],
)
def test_a_bad_row_is_named_with_its_reason_and_left_out(
    changes: dict[str, Any], code: str, words: str
) -> None:
    table = with_row(**changes)
    assert flaws(table) == [(3, code)]
    assert words in table.left_out[0].text
    assert [row.number for row in table.rows] == [n for n in range(1, 25) if n != 3]


def test_everything_that_is_wrong_with_a_row_is_said() -> None:
    assert flaws(with_row(time_s=-1, flops="x")) == [(3, "Negative"), (3, "NotANumber")]


def test_a_bad_number_that_no_fit_uses_is_ignored_with_a_warning() -> None:
    rows = all_costs()
    rows[2]["power_w"] = "-5"
    table = table_of(as_csv(rows, "power_w"))
    assert table.left_out == ()
    assert [(flaw.row, flaw.code) for flaw in table.warnings] == [(3, "IgnoredCell")]
    assert table.rows[2].power_w is None


@pytest.mark.parametrize("factor", [1e3, 1e-3])
@pytest.mark.parametrize("row", range(0, 24, 5))
def test_milliseconds_for_seconds_are_found_in_any_row(row: int, factor: float) -> None:
    rows = all_costs()
    rows[row]["time_s"] *= factor
    table = table_of(as_csv(rows))
    assert flaws(table) == [(row + 1, "UnitSlip")]
    assert ("milliseconds" in table.left_out[0].text) == (factor > 1)


def test_milliseconds_in_half_of_the_rows_are_told_by_the_data_sheet() -> None:
    """Not by the majority: a plausible efficiency is never a slip."""
    rows = all_costs()
    for row in rows[:13]:
        row["time_s"] *= 1000
    assert flaws(table_of(as_csv(rows))) == [(n, "UnitSlip") for n in range(1, 14)]


def test_a_peak_in_tflops_is_a_slip_too() -> None:
    assert flaws(with_row(peak_gflops=1.0)) == [(3, "UnitSlip")]


def test_a_run_that_mostly_waits_is_no_slip_of_units() -> None:
    """A thousandth of the sheet may be an interpreter that starts small kernels one by one."""
    waits = a_cost(flops=1e6, bytes=1e5, kernels="", time_s=4e-3)
    table = table_of(as_csv([*all_costs(), waits]))
    assert table.left_out == ()
    assert [(flaw.row, flaw.code) for flaw in table.warnings] == [(25, "Efficiency")]


@pytest.mark.parametrize(
    ("efficiency", "words"), [(2.9, "faster than"), (1.1, "faster than"), (0.015, "took the time")]
)
def test_an_odd_efficiency_warns_and_the_row_is_kept(efficiency: float, words: str) -> None:
    sheet_s = 6e12 / 1000e9  # its operations at the peak: more than its bytes take
    odd = a_cost("small", "wide", seq_len=64, time_s=sheet_s / efficiency)
    table = table_of(as_csv([*all_costs(), odd]))
    assert table.left_out == ()
    assert [(flaw.row, flaw.code) for flaw in table.warnings] == [(25, "Efficiency")]
    assert words in table.warnings[0].text


@pytest.mark.parametrize("efficiency", [3.1, 10.0, 30.0])
def test_a_row_far_above_the_sheet_is_impossible_where_the_device_s_others_are_not(
    efficiency: float,
) -> None:
    sheet_s = 6e12 / 1000e9
    odd = a_cost("small", "wide", seq_len=64, time_s=sheet_s / efficiency)
    table = table_of(as_csv([*all_costs(), odd]))
    assert flaws(table) == [(25, "Impossible")]
    assert f"an efficiency of {efficiency:.3g} of the data sheet" in table.left_out[0].text
    assert table.warnings == ()


def test_where_all_rows_of_a_device_beat_its_sheet_the_sheet_is_wrong_and_they_are_kept() -> None:
    rows = all_costs()
    for row in rows:
        if row["device"] == "small":
            row["peak_gflops"] /= 20
            row["bandwidth_gb_s"] /= 20
    table = table_of(as_csv(rows))
    assert table.left_out == ()
    assert {flaw.code for flaw in table.warnings} == {"Efficiency"}


@pytest.mark.parametrize(
    ("column", "value"), [("peak_gflops", 1e15), ("bandwidth_gb_s", 1e300), ("peak_gflops", 2e9)]
)
def test_a_sheet_that_no_device_has_is_named(column: str, value: float) -> None:
    table = with_row(**{column: value})
    assert flaws(table) == [(3, "Impossible")]
    assert f"{column} is {value}: no device has so much" in table.left_out[0].text


@pytest.mark.parametrize("factor", [1e290, 1e-290])
def test_absurd_factors_are_told_in_words(factor: float) -> None:
    rows = all_costs()
    rows[2]["time_s"] *= factor
    (flaw,) = table_of(as_csv(rows)).left_out
    assert flaw.code == "UnitSlip"
    assert "more than a million times" in flaw.text
    assert len(flaw.text) < 150


@pytest.mark.parametrize("efficiency", [0.03, 0.5, 1.04])
def test_a_plausible_efficiency_does_not_warn(efficiency: float) -> None:
    odd = a_cost("small", "wide", seq_len=64, time_s=6.0 / efficiency)
    assert table_of(as_csv([*all_costs(), odd])).warnings == ()


def test_a_row_that_stands_twice_counts_once() -> None:
    rows = all_costs()
    table = table_of(as_csv([*rows, rows[4], rows[4]]))
    assert flaws(table) == [(25, "Duplicate"), (26, "Duplicate")]
    assert "row 5" in table.left_out[0].text


def test_repeats_that_agree_within_a_factor_of_two_are_all_kept() -> None:
    rows = [*all_costs(), a_cost("small", "tiny", 1, time_s=1.9 * all_costs()[0]["time_s"])]
    assert len(table_of(as_csv(rows)).rows) == 25


def test_of_two_rows_that_contradict_each_other_neither_is_kept() -> None:
    rows = all_costs()
    table = table_of(as_csv([*rows, {**rows[0], "time_s": 3 * rows[0]["time_s"]}]))
    assert flaws(table) == [(1, "Contradiction"), (25, "Contradiction")]
    assert "row 25" in table.left_out[0].text
    assert "a factor of 3.0" in table.left_out[0].text


def test_one_row_against_two_that_agree_is_the_wrong_one() -> None:
    rows = all_costs()
    time_s = rows[0]["time_s"]
    more = [{**rows[0], "time_s": 1.1 * time_s}, {**rows[0], "time_s": 4 * time_s}]
    table = table_of(as_csv([*rows, *more]))
    assert flaws(table) == [(26, "Contradiction")]
    assert "rows 1, 25" in table.left_out[0].text


def test_the_clock_in_a_column_of_its_own_explains_another_time() -> None:
    """What tells rows apart is not a contradiction, in whatever column it stands."""
    cells = a_cost("small", "wide")
    slow = {**cells, "clock_mhz": 300, "time_s": 3 * cells["time_s"]}
    fast = {**cells, "clock_mhz": 900}
    assert table_of(as_csv([slow, fast], "clock_mhz")).left_out == ()


@given(
    junk=st.lists(
        st.sampled_from(["nan", "-1", "0", "x", "", "1e400", "٣", "1e-320", '"', "a,b", "None"]),
        min_size=1,
        max_size=4,
    ),
    columns=st.lists(st.sampled_from(COLUMNS), min_size=4, max_size=4),
    row=st.integers(0, 23),
)
def test_whatever_stands_in_a_row_the_others_are_read_as_before(
    junk: list[str], columns: list[str], row: int
) -> None:
    rows = all_costs()
    good = {each.number: each for each in table_of(as_csv(rows)).rows}
    rows[row] = {**rows[row], **dict(zip(columns, junk, strict=False))}
    try:
        table = table_of(as_csv(rows))
    except InputError as error:
        assert "is not CSV" in str(error)  # a quote that is never closed takes the rest with it
        return
    found = {each.number: each for each in table.rows}
    named = {flaw.row for flaw in table.left_out}
    assert set(found) | named == set(good)
    assert all(found[n] == good[n] for n in found if n != row + 1)


# -- files that are no tables ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        (",".join(COLUMNS) + "\n", "has a header and no rows"),
        ("device,workload,flops\na,b,1\n", "lacks the column time_s"),
        ("device,workload,time_s\na,b,1\n", "lacks the column flops (or bytes)"),
        ("device,device,workload,time_s,flops\na,a,b,1,1\n", "'device' twice"),
        (as_csv(all_costs()).replace(",", ";"), "lacks the columns device, workload, time_s"),
        ('# Title\n\nsome "prose"x\n"y"z\n', "is not CSV"),
        ("a\0b", "is not a text file"),
        (as_csv([a_cost(time_s=-1)]), "no row that can be used, of 1: row 1: time_s is negative"),
    ],
)
def test_what_is_no_table_of_costs_is_said_to_be_none(text: str, words: str) -> None:
    with pytest.raises(InputError) as raised:
        table_of(text, "costs.csv")
    assert words in str(raised.value)
    assert "costs.csv" in str(raised.value)


def test_a_misspelt_column_gets_a_hint() -> None:
    with pytest.raises(InputError) as raised:
        table_of(as_csv(all_costs()).replace("time_s", "times_s"))
    assert "times_s" in raised.value.hint
    with pytest.raises(InputError) as raised:
        table_of(as_csv(all_costs()).replace(",", ";"))
    assert "separated by commas" in raised.value.hint


def test_a_file_that_is_not_text_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        read_table(path)


def test_what_as_csv_writes_is_what_csv_reads() -> None:
    """The tests' own writer: no cell of it needs quotes."""
    lines = list(csv.DictReader(as_csv(all_costs()).splitlines()))
    assert lines[0]["device"] == "small"
    assert len(lines) == 24
