"""The cost model of a data home: up to date with its files, and what its runs are counted to."""

from __future__ import annotations

import time
from pathlib import Path

from builders import NX, ORIN, a_workload
from hypothesis import given
from hypothesis import strategies as st
from test_costs_show import a_kill, a_run

from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costbook import CostBook
from jetsched.profiler.costs import CostModel
from jetsched.profiler.evidence import speed_class
from jetsched.profiler.seen import Sightings
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Measurement

RUNS = [
    a_run(a_workload(), at="2026-11-20T10:00:00+00:00", job_id="1"),
    a_run(a_workload(), at="2026-11-20T11:00:00+00:00", rate_s=0.4, job_id="2"),
    a_run(a_workload("tiny-gpt2"), ORIN, at="2026-11-20T12:00:00+00:00", job_id="profile-x"),
    a_kill(a_workload("gpt2"), at="2026-11-20T13:00:00+00:00"),
    a_run(a_workload(), at="2026-11-20T14:00:00+00:00", rate_s=4000.0),
]


def store(home: Path) -> MeasurementStore:
    return MeasurementStore(home / MeasurementStore.name)


def test_nothing_was_measured_where_there_is_no_file(tmp_path: Path) -> None:
    book = CostBook(tmp_path)
    with book.open() as opened:
        assert opened.sightings.workloads == []
    assert book.version == 0


def test_what_is_added_is_known_at_the_next_look(tmp_path: Path) -> None:
    """It says what a model of all that stands in the file says."""
    book = CostBook(tmp_path)
    versions = set()
    for number, run in enumerate(RUNS, start=1):
        store(tmp_path).append(run)
        versions.add(book.version)
        fresh = CostModel(RUNS[:number])
        with book.open() as opened:
            assert opened.costs.cost(a_workload(), NX) == fresh.cost(a_workload(), NX)
            assert opened.version == book.version
    assert len(versions) == len(RUNS)


def test_a_file_that_became_shorter_is_another_one(tmp_path: Path) -> None:
    book = CostBook(tmp_path)
    store(tmp_path).append(*RUNS)
    with book.open() as opened:
        assert len(opened.sightings.workloads) == 3
    store(tmp_path).path.unlink()
    store(tmp_path).append(RUNS[2])
    with book.open() as opened:
        assert [w.model for w in opened.sightings.workloads] == ["tiny-gpt2"]
        assert opened.costs.cost(a_workload(), NX).source != "measured"


def test_lines_that_say_nothing_are_named_and_the_rest_is_known(tmp_path: Path) -> None:
    store(tmp_path).append(RUNS[0])
    with store(tmp_path).path.open("a") as file:
        file.write("no json\n")
    store(tmp_path).append(RUNS[2])
    with CostBook(tmp_path).open() as opened:
        assert [line.line for line in opened.bad] == [2]
        assert len(opened.sightings.workloads) == 2


def test_calibrations_are_known_as_well(tmp_path: Path) -> None:
    book = CostBook(tmp_path)
    with book.open() as opened:
        before = opened.costs.cost(a_workload(), NX)
    CalibrationStore(tmp_path / CalibrationStore.name).append(
        Calibration(NX, 20.0, 30.0, {"fp32": 400.0, "fp16": 900.0}, at="2026-11-20T09:00:00+00:00")
    )
    with book.open() as opened:
        assert list(opened.calibrations) == [speed_class(NX)]
        assert opened.costs.cost(a_workload(), NX) != before


# ------------------------------------------------------------------------- what runs are counted to


def test_what_was_learnt_is_counted_by_kind_of_board() -> None:
    """Jobs and profiles apart; what estimates make no use of is counted as such."""
    sources = Sightings(RUNS).sources
    nx, orin = sources[speed_class(NX)], sources[speed_class(ORIN)]
    assert (nx.runs, nx.of_jobs, nx.kills, nx.left_out) == (4, 2, 1, 1)
    assert (orin.runs, orin.of_jobs, orin.kills) == (1, 0, 0)
    assert nx.boards == {"nx-1"}
    assert {work.model for work in nx.workloads} == {"distilgpt2", "gpt2"}


def test_what_was_only_assumed_is_no_run() -> None:
    found = Sightings([a_run(a_workload(), source="assumed")])
    assert found.sources == {}
    assert found.of(a_workload(), NX).runs == 0


@given(st.lists(st.sampled_from(RUNS), max_size=12))
def test_a_run_counts_once_whatever_comes_when(runs: list[Measurement]) -> None:
    """The head may tell what a board's own store has as well."""
    found = Sightings([*runs, *reversed(runs)])
    once = {m.at for m in runs}
    assert sum(source.runs for source in found.sources.values()) == len(once)


def test_who_does_not_wait_gets_what_is_known_by_then(tmp_path: Path) -> None:
    """And the rest is read meanwhile, as a whole in the end."""
    works = [a_workload(batch_size=size) for size in range(1, 33)]
    many = [
        a_run(work, job_id=f"{place}-{n}") for place, work in enumerate(works) for n in range(30)
    ]
    store(tmp_path).append(*many)
    book = CostBook(tmp_path)
    with book.open(patience_s=0.0) as opened:
        assert opened.share < 1.0
        assert len(opened.sightings.workloads) < len(works)
    end = time.monotonic() + 120
    while True:
        with book.open(patience_s=0.0) as opened:
            if opened.version == book.version:
                break
        assert time.monotonic() < end, "it was never read as a whole"
        time.sleep(0.01)
    with book.open() as opened:
        assert opened.share == 1.0
        assert sum(source.runs for source in opened.sightings.sources.values()) == len(many)
