"""Traces in our own form: a job per line, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from jetsched.cluster.jobrows import JobRows
from jetsched.cluster.tracerecord import Trace
from jetsched.cluster.tracerows import MOST_ROWS, Rows
from jetsched.errors import InputError
from jetsched.files import from_json
from jetsched.problems import printable
from jetsched.records import Job

#: A line that is longer holds no job, and might not fit into memory.
MOST_BYTES = 1 << 20


def read_jsonl(rows: Rows) -> Trace:
    """The jobs of a file. Raises :class:`FileProblems`."""
    jobs = JobRows(rows)
    for line, value in _values(rows):
        if line > MOST_ROWS:
            rows.refuse(line, "", f"more than {MOST_ROWS:,} jobs")
            break
        if not isinstance(value, dict):
            rows.report(line, "", "not a job: a line must hold one JSON object")
            continue
        times_s = value.pop("run_s", {})
        try:
            job = from_json(Job, value)
            jobs.add(line, _small(jobs, job), from_json(dict[str, float], times_s))
        except (InputError, RecursionError) as error:
            rows.report(line, "", printable(str(error)))
    return jobs.trace()


def _small(jobs: JobRows, job: Job) -> Job:
    """The job with the parts that it has in common with others."""
    return replace(
        job,
        workload=jobs.shared(job.workload),
        needs=jobs.shared(job.needs),
        retry=jobs.shared(job.retry),
        labels=jobs.shared(job.labels),
        env=jobs.shared(job.env),
        name=jobs.shared(job.name),
        user=jobs.shared(job.user),
    )


def _values(rows: Rows) -> Iterator[tuple[int, Any]]:
    """(line, value) of every line that is JSON; one that is none is reported."""
    with rows.path.open("rb") as file:
        line = 0
        while raw := file.readline(MOST_BYTES + 1):
            line += 1
            if len(raw) > MOST_BYTES:
                rows.report(line, "", f"the line is longer than {MOST_BYTES:,} bytes")
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(MOST_BYTES)
                continue
            if line == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if not raw.strip():
                continue
            try:
                value = json.loads(raw.decode("utf-8"), parse_constant=_refuse)
                json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is no text
            except (ValueError, RecursionError) as error:
                cut = not raw.endswith(b"\n")
                text = "the line is cut off" if cut else f"not JSON: {printable(str(error))}"
                rows.report(line, "", text)
                continue
            yield line, value


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a number that JSON has")
