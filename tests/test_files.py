"""The data folder, records as JSON, and writing that a power cut cannot spoil."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import stat
import subprocess
import sys
import types
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from builders import a_job, an_estimate, nx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetsched import records
from jetsched.errors import InputError
from jetsched.files import (
    BadLine,
    append_json_line,
    from_json,
    home,
    json_bytes,
    read_json_lines,
    to_json,
    write_atomically,
)
from jetsched.records import Estimate, Never, Placement, Verdict
from jetsched.scheduler.events import Entry, Finished, Start, Submitted

RECORDS = [
    value
    for value in vars(records).values()
    if dataclasses.is_dataclass(value) and isinstance(value, type)
]

# ---------------------------------------------------------------------------------------- the home


def test_the_home_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path / "mine"))
    assert home() == tmp_path / "mine"
    assert not home().exists(), "asking for it creates nothing"


def test_without_a_name_it_is_the_platforms_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JETSCHED_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    assert home() == Path("/xdg/jetsched")


def test_the_first_write_makes_it_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path / "a" / "home"))
    append_json_line(home() / "deep" / "measurements.jsonl", {"a": 1})
    assert stat.S_IMODE(home().stat().st_mode) == 0o700


def test_pydantic_is_not_imported_with_it() -> None:
    """`jetsched --help` imports this module, and pydantic takes longer than all of its work."""
    code = "import sys, jetsched.files, jetsched.units; print([m for m in sys.modules if m in " + (
        "('pydantic', 'platformdirs', 'ruamel.yaml')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------ writing


def test_a_written_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path], "no draft stays behind"


def test_a_secret_is_for_its_owner(tmp_path: Path) -> None:
    write_atomically(tmp_path / "token", b"x", mode=0o600)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()  # a file cannot replace a folder
    with pytest.raises(OSError):
        write_atomically(target, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_lines_come_back_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    for value in ({"a": 1}, [2.5, None], "ü"):
        append_json_line(path, value)
    assert list(read_json_lines(path)) == [(1, {"a": 1}), (2, [2.5, None]), (3, "ü")]


def test_a_torn_line_is_lost_alone(tmp_path: Path) -> None:
    """A writer that died within a line does not spoil what the next one appends."""
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a":1}\n{"a":')
    append_json_line(path, {"a": 3})
    bad: list[BadLine] = []
    assert list(read_json_lines(path, bad.append)) == [(1, {"a": 1}), (3, {"a": 3})]
    assert [(entry.file, entry.line) for entry in bad] == [(path, 2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}\nnot json\n", "lines.jsonl:2: not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{}\n\n{"a": NaN}\n', "lines.jsonl:3: not JSON: NaN is not a number that JSON has"),
        (b"{}\n\xff\n", "lines.jsonl:2: not JSON: 'utf-8' codec can't decode byte 0xff"),
        (b'{}\n{"a": ', "lines.jsonl:2: the line is cut off"),
        (b"[" * 100_000 + b"\n", "lines.jsonl:1: not JSON: maximum recursion"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(read_json_lines(path))
    assert message in str(caught.value)


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert list(read_json_lines(tmp_path / "none.jsonl")) == []


# ----------------------------------------------------------------------------------------- records


FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type: numbers are finite, and free fields hold JSON values."""
    args = get_args(kind)
    origin = get_origin(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{f.name: values_of(hints[f.name]) for f in fields(kind)})
    if kind in (Any, float):
        return JSON if kind is Any else FINITE
    if origin is tuple and args[1:] == (...,):
        return st.lists(values_of(args[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values_of, args))
    if origin is Mapping:
        return st.dictionaries(values_of(args[0]), values_of(args[1]), max_size=3)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values_of, args))
    return st.from_type(kind)


@pytest.mark.parametrize("kind", [*RECORDS, *get_args(Entry)], ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=10, suppress_health_check=list(HealthCheck), deadline=None)
def test_every_record_and_event_comes_back_the_same(kind: type, data: st.DataObject) -> None:
    record = data.draw(values_of(kind))
    text = json_bytes(to_json(record))
    assert from_json(kind, json.loads(text)) == record


@given(data=st.data())
@settings(max_examples=50, suppress_health_check=list(HealthCheck), deadline=None)
def test_events_come_back_through_their_union(data: st.DataObject) -> None:
    entry = data.draw(st.one_of([values_of(kind) for kind in get_args(Entry)]))
    again = from_json(Entry, json.loads(json_bytes(to_json(entry, tag=True))))
    assert again == entry
    assert type(again) is type(entry)


def test_json_has_the_field_names() -> None:
    assert to_json(Never("NeverFits", "too big", peak_memory_mib=7.5)) == {
        "code": "NeverFits",
        "text": "too big",
        "peak_memory_mib": 7.5,
        "admitted_mib": None,
        "source": None,
    }


def test_a_tag_names_the_class() -> None:
    never = Never("NeverFits", "too big")
    data = to_json(never, tag=True)
    assert data["type"] == "Never"
    assert from_json(Verdict, data) == never
    assert from_json(Never, data) == never, "where the class is known, the tag does not matter"


def test_numbers_that_json_lacks_are_refused_both_ways() -> None:
    with pytest.raises(ValueError, match="nan has no JSON form"):
        to_json(an_estimate(time_s=math.nan))
    data = to_json(an_estimate())
    data["time_s"] = math.inf
    with pytest.raises(InputError, match="time_s: inf is not a finite number"):
        from_json(Estimate, data)
    with pytest.raises(ValueError):
        json_bytes({"a": math.nan})


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        to_json({"a": object()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": "Nonsense"}, "not a valid Never: code: Input should be"),
        ({"peak_memory_mib": "much"}, "not a valid Never: peak_memory_mib: Input should be"),
        ({"peak_memory_mib": [1]}, "not a valid Never: peak_memory_mib: Input should be"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        from_json(Never, to_json(Never("NeverFits", "")) | change)


def test_an_unknown_or_missing_tag_is_an_error() -> None:
    bad: list[Any] = [{"type": "Exploded"}, {}, [], None, "Never"]
    for data in bad:
        with pytest.raises(InputError):
            from_json(Entry, data)


def test_a_newer_writer_is_understood() -> None:
    """Keys that this version does not know are ignored."""
    assert from_json(Never, {"code": "Held", "text": "", "since": 3}) == Never("Held", "")


def test_sets_are_written_in_order() -> None:
    assert to_json(frozenset({"b", "a"})) == ["a", "b"]
    assert from_json(frozenset[str], ["b", "a"]) == {"a", "b"}


def test_a_start_with_everything_in_it_comes_back() -> None:
    job, device = a_job(env=(("A", "1"),), work={"kind": "train", "x": [1, {"y": None}]}), nx()
    start = Start(1.0, Placement(job, device, an_estimate(), 1.0, 2.0), attempt=1)
    for entry in (Submitted(0.0, (job, job)), start, Finished(3.0, "1", 1, "done")):
        assert from_json(Entry, to_json(entry, tag=True)) == entry


def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for i in range(20):
        append_json_line(tmp_path / "a.jsonl", i)
        write_atomically(tmp_path / "b", b"x")
    assert len(os.listdir("/proc/self/fd")) <= before + 1
