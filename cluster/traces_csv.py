"""Traces as CSV: jobs with run times or workloads, durations, or requests, told by the header."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from jetsched.cluster.jobrows import JobRows
from jetsched.cluster.requests import RequestRows, Requests
from jetsched.cluster.rowwork import COUNTS, WORKLOAD, RowWork, timed_work, work_of_row
from jetsched.cluster.streams import DurationRows, Durations
from jetsched.cluster.tracerecord import Trace
from jetsched.cluster.tracerows import MOST_ROWS, Rows
from jetsched.problems import did_you_mean, printable
from jetsched.records import Job

RUN = "run_s_"
_Column = tuple[int, str]
#: So many different kinds of work are kept for the rows that come later.
_MOST_KEPT = 100_000
_ALIASES = {"new_tokens": "max_new_tokens"}
#: Columns of the job itself. Those that are left empty keep their default.
_NUMBERS = ("amount", "priority", "deadline_s", "time_limit_s", "checkpoint_every_s")
_WORDS = ("name", "user")
_FORMS = (
    f"job_id, arrival_s and {RUN}<device model>; or kind, model, epochs, prompts...;"
    " or arrival_s, duration_s; or arrival_s, prompt_tokens, new_tokens"
)


def read_csv(rows: Rows) -> Trace | Durations | Requests:
    """Whatever the header says the file holds. Raises :class:`FileProblems`."""
    with rows.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        found = _records(rows, csv.reader(file, strict=True))
        _, header = next(found, (1, []))
        header = [name.strip() for name in header]
        reader = _reader(rows, header)
        if reader is None:
            rows.check(empty=True)
            raise AssertionError("a header without a reader is refused")
        for number, (line, cells) in enumerate(found):
            if number >= MOST_ROWS:
                rows.refuse(line, "", f"more than {MOST_ROWS:,} rows")
                break
            if len(cells) != len(header):
                message = f"has {len(cells)} cells, the header has {len(header)}"
                rows.report(line, "", message)
            else:
                reader.row(line, cells)
    return reader.done()


def _records(rows: Rows, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every record that is CSV; what is none is reported."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            rows.report(line, "", f"not CSV: {printable(str(error))}")
            continue
        if not cells:
            continue
        try:
            "".join(cells).encode()
        except UnicodeEncodeError:
            rows.report(line, "", "is not UTF-8", "save the file as UTF-8")
            continue
        yield line, cells


class _RowReader(Protocol):
    """Makes of each row what the file holds."""

    def row(self, line: int, cells: Sequence[str]) -> None: ...

    def done(self) -> Trace | Durations | Requests: ...


def _reader(rows: Rows, header: Sequence[str]) -> _RowReader | None:
    """What reads the rows below this header; None where nothing can, which is told."""
    if rows.left_out or not header:  # the header itself is no CSV, or no UTF-8
        rows.refuse(1, "", "the first line must name the columns", _FORMS)
        return None
    jobs = "model" in header or any(name.startswith(RUN) for name in header)
    needed = ["job_id", "arrival_s"] if jobs or "job_id" in header else ["arrival_s"]
    for name in needed:
        if name not in header:
            hint = did_you_mean(name, header).replace("did you mean", "is it called")
            rows.refuse(1, "", f"there is no column {name!r}", hint or _FORMS)
    for name in dict.fromkeys(header):
        if header.count(name) > 1:
            rows.refuse(1, "", f"the column {printable(name)!r} is here twice")
    requests = "prompt_tokens" in header and {"new_tokens", "max_new_tokens"} & set(header)
    if not jobs and "duration_s" not in header and not requests:
        rows.refuse(1, "", "nothing says how long the jobs run", _FORMS)
    if rows.is_refused:
        return None
    if jobs:
        return _JobReader(rows, header)
    return DurationRows(rows, header) if "duration_s" in header else RequestRows(rows, header)


class _JobReader:
    """Rows of jobs, with run times or workloads."""

    def __init__(self, rows: Rows, header: Sequence[str]) -> None:
        self._rows = rows
        self._jobs = JobRows(rows)
        self._id, self._arrival = header.index("job_id"), header.index("arrival_s")
        self._runs, self._work, self._numbers, self._words, self._labels = _columns(header)
        self._found: dict[tuple[object, ...], RowWork] = {}

    def row(self, line: int, cells: Sequence[str]) -> None:
        rows = self._rows
        cells = [cell.strip() for cell in cells]
        arrival_s = rows.number_or_none(line, "arrival_s", cells[self._arrival])
        times_s = self._read(line, cells, [(at, RUN + model) for at, model in self._runs])
        if self._runs and not any(cells[at] for at, _ in self._runs):
            rows.report(line, "", "can run nowhere: it has no run time on any device")
        numbers = self._read(line, cells, self._numbers)
        has_amount = any(name == "amount" and cells[at] for at, name in self._numbers)
        work = self._work_of([cells[at] for at, _ in self._work], has_amount)
        for column, message, hint in work.wrong:
            rows.report(line, column, message, hint)
        priority = numbers.pop("priority", 50.0)
        if priority != round(priority):
            rows.report(line, "priority", f"{priority:g} is not a whole number")
        if "deadline_s" in numbers:  # in the file it is from arrival, as in a job file
            numbers["deadline_s"] += arrival_s or 0.0
        words = {name: self._jobs.shared(cells[at]) for at, name in self._words}
        labels = tuple(self._jobs.shared((name, cells[at])) for at, name in self._labels)
        job = Job(
            id=cells[self._id],
            workload=work.workload,
            submitted_s=0.0 if arrival_s is None else arrival_s,
            priority=round(priority),
            labels=self._jobs.shared(labels),
            work=_NO_WORK,
            **words,  # type: ignore[arg-type]
            **{"amount": work.amount, **numbers},  # type: ignore[arg-type]
        )
        times_s = {name.removeprefix(RUN): time_s for name, time_s in times_s.items()}
        self._jobs.add(line, job, times_s, arrives=arrival_s is not None)

    def done(self) -> Trace:
        return self._jobs.trace()

    def _read(
        self, line: int, cells: Sequence[str], columns: Sequence[_Column]
    ) -> dict[str, float]:
        """The numbers in these columns; what is none is reported, and empty cells are left out."""
        found = {
            name: self._rows.number_or_none(line, name, cells[at])
            for at, name in columns
            if cells[at]
        }
        return {name: value for name, value in found.items() if value is not None}

    def _work_of(self, cells: Sequence[str], has_amount: bool) -> RowWork:
        """The work of a row; with run times it may be a command that nothing is known about."""
        key = (*cells, has_amount)
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= _MOST_KEPT:
                self._found.clear()
            names = [name for _, name in self._work]
            given = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
            if self._runs:
                found = timed_work(given)
            else:
                found = work_of_row(given, has_amount, self._rows.path.parent)
            self._found[key] = found
        return found


_NO_WORK: dict[str, Any] = {}


def _columns(header: Sequence[str]) -> tuple[list[_Column], ...]:
    """Where run times, workload, numbers, words and labels stand: (place, name), in this order."""
    runs, work, numbers, words, labels = (list[_Column]() for _ in range(5))
    timed = any(name.startswith(RUN) for name in header)
    known = WORKLOAD if timed else (*WORKLOAD, *COUNTS)  # run times count no work
    for at, name in enumerate(header):
        field = _ALIASES.get(name, name)
        if name.startswith(RUN):
            runs.append((at, name.removeprefix(RUN)))
        elif field in known and "model" in header:
            work.append((at, field))
        elif name in _NUMBERS:
            numbers.append((at, name))
        elif name in _WORDS:
            words.append((at, name))
        elif name not in ("job_id", "arrival_s"):
            labels.append((at, name))
    return runs, work, numbers, words, sorted(labels, key=lambda column: column[1])
