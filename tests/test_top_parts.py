"""The parts that `jetsched top` is made of: marks, trails, keys, lines of events, its pace."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_top import board

from jetsched.cluster.client import Client
from jetsched.cluster.keys import decode_keys
from jetsched.cluster.sse import ServerEvent
from jetsched.cluster.terminal import Line
from jetsched.cluster.top_events import MOST_LINES, Listener, lines_of, past_of
from jetsched.cluster.top_marks import BLOCKS, PLAIN, bar, clean, marks_for, spark
from jetsched.cluster.top_trail import CELL_S, Trails
from jetsched.cluster.top_watch import Pace
from jetsched.errors import UnreachableError
from jetsched.tables import cells_wide

# ------------------------------------------------------------------------------------------- marks


@given(st.floats(0, 1), st.integers(2, 40), st.sampled_from([BLOCKS, PLAIN]))
def test_a_bar_is_as_wide_as_it_should_be_and_full_only_when_it_is(
    share: float, width: int, marks: Any
) -> None:
    text = bar(share, width, marks)
    assert cells_wide(text) == width
    assert (text == marks.parts[-1] * width) == (share >= 1)
    assert (text == marks.empty * width) == (share <= 0)


@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=30))
def test_a_spark_line_has_a_character_for_each_value_and_gaps_where_none_is_known(
    values: list[float | None],
) -> None:
    text = spark(values, 0, 100, BLOCKS)
    assert len(text) == len(values)
    assert [c == " " for c in text] == [value is None for value in values]


def test_a_terminal_without_utf_8_gets_plain_characters() -> None:
    assert marks_for("utf-8") == marks_for("UTF8") == BLOCKS
    assert marks_for("ANSI_X3.4-1968") == marks_for(None) == PLAIN
    assert (bar(0.5, 8, PLAIN) + spark([0, 50, 100], 0, 100, PLAIN)).isascii()


@given(st.text())
def test_what_is_shown_can_command_no_terminal(text: str) -> None:
    line = Line([(text, "red")]).encode(coloured=False)
    assert line.isprintable() and clean(line) == line


# ------------------------------------------------------------------------------------------ trails


def test_the_head_s_memory_and_what_is_seen_since_are_one_line() -> None:
    trails = Trails()
    quantities = {"memory_mib": [None] * 3, "power_w": [None] * 3, "temperature_c": [None] * 3}
    at_s = [1000.0, 1000.0 + CELL_S, 1000.0 + 2 * CELL_S]
    trails.add([board(1, gpu_util_pct=90.0)], at_s[2])
    trails.seed({"nx-1": {"at_s": at_s, "gpu_util_pct": [10.0, None, 30.0], **quantities}})
    trails.add([board(1, gpu_util_pct=50.0)], at_s[2] + 2 * CELL_S)
    assert trails.of("nx-1", "gpu_util_pct", 6) == [None, 10.0, None, 90.0, None, 50.0]
    assert trails.of("nx-2", "gpu_util_pct", 2) == [None, None]


def test_a_copy_of_trails_stays_as_it_was() -> None:
    """The screen is drawn in one thread while another one hears what boards read."""
    trails = Trails()
    trails.add([board(1, gpu_util_pct=1.0)], 1000.0)
    shown = trails.copy()
    trails.add([board(1, gpu_util_pct=2.0)], 1000.0 + CELL_S)
    assert shown.of("nx-1", "gpu_util_pct", 2) == [None, 1.0]
    assert trails.of("nx-1", "gpu_util_pct", 2) == [1.0, 2.0]


def test_a_board_that_is_gone_is_forgotten_and_a_clock_set_back_breaks_nothing() -> None:
    trails = Trails()
    trails.add([board(1, gpu_util_pct=1.0), board(2, gpu_util_pct=2.0)], 1000.0)
    trails.add([board(2, gpu_util_pct=3.0)], 500.0)
    assert trails.of("nx-1", "gpu_util_pct", 1) == [None]
    assert trails.of("nx-2", "gpu_util_pct", 1) == [3.0]


# -------------------------------------------------------------------------------------------- keys


def test_keys_have_names_however_a_terminal_sends_them() -> None:
    data = b"\x1b[A\x1bOB\x1b[5~q\t\x1b[Z\r\x1b[99~" + "ü".encode()
    names = ["up", "down", "pgup", "q", "tab", "backtab", "enter", "ü"]
    assert decode_keys(data) == (names, b"")
    assert decode_keys(b"\x1b\x1b[A") == (["esc", "up"], b"")
    assert decode_keys(b"a\x1b[") == (["a"], b"\x1b[")
    assert decode_keys(b"\x1b", whole=True) == (["esc"], b"")


@given(st.binary(max_size=30), st.integers(0, 30))
def test_keys_that_come_in_two_parts_are_the_same_keys(data: bytes, cut: int) -> None:
    keys, rest = decode_keys(data[:cut])
    more, _ = decode_keys(rest + data[cut:], whole=True)
    assert keys + more == decode_keys(data, whole=True)[0]


# ------------------------------------------------------------------------------------------ events


def told(event: str = "Started", **changes: Any) -> dict[str, Any]:
    row = {"id": "7", "name": "squad", "state": "running", "attempt": 1, "device": "nx-1"}
    return {"at_s": 1.0, "event": event, "count": 1, "jobs": [{**row, "outcome": None, **changes}]}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "job 7 squad RUNNING on nx-1"),
        ({"attempt": 2}, "job 7 squad RUNNING on nx-1, try 2"),
        (
            {"state": "waiting", "outcome": "killed_memory"},
            "job 7 squad KILLED(memory) on nx-1; WAITING",
        ),
        ({"state": "killed", "outcome": "killed_heat"}, "job 7 squad KILLED(heat) on nx-1"),
        ({"state": "done", "outcome": "done"}, "job 7 squad DONE on nx-1"),
        ({"state": "cancelled", "device": None}, "job 7 squad CANCELLED"),
        ({"state": "waiting", "event": "Submitted", "device": None}, "job 7 squad WAITING (new)"),
    ],
)
def test_what_becomes_of_a_job_is_one_line(changes: dict[str, Any], text: str) -> None:
    (line,) = lines_of(ServerEvent("jobs", told(**changes)))
    assert (line.text, line.job_id) == (text, "7")


def test_of_many_jobs_at_once_some_are_named_and_the_rest_counted() -> None:
    jobs = [told()["jobs"][0] | {"id": str(n)} for n in range(200)]
    lines = lines_of(ServerEvent("jobs", {**told(), "count": 1500, "jobs": jobs}))
    assert len(lines) == MOST_LINES and lines[-1].text == "and 1,481 jobs more"


def test_of_boards_it_is_said_why_and_of_what_nobody_would_read_nothing() -> None:
    data = {"at_s": 1.0, "event": "DeviceClosed", "device": "nx-1", "text": "it is too hot"}
    (line,) = lines_of(ServerEvent("devices", data))
    assert line.text == "nx-1 takes no new jobs: it is too hot"
    assert lines_of(ServerEvent("hello", {"run": "x"})) == []
    assert lines_of(ServerEvent("queue", {"at_s": 1.0, "event": "Tick"})) == []


class Streams:
    """A client that knows events only: of each stream in turn, and counts those left open."""

    def __init__(self, *streams: list[ServerEvent]) -> None:
        self.streams = list(streams)
        self.open = 0

    def follow(self, last: str = "") -> Generator[ServerEvent, None, None]:
        self.open += 1
        try:
            yield from self.streams.pop(0)
        finally:
            self.open -= 1

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def until_failed(listener: Listener) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 120:
        listener.check()
        time.sleep(0.01)


def test_a_mistake_in_the_thread_that_listens_is_not_taken_for_a_quiet_fleet() -> None:
    hello = ServerEvent("hello", {}, "a-1")
    streams = Streams([hello], [hello, ServerEvent("jobs", {"jobs": 1}, "a-2")])
    listener = Listener(lambda: cast(Client, streams))
    listener.start()
    with pytest.raises(KeyError):
        until_failed(listener)
    assert streams.open == 0


def test_a_stream_that_ends_before_its_first_event_is_a_lost_head() -> None:
    with pytest.raises(UnreachableError):
        past_of(cast(Client, Streams([])))


# -------------------------------------------------------------------------------------------- pace


def test_what_costs_much_to_ask_for_is_asked_for_less_often() -> None:
    pace = Pace(share=0.01)
    pace.spent(100.0, 0.002)
    assert pace.is_due(101.0)
    pace.spent(101.0, 0.05)
    assert not pace.is_due(104.0) and pace.is_due(106.0)
