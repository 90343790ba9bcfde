"""Rows of a trace as they are read: what is wrong with them, and what was left out for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from jetsched.errors import InputError
from jetsched.problems import FileProblems, Problem, quoted

#: No more of a file's problems than these are kept: a file with as many is of another kind.
MOST_PROBLEMS = 100
#: No more rows than these: they would not fit into the memory of most machines.
MOST_ROWS = 10_000_000
#: The largest time and the largest amount of work that still mean something.
MOST_S, MOST_AMOUNT = 1e10, 1e15


@dataclass
class Rows:
    """Gathers what is wrong with the rows of a file.

    With ``skip`` a bad row is left out and counted; what is wrong with the file as a whole is
    raised in any case.
    """

    path: Path
    skip: bool = False
    #: Rows that were left out, and why, of the first ones.
    skipped: int = 0
    left_out: list[Problem] = field(default_factory=list)
    _fatal: list[Problem] = field(default_factory=list)
    _bad_line: int = 0
    _last_s: float = 0.0

    def report(self, line: int, column: str, message: str, hint: str = "") -> None:
        """Note that a row is wrong. With ``skip``, all problems of a line count as one row."""
        if line != self._bad_line:
            self._bad_line = line
            self.skipped += 1
        if len(self.left_out) < MOST_PROBLEMS:
            self.left_out.append(self._problem(line, column, message, hint))

    def refuse(self, line: int, column: str, message: str, hint: str = "") -> None:
        """Note that the file is wrong as a whole."""
        self._fatal.append(self._problem(line, column, message, hint))

    @property
    def is_refused(self) -> bool:
        """Whether the file is wrong as a whole."""
        return bool(self._fatal)

    def is_bad(self, line: int) -> bool:
        """Whether something is wrong with the line that was reported last."""
        return line == self._bad_line

    def check(self, empty: bool) -> None:
        """Raise :class:`FileProblems` where the file cannot be used."""
        if empty and not self.skipped and not self._fatal:
            self.refuse(1, "", "there are no jobs in it")
        if self._fatal or (self.left_out and (empty or not self.skip)):
            raise FileProblems([*self._fatal, *self.left_out])

    def arrival(self, line: int, at_s: float) -> float:
        """Check that an arrival is none before 0, nor before the one above it."""
        if at_s < 0:
            self.report(line, "arrival_s", f"{at_s:g} is negative")
        elif at_s > MOST_S:
            self.report(line, "arrival_s", f"{at_s:g} is more than {MOST_S:g} seconds")
        elif at_s < self._last_s:
            message = f"{at_s:g} comes after {self._last_s:g}"
            self.report(line, "arrival_s", message, "sort the rows by arrival")
        elif not (self.skip and self.is_bad(line)):
            self._last_s = at_s
        return at_s

    def new_id(self, line: int, job_id: str, line_of: dict[str, int]) -> None:
        """Check that a job has an id that no other has; ``line_of`` keeps where each was first."""
        first = line_of.setdefault(job_id, line)
        if not job_id:
            self.report(line, "job_id", "is empty")
        elif first != line:
            self.report(line, "job_id", f"{quoted(job_id)} is here twice, first in line {first}")

    def number(self, line: int, column: str, cell: str) -> float:
        """The number in a cell; 0 where it is none, which is reported."""
        value = self.number_or_none(line, column, cell)
        return 0.0 if value is None else value

    def number_or_none(self, line: int, column: str, cell: str) -> float | None:
        """The number in a cell; None where it is none, which is reported."""
        try:
            value = float(cell)
            if isfinite(value) and "_" not in cell:
                return value
        except ValueError:
            pass
        message = f"{quoted(cell)} is not a number" if cell else "is empty"
        self.report(line, column, message)
        return None

    def above_0(self, line: int, column: str, value: float, most: float = MOST_S) -> float:
        """Check that a time or an amount is above 0 and not beyond reason."""
        if not value > 0:
            self.report(line, column, f"{value:g} is not above 0")
        elif value > most:
            self.report(line, column, f"{value:g} is more than {most:g}")
        return value

    def _problem(self, line: int, column: str, message: str, hint: str) -> Problem:
        return Problem(str(self.path), line, 1 if line else 0, column, message, hint)


def trace_file(path: Path) -> Path:
    """The path, if there is a file that may be a trace. Raises :class:`InputError`."""
    if path.suffix.lower() not in (".csv", ".jsonl"):
        raise InputError(f"{path} is no trace", hint="its name must end in .csv or .jsonl")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise InputError(f"{path}: {what}")
    return path
