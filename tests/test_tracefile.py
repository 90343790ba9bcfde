"""The trace file of a run: what a trace viewer needs is in it, and what happened too."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from builders import a_job, nx, orin, paper_costs

from jetsched.cluster.paper_world import paper_scenario
from jetsched.cluster.simulated import Outage
from jetsched.cluster.simulating import Scenario, SimulationRun, simulate
from jetsched.cluster.tracefile import check_path, trace_events, write_trace_file
from jetsched.cluster.truth import CostsAsTruth
from jetsched.errors import InputError
from jetsched.records import Job

#: What each kind of event must carry by the format, besides its name and kind.
NEEDED = {
    "X": {"ts", "dur", "pid", "tid", "cat", "args"},
    "i": {"ts", "pid", "tid", "s", "cat", "args"},
    "C": {"ts", "pid", "args"},
    "M": {"pid", "tid", "args"},
}


def a_run(jobs: list[Job], outages: tuple[Outage, ...] = ()) -> SimulationRun:
    world = Scenario(
        jobs, [nx(), orin()], CostsAsTruth(paper_costs()), paper_costs, outages=outages
    )
    return simulate("earliest_finish", world)


def read(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    found: dict[str, Any] = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    return found


def test_every_event_has_what_the_format_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_trace_file(simulate("earliest_finish", paper_scenario(3)), path)
    found = read(path)
    assert found["displayTimeUnit"] in ("ms", "ns") and found["otherData"]["seed"] == 3
    for event in found["traceEvents"]:
        assert event["name"] and set(event) >= NEEDED[event["ph"]]
        assert event.get("ts", 0) >= 0 and event.get("dur", 0) >= 0
        assert event.get("s", "t") in "gpt"
        assert all(isinstance(event[key], int) for key in ("pid", "tid") if key in event)
        if event["ph"] == "C":
            assert all(isinstance(value, int) for value in event["args"].values())


def test_each_device_is_a_named_thread_of_its_class() -> None:
    names = {
        (event["name"], event["pid"], event["tid"]): event["args"]["name"]
        for event in trace_events(a_run([a_job()]))
        if event["name"] in ("process_name", "thread_name")
    }
    assert sorted(names.values()) == [
        "nx-1", "orin-1", "orin-nano @ 25W", "queue", "xavier-nx @ 15W_6CORE",
    ]  # fmt: skip
    assert len(set(names)) == 5


def test_each_attempt_is_there_once_with_how_it_went() -> None:
    run = a_run([a_job("1"), a_job("2", "gpt2", user="ann")])
    attempts = [event for event in trace_events(run) if event["ph"] == "X"]
    assert len(attempts) == run.metrics.attempts == 2
    second = next(event for event in attempts if event["args"]["job"] == "2")
    assert second["dur"] == 200e6 and second["ts"] == 100e6
    assert second["args"]["outcome"] == "done" and second["args"]["user"] == "ann"
    assert second["args"]["estimated_s"] == 200 and second["args"]["waited_s"] == 100


def test_attempts_on_a_device_do_not_overlap() -> None:
    """Else a viewer would show one inside the other."""
    run = simulate("earliest_finish", paper_scenario(1))
    lanes: dict[int, list[tuple[float, float]]] = {}
    for event in trace_events(run):
        if event["ph"] == "X":
            lanes.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    for spans in lanes.values():
        spans.sort()
        assert all(a[1] <= b[0] * (1 + 1e-12) for a, b in pairwise(spans))


def test_kills_and_losses_are_marked() -> None:
    run = a_run(
        [a_job("1", time_limit_s=10.0), a_job("2", "gpt2")], (Outage("orin-1", 50.0, 60.0),)
    )
    marks = Counter(event["name"] for event in trace_events(run) if event["ph"] == "i")
    assert marks == {"killed_time": 1, "lost": 1}


def test_each_remark_is_marked_when_it_was_made_beside_the_queue() -> None:
    """The second job comes 5 s later, with a deadline that no board can meet."""
    jobs = [a_job("1", "gpt2"), a_job("2", "gpt2", submitted_s=5.0, deadline_s=6.0)]
    world = Scenario(jobs, [nx(), orin()], CostsAsTruth(paper_costs()), paper_costs)
    run = simulate("earliest_deadline", world)
    events = list(trace_events(run))
    (mark,) = [event for event in events if event.get("cat") == "remark"]
    assert mark["ph"] == "i" and mark["ts"] == 5e6 and mark["args"]["job"] == "2"
    assert mark["args"]["text"] == run.scheduler.jobs["2"].remark != ""
    lanes = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert lanes[mark["pid"], mark["tid"]] == "remarks"


def test_the_counter_is_the_length_of_the_queue() -> None:
    """Two jobs for the Orin alone: one starts at 0, the other waits for 200 s."""
    run = a_run([a_job("1", "gpt2"), a_job("2", "gpt2")])
    steps = [(e["ts"], e["args"]["waiting"]) for e in trace_events(run) if e["ph"] == "C"]
    assert steps == [(0.0, 1), (200e6, 0)]


def test_a_job_that_is_never_started_waits_to_the_end() -> None:
    run = a_run([a_job("1", "unknown")])
    assert [e["args"]["waiting"] for e in trace_events(run) if e["ph"] == "C"] == [1]


def test_the_same_run_gives_the_same_bytes_and_gzip_holds_them(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.json", "b.json", "c.json.gz", "d.json.gz")]
    for path in paths:
        write_trace_file(a_run([a_job("1"), a_job("2")]), path)
    first, second, packed, again = (path.read_bytes() for path in paths)
    assert first == second and packed == again
    assert gzip.decompress(packed) == first


@pytest.mark.parametrize("name", ["run.txt", "none/run.json", "run", "folder.json"])
def test_a_path_that_cannot_be_written_is_told_before_the_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(InputError):
        check_path(tmp_path / name)
