"""What `jetsched top` draws and what its keys do, without a terminal and without a head."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

from builders import a_row
from hypothesis import given, settings
from hypothesis import strategies as st
from test_screens import a_board

from jetsched.cluster.terminal import Size
from jetsched.cluster.top_events import Happened
from jetsched.cluster.top_marks import BLOCKS
from jetsched.cluster.top_picture import Detail, Picture
from jetsched.cluster.top_view import AROUND, HEADS, ORDERS, PANES, Deed, Pane, View, arrange
from jetsched.tables import cells_wide
from jetsched.top_screen import draw

STATES = ("waiting", "held", "starting", "running", "done", "failed", "killed", "lost", "cancelled")
BOARD: dict[str, Any] = {"labels": [], "disk_free_mib": None, "closings": [], "troubles": []}
WIDE = Size(140, 40)


def board(number: int, **changes: Any) -> dict[str, Any]:
    return a_board(**{**BOARD, "id": f"nx-{number}", **changes})


def job(number: int, **changes: Any) -> dict[str, Any]:
    return a_row(id=str(number), name=f"job-{number}", **changes)


def a_picture(boards: int = 3, jobs: int = 5, **changes: Any) -> Picture:
    counts = dict.fromkeys(STATES, 0) | {"running": jobs}
    status = {"policy": "auto", "at_s": 1e9, "states": counts, "paused": None}
    picture = Picture(
        "http://head:1",
        status,
        [board(n) for n in range(boards)],
        [job(n) for n in range(jobs)],
        "open",
        time.monotonic(),
        [Happened(1e9 - n, f"job {n} RUNNING", str(n)) for n in range(jobs)],
    )
    return replace(picture, **changes)


def drawn(picture: Picture, view: View | None = None, size: Size = WIDE) -> list[str]:
    view = view or View()
    view.settle(picture, size)
    return [line.encode(False) for line in draw(picture, view, size, BLOCKS)]


def pressed(keys: str, picture: Picture, view: View | None = None) -> View:
    """A view after these keys, words between spaces."""
    view = view or View()
    view.settle(picture, WIDE)
    for key in keys.split():
        view.press(key, picture)
        view.settle(picture, WIDE)
    return view


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 220),
    height=st.integers(1, 70),
    boards=st.integers(0, 30),
    jobs=st.integers(0, 60),
    keys=st.lists(
        st.sampled_from(["tab", "down", "up", "pgdn", "end", "w", "l", "enter", "?", "q", "z", "s"])
    ),
)
def test_whatever_the_size_and_the_keys_the_picture_fits(
    width: int, height: int, boards: int, jobs: int, keys: list[str]
) -> None:
    picture, view, size = a_picture(boards, jobs), View(), Size(width, height)
    for key in keys:
        view.settle(picture, size)
        view.press(key, picture)
    lines = drawn(picture, view, size)
    assert len(lines) == height
    assert max(map(cells_wide, lines)) <= width


def test_boards_queue_and_events_are_on_one_screen() -> None:
    picture = a_picture()
    picture.trails.add([board(0, gpu_util_pct=50.0)], 1e9)
    hot = {"state": "degraded", "temperature_c": 96.0, "text": "it is too hot: 96 °C"}
    busy = {"gpu_util_pct": 50.0, "memory_mib": 1727.0, "power_w": 11.2, "job_id": "1"}
    more = {"job_name": "job-1", "progress": {"phase": "running", "done": 1, "amount": 4}}
    devices = [board(0, **busy, **more, finish_s=1e9), board(1, **hot)]
    text = "\n".join(drawn(replace(picture, devices=devices)))
    row = next(line for line in text.split("\n") if "nx-0" in line)
    assert "████░░░░  50 %" in row and "1.7/3.4 GiB" in row and "11.2 W" in row
    assert "1 job-1" in row and "25 %" in row and "▅" in row
    assert "DEGRADED" in text and "all of them emulated" in text
    assert re.search(r"RUNNING +nx-1 +3 s +done in 6.6 s +25 %", text), "the words of `queue`"
    assert "job 0 RUNNING" in text


def test_what_is_wrong_with_the_selected_board_is_told_in_full() -> None:
    text = "it is too hot: 96 °C, and that for an hour by now, so it takes no new jobs"
    picture = a_picture(devices=[board(0), board(1, state="degraded", text=text)])
    assert drawn(picture, pressed("down", picture))[2].endswith(f"nx-1: {text}")
    view = pressed("down enter", picture)
    assert any(text in line for line in drawn(picture, view))


def test_why_the_selected_job_waits_is_told_in_full() -> None:
    text = "nx-1 is busy with job 4, and orin-1 would take it only in an hour and then for longer"
    reason = {"code": "BetterSoon", "text": text}
    waits = job(7, state="waiting", reason=reason, start_s=1000.4 + 120, attempts=[])
    lines = drawn(replace(a_picture(), jobs=[waits]), pressed("tab", a_picture()))
    assert any(line.endswith(f"7: BetterSoon: {text}") for line in lines)
    assert any(re.search(r"WAITING .* starts in 2m  BetterSoon: nx-1 is busy", x) for x in lines)


def test_a_board_of_which_nothing_is_known_yet_is_shown_all_the_same() -> None:
    """After another `up`: the journal knows the board, and nobody has heard of it."""
    drift = {"verdict": "unknown", "ratio": None, "runs": 0, "since_s": None, "text": ""}
    nothing = {"model": None, "emulated": None, "scale": None, "has_mib": None, "drift": drift}
    picture = a_picture(devices=[board(0, state="offline", **nothing)])
    assert any("OFFLINE" in line for line in drawn(picture))
    assert any("OFFLINE" in line for line in drawn(picture, pressed("enter", picture)))
    for number in range(5):
        assert len(pressed("s " * number, picture).boards(picture)) == 1


def test_in_80_columns_the_queue_still_says_why_and_when() -> None:
    reason = {"code": "DeviceBusy", "text": "every device that can run it is busy"}
    name = "a-name-that-goes-on-and-on"
    waits = job(123, state="waiting", reason=reason, start_s=1000.4 + 4000, attempts=[])
    picture = replace(a_picture(), jobs=[{**waits, "name": name}, job(124)])
    row = next(line for line in drawn(picture, size=Size(80, 24)) if "123" in line)
    assert re.search(r"a-name-.*WAITING .*starts in 1h 07m  DeviceBusy: every", row)


def test_only_some_emulated_boards_are_marked_one_by_one() -> None:
    picture = a_picture(devices=[board(0), board(1, emulated=False)])
    text = drawn(picture)
    assert any("1 of them emulated" in line for line in text)
    assert [line.rstrip().endswith("emulated") for line in text if " nx-" in line][:2] == [
        True,
        False,
    ]


def test_a_lost_head_is_said_and_the_last_picture_stays() -> None:
    picture = a_picture(trouble="the scheduler does not answer", at=time.monotonic() - 65)
    lines = drawn(picture)
    assert lines[1].startswith("✗ the head is lost for 1m 05s, trying again: the scheduler")
    assert any("nx-2" in line for line in lines) and any("job-4" in line for line in lines)


def test_a_head_that_says_nothing_for_a_while_is_not_taken_for_the_present() -> None:
    lines = drawn(a_picture(at=time.monotonic() - 8))
    assert lines[1].startswith("! no answer for 8 s")


def test_a_paused_queue_says_so_with_the_way_out() -> None:
    picture = a_picture()
    lines = drawn(replace(picture, status={**picture.status, "paused": "too hot here"}))
    assert lines[1].startswith("PAUSED: too hot here (jetsched resume)")


def test_what_is_selected_stays_so_when_rows_move() -> None:
    picture = a_picture(jobs=30)
    view = pressed("tab down down", picture)
    assert view.ids["queue"] == "2"
    moved = replace(picture, jobs=picture.jobs[2:])
    view.settle(moved, WIDE)
    assert (view.places["queue"], view.ids["queue"]) == (0, "2")
    view.settle(replace(picture, jobs=picture.jobs[3:]), WIDE)
    assert view.ids["queue"] == "3", "one that is gone leaves its place to the next"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["tab", "up", "down", "pgup", "pgdn", "home", "end", "z", "s"])),
    st.integers(0, 40),
    st.integers(8, 60),
)
def test_the_selected_row_is_always_in_sight(keys: list[str], rows: int, height: int) -> None:
    picture, view, size = a_picture(rows, rows), View(), Size(100, height)
    for key in keys:
        view.settle(picture, size)
        view.press(key, picture)
    view.settle(picture, size)
    for pane in PANES:
        first, room, place = view.firsts[pane], view.rooms[pane], view.places[pane]
        assert not rows or not room or first <= place < first + room
    marked = [line for line in draw(picture, view, size, BLOCKS) if line.marked]
    assert len(marked) == (1 if rows else 0)


def test_with_many_jobs_that_run_one_sees_first_why_the_others_wait() -> None:
    """What runs stands at its board, too."""
    picture = a_picture(jobs=4)
    assert pressed("", picture).wish.shown == "open"
    states = {**picture.status["states"], "running": 40}
    many = replace(picture, status={**picture.status, "states": states})
    assert pressed("", many).wish.shown == "open", "nothing waits"
    many.status["states"]["held"] = 1
    assert pressed("", many).wish.shown == "waiting"
    assert pressed("f", many).wish.shown == "running"


@given(st.integers(12, 90), st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_no_pane_is_empty_while_another_has_more_than_it_shows(
    height: int, boards: int, queue: int, events: int
) -> None:
    counts: dict[Pane, int] = {"boards": boards, "queue": queue, "events": events}
    rooms = arrange(height, counts, View())
    assert sum(rooms.values()) + sum(HEADS.values()) + AROUND == height
    assert all(room >= 1 for room in rooms.values())
    empty = any(rooms[pane] > max(1, counts[pane]) for pane in PANES)
    assert not empty or all(rooms[pane] >= counts[pane] for pane in PANES)


def test_c_cancels_only_after_a_yes() -> None:
    picture = a_picture()
    view = pressed("tab down c", picture)
    assert drawn(picture, view)[-1].startswith("Cancel job 1 job-1 (RUNNING)? y: yes")
    assert view.press("n", picture) is None and view.mode == "list"
    view = pressed("tab down c", picture)
    assert view.press("y", picture) == Deed("cancel", "1")


def test_on_a_board_the_keys_are_about_the_job_that_runs_there() -> None:
    picture = a_picture(devices=[board(0), board(1, job_id="42", job_name="it")])
    assert pressed("w", picture).said == "nothing runs on nx-0"
    view = pressed("down l", picture)
    assert (view.mode, view.wish.kind, view.wish.job_id) == ("log", "log", "42")
    assert pressed("w", picture, view).wish.kind == "why"


def test_from_the_events_one_gets_to_jobs_that_have_ended() -> None:
    view = pressed("backtab down w", a_picture())
    assert view.wish.job_id == "1"


def test_new_events_are_seen_by_whoever_is_at_the_top_and_disturb_nobody_else() -> None:
    picture = a_picture()
    more = replace(picture, events=[Happened(2e9, "new"), *picture.events])
    view = pressed("backtab", picture)
    view.settle(more, WIDE)
    assert view.places["events"] == 0
    view = pressed("backtab down", picture)
    view.settle(more, WIDE)
    assert view.places["events"] == 2


def test_boards_are_sorted_by_what_one_asks_for() -> None:
    devices = [board(0, temperature_c=50.0), board(1), board(2, temperature_c=90.0)]
    offline = board(3, state="offline")
    picture = a_picture(devices=[*devices, offline])
    by = {order: pressed("s " * n, picture).boards(picture) for n, order in enumerate(ORDERS)}
    assert [d["id"] for d in by["name"]] == ["nx-0", "nx-1", "nx-2", "nx-3"]
    assert by["state"][0]["id"] == "nx-3"
    assert [d["id"] for d in by["heat"]][:2] == ["nx-2", "nx-0"]


def test_the_end_of_a_log_is_followed_until_one_scrolls_up() -> None:
    lines = [f"line {n}" for n in range(500)]
    picture = a_picture(detail=Detail("log", "0", lines=lines, attempt=2))
    view = pressed("tab l", picture)
    shown = drawn(picture, view)
    assert "line 499" in shown[-2] and "try 2" in shown[2]
    pressed("up up", picture, view)
    assert "line 497" in drawn(picture, view)[-2]
    pressed("home", picture, view)
    assert "line 0" in drawn(picture, view)[3]
    pressed("down", picture, view)
    assert "line 1" in drawn(picture, view)[3]


def test_deeper_in_the_queue_more_jobs_are_asked_for_but_not_all() -> None:
    picture = a_picture(jobs=900)
    assert pressed("tab", picture).wish.count <= 100
    assert pressed("tab end", picture).wish.count >= 920
    assert pressed("tab end", a_picture(jobs=1000)).wish.count == 1000
