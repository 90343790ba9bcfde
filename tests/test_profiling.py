"""Suites and sessions: each benchmark is a row, whatever becomes of it, and none is lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from attempt_worlds import BOARD, processes_in

from jetsched.errors import InputError
from jetsched.profiler.devices import DEVICE_MODELS
from jetsched.profiler.emulation import parse
from jetsched.profiler.models import find
from jetsched.profiler.profiling import Row, profile, session_folder
from jetsched.profiler.store import MeasurementStore
from jetsched.profiler.suites import SUITES, Benchmark, load_suite, require_models
from jetsched.records import Device, Job, Workload


def a_benchmark(name: str, run: str) -> Benchmark:
    return Benchmark(name, Job(name, Workload("command", "", command=run)))


#: Counts its starts in a file outside of its own folder; the second fails, the third is killed.
SUITE = (
    a_benchmark("good", "echo good >> ../../starts"),
    a_benchmark("bad", "echo bad >> ../../starts; exit 3"),
    a_benchmark("killed", "echo killed >> ../../starts; echo MemoryError; exit 1"),
    a_benchmark("last", "echo last >> ../../starts"),
)


class World:
    """A store and a session in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MeasurementStore(folder / "measurements.jsonl")

    def profile(self, device: Device = BOARD, *, rows: int = 9, fresh: bool = False) -> list[Row]:
        """Run the suite, and stop after so many rows as somebody with Ctrl-C would."""
        found = []
        running = profile(device, SUITE, self.folder / "session", store=self.store, fresh=fresh)
        for row in running:
            found.append(row)
            if len(found) == rows:
                running.close()
        return found

    @property
    def starts(self) -> Counter[str]:
        return Counter((self.folder / "starts").read_text().split())


def test_a_failure_or_a_kill_is_a_row_and_the_next_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    rows = world.profile()
    assert [row.benchmark.name for row in rows] == ["good", "bad", "killed", "last"]
    outcomes = [row.measurement.outcome for row in rows]
    assert outcomes == ["done", "failed", "killed_memory", "done"]
    assert world.store.read() == [row.measurement for row in rows]


def test_an_interrupted_session_goes_on_where_it_was(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = world.profile(rows=2)
    assert len(world.store.read()) == 2  # rows are stored as they come
    second = world.profile()
    assert [row.kept for row in second] == [True, True, False, False]
    assert [row.measurement for row in second[:2]] == [row.measurement for row in first]
    assert len(world.store.read()) == 4
    assert set(world.starts.values()) == {1}


def test_a_finished_session_is_followed_by_a_new_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.profile()
    assert not any(row.kept for row in world.profile())
    assert set(world.starts.values()) == {2}


def test_fresh_starts_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.profile(rows=2)
    assert not any(row.kept for row in world.profile(fresh=True))


def test_rows_of_another_board_are_not_kept(tmp_path: Path) -> None:
    """As when the emulated memory was scaled differently before."""
    world = World(tmp_path)
    world.profile(rows=2)
    smaller = replace(BOARD, device_class=replace(BOARD.device_class, memory_mib=500.0))
    assert not any(row.kept for row in world.profile(smaller))


def test_a_full_disk_loses_nothing_that_was_measured(tmp_path: Path) -> None:
    """What was finished before is stored; what could not be is stored by the next start."""
    world = World(tmp_path)
    file, kept = world.store.path, tmp_path / "kept.jsonl"
    running = profile(BOARD, SUITE, tmp_path / "session", store=world.store)
    first = next(running)
    file.rename(kept)
    file.symlink_to("/dev/full")  # as the disk would, it refuses every byte
    with pytest.raises(OSError, match="No space left"):
        next(running)
    file.unlink()
    kept.rename(file)
    assert world.store.read() == [first.measurement]
    again = world.profile()
    assert [row.kept for row in again] == [True, True, False, False]
    assert world.store.read() == [row.measurement for row in again]
    assert set(world.starts.values()) == {1}


def test_an_interrupt_stops_the_benchmark_and_leaves_no_row(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "m.jsonl")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    suite = (a_benchmark("endless", "sleep 600"),)
    with pytest.raises(KeyboardInterrupt):
        list(profile(BOARD, suite, tmp_path / "session", store=store, on_progress=interrupt))
    assert store.read() == []
    assert processes_in(tmp_path) == []


def test_what_a_benchmark_produces_is_removed_and_its_log_kept(tmp_path: Path) -> None:
    suite = (a_benchmark("model", "mkdir out; touch out/weights; echo trained"),)
    store = MeasurementStore(tmp_path / "m.jsonl")
    list(profile(BOARD, suite, tmp_path / "session", store=store))
    assert not (tmp_path / "session/1-model/out").exists()
    assert (tmp_path / "session/1-model/log.txt").read_text() == "trained\n"


def test_sessions_lie_in_the_data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path))
    assert session_folder(BOARD, "demo") == tmp_path / "profiling/nx-1/demo"
    assert session_folder(BOARD, "some/where/job.yaml") == tmp_path / "profiling/nx-1/job"


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_names_known_models_and_each_benchmark_once(name: str) -> None:
    suite = load_suite(name)
    assert len({benchmark.name for benchmark in suite}) == len(suite)
    for benchmark in suite:
        model = benchmark.job.workload.model
        known = find(model)
        assert known is not None and known.name == model
        assert {"train", "infer"} >= {benchmark.job.workload.kind}
    assert {benchmark.job.workload.kind for benchmark in suite} == {"train", "infer"}


def test_the_paper_suite_is_the_papers_six_models_and_a_tinygpt2_of_the_size_it_names() -> None:
    models = [b.job.workload.model for b in SUITES["paper"]]
    assert models == [
        *("tiny-gpt2", "tinygpt2-25m", "distilgpt2", "gpt2"),
        *("tinyllama-1.1b", "phi-2", "qwen1.5-1.8b"),
    ]


def test_a_job_file_is_a_suite(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("work:\n  kind: train\n  model: sshleifer/tiny-gpt2\n  dataset: squad[:20]\n")
    (benchmark,) = load_suite(str(file))
    assert benchmark.name == "mine"
    assert benchmark.job.workload.model == "tiny-gpt2"


def test_a_model_that_is_nowhere_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    job = Job("1", Workload("train", "me/mine", "squad"))
    suite = [Benchmark("mine", job)]
    with pytest.raises(InputError, match="run `hf download me/mine` here once"):
        require_models(suite)
    snapshot = tmp_path / "hub/models--me--mine/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    require_models(suite)
    elsewhere = replace(job, env=(("HF_HUB_CACHE", "/nowhere"),))
    with pytest.raises(InputError, match="me/mine"):
        require_models([Benchmark("mine", elsewhere)])
    require_models([*SUITES["paper"], a_benchmark("command", "true")])


def test_an_unknown_suite_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no suite 'dmeo'") as caught:
        load_suite("dmeo")
    assert "demo" in caught.value.hint


@pytest.mark.slow
def test_the_demo_suite_measures_an_emulated_board(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (board,) = parse("xavier-nx:0.37")
    assert DEVICE_MODELS["xavier-nx"].usable_mib > (board.limits.memory_mib or 0)
    store = MeasurementStore(tmp_path / "m.jsonl")
    rows = list(
        profile(board.device, SUITES["demo"], tmp_path / "s", limits=board.limits, store=store)
    )
    assert [row.measurement.outcome for row in rows] == ["done", "done"]
    for row in rows:
        assert row.measurement.emulated
        assert row.measurement.rate_s is not None and row.measurement.rate_s > 0
        assert row.measurement.tokens_per_s is not None
