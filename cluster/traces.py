"""Traces: jobs with their arrivals, and the run times that some of them carry, from files.

Two forms are read. ``.jsonl`` is our own: a job per line, as JSON of :class:`Job`, with its run
times under ``run_s`` where it has any. ``.csv`` has the columns ``job_id, arrival_s`` and then
either those of a workload (``kind, model, batch_size...`` and ``amount``) or
``run_s_<device model>``, where an empty cell means that the job cannot run there. Columns that mean
nothing here become labels.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any

from jetsched.cluster.truth import CostsAsTruth, Truth
from jetsched.errors import InputError
from jetsched.files import from_json, json_bytes, read_json_lines, to_json, write_atomically
from jetsched.problems import FileProblems, Problem, did_you_mean
from jetsched.profiler.models import find
from jetsched.records import Job, Verdict, Workload
from jetsched.scheduler.table import VerdictTable, known_run

_RUN = "run_s_"
_WORKLOAD = tuple(field.name for field in fields(Workload))
_ALIASES = {"new_tokens": "max_new_tokens"}
#: Columns of the job itself. Numbers that are left empty keep their default.
_NUMBERS = ("amount", "priority", "deadline_s", "time_limit_s")
_WORDS = ("name", "user")

#: No more of a file's problems than these are kept: a file with as many is of another kind.
MOST_PROBLEMS = 100


@dataclass(frozen=True)
class Trace:
    """Jobs in the order of their arrival.

    ``run_s`` is job id -> device model -> seconds, for traces that carry run times: what they say
    is the truth. It is empty for jobs that are described by their workload alone.
    """

    jobs: Sequence[Job]
    run_s: Mapping[str, Mapping[str, float]]

    @property
    def device_models(self) -> list[str]:
        """The device models that run times are given for."""
        return sorted({model for times in self.run_s.values() for model in times})

    def costs(self) -> VerdictTable:
        """A new cost model that knows the run times, and nothing else."""
        table: dict[str, dict[str, Verdict]] = {
            job_id: {model: known_run(time_s) for model, time_s in times.items()}
            for job_id, times in self.run_s.items()
        }
        return VerdictTable(table)

    def truth(self) -> Truth:
        """The run times as what really happens."""
        return CostsAsTruth(self.costs())


def read_trace(path: Path) -> Trace:
    """Read a ``.jsonl`` or ``.csv`` trace; arrivals must be sorted.

    Raises :class:`FileProblems` with every problem of the file, by line.
    """
    if path.suffix not in (".csv", ".jsonl"):
        raise InputError(f"{path} is no trace", hint="its name must end in .csv or .jsonl")
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    reader = _Reader(path)
    if path.suffix == ".jsonl":
        _read_jsonl(reader)
    else:
        _read_csv(reader)
    return reader.trace()


def write_trace(path: Path, trace: Trace) -> None:
    """Write a trace in our own form; :func:`read_trace` gives it back unchanged."""
    lines = []
    for job in trace.jobs:
        value = to_json(job)
        if job.id in trace.run_s:
            value["run_s"] = dict(trace.run_s[job.id])
        lines.append(json_bytes(value) + b"\n")
    write_atomically(path, b"".join(lines))


class _Reader:
    """Gathers the jobs of a file, and what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.jobs: list[Job] = []
        self.run_s: dict[str, dict[str, float]] = {}
        self.problems: list[Problem] = []
        self._line_of: dict[str, int] = {}
        self._last_s = 0.0

    def trace(self) -> Trace:
        if not self.problems and not self.jobs:
            self.report(1, "", "there are no jobs in it")
        for job in self.jobs if self.run_s else ():
            if job.id not in self.run_s:
                self.report(self._line_of[job.id], "", "has no run time, and other jobs have")
        if self.problems:
            raise FileProblems(self.problems)
        return Trace(self.jobs, self.run_s)

    def report(self, line: int, field: str, message: str, hint: str = "") -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(str(self.path), line, 1, field, message, hint))

    def add(self, line: int, job: Job, times: Mapping[str, float]) -> None:
        """Take a job in, if nothing is wrong with it."""
        before = len(self.problems)
        if not job.id:
            self.report(line, "job_id", "is empty")
        elif job.id in self._line_of:
            first = self._line_of[job.id]
            self.report(line, "job_id", f"{job.id!r} is here twice, first in line {first}")
        if job.submitted_s < 0:
            self.report(line, "arrival_s", f"{job.submitted_s:g} is negative")
        elif job.submitted_s < self._last_s:
            message = f"{job.submitted_s:g} comes after {self._last_s:g}"
            self.report(line, "arrival_s", message, "sort the rows by arrival")
        if not job.amount > 0:
            self.report(line, "amount", f"{job.amount:g} is not above 0")
        if not 0 <= job.priority <= 100:
            self.report(line, "priority", f"{job.priority} is not between 0 and 100")
        for model, time_s in times.items():
            if not time_s > 0:
                self.report(line, f"{_RUN}{model}", f"{time_s:g} is not above 0")
        self._line_of.setdefault(job.id, line)
        self._last_s = max(self._last_s, job.submitted_s)
        if len(self.problems) == before:
            self.jobs.append(job)
            if times:
                self.run_s[job.id] = dict(times)


# ------------------------------------------------------------------------------------ our own form


def _read_jsonl(reader: _Reader) -> None:
    def bad(found: Any) -> None:
        reader.report(found.line, "", found.text)

    for line, value in read_json_lines(reader.path, bad):
        if not isinstance(value, dict):
            reader.report(line, "", "not a job: a line must hold one JSON object")
            continue
        times = value.pop("run_s", {})
        try:
            job = from_json(Job, value)
            reader.add(line, job, from_json(dict[str, float], times))
        except InputError as error:
            reader.report(line, "", str(error))


# --------------------------------------------------------------------------------------------- CSV


def _read_csv(reader: _Reader) -> None:
    with reader.path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(rows, [])]
            if not _check_header(reader, header):
                return
            for row in rows:
                if row:
                    _read_row(reader, rows.line_num, header, row)
        except (csv.Error, UnicodeDecodeError) as error:
            reader.report(rows.line_num or 1, "", f"not CSV in UTF-8: {error}")


def _check_header(reader: _Reader, header: Sequence[str]) -> bool:
    before = len(reader.problems)
    for needed in ("job_id", "arrival_s"):
        if needed not in header:
            hint = did_you_mean(needed, header).replace("did you mean", "is it called")
            reader.report(1, "", f"there is no column {needed!r}", hint)
    for name in dict.fromkeys(header):
        if header.count(name) > 1:
            reader.report(1, "", f"the column {name!r} is here twice")
    if not any(name.startswith(_RUN) for name in header) and "model" not in header:
        hint = f"either {_RUN}<device model>, or kind, model, amount..."
        reader.report(1, "", "nothing says how long the jobs run", hint)
    return len(reader.problems) == before


def _read_row(reader: _Reader, line: int, header: Sequence[str], row: Sequence[str]) -> None:
    if len(row) != len(header):
        reader.report(line, "", f"has {len(row)} cells, the header has {len(header)}")
        return
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    before = len(reader.problems)
    arrival_s = _number(reader, line, "arrival_s", cells["arrival_s"])
    times, labels, work, more = {}, {}, dict[str, Any](), dict[str, Any]()
    for name, cell in cells.items():
        field = _ALIASES.get(name, name)
        if name.startswith(_RUN):
            if cell:
                times[name.removeprefix(_RUN)] = _number(reader, line, name, cell)
        elif field in _WORKLOAD and "model" in cells:
            if cell:
                work[field] = cell
        elif name in _NUMBERS:
            if cell:
                more[name] = _number(reader, line, name, cell)
        elif name in _WORDS:
            more[name] = cell
        elif name not in ("job_id", "arrival_s"):
            labels[name] = cell
    if not times and any(name.startswith(_RUN) for name in header):
        reader.report(line, "", "can run nowhere: it has no run time on any device")
    workload = _workload(reader, line, work)
    if len(reader.problems) > before or workload is None:
        return
    if "priority" in more:
        more["priority"] = round(more["priority"])
    if "deadline_s" in more:
        more["deadline_s"] += arrival_s  # in the file it is from arrival, as in a job file
    job = Job(
        id=cells["job_id"],
        workload=workload,
        submitted_s=arrival_s,
        labels=tuple(sorted(labels.items())),
        **more,
    )
    reader.add(line, job, times)


def _workload(reader: _Reader, line: int, work: dict[str, Any]) -> Workload | None:
    """The workload of a row; without any column of one, a command that nothing is known about."""
    if not work:
        return Workload("command", "")
    if "model" not in work:
        reader.report(line, "model", "is empty")
        return None
    work.setdefault("kind", "infer" if "prompt_tokens" in work else "train")
    known = find(work["model"])
    work["model"] = known.name if known is not None else work["model"]
    try:
        return from_json(Workload, work)
    except InputError as error:
        reader.report(line, "", str(error))
        return None


def _number(reader: _Reader, line: int, field: str, cell: str) -> float:
    """The number in a cell; 0 where it is none, which is reported."""
    try:
        value = float(cell)
        if isfinite(value) and "_" not in cell:
            return value
    except ValueError:
        pass
    reader.report(line, field, f"{cell!r} is not a number" if cell else "is empty")
    return 0.0
