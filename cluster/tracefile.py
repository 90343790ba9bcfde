"""A run as a file for a trace viewer: ui.perfetto.dev, or chrome://tracing.

In the trace event format of Chrome: a process for each class of devices, a thread for each device,
an event for each attempt, a counter of the jobs that wait, an instant for each job that the policy
has remarked on. A second of the run is a second there.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jetsched.cluster.endings import remarks_of
from jetsched.cluster.simulating import SimulationRun
from jetsched.errors import InputError
from jetsched.files import write_atomically
from jetsched.records import Attempt, Job

#: Colours by their names in the format; viewers that do not know them choose their own.
_COLOURS = {
    "done": "good",
    "killed_memory": "terrible",
    "killed_time": "terrible",
    "killed_heat": "terrible",
    "failed": "terrible",
    "lost": "grey",
    "preempted": "bad",
    "cancelled": "grey",
}
#: A counter with more steps than a screen has pixels only makes the file large.
_MOST_STEPS = 20_000
_QUEUE_PID = 1

TraceEvent = dict[str, Any]


def check_path(path: Path) -> Path:
    """A path that a trace file can be written to. Raises InputError, before anything is run."""
    if not path.name.endswith((".json", ".json.gz")):
        hint = f"e.g. {path.name or 'run'}.json"
        raise InputError(f"{path}: a trace file's name ends in .json or .json.gz", hint=hint)
    if path.is_dir():
        raise InputError(f"{path} is a folder", hint=f"e.g. {path / 'run.json'}")
    if not path.parent.is_dir():
        raise InputError(
            f"{path}: there is no folder {path.parent}", hint=f"mkdir -p {path.parent}"
        )
    return path


def write_trace_file(run: SimulationRun, path: Path) -> None:
    """Write the run to ``.json`` or ``.json.gz``; the same run gives the same bytes."""
    text = io.StringIO()
    head = {"policy": run.policy, "seed": run.seed, "jobs": run.metrics.jobs}
    text.write(f'{{"displayTimeUnit":"ms","otherData":{json.dumps(head)},"traceEvents":[\n')
    for number, event in enumerate(trace_events(run)):
        text.write((",\n" if number else "") + json.dumps(event, separators=(",", ":")))
    text.write("\n]}\n")
    data = text.getvalue().encode()
    if path.name.endswith(".gz"):
        data = gzip.compress(data, compresslevel=6, mtime=0)
    write_atomically(path, data)


def trace_events(run: SimulationRun) -> Iterator[TraceEvent]:
    """The events of the format: the queue, devices by name, remarks, then attempts job by job."""
    lanes: dict[str, tuple[int, int]] = {}
    classes = list(dict.fromkeys(device.device_class for device in run.devices))
    yield _name("process_name", _QUEUE_PID, 0, "queue")
    yield from _waiting(run)
    for number, kind in enumerate(classes):
        pid = _QUEUE_PID + 1 + number
        yield _name("process_name", pid, 0, kind.label)
        own = [device for device in run.devices if device.device_class == kind]
        for device in own:
            tid = len(lanes) + 1
            lanes[device.id] = (pid, tid)
            yield _name("thread_name", pid, tid, device.id)
            yield _sort(pid, tid)
    yield from _remarks(run, len(lanes) + 1)
    for record in run.scheduler.jobs.values():
        for attempt in record.attempts:
            if attempt.device in lanes:
                yield from _attempt(record.job, attempt, *lanes[attempt.device], run)


def _name(what: str, pid: int, tid: int, name: str) -> TraceEvent:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}


def _sort(pid: int, tid: int) -> TraceEvent:
    args = {"sort_index": tid}
    return {"name": "thread_sort_index", "ph": "M", "pid": pid, "tid": tid, "args": args}


def _nano(at_s: float) -> int:
    """Whole nanoseconds, as viewers count: what ends when another begins then does not overlap."""
    return round(at_s * 1e9)


def _micro(at_s: float) -> float:
    return _nano(at_s) / 1000


def _attempt(
    job: Job, attempt: Attempt, pid: int, tid: int, run: SimulationRun
) -> Iterator[TraceEvent]:
    end_s = attempt.end_s if attempt.end_s is not None else run.scheduler.now_s
    outcome = attempt.outcome or "running"
    event: TraceEvent = {
        "name": job.name or job.id,
        "cat": f"attempt,{outcome}",
        "ph": "X",
        "ts": _micro(attempt.start_s),
        "dur": (_nano(end_s) - _nano(attempt.start_s)) / 1000,
        "pid": pid,
        "tid": tid,
        "args": {
            "job": job.id,
            "work": job.workload.label,
            "attempt": attempt.number,
            "outcome": outcome,
            "submitted_s": job.submitted_s,
            "waited_s": attempt.start_s - job.submitted_s,
            "ran_s": end_s - attempt.start_s,
            "estimated_s": attempt.estimate.time_s,
            "estimated_by": attempt.estimate.source,
        },
    }
    event["args"] |= {k: v for k, v in (("user", job.user), ("text", attempt.text)) if v}
    if outcome in _COLOURS:
        event["cname"] = _COLOURS[outcome]
    yield event
    if outcome not in ("done", "running", "cancelled"):
        yield {
            "name": outcome,
            "cat": "end",
            "ph": "i",
            "s": "t",
            "ts": _micro(end_s),
            "pid": pid,
            "tid": tid,
            "args": {"job": job.id, "text": attempt.text},
        }


# --------------------------------------------------------------------------------------- the queue


def _remarks(run: SimulationRun, tid: int) -> Iterator[TraceEvent]:
    """What the policy has said about jobs that wait, on a lane of its own beside the queue."""
    for number, said in enumerate(remarks_of(run)):
        if not number:
            yield _name("thread_name", _QUEUE_PID, tid, "remarks")
        yield {
            "name": f"remark on {said.job}",
            "cat": "remark",
            "ph": "i",
            "s": "t",
            "ts": _micro(said.at_s),
            "pid": _QUEUE_PID,
            "tid": tid,
            "args": {"job": said.job, "text": said.text},
        }


def _waiting(run: SimulationRun) -> Iterator[TraceEvent]:
    """How many jobs wait, whenever that changes."""
    for at_s, waiting in _thinned(_queue_lengths(run)):
        yield {
            "name": "jobs waiting",
            "ph": "C",
            "ts": _micro(at_s),
            "pid": _QUEUE_PID,
            "args": {"waiting": waiting},
        }


def _queue_lengths(run: SimulationRun) -> list[tuple[float, int]]:
    """From attempts alone: a job waits from when it comes, or comes back, to its next start."""
    changes: dict[float, int] = {}

    def change(at_s: float, by: int) -> None:
        changes[at_s] = changes.get(at_s, 0) + by

    for record in run.scheduler.jobs.values():
        since_s: float | None = record.job.submitted_s
        for attempt in record.attempts:
            if since_s is not None:
                change(since_s, 1)
            change(attempt.start_s, -1)
            since_s = attempt.end_s
        if since_s is not None and record.state in ("waiting", "held"):
            change(since_s, 1)
    lengths: list[tuple[float, int]] = []
    waiting = 0
    for at_s in sorted(changes):
        waiting += changes[at_s]
        if not lengths or lengths[-1][1] != waiting:
            lengths.append((at_s, waiting))
    return lengths


def _thinned(steps: Sequence[tuple[float, int]]) -> Sequence[tuple[float, int]]:
    """Of many steps the highest of each so many, and the last."""
    if len(steps) <= _MOST_STEPS:
        return steps
    size = -(-len(steps) // _MOST_STEPS)
    heaps = (steps[start : start + size] for start in range(0, len(steps) - 1, size))
    return [*(max(heap, key=lambda step: step[1]) for heap in heaps), steps[-1]]
