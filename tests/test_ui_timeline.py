"""The page of the timeline: windows of time, bars as pictures and as a table, over real HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree

import httpx
import pytest
from api_world import Served
from builders import a_job
from hypothesis import given
from hypothesis import strategies as st
from live_world import LiveWorld, a_command, table

from jetsched.cluster.desk_timeline import TimeLane
from jetsched.cluster.endmarks import ending_of
from jetsched.cluster.timebars import WORST_FIRST, TimeBar
from jetsched.cluster.timescale import on_the_clock
from jetsched.cluster.timewindow import PAST, SPANS, STEPS, date_of, window_at
from jetsched.cluster.ui_timebars import axis_html, keys_html, lane_html, settled, told
from jetsched.cluster.ui_timeline import Look
from jetsched.errors import InputError
from jetsched.words import outcome_word

NOW = 1_795_000_000.0
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """nx-1: a job was done, one failed, one with an evil name runs, and one waits for it."""
    home = tmp_path_factory.mktemp("timeline")
    with LiveWorld(home, table(short=1.0, long=600.0)) as world:
        world.until_devices("nx-1", "orin-1")
        needs = replace(a_job().needs, device=("nx-1",))
        world.submit(a_command("1", "true", needs=needs, name="first"))
        world.until_state("1", "done")
        world.submit(a_command("2", "exit 3", needs=needs))
        world.until_state("2", "failed")
        world.submit(a_command("3", "exec sleep 600", "long", needs=needs, name=EVIL))
        world.until_state("3", "running")
        world.submit(a_command("4", "true", needs=needs))
        with Served(world, home=home) as found:
            yield found


def page(served: Served, query: str = "", status: int = 200) -> str:
    with httpx.Client(base_url=served.url, trust_env=False) as http:
        answer = http.get(f"/ui/timeline{query}")
        assert answer.status_code == status
        return answer.text


# ---------------------------------------------------------------------------------------- the page


def test_the_page_shows_each_board_with_its_bars(served: Served) -> None:
    html = page(served)
    assert '<li id="lane-nx-1"' in html and '<li id="lane-orin-1"' in html
    lane = html[html.index('id="lane-nx-1"') : html.index('id="lane-orin-1"')]
    assert 'class="tbar running"' in lane and 'class="tbar planned"' in lane
    assert "runs 3" in lane and "1 planned" in lane and "1 FAILED" in lane
    assert "emulated" in lane


def test_a_job_that_is_called_script_stays_text(served: Served) -> None:
    for query in ("", "?view=table"):
        html = page(served, query)
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_the_table_says_the_same_in_words(served: Served) -> None:
    html = page(served, "?view=table")
    rows = re.findall(r'<tr id="row-(\d+)-(\d+)">(.*?)</tr>', html, re.S)
    assert [(job, attempt) for job, attempt, _ in rows] == [
        ("4", "0"),
        ("3", "1"),
        ("2", "1"),
        ("1", "1"),
    ]
    cells = [text for _, _, text in rows]
    for text, word in zip(cells, ("PLANNED", "RUNS", "▲ FAILED", "✓ DONE"), strict=True):
        assert word in text
    assert "(e)" in cells[0] or "(m)" in cells[0] or "(a)" in cells[0]


@pytest.mark.parametrize(
    "query", ["?span=year", "?at=soon", "?page=0", "?page=x", "?view=3d", "?at=9999-01-01"]
)
def test_an_address_that_makes_no_sense_says_so(served: Served, query: str) -> None:
    html = page(served, query, 400)
    assert "✗ there is no" in html or "✗ &#39;" in html
    assert "Back to now" in html


def test_boards_can_be_looked_for(served: Served) -> None:
    html = page(served, "?text=orin")
    assert "lane-orin-1" in html and "lane-nx-1" not in html


def test_what_changes_is_drawn_and_what_does_not_is_not(served: Served) -> None:
    """Two looks a moment apart draw nothing twice: nothing moves with time alone."""
    page(served)
    with httpx.Client(base_url=served.url, trust_env=False) as http:
        stamps = [
            re.findall(r'data-live-version="([^"]+)"', http.get("/ui/timeline?span=week").text)
            for _ in range(3)
        ]
    assert stamps[0] == stamps[1] == stamps[2]


# ------------------------------------------------------------------------------------- the windows


@given(st.sampled_from(list(SPANS)), st.floats(1e9, 4e9))
def test_a_window_that_follows_holds_the_present_and_moves_in_steps(
    span: str, now_s: float
) -> None:
    window = window_at(span, "", now_s)
    part = (now_s - window.from_s) / window.length_s
    assert window.follows and PAST - 1e-6 <= part <= PAST + 1 / STEPS + 1e-6
    assert window_at(span, "", now_s).from_s == window.from_s


def test_a_fixed_window_stands_around_its_moment_whatever_the_time_is() -> None:
    window = window_at("day", "1795000000", NOW + 5e6)
    assert (window.middle_s, window.length_s, window.follows) == (1_795_000_000, 86_400.0, False)
    assert window.earlier_s == 1_795_000_000 - 43_200
    assert window_at("day", str(window.later_s), NOW).earlier_s == window.middle_s


def test_a_date_stands_for_its_day() -> None:
    window = window_at("day", "2026-11-24", NOW)
    assert date_of(window.from_s + 1) == date_of(window.to_s - 1) == "2026-11-24"


@pytest.mark.parametrize("at", ["yesterday", "-5", "1e9", "2026-13-01", "1" * 30, "1969-01-01"])
def test_what_is_no_moment_is_refused(at: str) -> None:
    with pytest.raises(InputError) as caught:
        window_at("day", at, NOW)
    assert caught.value.hint


def test_addresses_keep_what_is_looked_at() -> None:
    look = Look.of({"span": "day", "text": "nx", "page": "2", "view": "table"})
    assert look.address(at="5") == "/ui/timeline?span=day&at=5&text=nx&page=2&view=table"
    assert look.address(span="hour", text="", page=1, shape="bars") == "/ui/timeline"


# ----------------------------------------------------------------------------------------- the bars

DAY = window_at("day", "", NOW)


def a_bar(kind: str, start_s: float, end_s: float, **more: object) -> TimeBar:
    given = {"p90_s": end_s + 600.0} if kind != "past" else {"outcomes": (("done", 1),)}
    return TimeBar(kind, "7", EVIL, "train", 1, start_s, end_s, **{**given, **more})  # type: ignore[arg-type]


def drawn(*bars: TimeBar, now_s: float = NOW) -> ElementTree.Element:
    lane = TimeLane("nx-1", "xavier-nx", True, True, "", bars)
    return ElementTree.fromstring(lane_html("lane-nx-1", lane, DAY, now_s))


def widths(lane: ElementTree.Element, class_: str) -> list[float]:
    return [
        float(rect.attrib["width"].rstrip("%"))
        for rect in lane.iter("rect")
        if class_ in rect.attrib.get("class", "").split()
    ]


def test_the_ring_around_a_bar_stands_out_and_its_words_end_within_it() -> None:
    """Its neighbours lie over its sides, but not over what is above and below them."""
    found = drawn(
        TimeBar("past", "7", "n" * 90, "work", 1, NOW - 7200, NOW, outcomes=(("done", 1),))
    )
    (bar,), (ring,) = ([r for r in found.iter("rect") if r.attrib["class"].startswith(name)]
                       for name in ("tbar", "ring"))  # fmt: skip
    assert (ring.attrib["x"], ring.attrib["width"]) == (bar.attrib["x"], bar.attrib["width"])
    assert float(ring.attrib["y"]) < float(bar.attrib["y"])
    assert float(ring.attrib["height"]) > float(bar.attrib["height"]) + 4
    (words,) = (svg for svg in found.iter("svg") if svg.attrib.get("x") == bar.attrib["x"])
    assert float(words.attrib["width"].rstrip("%")) < widths(found, "tbar")[0]


times = st.floats(DAY.from_s - 1e5, DAY.to_s + 1e5)


@given(
    st.lists(
        st.builds(
            lambda kind, start, length, outcome: a_bar(
                kind,
                start,
                start + length,
                **({"outcomes": ((outcome, 1),)} if kind == "past" else {}),
            ),
            st.sampled_from(["past", "running", "planned"]),
            times,
            st.floats(0, 2e5),
            st.sampled_from(WORST_FIRST),
        ),
        max_size=8,
    )
)
def test_no_bar_reaches_out_of_its_lane_and_one_of_them_can_be_tabbed_to(
    bars: list[TimeBar],
) -> None:
    lane = drawn(*bars)
    for rect in lane.iter("rect"):
        x, width = (float(rect.attrib[name].rstrip("%")) for name in ("x", "width"))
        assert 0 <= x <= 100 and width >= 0 and x + width <= 100.5
    stops = [link.attrib["tabindex"] for link in lane.iter("a") if "tabindex" in link.attrib]
    assert stops.count("0") == min(1, len(bars)) and len(stops) == len(bars)


@pytest.mark.parametrize("outcome", [o for o in WORST_FIRST if o != "done"])
def test_an_end_that_is_not_done_has_a_sign_and_a_word(outcome: str) -> None:
    bar = a_bar("past", NOW - 7200, NOW - 3600, outcomes=((outcome, 1),))
    lane = drawn(bar)
    ending = ending_of(outcome)
    assert ending is not None and ending.sign in [text.text for text in lane.iter("text")]
    assert outcome_word(outcome) in told(bar)


def test_what_is_planned_is_hatched_and_has_its_p90() -> None:
    lane = drawn(a_bar("planned", NOW + 600, NOW + 1200))
    assert [r for r in lane.iter("rect") if r.attrib.get("fill") == "url(#planned)"]
    assert len([line for line in lane.iter("line") if line.attrib["class"] == "whisker"]) == 2
    assert 'id="planned"' in keys_html()


def test_a_run_beyond_its_estimate_reaches_the_present() -> None:
    late = a_bar("running", NOW - 7200, NOW - 3600)
    (whole,), (so_far,) = (widths(drawn(late), name) for name in ("tbar", "so-far"))
    assert whole == pytest.approx(so_far) == pytest.approx(100 * 7200 / 86_400, abs=0.01)
    early = a_bar("running", NOW - 3600, NOW + 3600)
    (whole,), (so_far,) = (widths(drawn(early), name) for name in ("tbar", "so-far"))
    assert so_far == pytest.approx(whole / 2, abs=0.01)


def test_several_in_one_lead_to_a_nearer_look() -> None:
    many = a_bar("past", NOW - 7200, NOW - 7000, jobs=5, outcomes=(("failed", 2), ("done", 3)))
    (link,) = [a for a in drawn(many).iter("a") if "tabindex" in a.attrib]
    assert link.attrib["href"] == f"/ui/timeline?span=hour&at={round(NOW - 7100)}"
    assert "5 short jobs, 2 FAILED, 3 DONE" in link.attrib["aria-label"]


def test_trifles_of_what_is_foreseen_draw_nothing() -> None:
    def lane(off_s: float) -> TimeLane:
        bars = (a_bar("planned", NOW + off_s, NOW + 600 + off_s), a_bar("past", NOW - 9, NOW - 1))
        return settled(TimeLane("nx-1", "", False, True, "", bars), DAY)

    assert lane(0.0) == lane(1.0) != lane(600.0)
    assert lane(0.0).bars[1] == a_bar("past", NOW - 9, NOW - 1)  # what was is not rounded


def test_the_present_is_marked_only_where_it_is_in_the_window() -> None:
    scale = on_the_clock(DAY.from_s, DAY.to_s)
    for now_s, hidden in ((NOW, False), (NOW + 1e6, True)):
        axis = ElementTree.fromstring(axis_html("timeline-axis", DAY, scale, now_s))
        (line,) = [e for e in axis.iter("line") if e.attrib["class"] == "now"]
        assert (line.attrib.get("visibility") == "hidden") == hidden
