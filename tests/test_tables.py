"""Tables fit the terminal: columns are dropped in a fixed order, nothing wraps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jetsched.tables import Column, table
from jetsched.words import outcome_word, state_word

COLUMNS = [
    Column("ID", right=True),
    Column("NAME", most=8),
    Column("WORK", drop=1),
    Column("X", drop=2),
]
ROWS = [["1", "a-long-name", "train gpt2", "xx"], ["20", "b", "infer phi-2", "y"]]


def shown(width: int) -> list[str]:
    return [line.plain for line in table(COLUMNS, ROWS, width)]


def test_a_wide_terminal_shows_every_column_in_line() -> None:
    assert shown(100) == [
        "ID  NAME      WORK         X",
        " 1  a-long-…  train gpt2   xx",
        "20  b         infer phi-2  y",
    ]


def test_the_highest_drop_goes_first() -> None:
    assert shown(27)[0] == "ID  NAME      WORK"
    assert shown(20)[0] == "ID  NAME"


def test_what_cannot_be_dropped_stays_however_narrow() -> None:
    assert shown(3)[0] == "ID  NAME"


@given(st.integers(30, 200), st.lists(st.text("abc äö漢", max_size=12), min_size=1, max_size=5))
def test_no_line_is_wider_than_the_terminal(width: int, cells: list[str]) -> None:
    columns = [
        Column("FIRST", most=20),
        Column("SECOND", drop=1, least=8),
        Column("THIRD", drop=2),
    ]
    lines = table(columns, [[cell, cell, cell] for cell in cells], width)
    assert all(line.cell_len <= width for line in lines)


def test_long_cells_are_cut_before_a_column_goes() -> None:
    columns = [Column("NAME"), Column("WHY", most=60, least=10), Column("X", drop=1)]
    rows = [["a", "because it must be so", "xx"]]
    assert table(columns, rows, 40)[1].plain == "a     because it must be so  xx"
    assert table(columns, rows, 23)[1].plain == "a     because it m…  xx"
    assert table(columns, rows, 19)[1].plain == "a     because it m…"


def test_wide_characters_are_cut_by_their_width() -> None:
    (_, line) = table([Column("NAME", most=7)], [["学習ジョブ"]], 40)
    assert line.plain == "学習ジ…"


def test_states_and_outcomes_are_spelt_as_people_see_them() -> None:
    assert state_word("killed", "killed_memory") == "KILLED(memory)"
    assert state_word("waiting") == "WAITING"
    assert outcome_word("killed_time") == "KILLED(time)"
    assert outcome_word("done") == "DONE"
