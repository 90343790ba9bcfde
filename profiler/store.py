"""What was measured on this machine: one JSON line for each record, only ever appended."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from jetsched.errors import InputError
from jetsched.files import (
    BadLine,
    append_json_line,
    from_json,
    home,
    make_folder,
    read_json_lines,
    to_json,
)
from jetsched.records import Measurement

Record = TypeVar("Record")


class LineStore(Generic[Record]):
    """A file of records of one kind; several processes may append to it at once.

    A line that cannot be read stays in the file and is named in :attr:`bad`: a newer version of
    jetsched may understand it.
    """

    record: ClassVar[type]

    def __init__(self, path: Path) -> None:
        self.path = path
        #: The lines that the last :meth:`read` could not use.
        self.bad: tuple[BadLine, ...] = ()

    def append(self, record: Record) -> None:
        """Add one, on the disk when this returns. A last line that was cut off stays a bad one.

        Raises ValueError for NaN and infinity, OSError where the disk refuses.
        """
        value = to_json(record)
        make_folder(self.path.parent)
        handle = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # two writers must not both mend the same last line
            append_json_line(self.path, value)
        finally:
            os.close(handle)

    def read(self) -> list[Record]:
        """All records, oldest first; sets :attr:`bad`. A file that is not there has none."""
        return [record for _, record in self.numbered()]

    def numbered(self) -> list[tuple[int, Record]]:
        """The same, each with its line in the file, counted from 1."""
        found: list[tuple[int, Record]] = []
        bad: list[BadLine] = []
        for number, value in read_json_lines(self.path, bad.append):
            try:
                found.append((number, from_json(self.record, value)))
            except InputError as error:
                bad.append(BadLine(self.path, number, str(error)))
        self.bad = tuple(sorted(bad, key=lambda line: line.line))
        return found


class MeasurementStore(LineStore[Measurement]):
    """``measurements.jsonl`` in the data home, if no other path is given."""

    record = Measurement

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path or home() / "measurements.jsonl")
