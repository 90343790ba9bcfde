"""Traces: jobs with their arrivals, and the run times that some of them carry, from files.

``.jsonl`` is our own form: a job per line, as JSON of :class:`Job`, with its run times under
``run_s`` where it has any. ``.csv`` has the columns ``job_id, arrival_s`` and then either those of
a workload (``kind, model, batch_size...`` and ``amount``) or ``run_s_<device model>``, where an
empty cell means that the job cannot run there; columns that mean nothing here become labels. A CSV
may also tell durations only (streams.py) or requests (requests.py): those become jobs later.
"""

from __future__ import annotations

from pathlib import Path

from jetsched.cluster.requests import Requests
from jetsched.cluster.streams import Durations
from jetsched.cluster.tracerecord import Trace
from jetsched.cluster.tracerows import Rows, trace_file
from jetsched.cluster.traces_csv import read_csv
from jetsched.cluster.traces_jsonl import read_jsonl
from jetsched.errors import InputError
from jetsched.files import json_bytes, to_json, write_atomically

__all__ = ["Trace", "read_source", "read_trace", "write_trace"]


def read_trace(path: Path, *, skip_bad_rows: bool = False) -> Trace:
    """Read a ``.jsonl`` or ``.csv`` trace of jobs; arrivals must be sorted.

    Raises :class:`FileProblems` with every problem of the file, by line; with ``skip_bad_rows``
    only those of the file as a whole.
    """
    found = read_source(path, skip_bad_rows=skip_bad_rows)
    if isinstance(found, Durations):
        raise InputError(f"{path} tells only how long its jobs run", hint="add --mix paper")
    if isinstance(found, Requests):
        raise InputError(f"{path} holds requests, which have to be grouped into jobs first")
    return found


def read_source(path: Path, *, skip_bad_rows: bool = False) -> Trace | Durations | Requests:
    """Read whatever a trace holds: jobs, durations that a mix makes jobs of, or requests."""
    rows = Rows(trace_file(path), skip_bad_rows)
    try:
        return read_jsonl(rows) if path.suffix.lower() == ".jsonl" else read_csv(rows)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def write_trace(path: Path, trace: Trace) -> None:
    """Write a trace in our own form; :func:`read_trace` gives it back unchanged."""
    lines = []
    for job in trace.jobs:
        value = to_json(job)
        if job.id in trace.run_s:
            value["run_s"] = dict(trace.run_s[job.id])
        lines.append(json_bytes(value) + b"\n")
    write_atomically(path, b"".join(lines))
