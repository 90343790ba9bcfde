"""The page Fit map: models x kinds of board, and where the memory of one goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse

from jetsched.cluster.ui_base import Ui
from jetsched.cluster.ui_charts import stacked
from jetsched.errors import InputError
from jetsched.files import json_bytes, to_json
from jetsched.problems import FileProblems
from jetsched.profiler.costbook import CostBook, Opened
from jetsched.profiler.devices import DEVICE_MODELS
from jetsched.profiler.fitdetail import Counted, FitDetail, fit_detail
from jetsched.profiler.fitmap import Cell, cell_of, models_of
from jetsched.profiler.known import by_sheet
from jetsched.profiler.labels import device_labels
from jetsched.profiler.seen import Run
from jetsched.profiler.workchoice import AMOUNTS, FIELDS, WorkChoice, work_choice
from jetsched.records import Attempt, DeviceClass, Source

#: More kinds of board than this make no map; the rest is counted.
MOST_COLUMNS = 24
#: Of more boards of a kind the rest is counted.
_MOST_IDS = 3
#: How often it is looked whether something was measured.
PERIOD_S = 2.0
#: The first time much may have to be read: nobody waits for all of it.
PATIENCE_S = 0.6
_BAR = 600.0
#: What a choice is made of, for the form: the words for it, and what can be chosen.
CHOICES: Mapping[str, tuple[str, Sequence[str]]] = {
    "batch_size": ("batch size", ()),
    "seq_len": ("tokens per sample", ()),
    "prompt_tokens": ("tokens per prompt", ()),
    "max_new_tokens": ("new tokens", ()),
    "precision": ("precision", ("fp32", "fp16", "bf16")),
    "method": ("method", ("full", "lora")),
    "head": ("head", ("qa", "lm")),
    "gradient_checkpointing": ("gradient checkpointing", ("true",)),
    "samples": ("samples", ()),
    "prompts": ("prompts", ()),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A kind of board; ``ids`` are the boards here that are of it, none for one of a data sheet."""

    key: str
    label: str
    device_class: DeviceClass
    ids: tuple[str, ...]
    source: Source  # of its memory: it said so itself, or its data sheet does

    @property
    def who(self) -> str:
        """The boards in a few words."""
        rest = len(self.ids) - _MOST_IDS
        shown = ", ".join(self.ids[:_MOST_IDS])
        return f"{shown} and {rest:,} more" if rest > 0 else shown


@dataclass(frozen=True, slots=True)
class Row:
    """A model on all kinds of board, ``boards`` by name; ``urls`` lead to the details."""

    model: str
    cells: tuple[Cell, ...]
    urls: tuple[str, ...]
    boards: tuple[str, ...]


def key_of(device_class: DeviceClass) -> str:
    """A short name for a kind of board, the same in every process."""
    return blake2b(json_bytes(to_json(device_class)), digest_size=5).hexdigest()


def columns_of(
    here: Mapping[str, DeviceClass], measured: Sequence[DeviceClass], *, others: bool
) -> list[Column]:
    """The kinds of board that are here; ``others``: those that were, and those of data sheets."""
    ids: dict[DeviceClass, list[str]] = {}
    for id, device_class in here.items():
        ids.setdefault(device_class, []).append(id)
    found = sorted(ids, key=lambda d: (d.emulated, d.model, d.power_mode, d.software, d.memory_mib))
    if others or not found:
        found += [device for device in measured if device not in ids]
        real = {device.model for device in found if not device.emulated} | {"cpu"}
        found += [by_sheet(model) for model in DEVICE_MODELS if model not in real]
    labels, known = device_labels(found), {*ids, *measured}
    return [
        Column(
            key_of(d), labels[d], d, tuple(ids.get(d, ())), "measured" if d in known else "assumed"
        )
        for d in found
    ]


class FitView:
    """The map with one choice of work. Looked at again and again, worked out when more is known."""

    def __init__(self, ui: Ui, book: CostBook, params: Mapping[str, str]) -> None:
        self._ui, self._book = ui, book
        self._choice = work_choice(params)
        self._others = params.get("others", "") == "on"
        self._kept: tuple[Any, dict[str, dict[str, Any]]] | None = None

    def look(self) -> dict[str, dict[str, Any]]:
        here = self._ui.desk.device_classes()
        if self._kept is None or self._kept[0] != (self._book.version, here):
            with self._book.open(PATIENCE_S) as opened:
                self._kept = (opened.version, here), self._map(here, opened)
        return self._kept[1]

    def _map(self, here: Mapping[str, DeviceClass], opened: Opened) -> dict[str, dict[str, Any]]:
        every = all_columns(here, opened, others=self._others)
        columns, choice = every[:MOST_COLUMNS], self._choice
        rows: dict[str, Any] = {}
        for model in models_of(choice, opened.sightings):
            cells = tuple(
                cell_of(choice, model, c.device_class, opened.costs, opened.sightings)
                for c in columns
            )
            urls = tuple(address("/ui/fit/detail", choice, model=model, at=c.key) for c in columns)
            part = "fit-" + blake2b(model.encode(), digest_size=5).hexdigest()
            rows[part] = Row(model, cells, urls, tuple(c.label for c in columns))
        head = {"columns": columns, "left_out": len(every) - len(columns)}
        state = {"fit-state-part": int(100 * opened.share)}
        return {"fit-state": state, "fit-head": {"fit-columns": head}, "fit-rows": rows}

    def draw(self, part_id: str, data: Any) -> str:
        macro = {"fit-columns": "head", "fit-state-part": "state"}.get(part_id, "row")
        return self._ui.render("fit_parts.html", macro, part_id, data)


def all_columns(here: Mapping[str, DeviceClass], opened: Opened, *, others: bool) -> list[Column]:
    """The columns by what is here and what was measured."""
    calibrated = [each.device_class for each in opened.calibrations.values()]
    return columns_of(here, opened.sightings.devices(calibrated), others=others)


def address(path: str, choice: WorkChoice, **more: str) -> str:
    """The address of a page with this choice; what is as usual is left out of it."""
    usual = FIELDS[choice.kind]
    fields = {k: v for k, v in choice.fields.items() if v != usual.get(k, "")}
    fields |= {"kind": choice.kind, **more}
    return f"{path}?{urlencode({k: v for k, v in fields.items() if v})}"


@dataclass(frozen=True, slots=True)
class LastRun:
    """A run beside what had been estimated before it; None: nobody knows of an attempt."""

    run: Run
    attempt: Attempt | None


def last_runs(detail: FitDetail, attempts: Mapping[str, Sequence[Attempt]]) -> list[LastRun]:
    """The last runs of a cell, with the estimate of the attempt that each one was."""
    found = []
    for run in detail.last:
        alike = [
            attempt
            for attempt in attempts.get(run.job_id, ())
            if attempt.device == run.device and attempt.outcome == run.outcome
        ]
        found.append(LastRun(run, alike[-1] if alike else None))
    return found


def memory_bar(counted: Counted | None, detail: FitDetail) -> dict[str, Any] | None:
    """Where the parts of memory lie on a bar, and the lines across it; None: nothing is known."""
    has_mib, peak_mib = detail.estimate.has_mib, detail.peak_mib
    most = max(counted.admitted_mib if counted else 0.0, has_mib or 0.0, peak_mib or 0.0) * 1.03
    if not most:
        return None
    parts = counted.parts if counted else ()
    return {
        "width": _BAR,
        "parts": list(zip(parts, stacked([p.mib for p in parts], most, _BAR), strict=True)),
        "has": None if has_mib is None else has_mib / most * _BAR,
        "peak": None if peak_mib is None else peak_mib / most * _BAR,
    }


def _problems(error: InputError) -> list[str]:
    if isinstance(error, FileProblems):
        named = [(p.path.removeprefix("work."), p.message, p.hint) for p in error.problems]
        return [f"{path}: {text}" + (f" ({hint})" if hint else "") for path, text, hint in named]
    return [f"{error}" + (f" ({error.hint})" if error.hint else "")]


def add_fit_page(ui: Ui, book: CostBook) -> None:
    """Put the page and its details into the dashboard."""
    ui.live.add("fit", lambda params: FitView(ui, book, params), period_s=PERIOD_S, readings=True)

    @ui.router.get("/fit")
    def fit(request: Request) -> HTMLResponse:
        """Which models fit which boards."""
        params = dict(request.query_params)
        kind = params.get("kind") if params.get("kind") in FIELDS else "train"
        given = {name: params.get(name, text) for name, text in FIELDS[str(kind)].items()}
        values: dict[str, Any] = {
            "kind": kind,
            "kinds": list(FIELDS),
            "given": {**given, "model": params.get("model", "")},
            "choices": CHOICES,
            "amount_field": AMOUNTS[str(kind)],
            "others": params.get("others", "") == "on",
        }
        try:
            choice = work_choice(params)
        except InputError as error:
            values |= {"problems": _problems(error), "shown": None, "choice": None}
            return ui.page(request, "fit.html", status_code=422, **values)
        named = {k: v for k, v in choice.fields.items() if v}
        shown = ui.live.shown("fit", {**named, "others": "on" if values["others"] else ""})
        values |= {"problems": [], "shown": shown, "choice": choice}
        return ui.page(request, "fit.html", **values)

    @ui.router.get("/fit/detail")
    def detail(request: Request) -> HTMLResponse:
        """One model on one kind of board: megabyte by megabyte, and the time."""
        try:
            values = _detail(ui, book, dict(request.query_params))
        except InputError as error:
            problems = _problems(error)
            return ui.page(request, "fit_missing.html", status_code=422, problems=problems)
        return ui.page(request, "fit_detail.html", **values)


def _detail(ui: Ui, book: CostBook, params: dict[str, str]) -> dict[str, Any]:
    """What the details of a cell show. Raises :class:`InputError` where there is no such cell."""
    at, model = params.pop("at", ""), params.pop("model", "").strip()
    if not model:
        raise InputError("which model is not said", hint="choose a cell of the map")
    with book.open(PATIENCE_S) as opened:
        choice = work_choice(params)
        if model not in models_of(choice, opened.sightings):  # else it was asked for by name
            choice = work_choice({**params, "model": model})
            model = choice.model
        every = all_columns(ui.desk.device_classes(), opened, others=True)
        column = next((column for column in every if column.key == at), None)
        if column is None:
            hint = "it may have changed its power mode or its software"
            raise InputError("no kind of board here has this name", hint=hint)
        found = fit_detail(choice, model, column.device_class, opened.costs, opened.sightings)
    attempts = ui.desk.attempts_of({run.job_id for run in found.last if run.job_id})
    return {
        "choice": choice,
        "column": column,
        "detail": found,
        "bar": memory_bar(found.counted, found),
        "runs": last_runs(found, attempts),
        "back": address("/ui/fit", choice),
    }
