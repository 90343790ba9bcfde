"""How good the cost model is on what it has not seen: one group is held out, the others are fitted.

Rows of other people's tables go through :class:`~jetsched.profiler.timefit.TimeFit`, our own
measurements through the whole :class:`~jetsched.profiler.costs.CostModel`. Never hold out random
rows: neighbours of a row in the same sweep give it away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

from jetsched.errors import InputError
from jetsched.problems import did_you_mean, listed, quoted
from jetsched.profiler.costrows import CostRow
from jetsched.profiler.costs import CostModel
from jetsched.profiler.costtable import EMPTY, CostTable, groups_of, read_table
from jetsched.profiler.evidence import cost_key
from jetsched.profiler.flaws import Flaw
from jetsched.profiler.measured import ALIASES, COLUMNS, MeasuredTable, group_of, read_measured
from jetsched.profiler.scoring import HeldOut, Score, score
from jetsched.profiler.timefit import Predicted, TimeFit
from jetsched.records import Estimate, Job, Measurement

#: Hears (done, total) before each group.
Said = Callable[[int, int], object]
#: Predicts each of the second rows after a fit to the first ones; InputError where it cannot.
Method = Callable[[Sequence[CostRow], Sequence[CostRow]], Sequence[Predicted]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of holding out each value of a column.

    ``problems``: why nothing could be fitted for a group. ``rows`` are in the order of the file.
    """

    column: str
    overall: Score
    groups: Mapping[str, Score]
    rows: tuple[HeldOut, ...]
    problems: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[Flaw, ...] = ()
    warnings: tuple[Flaw, ...] = ()


def _silent(done: int, total: int) -> None:
    pass


def evaluate(path: Path, column: str, said: Said = _silent) -> Evaluation:
    """Hold out each value of a column of a CSV table, or of a measurements.jsonl, in turn.

    Raises InputError for a file that is neither, for an unknown column, and for one that has only
    one value; OSError where the file cannot be read.
    """
    if is_measurements(path):
        return evaluate_measured(read_measured(path), column, said)
    return evaluate_table(read_table(path), column, said)


def is_measurements(path: Path) -> bool:
    """Whether a file is JSON lines, by its name or its first character."""
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return True
    with path.open("rb") as file:
        return file.read(256).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"


# -------------------------------------------------------------------------- other people's tables


def evaluate_table(table: CostTable, column: str, said: Said = _silent) -> Evaluation:
    """Each value of a column of the table held out in turn."""
    _require(column, table.columns)
    found = evaluate_groups(groups_of(table.rows, column), column, said=said)
    return replace(found, left_out=table.left_out, warnings=table.warnings)


def evaluate_groups(
    groups: Mapping[str, Sequence[CostRow]],
    column: str,
    method: Method | None = None,
    said: Said = _silent,
) -> Evaluation:
    """Each group held out in turn; ``method`` is :class:`TimeFit`, if it is no other.

    Raises InputError for fewer than two groups.
    """
    _require_two(groups, column)
    ask = method or _by_time_fit
    results: list[HeldOut] = []
    problems: dict[str, str] = {}
    for done, (name, rows) in enumerate(groups.items()):
        said(done, len(groups))
        others = [row for other, rest in groups.items() if other != name for row in rest]
        try:
            answers: Sequence[Predicted | None] = ask(others, rows)
        except InputError as error:
            problems[name] = str(error)
            answers = [None] * len(rows)
        results += [_held_out(row, name, a) for row, a in zip(rows, answers, strict=True)]
    return _evaluation(column, list(groups), results, problems)


def _by_time_fit(others: Sequence[CostRow], rows: Sequence[CostRow]) -> list[Predicted]:
    # In an order of their own: nothing may depend on that of the file.
    in_order = sorted(others, key=lambda row: repr(replace(row, number=0, labels={})))
    return TimeFit.fit(in_order).predict([_asked(row) for row in rows])


def _asked(row: CostRow) -> CostRow:
    """The row without what was found out by running it: a fit cannot peep."""
    return replace(
        row, time_s=0.0, power_w=None, gpu_util_pct=None, peer_time_s=None, number=0, labels={}
    )


def _held_out(row: CostRow, group: str, answer: Predicted | None) -> HeldOut:
    usable = answer is not None and isfinite(answer.time_s) and isfinite(answer.time_p90_s)
    return HeldOut(
        row.number,
        group,
        row.device,
        (row.workload, row.kind, row.precision, row.framework, row.batch, row.seq_len),
        row.time_s,
        answer.time_s if answer and usable else None,
        answer.time_p90_s if answer and usable else None,
        answer.note if answer else "",
        row.peer_time_s,
    )


# ---------------------------------------------------------------------- measurements of our own


def evaluate_measured(table: MeasuredTable, column: str, said: Said = _silent) -> Evaluation:
    """Each value of a column of the measurements held out in turn, kills and failures with it."""
    column = ALIASES.get(column, column)
    _require(column, tuple(COLUMNS))
    groups: dict[str, list[tuple[int, Measurement]]] = {}
    for number, measurement in table.measurements:
        groups.setdefault(group_of(measurement, column), []).append((number, measurement))
    _require_two(groups, column)
    timed = set(table.timed)
    results: list[HeldOut] = []
    for done, (name, numbered) in enumerate(groups.items()):
        said(done, len(groups))
        others = [m for other, rest in groups.items() if other != name for _, m in rest]
        model = CostModel(others, table.calibrations)
        results += [
            _verdict_on(measurement, number, name, model)
            for number, measurement in numbered
            if number in timed
        ]
    found = _evaluation(column, list(groups), results, {})
    return replace(found, left_out=table.left_out, warnings=table.warnings)


def _verdict_on(measurement: Measurement, number: int, group: str, model: CostModel) -> HeldOut:
    m = measurement
    verdict = model.verdict(Job("held-out", m.workload, m.amount), m.device_class)
    # What warms up is neither loading nor part of the amount.
    time_s = (m.time_s or 0.0) - (m.warmup_s or 0.0)
    found = HeldOut(
        number,
        group,
        m.device_class.label,
        cost_key(m.workload),
        time_s,
        unit_s=m.rate_s,
    )
    if not isinstance(verdict, Estimate):
        return replace(found, note=f"never: {verdict.text}")
    return replace(
        found,
        predicted_s=verdict.time_s,
        predicted_p90_s=verdict.time_p90_s,
        predicted_unit_s=(verdict.time_s - verdict.load_s) / m.amount,
        note=f"{verdict.source}, {verdict.method}",
    )


# ------------------------------------------------------------------------------------- in common


def _evaluation(
    column: str, names: Sequence[str], results: Sequence[HeldOut], problems: Mapping[str, str]
) -> Evaluation:
    by_group: dict[str, list[HeldOut]] = {name: [] for name in names}
    for each in results:
        by_group[each.group].append(each)
    return Evaluation(
        column,
        score(results),
        {name: score(group) for name, group in by_group.items()},
        tuple(sorted(results, key=lambda each: each.row)),
        problems,
    )


def _require(column: str, columns: Sequence[str]) -> None:
    if column in columns:
        return
    hint = did_you_mean(column, columns) or f"there are: {listed(columns, 30)}"
    raise InputError(f"there is no column {quoted(column)} to hold out", hint=hint)


def _require_two(groups: Mapping[str, object], column: str) -> None:
    if len(groups) < 2:
        value = next(iter(groups), EMPTY)
        what = (
            f"the column {column} is empty"
            if value == EMPTY
            else f"every usable row has the same {column}, {quoted(value)}"
        )
        raise InputError(
            f"{what}: without it nothing is left to fit to", hint="hold out another column"
        )
