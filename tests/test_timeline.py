"""The data of the timeline: which bars a board has, and how those too thin to tell are joined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from api_world import TOKEN, Served
from builders import a_job, an_estimate, nx
from hypothesis import given
from hypothesis import strategies as st
from live_world import LiveWorld, a_command, table

from jetsched.cluster.desk_timeline import TimelineWish, by_number
from jetsched.cluster.ran import Ran
from jetsched.cluster.timebars import (
    WORST_FIRST,
    TimeBar,
    joined,
    past_bar,
    planned_bar,
    running_bar,
)
from jetsched.errors import InputError
from jetsched.records import Attempt, Placement
from jetsched.scheduler.state import Group, JobRecord


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorld]:
    """Two boards: job 1 was done on nx-1, 2 failed there, 3 runs there, and 4 waits for it."""
    with LiveWorld(tmp_path_factory.mktemp("time"), table(short=1.0, long=600.0)) as world:
        world.until_devices("nx-1", "orin-1")
        needs = replace(a_job().needs, device=("nx-1",))
        world.submit(a_command("1", "true", needs=needs, name="first"))
        world.until_state("1", "done")
        world.submit(a_command("2", "exit 3", needs=needs))
        world.until_state("2", "failed")
        world.submit(a_command("3", "exec sleep 600", "long", needs=needs))
        world.until_state("3", "running")
        world.submit(a_command("4", "true", needs=needs, name="<script>"))
        yield world


def around(world: LiveWorld, **wish: object) -> TimelineWish:
    now_s = world.cluster.ask(lambda now_s: now_s)
    return TimelineWish(now_s - 1800, now_s + 3600, **wish)  # type: ignore[arg-type]


def record(*attempts: Attempt) -> JobRecord:
    job = a_job()
    return JobRecord(job, 0, Group(job), 50, 50, attempts=list(attempts))


def ended(number: int, start_s: float, end_s: float, device: str = "nx-1") -> Attempt:
    return Attempt(number, device, start_s, an_estimate(), end_s, "lost", "")


# ---------------------------------------------------------------------------------------- what ran


def test_a_board_has_what_ran_what_runs_and_what_is_foreseen(world: LiveWorld) -> None:
    found = world.desk.timeline(around(world))
    lanes = {lane.device: lane for lane in found.lanes}
    assert list(lanes) == ["nx-1", "orin-1"]
    assert lanes["orin-1"].bars == ()
    bars = {bar.job_id: bar for bar in lanes["nx-1"].bars if bar.kind != "past"}
    assert (bars["3"].kind, bars["4"].kind) == ("running", "planned")
    assert bars["4"].start_s == pytest.approx(bars["3"].end_s, abs=1.0)
    for bar in bars.values():
        assert bar.p90_s is not None and bar.p90_s > bar.end_s
    assert (found.waiting, found.placed, found.boards) == (1, 1, 2)


def test_a_narrow_window_tells_attempts_apart_and_how_each_ended(world: LiveWorld) -> None:
    attempts = world.look(lambda s: [s.jobs[i].attempts[0] for i in ("1", "2")])
    end_s = max(a.end_s for a in attempts)
    wish = TimelineWish(attempts[0].start_s, end_s + 1e-3, text="nx")
    (lane,) = world.desk.timeline(wish).lanes
    past = [bar for bar in lane.bars if bar.kind == "past"]
    assert [(bar.job_id, bar.outcome, bar.jobs) for bar in past] == [
        ("1", "done", 1),
        ("2", "failed", 1),
    ]
    assert past[0].start_s == attempts[0].start_s and past[0].end_s == attempts[0].end_s


def test_before_anything_ran_there_is_nothing(world: LiveWorld) -> None:
    found = world.desk.timeline(TimelineWish(0.0, 1000.0))
    assert [lane.bars for lane in found.lanes] == [(), ()]


def test_boards_are_chosen_by_text_and_come_a_page_at_a_time(world: LiveWorld) -> None:
    def devices(**wish: object) -> list[str]:
        return [lane.device for lane in world.desk.timeline(around(world, **wish)).lanes]

    assert devices(text="orin-nano") == ["orin-1"]  # its model
    assert devices(text="nothing") == []
    assert devices(limit=1) == ["nx-1"]
    assert devices(skip=1, limit=1) == ["orin-1"]
    assert world.desk.timeline(around(world, limit=1)).boards == 2


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    for from_s, to_s in ((1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))):
        with pytest.raises(InputError, match="no time between"):
            TimelineWish(from_s, to_s)


def test_a_service_that_starts_again_knows_what_ran_before(tmp_path: Path) -> None:
    world = LiveWorld(tmp_path)
    try:
        world.until_devices("nx-1", "orin-1")
        world.submit(a_command("1", "true"))
        world.until_state("1", "done")
        world.stop()
        with LiveWorld(tmp_path, agents=world.agents) as again:
            lanes = again.desk.timeline(around(again)).lanes
            assert [bar.job_id for lane in lanes for bar in lane.bars] == ["1"]
    finally:
        world.agents.close()


def test_the_route_tells_the_same_and_refuses_bad_windows(world: LiveWorld) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        Served(world) as served,
        httpx.Client(base_url=served.url, headers=headers, trust_env=False) as http,
    ):
        found = http.get("/timeline").json()
        assert [lane["device"] for lane in found["lanes"]] == ["nx-1", "orin-1"]
        kinds = {bar["kind"] for bar in found["lanes"][0]["bars"]}
        assert kinds == {"past", "running", "planned"}
        answer = http.get("/timeline", params={"from_s": 5, "to_s": 1})
        assert (answer.status_code, answer.json()["exit_code"]) == (400, 2)
        assert http.get("/timeline", params={"from_s": "nan"}).status_code == 400


# --------------------------------------------------------------------------------------- the index


def test_an_attempt_that_goes_on_after_all_is_not_over() -> None:
    """A board that was given up and comes back: the index holds places, not attempts."""
    kept = record(ended(1, 10.0, 20.0))
    ran = Ran([kept])
    assert len(list(ran.between("nx-1", 0.0, 100.0))) == 1
    kept.attempts[0] = replace(kept.attempts[0], end_s=None, outcome=None)
    assert list(ran.between("nx-1", 0.0, 100.0)) == []


def test_an_end_that_was_told_late_is_found_all_the_same() -> None:
    ran, first = Ran(), record(Attempt(1, "nx-1", 0.0, an_estimate()))
    ran.start(first, first.attempts[0])
    first.attempts[0] = ended(1, 0.0, 900.0)
    second = record(Attempt(1, "nx-1", 900.0, an_estimate()))
    ran.start(second, second.attempts[0])
    assert [a.end_s for _, a in ran.between("nx-1", 800.0, 850.0)] == [900.0]


@given(
    st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 500)), max_size=30),
    st.floats(0, 1500),
    st.floats(0.1, 500),
)
def test_what_is_found_in_a_window_is_what_touches_it(
    runs: list[tuple[float, float]], from_s: float, lasts_s: float
) -> None:
    records = [record(ended(1, start, start + length)) for start, length in runs]
    found = Ran(records).between("nx-1", from_s, from_s + lasts_s)
    expected = [
        r.attempts[0]
        for r in records
        if r.attempts[0].start_s < from_s + lasts_s and (r.attempts[0].end_s or 0.0) >= from_s
    ]
    assert sorted((a.start_s, a.end_s) for _, a in found) == sorted(
        (a.start_s, a.end_s) for a in expected
    )


def test_boards_are_in_the_order_of_their_numbers() -> None:
    assert sorted(["nx-10", "nx-2", "orin", "nx-x"], key=by_number) == [
        "nx-2",
        "nx-10",
        "nx-x",
        "orin",
    ]


# ----------------------------------------------------------------------------------- bars together


def a_bar(start_s: float, length_s: float, outcome: str = "done", kind: str = "past") -> TimeBar:
    outcomes = ((outcome, 1),) if kind == "past" else ()
    return TimeBar(kind, "1", "", "", 1, start_s, start_s + length_s, outcomes=outcomes)  # type: ignore[arg-type]


bars = st.builds(
    a_bar,
    st.floats(0, 1000),
    st.floats(0, 100),
    st.sampled_from(WORST_FIRST),
    st.sampled_from(["past", "planned"]),
)


@given(st.lists(bars, max_size=60), st.floats(0.5, 200))
def test_joining_loses_no_attempt_and_no_outcome(made: list[TimeBar], least_s: float) -> None:
    together = joined(made, least_s)
    assert sum(bar.jobs for bar in together) == len(made)
    for outcome in WORST_FIRST:
        assert sum(dict(bar.outcomes).get(outcome, 0) for bar in together) == sum(
            dict(bar.outcomes).get(outcome, 0) for bar in made
        )
    assert all(bar.jobs == 1 or bar.end_s - bar.start_s < least_s for bar in together)
    assert [bar.start_s for bar in together] == sorted(bar.start_s for bar in together)


def test_a_lane_is_never_more_than_two_bars_for_each_stretch() -> None:
    busy = [a_bar(n / 100, 0.01, "killed_memory" if n % 3 else "done") for n in range(10_000)]
    assert len(joined(busy, 0.5)) <= 2 * 100 / 0.5


def test_of_several_the_worst_is_seen_first() -> None:
    (both,) = joined([a_bar(0, 1), a_bar(1, 1, "lost"), a_bar(2, 1, "killed_memory")], 10.0)
    assert (both.outcome, both.jobs) == ("killed_memory", 3)
    assert both.outcomes == (("killed_memory", 1), ("lost", 1), ("done", 1))


def test_what_runs_is_never_joined() -> None:
    assert len(joined([a_bar(0, 1, kind="running"), a_bar(0.1, 1, kind="running")], 10.0)) == 2


def test_a_bar_of_the_future_has_its_spread_and_one_of_the_past_has_none() -> None:
    job, estimate = a_job(), an_estimate(100.0)
    planned = planned_bar(Placement(job, nx(), estimate, 50.0, 150.0))
    assert (planned.start_s, planned.end_s, planned.p90_s) == (50.0, 150.0, 170.0)
    running = running_bar(job, Attempt(1, "nx-1", 0.0, estimate), 100.0)
    assert (running.end_s, running.p90_s, running.outcome) == (100.0, 120.0, None)
    past = past_bar(job, ended(2, 1.0, 9.0))
    assert (past.p90_s, past.outcome, past.estimated_s) == (None, "lost", 100.0)
