"""What was measured on this machine: one JSON line for each record, only ever appended."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

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
from jetsched.records import DeviceClass, Measurement, Workload

Record = TypeVar("Record")


class LineStore(Generic[Record]):
    """A file of records of one kind, ``name`` in the data home if no other path is given.

    Several processes may append to it at once.

    A line that cannot be read stays in the file and is named in :attr:`bad`: a newer version of
    jetsched may understand it.
    """

    record: ClassVar[type]
    name: ClassVar[str]

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or home() / self.name
        #: The lines that the last :meth:`read` could not use.
        self.bad: tuple[BadLine, ...] = ()

    def append(self, *records: Record) -> None:
        """Add some, on the disk when this returns. A last line that was cut off stays a bad one.

        Raises ValueError for NaN and infinity, OSError where the disk refuses.
        """
        values = [to_json(record) for record in records]
        make_folder(self.path.parent)
        handle = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # two writers must not both mend the same last line
            append_json_line(self.path, *values)
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
                found.append((number, self._record(value)))
            except InputError as error:
                bad.append(BadLine(self.path, number, str(error)))
        self.bad = tuple(sorted(bad, key=lambda line: line.line))
        return found

    def read_on(self, offset: int, most_bytes: int = -1) -> tuple[list[Record], int]:
        """The records behind a byte offset, and the offset from which to go on.

        A last line that is still being written is left for later. About ``most_bytes`` are read at
        once, whole lines in any case; -1: all. A file that has become shorter is read from its
        start. Sets :attr:`bad`.
        """
        found: list[Record] = []
        bad: list[BadLine] = []
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return [], 0
        with file:
            if os.fstat(file.fileno()).st_size < offset:
                offset = 0
            file.seek(offset)
            for raw in file.readlines(most_bytes):
                if not raw.endswith(b"\n"):
                    break
                offset += len(raw)
                try:
                    found.append(self._record(json.loads(raw)))
                except (InputError, ValueError) as error:
                    if raw.strip():
                        bad.append(BadLine(self.path, self._line_at(offset), str(error)))
        self.bad = tuple(bad)
        return found, offset

    def _record(self, value: Any) -> Record:
        """The record of a line. Raises InputError for a line that holds none."""
        record: Record = from_json(self.record, value)
        return record

    def _line_at(self, end: int) -> int:
        """The number of the line that ends at an offset."""
        with self.path.open("rb") as file:
            return file.read(end).count(b"\n")


class MeasurementStore(LineStore[Measurement]):
    """What runs of workloads cost."""

    record = Measurement
    name = "measurements.jsonl"

    def _record(self, value: Any) -> Measurement:
        _refuse_booleans(Measurement, value)
        return super()._record(value)


#: The parts of a measurement that are records themselves.
_PARTS: Mapping[str, type] = {"workload": Workload, "device_class": DeviceClass}


def _refuse_booleans(kind: Any, value: Any, where: str = "") -> None:
    """True is 1 to whoever reads numbers; it was not measured."""
    if not isinstance(value, Mapping):
        return
    for each in fields(kind):
        found = value.get(each.name)
        if isinstance(found, bool) and each.type != "bool":
            text = f"{where}{each.name}: {str(found).lower()} is not a number"
            raise InputError(f"not a valid Measurement: {text}")
        if each.name in _PARTS:
            _refuse_booleans(_PARTS[each.name], found, f"{each.name}.")
    phases = value.get("phases_s")
    for name, phase in phases.items() if isinstance(phases, Mapping) else ():
        if isinstance(phase, bool):
            text = f"phases_s.{name}: {str(phase).lower()} is not a number"
            raise InputError(f"not a valid Measurement: {text}")
