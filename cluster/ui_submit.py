"""The page *Submit*: job files are pasted or dropped, checked, planned, and then sent.

What is wrong is told as `jetsched check` tells it, and what would become of each job as
`jetsched plan` does. Sent it is through the ordinary API, ``POST /jobs``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from jetsched import words
from jetsched.cluster.api_gate import is_owner
from jetsched.cluster.drafts import MOST_DRAFTS, Checked, Draft, Planned, look_over
from jetsched.cluster.ui_base import HEADERS, Ui
from jetsched.cluster.ui_queue import row_of
from jetsched.errors import InputError
from jetsched.jobmodel import Surroundings
from jetsched.profiler.models import positions

#: What a form begins with, for somebody who has none yet.
EXAMPLES = ("train-tiny.yaml", "train-distilgpt2.yaml", "command.yaml")
#: So many boards are shown of a plan where there are several plans.
FEW_ROWS = 30
#: How the files that a job names get to a head that a browser talks to.
ADVICE = (
    "a page cannot read files beside the job file: from their machine"
    " `jetsched submit FILE.yaml` sends them along"
)


class DraftText(BaseModel):
    """A job file: its text, or in base64 its bytes where they are no text."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(default="job.yaml", max_length=300)
    text: str | None = None
    base64: str | None = None

    def draft(self) -> Draft:
        if (self.text is None) == (self.base64 is None):
            raise InputError("a job file needs either a text or its bytes in base64")
        name = self.file.strip() or "job.yaml"
        if self.text is not None:
            return Draft(name, self.text.encode("utf-8", "surrogatepass"))
        try:
            return Draft(name, base64.b64decode(self.base64 or "", validate=True))
        except binascii.Error:
            raise InputError(f"{name}: what was sent is not base64") from None


class Drafts(BaseModel):
    """All job files of the form."""

    model_config = ConfigDict(extra="forbid")

    drafts: list[DraftText] = Field(max_length=10 * MOST_DRAFTS)


@dataclass(frozen=True)
class Found:
    """A look at all drafts. ``jobs`` can be sent; ``hopeless`` of them only held."""

    checked: Sequence[Checked]

    @property
    def problems(self) -> int:
        return sum(len(one.problems) for one in self.checked)

    @property
    def jobs(self) -> int:
        return 0 if self.problems else len(self.checked)

    @property
    def hopeless(self) -> int:
        plans = [one.planned for one in self.checked if one.planned is not None]
        return sum(plan.prospect == "never" for plan in plans)


def add_submit_page(ui: Ui) -> None:
    """Put the page, its look at drafts and the rows of what was sent into the application."""
    ui.live.add("sent", lambda params: SentView(ui, params))

    @ui.router.get("/submit")
    def submit(request: Request) -> HTMLResponse:
        return ui.page(request, "submit.html", examples=_examples())

    @ui.router.post("/submit/look")
    def look(wish: Drafts, request: Request) -> dict[str, Any]:
        """What is wrong with drafts, or what would become of their jobs; submits nothing."""
        around = _around(ui, request)
        found = Found(look_over(ui.desk, [one.draft() for one in wish.drafts], around))
        html = ui.render("submit_parts.html", "looked", found, _tables(found))
        return {"html": html, "jobs": found.jobs, "hopeless": found.hopeless}

    @ui.router.get("/submit/sent")
    def sent(request: Request, ids: str = "") -> HTMLResponse:
        """The rows of jobs that were sent, for the page that has sent them."""
        shown = ui.live.shown("sent", {"ids": ids})
        return HTMLResponse(ui.render("submit_parts.html", "sent", shown), headers=HEADERS)


def _around(ui: Ui, request: Request) -> Surroundings:
    """What drafts are checked against: what `POST /jobs` does, and a word for those at a page."""
    known = ui.desk.device_names()
    around = ui.rules.around(None, known, positions, is_owner=is_owner(request.scope))
    return replace(around, advice=ADVICE)


@dataclass(frozen=True)
class PlanTable:
    """The table of a plan, as the macro of ``decision.html`` takes its rows.

    ``same_as`` is an earlier draft that has the same plan; ``left_out`` rows are not shown.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    left_out: int = 0
    same_as: str = ""
    open: bool = True


def _tables(found: Found) -> list[PlanTable]:
    """A table for each draft; of several plans only the first is unfolded, and none is long."""
    tables: list[PlanTable] = []
    shown: dict[int, str] = {}  # by which plan it is, for which draft it is shown
    many = len({id(one.planned) for one in found.checked}) > 1
    for one in found.checked:
        if one.planned is None or id(one.planned) in shown:
            tables.append(PlanTable(same_as=shown.get(id(one.planned), "")))
            continue
        rows = _rows(one.planned)
        most = FEW_ROWS if many else len(rows)
        tables.append(PlanTable(rows[:most], max(0, len(rows) - most), open=not shown))
        shown[id(one.planned)] = one.file
    return tables


def _rows(plan: Planned) -> list[dict[str, Any]]:
    """All boards, the chosen one first where there are too many to see at once."""
    decision = plan.decision
    cells = words.decision_rows(decision)
    pairs = list(zip(decision.rows, cells, strict=True))
    if len(pairs) > FEW_ROWS:
        pairs.sort(key=lambda pair: (not pair[0].chosen, pair[0].verdict == "never"))
    return [
        {
            "device": row.device,
            "verdict": row.verdict,
            "chosen": row.chosen,
            "source": row.source,
            "emulated": row.device in plan.emulated,
            "cells": said,
        }
        for row, said in pairs
    ]


@cache
def _examples() -> list[tuple[str, str]]:
    folder = files("jetsched.examples")
    return [(name, folder.joinpath(name).read_text(encoding="utf-8")) for name in EXAMPLES]


class SentView:
    """Jobs that were sent from the page, as they go on: waiting, running, done."""

    def __init__(self, ui: Ui, params: Mapping[str, str]) -> None:
        self._ui = ui
        self._ids = list(dict.fromkeys(filter(None, params.get("ids", "").split(","))))
        if not 1 <= len(self._ids) <= MOST_DRAFTS:
            raise InputError(f"ids: 1 to {MOST_DRAFTS} jobs can be watched here")
        ui.desk.some(self._ids)  # raises what is wrong with them

    def look(self) -> dict[str, dict[str, Any]]:
        jobs = self._ui.desk.some(self._ids)
        return {"sent-rows": {f"sent-row-{job['id']}": row_of(job) for job in jobs}}

    def draw(self, part_id: str, data: Any) -> str:
        return self._ui.render("submit_parts.html", "sent_row", part_id, data)
