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
from jetsched.cluster.drafts import MOST_DRAFTS, Checked, Draft, look_over
from jetsched.cluster.ui_base import HEADERS, Ui
from jetsched.cluster.ui_queue import row_of
from jetsched.errors import InputError
from jetsched.jobmodel import Surroundings
from jetsched.profiler.models import positions

#: What a form begins with, for somebody who has none yet.
EXAMPLES = ("train-tiny.yaml", "train-distilgpt2.yaml", "command.yaml")
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
        html = ui.render("submit_parts.html", "looked", found, [_rows(o) for o in found.checked])
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


def _rows(one: Checked) -> list[dict[str, Any]]:
    """The rows of a plan's table, for the macro of ``decision.html``."""
    if one.planned is None:
        return []
    decision = one.planned.decision
    return [
        {
            "device": row.device,
            "verdict": row.verdict,
            "chosen": row.chosen,
            "source": row.source,
            "emulated": row.device in one.planned.emulated,
            "cells": cells,
        }
        for row, cells in zip(decision.rows, words.decision_rows(decision), strict=True)
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
