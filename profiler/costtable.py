"""Tables of measured costs: other people's, as CSV. Every row that is of no use is named.

The columns: device, peak_gflops (of that precision, by the data sheet), bandwidth_gb_s, memory_gb,
workload, kind, precision, framework, batch, seq_len, flops, bytes, kernels (or launches), time_s,
peer_time_s, power_w, gpu_util_pct, source; board, where devices are power modes of one. Needed are
device, workload, time_s and one of flops and bytes. An empty cell is not known; any other column is
kept as a label.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path

from jetsched.errors import InputError
from jetsched.problems import did_you_mean, listed, quoted
from jetsched.profiler.costrows import CostRow
from jetsched.profiler.devices import DEVICE_MODELS
from jetsched.profiler.flaws import Flaw
from jetsched.profiler.quality import (
    LAUNCH_S,
    Timed,
    contradictions,
    duplicates,
    odd_efficiency,
    too_fast,
    unit_slips,
)

#: The group of rows that have nothing in the column that is held out.
EMPTY = "(empty)"
_TEXTS = ("device", "workload", "kind", "precision", "framework", "board")
#: Column -> field. A fit may use these: a bad one makes the row useless.
_USED = {
    "time_s": "time_s",
    "peak_gflops": "peak_gflops",
    "bandwidth_gb_s": "bandwidth_gb_s",
    "batch": "batch",
    "seq_len": "seq_len",
    "flops": "flops",
    "bytes": "bytes",
    "kernels": "launches",
    "launches": "launches",
}
#: These only stand beside the time: a bad one is dropped with a warning, the row stays.
_BESIDE = ("memory_gb", "peer_time_s", "power_w", "gpu_util_pct")
#: More than any machine has, and than a row of them will have: 10^18 FLOP/s, 10^15 bytes/s.
_MOST = {"peak_gflops": 1e9, "bandwidth_gb_s": 1e6}
_MAY_BE_ZERO = frozenset({"seq_len", "power_w", "gpu_util_pct"})
_KNOWN = (*_TEXTS, *_USED, *_BESIDE, "source")
#: What was found out by running says nothing about what was run.
_RESULTS = frozenset({"time_s", "peer_time_s", "power_w", "gpu_util_pct", "source"})


@dataclass(frozen=True, slots=True)
class CostTable:
    """The usable rows of a file, what was left out of it, and what only warns."""

    rows: tuple[CostRow, ...]
    left_out: tuple[Flaw, ...] = ()
    warnings: tuple[Flaw, ...] = ()
    columns: tuple[str, ...] = ()


def read_table(path: Path) -> CostTable:
    """The rows of a CSV file. Rows are numbered from 1; the header does not count.

    Raises InputError for a file that is no table of costs; OSError where it cannot be read.
    """
    return table_of(_text(path), str(path))


def table_of(text: str, name: str = "the table") -> CostTable:
    """The same of a text."""
    columns, lines = _cells(text, name)
    left_out: list[Flaw] = []
    warnings: list[Flaw] = []
    read: dict[int, CostRow] = {}
    cells_of: dict[int, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        if len(line) != len(columns):
            text = f"{len(line)} cells, and the header has {len(columns)}"
            left_out.append(Flaw("WrongCells", number, text))
            continue
        cells = dict(zip(columns, line, strict=True))
        row, flaws, ignored = _row(number, cells)
        warnings += ignored
        if row is None:
            left_out += flaws
        else:
            read[number] = row
            cells_of[number] = tuple(line)
    for find in (_repeated, _slipped, _too_fast, _contradicting):
        flaws = find(read, cells_of, columns)
        left_out += flaws
        for flaw in flaws:
            read.pop(flaw.row, None)
    odd = [odd_efficiency(_timed(row)) for row in read.values()]
    warnings = [flaw for flaw in warnings if flaw.row in read] + [f for f in odd if f is not None]
    table = CostTable(
        tuple(read.values()),
        tuple(sorted(left_out, key=lambda flaw: flaw.row)),
        tuple(sorted(warnings, key=lambda flaw: flaw.row)),
        columns,
    )
    if not table.rows:
        first = f": {table.left_out[0]}" if table.left_out else ""
        raise InputError(f"{name} has no row that can be used, of {len(lines)}{first}")
    return table


# ------------------------------------------------------------------------------------ text to cells


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not a text file in UTF-8 (byte {error.start})",
            hint="a table of costs is a CSV file, or a measurements.jsonl",
        ) from None


def _cells(text: str, name: str) -> tuple[tuple[str, ...], list[list[str]]]:
    """The header and the lines that hold anything; cells are stripped."""
    if "\0" in text:
        raise InputError(f"{name} is not a text file")
    lines = []
    try:
        for line in csv.reader(io.StringIO(text, newline=""), strict=True):
            if any(cell.strip() for cell in line):
                lines.append([cell.strip() for cell in line])
    except csv.Error as error:
        raise InputError(f"{name} is not CSV: {error} (after {len(lines)} lines)") from None
    if not lines:
        raise InputError(f"{name} is empty")
    columns = tuple(lines[0])
    _check_header(columns, name)
    if len(lines) == 1:
        raise InputError(f"{name} has a header and no rows")
    return columns, lines[1:]


def _check_header(columns: Sequence[str], name: str) -> None:
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise InputError(f"{name} has the column {quoted(twice[0])} twice")
    if "kernels" in columns and "launches" in columns:
        raise InputError(f"{name} has kernels and launches: they are the same, keep one")
    missing = [column for column in ("device", "workload", "time_s") if column not in columns]
    if not missing and not {"flops", "bytes"} & set(columns):
        missing = ["flops (or bytes)"]
    if not missing:
        return
    joined = ",".join(columns)
    if len(columns) == 1 and any(sign in joined for sign in ";\t|"):
        hint = "its cells must be separated by commas"
    else:
        word = missing[0].split()[0]
        close = [column for column in columns if column and column not in _KNOWN]
        meant = did_you_mean(word, close)
        hint = meant.replace("did you mean", "is it") if meant else ""
        hint = hint or f"its first line has: {listed(columns, 8)}"
    what = f"columns {', '.join(missing)}" if len(missing) > 1 else f"column {missing[0]}"
    raise InputError(f"{name} lacks the {what}", hint=hint)


# ------------------------------------------------------------------------------------ cells to rows


def _row(number: int, cells: Mapping[str, str]) -> tuple[CostRow | None, list[Flaw], list[Flaw]]:
    """The row, or what is wrong with it; and what is only ignored."""
    flaws = [
        Flaw("Missing", number, f"{column} is empty")
        for column in ("device", "workload", "time_s")
        if not cells[column]
    ]
    ignored: list[Flaw] = []
    numbers: dict[str, float] = {}
    for column, field in {**_USED, **{name: name for name in _BESIDE}}.items():
        cell = cells.get(column, "")
        if not cell:
            continue
        value = _number(number, column, cell)
        if not isinstance(value, Flaw):
            numbers[field] = value
        elif column in _BESIDE:
            ignored.append(replace(value, code="IgnoredCell", text=f"{value.text}: ignored"))
        else:
            flaws.append(value)
    if flaws:
        return None, flaws, []
    texts = {name: cells.get(name, "") for name in _TEXTS}
    row = _with_sheet(CostRow(**texts, **numbers, number=number, labels=dict(cells)))  # type: ignore[arg-type]
    lacking = _lacking(row)
    return (None, [lacking], []) if lacking else (row, [], ignored)


def _number(row: int, column: str, cell: str) -> float | Flaw:
    try:
        value = float(cell.replace("_", "x"))  # 1_000 is Python, not CSV
    except ValueError:
        return Flaw("NotANumber", row, f"{column} is not a number: {quoted(cell)}")
    if not isfinite(value):
        return Flaw("NonFinite", row, f"{column} is {cell}, not a finite number")
    if value < 0:
        return Flaw("Negative", row, f"{column} is negative: {cell}")
    if value == 0 and column not in _MAY_BE_ZERO:
        return Flaw("Zero", row, f"{column} is 0; an unknown number is an empty cell")
    if value > _MOST.get(column, inf):
        text = f"{column} is {cell}: no device has so much, a slip of units?"
        return Flaw("Impossible", row, text)
    return value


def _with_sheet(row: CostRow) -> CostRow:
    """The row with the sheet of a board that is known here, if it brings none of its own."""
    if row.peak_gflops is not None or row.bandwidth_gb_s is not None:
        return row
    name = row.device.lower()
    for model in DEVICE_MODELS.values():
        if name in (model.name, model.title.lower()):
            peak = next((v for p, v in model.peak_gflops.items() if p == row.precision), None)
            return replace(row, peak_gflops=peak, bandwidth_gb_s=model.bandwidth_gb_s)
    return row


def _lacking(row: CostRow) -> Flaw | None:
    """Why no model of time can say anything about the row."""
    if row.flops is None and row.bytes is None:
        return Flaw("NothingCounted", row.number, "neither flops nor bytes are known")
    if row.peak_gflops is None and row.bandwidth_gb_s is None:
        text = f"{row.device} has no data sheet: neither peak_gflops nor bandwidth_gb_s"
        return Flaw("NoDataSheet", row.number, text)
    if _floor_s(row) == 0.0:
        counted, sheet = (
            ("flops are", "peak_gflops") if row.bytes is None else ("bytes are", "bandwidth_gb_s")
        )
        return Flaw("NoDataSheet", row.number, f"only {counted} known, and {sheet} is not")
    return None


# --------------------------------------------------------------------------- rows beside each other

_Read = Mapping[int, CostRow]
_CellsOf = Mapping[int, tuple[str, ...]]


def _repeated(read: _Read, cells_of: _CellsOf, columns: Sequence[str]) -> list[Flaw]:
    return duplicates((number, cells_of[number]) for number in read)


def _slipped(read: _Read, cells_of: _CellsOf, columns: Sequence[str]) -> list[Flaw]:
    return unit_slips([_timed(row) for row in read.values()])


def _too_fast(read: _Read, cells_of: _CellsOf, columns: Sequence[str]) -> list[Flaw]:
    devices: dict[str, list[Timed]] = {}
    for row in read.values():
        devices.setdefault(row.device, []).append(_timed(row))
    return [flaw for timed in devices.values() for flaw in too_fast(timed)]


def _contradicting(read: _Read, cells_of: _CellsOf, columns: Sequence[str]) -> list[Flaw]:
    """By everything that says what was run. A column with fractions of its own is a result."""
    known = set(_KNOWN) - _RESULTS
    telling = [
        place
        for place, column in enumerate(columns)
        if column in known
        or (
            column not in _RESULTS
            and not any(_is_fraction(cells_of[number][place]) for number in read)
        )
    ]
    timed = []
    for number, row in read.items():
        key: Hashable = tuple(_plain(cells_of[number][place]) for place in telling)
        timed.append(replace(_timed(row), key=key))
    return contradictions(timed)


def _timed(row: CostRow) -> Timed:
    overhead_s = None if row.launches is None else row.launches * LAUNCH_S
    return Timed(row.number, row.time_s, _floor_s(row), overhead_s)


def _floor_s(row: CostRow) -> float:
    """What the roofline of the data sheet says; 0 where neither of its sides is known."""
    compute_s = memory_s = 0.0
    if row.flops is not None and row.peak_gflops is not None:
        compute_s = row.flops / (row.peak_gflops * 1e9)
    if row.bytes is not None and row.bandwidth_gb_s is not None:
        memory_s = row.bytes / (row.bandwidth_gb_s * 1e9)
    return max(compute_s, memory_s)


def _plain(cell: str) -> str:
    """The cell under one spelling: 8 and 8.0 are the same."""
    try:
        value = float(cell)
    except ValueError:
        return cell
    return f"{value:.12g}" if isfinite(value) else cell


def _is_fraction(cell: str) -> bool:
    try:
        value = float(cell)
    except ValueError:
        return False
    return not isfinite(value) or value != int(value)


def groups_of(rows: Sequence[CostRow], column: str) -> Mapping[str, list[CostRow]]:
    """The rows by what stands in a column, in the order of the file."""
    groups: dict[str, list[CostRow]] = {}
    for row in rows:
        groups.setdefault(_plain(row.labels.get(column, "")) or EMPTY, []).append(row)
    return groups
