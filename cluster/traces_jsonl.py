"""Traces in our own form: a job per line, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from jetsched.cluster.jobrows import JobRows
from jetsched.cluster.tracerecord import Trace
from jetsched.cluster.tracerows import MOST_ROWS, Rows
from jetsched.errors import InputError
from jetsched.files import from_json
from jetsched.problems import did_you_mean, printable
from jetsched.records import Job, Needs, Retry, Workload

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
        value = {_ALIASES.get(key, key): part for key, part in value.items()}
        unknown = list(_unknown(value))
        for odd in unknown:
            rows.report(line, *odd)
        arrives = not unknown or "submitted_s" in value  # it may be what was meant by another
        try:
            job = from_json(Job, value)
            times_s = from_json(dict[str, float], times_s)
            jobs.add(line, _small(jobs, job), times_s, arrives=arrives)
        except (InputError, RecursionError) as error:
            rows.report(line, "", printable(str(error)))
    return jobs.trace()


#: Names that the columns of a CSV have.
_ALIASES = {"job_id": "id", "arrival_s": "submitted_s"}
#: Where a record holds another one, its fields.
_FIELDS = {
    name: [field.name for field in fields(record)]
    for name, record in (("", Job), ("workload", Workload), ("needs", Needs), ("retry", Retry))
}


def _unknown(value: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(field, message, hint) of fields that no job has: they would be left out in silence."""
    for name, known in _FIELDS.items():
        part = value.get(name, {}) if name else value
        for key in part if isinstance(part, dict) else ():
            if key not in known:
                path = f"{name}.{key}" if name else key
                yield printable(path)[:60], "is no field of a job", did_you_mean(key, known)


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
