"""The measurement store: what is appended is read back, and nothing spoils what is there."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetsched.profiler.store import MeasurementStore
from jetsched.records import DeviceClass, Measurement, Workload

finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.dictionaries(
    st.text(max_size=8), st.none() | st.booleans() | st.integers() | finite | st.text(max_size=8)
)
workloads = st.builds(
    Workload, st.sampled_from(["train", "infer", "command"]), st.text(), command=st.text()
)
measurements = st.builds(
    Measurement,
    workload=workloads,
    device_class=st.builds(DeviceClass, st.text(), memory_mib=finite, emulated=st.booleans()),
    outcome=st.sampled_from(["done", "killed_memory", "lost"]),
    amount=finite,
    time_s=st.none() | finite,
    phases_s=st.dictionaries(st.text(max_size=8), finite, max_size=3),
    evidence=st.lists(st.text(), max_size=3).map(tuple),
    text=st.text(),
    identity=values,
)


def a_measurement(text: str = "") -> Measurement:
    return Measurement(Workload("train", "gpt2"), DeviceClass("orin-nano"), "done", text=text)


@given(st.lists(measurements, max_size=4))
def test_what_is_appended_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, several: list[Measurement]
) -> None:
    store = MeasurementStore(tmp_path_factory.mktemp("store") / "measurements.jsonl")
    for one in several:
        store.append(one)
    assert store.read() == several
    assert store.bad == ()


def test_the_store_lies_in_the_data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path))
    assert MeasurementStore().path == tmp_path / "measurements.jsonl"
    assert MeasurementStore().read() == []


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_cut_last_line_is_named_and_spoils_no_other(tmp_path: Path, cut: int) -> None:
    """As a power cut leaves it; the next one is appended on a line of its own."""
    store = MeasurementStore(tmp_path / "m.jsonl")
    store.append(a_measurement("first"))
    store.append(a_measurement("second"))
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[:-cut] if cut > 1 else whole[:-2])
    assert [m.text for m in store.read()] == ["first"]
    assert [(bad.line, bad.text) for bad in store.bad] == [(2, "the line is cut off")]
    store.append(a_measurement("third"))
    assert [m.text for m in store.read()] == ["first", "third"]
    assert [bad.line for bad in store.bad] == [2]


def test_a_line_that_is_no_measurement_is_named_and_kept(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "m.jsonl")
    store.path.write_text('{"workload": 3}\n')
    store.append(a_measurement("good"))
    assert [m.text for m in store.read()] == ["good"]
    assert store.bad[0].line == 1
    assert "not a valid Measurement" in store.bad[0].text
    assert store.path.read_text().startswith('{"workload": 3}\n')


def test_a_number_that_json_does_not_have_is_refused(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "m.jsonl")
    with pytest.raises(ValueError):
        store.append(Measurement(a_measurement().workload, DeviceClass("x"), "done", float("nan")))
    assert store.read() == []


def _append_ten(path: Path, name: str) -> None:
    for number in range(10):
        MeasurementStore(path).append(a_measurement(f"{name}{number}"))


def test_two_processes_append_without_mixing_lines(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_append_ten, args=(tmp_path / "m.jsonl", n)) for n in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    store = MeasurementStore(tmp_path / "m.jsonl")
    assert sorted(m.text for m in store.read()) == [f"{w}{n}" for w in "ab" for n in range(10)]
    assert store.bad == ()
