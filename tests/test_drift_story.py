"""How boards did over time and how well their runs were predicted, as the pages show it."""

from __future__ import annotations

from itertools import pairwise
from math import exp

import pytest
from builders import NX, ORIN, a_workload, an_estimate
from hypothesis import given
from hypothesis import strategies as st
from test_costs_show import a_run

from jetsched.cluster.ui_charts import LogScale, stacked
from jetsched.cluster.ui_drift import drift_line
from jetsched.profiler.accuracy import groups_of, of_guesses, of_runs, score_of
from jetsched.profiler.drift import DriftWatch, ran_of
from jetsched.profiler.drift_scores import Ran
from jetsched.profiler.drift_story import MOST, MOST_OF_BOARD, Stories, noted, stories
from jetsched.profiler.evidence import cost_key, speed_class
from jetsched.profiler.heldout import held_out, score
from jetsched.records import Workload

WORK = cost_key(a_workload())


def a_ran(number: int, rate_s: float = 0.2, device: str = "nx-1", **changes: object) -> Ran:
    base = {"predicted_s": 0.2, "predicted_p90_s": 0.25, "behind": 5, "source": "measured"}
    given = {"workload": WORK, **base, **changes}
    return Ran(60.0 * number, device, speed_class(NX), rate_s=rate_s, **given)  # type: ignore[arg-type]


def story_of(*runs: Ran) -> Stories:
    return stories(noted(DriftWatch(runs), {"nx-1": NX, "nx-2": NX}))


SLOWER = [a_ran(n, 0.2 + 0.002 * (n % 3)) for n in range(20)] + [
    a_ran(n, 0.34) for n in range(20, 30)
]


def test_a_board_that_got_slower_is_told_with_its_runs() -> None:
    """Each beside what was usual before; the verdict is that of `devices`."""
    (board,) = story_of(*SLOWER).boards
    assert board.drift.verdict == "slower"
    assert [point.ratio for point in board.points[:3]] == [None] * 3  # nothing to compare with
    assert board.points[-1].ratio == pytest.approx(0.34 / 0.202, rel=0.02)
    assert [point.at_s for point in board.points] == [run.at_s for run in SLOWER]


def test_of_each_board_and_of_all_the_last_runs_are_told() -> None:
    """So that a scheduler is not kept waiting by a large fleet."""
    many = [a_ran(n, device=f"nx-{b}") for b in range(12) for n in range(MOST_OF_BOARD + 20)]
    found = story_of(*many)
    assert [len(board.points) for board in found.boards] == [MOST_OF_BOARD] * 12
    assert len(found.predicted) == MOST
    assert found.predicted[-1].at_s == max(run.at_s for run in many)
    assert found.changes == len(many)


def test_a_run_keeps_where_its_estimate_came_from_and_which_job_it_was() -> None:
    measurement = a_run(a_workload(), job_id="7")
    ran = ran_of(measurement, 100.0, an_estimate(source="estimated"), 20.0)
    assert ran is not None
    assert (ran.source, ran.job_id) == ("estimated", "7")


def test_a_profile_is_a_point_but_was_not_predicted() -> None:
    profile = a_ran(5, profiled=True, predicted_s=None, predicted_p90_s=None, source=None)
    found = story_of(*(a_ran(n) for n in range(5)), profile)
    assert found.boards[0].points[-1].profiled
    assert len(found.predicted) == 5


# ----------------------------------------------------------------------------------- how good


def test_runs_of_the_same_work_on_the_same_kind_of_board_are_one_row() -> None:
    runs = [
        a_ran(n, 0.3, f"nx-{n % 2 + 1}", source=s) for n, s in enumerate(("measured", "assumed"))
    ]
    (group,) = groups_of(of_runs(runs))
    assert (group.runs, group.over_p90) == (2, 2)
    assert group.ratio == pytest.approx(1.5)
    assert group.sources == ("assumed", "measured")


def test_what_is_off_furthest_comes_first_either_way() -> None:
    """Half as long is as far off as twice as long."""
    quick = a_ran(1, 0.05)
    slow = Ran(1.0, "o", speed_class(ORIN), WORK, 0.6, predicted_s=0.2, predicted_p90_s=0.2)
    right = Ran(1.0, "o", speed_class(ORIN), cost_key(a_workload("gpt2")), 0.2, predicted_s=0.2)
    found = groups_of(of_runs([right, slow, quick]))
    assert [round(group.ratio, 2) for group in found] == [0.25, 3.0, 1.0]


def test_unseen_work_is_judged_as_costs_plot_judges_it() -> None:
    works = [a_workload(m) for m in ("tiny-gpt2", "distilgpt2", "gpt2", "tinygpt2-25m")]
    guesses = held_out(
        [a_run(w, n, rate_s=0.1 * i) for i, w in enumerate(works, 1) for n in (NX, ORIN)]
    )
    found, judged = score_of(of_guesses(guesses)), score(guesses)
    assert found.mape_pct == pytest.approx(judged.mape_pct)
    assert found.p90_coverage == judged.p90_coverage


# --------------------------------------------------------------------------------- the pictures

times = st.floats(1e-6, 1e5)


def test_a_command_is_compared_only_once_it_has_been_measured_itself() -> None:
    """Before that its time is the one of the work that it is said to be like."""
    short = Workload("command", "gpt2", command="short", like="train")
    sources = ("measured", "estimated", "assumed")
    told = [a_ran(number, workload=short, source=s) for number, s in enumerate(sources)]
    assert [found.source for found in of_runs(told)] == ["measured"]


@given(st.lists(st.floats(0.0, 1e5), max_size=9), st.floats(1.0, 1e6))
def test_a_bar_is_as_wide_as_what_it_stands_for(amounts: list[float], most: float) -> None:
    found = stacked(amounts, most, 600.0)
    assert sum(s.width for s in found) == pytest.approx(600.0 * sum(amounts) / most)
    for left, right in pairwise(found):
        assert left.x + left.width == pytest.approx(right.x)


@given(st.lists(times, min_size=1), st.floats(1.1, 3.0))
def test_a_scale_keeps_order_and_ends(values: list[float], room: float) -> None:
    scale = LogScale(values, 100.0, room)
    places = [scale.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 + 1e-9 for place in places)
    assert [scale.at(0.0), scale.at(1e30)] == pytest.approx([0.0, 100.0])


def test_the_line_of_a_board_rises_where_it_got_slower() -> None:
    (board,) = story_of(*SLOWER).boards
    line = drift_line(board)
    assert line is not None
    assert line.dots[-1][1] < line.usual - 5  # up is slower
    assert line.dots[0][1] == pytest.approx(line.usual, abs=1.5)
    assert line.since is not None and 100 < line.since < 200  # when the slow ones began
    assert line.dots[0][0] == 0.0 and line.dots[-1][0] == 200.0


def test_a_board_without_a_run_to_compare_has_no_line() -> None:
    (board,) = story_of(a_ran(1), a_ran(2)).boards
    assert drift_line(board) is None


def test_a_ratio_beyond_the_picture_lies_on_its_edge() -> None:
    (board,) = story_of(*(a_ran(n) for n in range(6)), a_ran(7, 0.2 * exp(5))).boards
    line = drift_line(board)
    assert line is not None and line.dots[-1][1] == 0.0


def test_a_point_names_its_work() -> None:
    assert story_of(*SLOWER).boards[0].points[0].work == "train distilgpt2 b8x384 fp32"
