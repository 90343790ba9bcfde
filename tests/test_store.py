"""The journal on disk: everything comes back as it was, whatever happens to the process."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from builders import a_job, a_kill, nx
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.cluster.store import VERSION, Store, journal_entries
from jetsched.errors import InputError
from jetsched.files import to_json
from jetsched.records import (
    Decision,
    Device,
    DeviceClass,
    Estimate,
    Job,
    Measurement,
    Needs,
    Placement,
    Reason,
    Retry,
    Row,
    Workload,
)
from jetsched.scheduler.events import (
    CLOSINGS,
    CancelAsked,
    DeviceClosed,
    DeviceJoined,
    DeviceLost,
    DeviceOpened,
    DeviceRemoved,
    DiskSeen,
    Entry,
    FilesSeen,
    Finished,
    HoldAsked,
    Learned,
    PolicyChanged,
    QueuePaused,
    Reattached,
    Remarked,
    RetryAsked,
    ServiceStarted,
    Start,
    Started,
    Stop,
    Submitted,
    Tick,
)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
maybe = st.none() | numbers
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
workloads = st.builds(
    Workload, st.sampled_from(["train", "infer", "command"]), words, command=words
)
classes = st.builds(DeviceClass, words, words, words, numbers, st.booleans())
devices = st.builds(Device, words, classes, st.lists(words, max_size=2).map(tuple), maybe)
jobs = st.builds(
    Job,
    words,
    workloads,
    amount=numbers,
    deadline_s=maybe,
    needs=st.builds(Needs, st.lists(words, max_size=2).map(tuple), maybe, maybe),
    retry=st.builds(Retry, st.integers(0, 5), st.just(("lost", "failed"))),
    env=st.lists(st.tuples(words, words), max_size=2).map(tuple),
    work=st.dictionaries(words, json_values, max_size=2),
)
outcomes = st.sampled_from(["done", "failed", "killed_memory", "lost", "cancelled"])
measurements = st.builds(
    Measurement,
    workloads,
    classes,
    outcomes,
    time_s=maybe,
    phases_s=st.dictionaries(words, numbers, max_size=2),
    evidence=st.lists(words, max_size=2).map(tuple),
    identity=st.dictionaries(words, json_values, max_size=2),
)
estimates = st.builds(
    Estimate, numbers, numbers, numbers, numbers, numbers, maybe, maybe,
    st.sampled_from(["measured", "estimated", "assumed"]), st.just("table"),
)  # fmt: skip
decisions = st.builds(
    Decision,
    numbers,
    words,
    words,
    st.none() | words,
    st.none() | st.builds(Reason, st.just("DeviceBusy"), words),
    st.lists(st.builds(Row, words, st.sampled_from(["fits", "never"])), max_size=2).map(tuple),
)
entries: st.SearchStrategy[Entry] = st.one_of(
    st.builds(Submitted, numbers, st.lists(jobs, max_size=2).map(tuple), words, words),
    st.builds(CancelAsked, numbers, words),
    st.builds(DeviceJoined, numbers, devices),
    st.builds(DeviceLost, numbers, words, words),
    st.builds(Started, numbers, words, st.integers(1, 9)),
    st.builds(Finished, numbers, words, st.integers(1, 9), outcomes, st.none() | measurements),
    st.builds(
        Learned,
        numbers,
        st.lists(measurements, max_size=3).map(tuple),
        st.lists(classes, max_size=2).map(tuple),
    ),
    st.builds(
        Start,
        numbers,
        st.builds(Placement, jobs, devices, estimates, numbers, numbers),
        st.integers(1, 9),
        st.none() | decisions,
    ),
    st.builds(Remarked, numbers, words, words),
    st.builds(PolicyChanged, numbers, words),
    st.builds(HoldAsked, numbers, words, st.booleans(), words),
    st.builds(RetryAsked, numbers, words),
    st.builds(QueuePaused, numbers, st.booleans(), words),
    st.builds(DeviceClosed, numbers, words, st.sampled_from(CLOSINGS), words),
    st.builds(DeviceOpened, numbers, words, st.sampled_from(CLOSINGS)),
    st.builds(DeviceRemoved, numbers, words),
    st.builds(DiskSeen, numbers, words, numbers),
    st.builds(FilesSeen, numbers, words, st.tuples(words, words), st.none() | numbers),
    st.builds(Reattached, numbers, words, st.integers(1, 9)),
    st.builds(Tick, numbers),
    st.builds(ServiceStarted, numbers, words, numbers, words, words),
    st.builds(Stop, numbers, words, words, st.integers(1, 9), st.just("cancelled"), words),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(entries, max_size=6))
def test_every_entry_comes_back_as_it_was_in_the_same_order(
    tmp_path_factory: pytest.TempPathFactory, given_entries: list[Entry]
) -> None:
    path = tmp_path_factory.mktemp("store") / "journal.db"
    store = Store(path)
    for entry in given_entries:
        store.append(entry)
    store.close()
    again = Store(path)
    assert list(again.entries()) == given_entries
    assert len(again) == len(given_entries)
    again.close()


WRITER = """
import sys
from pathlib import Path
from jetsched.cluster.store import Store
from jetsched.scheduler.events import CancelAsked
store = Store(Path(sys.argv[1]))
for number in range(1_000_000):
    store.append(CancelAsked(float(number), str(number)))
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    told = [int(writer.stdout.readline()) for _ in range(20)]
    time.sleep(0.05)
    os.kill(writer.pid, signal.SIGKILL)
    told += [int(line) for line in writer.stdout.read().splitlines() if line.strip()]
    writer.stdout.close()
    writer.wait()
    store = Store(path)
    kept = [entry.at_s for entry in store.entries()]
    store.append(CancelAsked(0.0, "after"))  # and it goes on
    store.close()
    assert kept == [float(number) for number in range(len(kept))]
    assert len(kept) >= len(told)


def test_a_journal_that_is_cut_off_at_any_byte_holds_the_first_entries_whole(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "journal.db")
    for number in range(12):
        store.append(CancelAsked(float(number), "x" * 300))
    log = (tmp_path / "journal.db-wal").read_bytes()
    main = (tmp_path / "journal.db").read_bytes()
    store.close()
    counts = []
    for cut in range(0, len(log) + 1, max(1, len(log) // 23)):
        place = tmp_path / str(cut)
        place.mkdir()
        (place / "journal.db").write_bytes(main)
        (place / "journal.db-wal").write_bytes(log[:cut])
        left = Store(place / "journal.db")
        kept = [entry.at_s for entry in left.entries()]
        left.close()
        assert kept == [float(number) for number in range(len(kept))]
        counts.append(len(kept))
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_a_journal_of_the_first_version_is_understood_and_grows(tmp_path: Path) -> None:
    """It had an entry for each measurement, and another for each calibration."""
    path = tmp_path / "journal.db"
    Store(path).close()
    kill = a_kill(a_job(), nx())
    old = [
        {"type": "Learned", "at_s": 1.0, "measurement": to_json(kill)},
        {"type": "Calibrated", "at_s": 2.0, "device_class": to_json(kill.device_class)},
    ]
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=1")
        for entry in old:
            row = (entry["at_s"], entry["type"], json.dumps(entry))
            connection.execute("INSERT INTO entries (at_s, type, data) VALUES (?, ?, ?)", row)
    store = Store(path)
    store.append(Learned(3.0, (kill, kill)))
    assert list(store.entries()) == [
        Learned(1.0, (kill,)),
        Learned(2.0, calibrated=(kill.device_class,)),
        Learned(3.0, (kill, kill)),
    ]
    store.close()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_journal_is_read_and_is_of_todays_version_once_it_is_written(
    tmp_path: Path, version: int
) -> None:
    """So that an older jetsched refuses it, instead of stumbling over entries it does not know."""
    path = tmp_path / "journal.db"
    store = Store(path)
    store.append(CancelAsked(1.0, "1"))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={version}")
    assert list(journal_entries(path)) == [CancelAsked(1.0, "1")]
    store = Store(path)
    store.append(PolicyChanged(2.0, "random"))
    store.append(Remarked(3.0, "1", "late"))
    entries = [CancelAsked(1.0, "1"), PolicyChanged(2.0, "random"), Remarked(3.0, "1", "late")]
    assert list(store.entries()) == entries
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,) == (4,)


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={VERSION + 1}")
    with pytest.raises(InputError, match="version"):
        Store(path)


@pytest.mark.parametrize("content", [b"not a database at all" * 100])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no journal"):
        Store(path)


def test_an_entry_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    store = Store(path)
    store.append(CancelAsked(1.0, "1"))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute('UPDATE entries SET data = \'{"type": "CancelAsked"}\'')
    store = Store(path)
    with pytest.raises(InputError, match="entry 1"):
        list(store.entries())
    store.close()
