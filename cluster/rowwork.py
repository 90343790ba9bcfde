"""The work of a row of a trace: its cells are the fields of ``work`` in a job file.

They are checked as a job file is, and what is left empty has the defaults that it has there. How
much work it is, is said by ``epochs``, ``dataset`` and ``samples``, or by ``prompts``; an
``amount`` goes before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

from jetsched.errors import InputError
from jetsched.files import from_json
from jetsched.jobfile import job_of
from jetsched.jobmodel import WORK_KINDS, Surroundings
from jetsched.problems import FileProblems, printable, quoted
from jetsched.profiler.models import find
from jetsched.records import Workload
from jetsched.yamlfile import Document, Node

#: Columns that say how much work there is; the others say what one unit of it costs.
COUNTS = ("epochs", "samples", "prompts")
WORKLOAD = {field.name: field.default for field in fields(Workload)}

_TEXTS = {"kind", "model", "dataset", "precision", "method", "head", "command", "like"}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
#: A data set of which nobody knows how many samples it has.
_ANY_DATASET = "any"


@dataclass(frozen=True)
class RowWork:
    """What a row says about its work; ``wrong`` is (column, message, hint) of every mistake."""

    workload: Workload
    amount: float = 1.0
    wrong: tuple[tuple[str, str, str], ...] = ()


def work_of_row(cells: Mapping[str, str], has_amount: bool, folder: Path) -> RowWork:
    """The work that the cells of a row describe, by the names of their columns.

    Empty cells are left out of ``cells``, ``has_amount`` says whether the row gives its amount
    itself. A data set or a model that is a path is meant from ``folder``.
    """
    kind = cells.get("kind") or ("infer" if {"prompt_tokens", "prompts"} & set(cells) else "train")
    if kind == "command":
        return _command(cells)
    given: dict[str, Any] = {"kind": kind, "model": cells.get("model", "")}
    own = WORK_KINDS[kind].model_fields if kind in WORK_KINDS else None
    for name, cell in cells.items():
        value = _value(name, cell)
        if own is not None and name not in own and value == WORKLOAD.get(name):
            continue  # it says what every row of this kind has
        if not (name == "lora_rank" and value == 0):
            given.setdefault(name, value)
    wrong = _add_counts(given, has_amount)
    try:
        nodes = {name: Node(v, 1, 1, None, cells.get(name, "")) for name, v in given.items()}
        section = Node(given, 1, 1, dict(nodes))
        document = Document(str(folder), (), Node({"work": given}, 1, 1, {"work": section}))
        job = job_of(document, Surroundings(folder), "")
    except FileProblems as error:
        wrong += [(p.path.removeprefix("work."), p.message, p.hint) for p in error.problems]
    if wrong:
        return RowWork(Workload("command", ""), wrong=tuple(wrong))
    work = job.workload
    known = find(work.model)
    if known is not None:
        work = replace(work, model=known.name)
    if has_amount:  # then nothing depends on what the data set is
        work = replace(work, dataset=cells.get("dataset", ""))
    return RowWork(work, job.amount)


def _add_counts(given: dict[str, Any], has_amount: bool) -> list[tuple[str, str, str]]:
    """Put in what counts the work where an amount does it; (column, message, hint) of mistakes."""
    if given["kind"] == "train":
        if has_amount:
            given["dataset"] = _ANY_DATASET
            given.setdefault("samples", 1)
        elif not {"epochs", "dataset", "samples"} & set(given):
            hint = "give amount, in samples; or any of epochs, dataset and samples"
            return [("amount", "nothing says how much work this is", hint)]
    if given["kind"] == "infer":
        prompts = given.setdefault("prompts", 1 if has_amount else "")
        if not isinstance(prompts, int):
            given["prompts"] = 1  # so that the rest is checked
            hint = "give prompts, or amount: how many there are"
            if prompts == "":
                return [("prompts", "nothing says how much work this is", hint)]
            return [("prompts", f"{quoted(prompts)} is not a number of prompts", hint)]
    return []


def timed_work(cells: Mapping[str, str]) -> RowWork:
    """What a job with run times runs: it need not be told, and does not say how long it takes."""
    if "model" not in cells and cells.get("kind") != "command":
        return RowWork(Workload("command", ""))
    kind = "infer" if "prompt_tokens" in cells else "train"
    return _plain({"kind": kind, **cells})


def _command(cells: Mapping[str, str]) -> RowWork:
    """A command, which runs once."""
    counted = [name for name in COUNTS if name in cells]
    work = _plain({name: cell for name, cell in cells.items() if name not in counted})
    wrong = [(name, "is no field of kind command, which runs once", "") for name in counted]
    return replace(work, wrong=(*wrong, *work.wrong))


def _plain(cells: Mapping[str, str]) -> RowWork:
    """The fields of :class:`Workload` as they are."""
    known = find(cells.get("model", ""))
    model = known.name if known is not None else cells.get("model", "")
    try:
        return RowWork(from_json(Workload, {**cells, "model": model}))
    except InputError as error:
        return RowWork(Workload("command", ""), wrong=(("", printable(str(error)), ""),))


def _value(name: str, cell: str) -> Any:
    """What a cell holds: text, true or false, a number; text too where it is none of these."""
    if name in _TEXTS:
        return cell
    if name == "gradient_checkpointing":
        word = cell.lower()
        return word in _TRUE if word in (*_TRUE, *_FALSE) else cell
    try:
        number = float(cell)
    except ValueError:
        return cell
    if not isfinite(number) or "_" in cell or abs(number) > 1e15:
        return cell
    return int(number) if number == int(number) else number  # tables write 8.0 beside empty cells
