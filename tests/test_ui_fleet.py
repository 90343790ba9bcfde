"""The pages Fleet and board: what they show of boards, and what is drawn anew when."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan, nan
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_world import Served
from hypothesis import given
from hypothesis import strategies as st
from live_world import LiveWorld
from many_boards import many_boards

from jetsched.cluster.api_events import Followers
from jetsched.cluster.boardorder import URGENT, natural
from jetsched.cluster.boardview import STATES, memory
from jetsched.cluster.rules import EVERYTHING
from jetsched.cluster.sparks import STEPS, chart, levels, spark
from jetsched.cluster.ui_base import FrameView, Ui
from jetsched.cluster.ui_board import BoardView
from jetsched.cluster.ui_fleet import Asked, FleetView
from jetsched.cluster.ui_live import Hub
from jetsched.errors import InputError

PAGE = {"X-Jetsched-Page": "1"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Twelve boards at work, some of them in trouble."""
    home = tmp_path_factory.mktemp("fleet")
    with many_boards(home, 12, 30) as world, Served(world, home=home) as served:
        world.wait(lambda: len(world.desk.recent()) >= 11)
        yield served


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, trust_env=False, timeout=120) as client:
        yield client


def a_ui(world: LiveWorld, home: Path) -> Ui:
    return Ui(world.desk, EVERYTHING, home, Hub(world.desk.feed, Followers(lambda: False)))


def a_fleet(served: Served, tmp_path: Path, **params: str) -> FleetView:
    return FleetView(a_ui(served.world, tmp_path), params)


# ------------------------------------------------------------------------------------- the cards


def test_every_board_has_a_card_with_its_state_in_a_word(
    served: Served, http: httpx.Client
) -> None:
    page = http.get("/ui/fleet").text
    for row in served.client.devices():
        assert f'id="board-{row["id"]}"' in page
    assert page.count('<span class="emulated">emulated</span>') == 12
    assert '<abbr class="source" title="measured">(m)</abbr>' in page


def test_boards_stand_in_the_order_of_their_numbers(served: Served, tmp_path: Path) -> None:
    names = list(a_fleet(served, tmp_path).look()["fleet-cards"].values())
    assert names == ["nx-1", "nx-2", "nx-3", "nx-4", "nx-5"] + [f"orin-{n}" for n in range(1, 8)]


def test_what_needs_attention_comes_first_if_that_is_asked_for(
    served: Served, tmp_path: Path
) -> None:
    served.world.wait(lambda: any(r["state"] == "degraded" for r in served.world.desk.devices()))
    view = a_fleet(served, tmp_path, order="attention")
    states = [data["state"] for data in view.look()["fleet-what"].values()]
    assert states == sorted(states, key=URGENT.index) and set(URGENT) == set(STATES)


def test_boards_are_found_by_name_model_label_and_job(served: Served, tmp_path: Path) -> None:
    def found(text: str, **more: str) -> set[str]:
        return set(a_fleet(served, tmp_path, text=text, **more).look()["fleet-cards"].values())

    assert found("orin-3") == {"orin-3"}
    assert found("XAVIER rack-1") == {f"nx-{n}" for n in range(1, 6)}
    assert found("no such board") == set()
    busy = served.world.wait(
        lambda: next((r for r in served.world.desk.devices() if r["job_name"]), None)
    )
    names = {r["id"] for r in served.world.desk.devices() if r["job_name"] == busy["job_name"]}
    assert found(busy["job_name"]) == names or busy["id"] not in names  # it may be done by now


def test_the_frame_counts_the_boards_that_the_page_shows(served: Served, tmp_path: Path) -> None:
    """Those that are there of all; where none is missing, all."""
    frame = FrameView(a_ui(served.world, tmp_path))
    told = frame.look()["frame"]["frame-line"]
    assert told["boards"] == len(a_fleet(served, tmp_path).look()["fleet-cards"]) == 12
    for there, words in ((11, "<b>11</b> of <b>12</b> boards there"), (12, "<b>12</b> boards<")):
        assert words in frame.draw("frame-line", {**told, "devices": there})


def test_a_state_leaves_the_others_out_and_still_counts_them(
    served: Served, tmp_path: Path
) -> None:
    found = a_fleet(served, tmp_path, state="suspect").look()
    assert all(data["state"] == "suspect" for data in found["fleet-what"].values())
    _, counts, _ = found["fleet-summary-list"]["fleet-summary"]
    assert sum(count for _, count in counts) == 12
    assert all(state in STATES for state, _ in counts)


@pytest.mark.parametrize("query", ["state=asleep", "order=age", "look=pie", "nonsense=1"])
def test_an_address_that_makes_no_sense_is_refused_and_all_boards_are_shown(
    http: httpx.Client, query: str
) -> None:
    answer = http.get(f"/ui/fleet?{query}")
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text and 'id="board-nx-1"' in answer.text


@given(st.dictionaries(st.sampled_from(["text", "state", "order", "look", "x"]), st.text()))
def test_whatever_stands_in_an_address_is_understood_or_refused(params: dict[str, str]) -> None:
    try:
        asked = Asked.of(params)
    except InputError:
        return
    assert Asked.of(asked.params) == asked


def test_as_a_table_it_is_that_of_jetsched_devices(http: httpx.Client, served: Served) -> None:
    page = http.get("/ui/fleet?look=table").text
    assert page.count('<th scope="row">') == 12
    assert "MEMORY jobs/for jobs" in page
    row = served.client.devices()[0]
    assert f'id="row-{row["id"]}"' in page


def test_where_no_board_is_like_that_it_says_so_and_how_to_see_all(http: httpx.Client) -> None:
    assert "No board is like that" in http.get("/ui/fleet?text=zzz").text


def test_a_reading_leaves_what_a_person_may_click_as_it_is(served: Served, tmp_path: Path) -> None:
    """Numbers stand in a part of their own; the rest is drawn again when the board's state is."""
    world = served.world
    world.desk.pause()
    try:
        view = a_fleet(served, tmp_path)
        view.look()
        last = world.desk.reading("nx-1").last_s
        world.wait(lambda: world.desk.reading("nx-1").last_s != last)

        def unchanged() -> bool:
            """Of boards that had no event in between only the readings differ."""
            changes = world.desk.feed.changes
            before, after = view.look(), view.look()
            same = before["fleet-what"] == after["fleet-what"]
            assert same or changes != world.desk.feed.changes
            return changes == world.desk.feed.changes

        world.wait(unchanged)
    finally:
        world.desk.resume()


def test_readings_of_a_large_fleet_are_shown_anew_in_turns(served: Served, tmp_path: Path) -> None:
    """A look that follows at once keeps what it has, but for boards whose state or job changed."""
    view = a_fleet(served, tmp_path)

    def kept() -> bool:
        first = view.look()
        second = view.look()
        same = [
            board
            for board in first["fleet-now"]
            if second["fleet-now"][board] is first["fleet-now"][board]
        ]
        return len(same) >= 8  # a sixth of twelve is due at any moment; some may have got a job

    served.world.wait(kept)


# ------------------------------------------------------------------------------- what one can do


def test_draining_shows_at_once_with_its_reason_and_can_be_undone(
    served: Served, http: httpx.Client
) -> None:
    http.get("/ui/fleet")
    answer = http.post("/devices/nx-5/drain", json={"text": "a <b>new</b> disk"}, headers=PAGE)
    assert answer.status_code == 200
    for path in ("/ui/devices/nx-5", "/ui/fleet?text=nx-5"):
        page = http.get(path).text
        assert "a &lt;b&gt;new&lt;/b&gt; disk" in page and "<b>new</b>" not in page
        assert 'data-post="/devices/nx-5/undrain"' in page
    assert http.post("/devices/nx-5/undrain", headers=PAGE).status_code == 200
    assert 'data-post="/devices/nx-5/drain"' in http.get("/ui/fleet?text=nx-5").text


def test_the_doctor_comes_when_asked_and_what_is_to_do_stays_on_the_card(
    served: Served, http: httpx.Client
) -> None:
    assert "doctor:" not in http.get("/ui/fleet").text
    full = served.world.wait(
        lambda: next((r["id"] for r in served.client.devices() if "MiB free" in r["text"]), None)
    )
    for device_id in ("nx-1", full):
        assert http.post(f"/devices/{device_id}/doctor", headers=PAGE).status_code == 200
    assert "doctor: all well" in http.get("/ui/fleet?text=nx-1").text
    assert "doctor: 1 to do" in http.get(f"/ui/fleet?text={full}").text
    assert "see there" in http.get(f"/ui/devices/{full}").text  # what to do
    page = http.get("/ui/devices/nx-1").text
    assert "computed, as the board is" in page and "agent python" in page


# -------------------------------------------------------------------------------- one board's page


def test_a_board_s_page_comes_whole_or_as_a_part_for_a_drawer(http: httpx.Client) -> None:
    whole, part = (
        http.get("/ui/devices/orin-3", headers=headers).text
        for headers in ({}, {"X-Jetsched-Part": "1"})
    )
    assert "<nav" in whole and "<nav" not in part
    for page in (whole, part):
        assert "<h1>orin-3</h1>" in page
        assert "in the last" in page  # what a line says to those who do not see it
        assert 'data-live="board?id=orin-3"' in page


def test_a_board_that_nobody_knows_is_a_page_with_those_there_are(http: httpx.Client) -> None:
    answer = http.get("/ui/devices/%3Cscript%3E")
    assert answer.status_code == 404
    assert "&lt;script&gt;" in answer.text and "<script>" not in answer.text
    assert 'href="/ui/devices/orin-1"' in answer.text


def test_a_board_that_is_removed_while_somebody_looks_is_said_to_be_gone(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        view = BoardView(a_ui(world, tmp_path), {"id": "nx-1"})
        assert list(view.look()["top-nx-1"]) == ["one-head-nx-1"]
        world.agents.unplug("nx-1")
        world.until_devices("orin-1")
        world.desk.remove("nx-1")
        ((part_id, data),) = view.look()["top-nx-1"].items()
        assert "nx-1 was removed" in view.draw(part_id, data)


# ------------------------------------------------------------------------------------- small parts


@given(st.lists(st.from_regex(r"[a-z]{1,3}-?[0-9]{0,3}", fullmatch=True)))
def test_names_of_all_kinds_have_an_order(names: list[str]) -> None:
    ordered = sorted(names, key=natural)
    assert sorted(reversed(ordered), key=natural) == ordered
    assert sorted(["nx-10", "nx-2", "nx-1"], key=natural) == ["nx-1", "nx-2", "nx-10"]


def a_row(**changes: Any) -> dict[str, Any]:
    row = {
        "memory_mib": 1024.0,
        "others_mib": 512.0,
        "memory_free_mib": 2560.0,
        "memory_total_mib": 4096.0,
        "has_mib": 3072.0,
    }
    return {**row, **changes}


def test_memory_is_told_as_the_board_tells_it_and_drawn_to_scale() -> None:
    found = memory(a_row())
    assert found is not None
    assert (found["jobs"], found["others"], found["free"], found["total"]) == (
        "1.0",
        "0.5",
        "2.5",
        "4.0",
    )
    assert (found["parts"], found["limit"]) == ((250, 125, 625), 750)
    assert memory(a_row(memory_free_mib=None)) is None


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 1e5), st.floats(1, 1e5))
def test_a_memory_bar_is_never_longer_than_its_place(
    jobs: float, others: float, free: float, total: float
) -> None:
    """Its parts were not all seen at the same moment."""
    row = a_row(memory_mib=jobs, others_mib=others, memory_free_mib=free, memory_total_mib=total)
    found = memory(row)
    assert found is not None and sum(found["parts"]) <= 1002  # each is rounded


@given(st.lists(st.just(nan) | st.floats(-1e6, 1e6)), st.floats(-100, 100), st.floats(-100, 100))
def test_a_spark_line_stays_in_its_place(values: list[float], low: float, high: float) -> None:
    found = levels(values, low, high)
    assert len(found) == len(values)
    for level, value in zip(found, values, strict=True):
        assert (level is None) == isnan(value)
        assert level is None or 0 <= level <= STEPS
    assert spark(found).startswith("<svg")


def test_what_looks_the_same_is_the_same() -> None:
    """Else each card would be drawn with each reading."""
    assert levels([50.0, 50.4, nan], 0, 100) == levels([50.2, 49.9, nan], 0, 100)


def test_a_line_is_broken_where_nothing_was_known() -> None:
    assert spark((0, 20, None, 10)).count("M") == 2
    times = [0.0, 3.0, 6.0, 9.0, 100.0, 103.0, 106.0]
    picture = chart("power", times, [5.0] * 7, 0.0, 10.0, "W")
    assert picture.split('d="')[1].count("M") == 2  # the board was silent in between
    assert "power: 5 W now, 5 to 5 W in the last 1m 46s" in picture


def test_a_picture_of_nothing_says_so() -> None:
    assert "nothing was measured yet" in chart("power", [1.0], [5.0], 0.0, 10.0, "W")
