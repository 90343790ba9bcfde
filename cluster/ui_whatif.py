"""The page What if: a question about the past or the queue, and what came of it beside what was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from jetsched import policies
from jetsched.cluster.aside import Aside, Going
from jetsched.cluster.keptreports import kept_reports
from jetsched.cluster.store import JOURNAL
from jetsched.cluster.ui_base import Ui
from jetsched.cluster.ui_reports import add_reports
from jetsched.cluster.whatif import Answer, Question, answer_of
from jetsched.errors import InputError
from jetsched.files import to_json
from jetsched.profiler.devices import DEVICE_MODELS

SPANS = ("last-day", "last-week", "last-month", "all")
#: They need boards that run several jobs at a time, which real ones do not.
_NOT_LIVE = ("colocation",)
#: More kinds of board than these make no list to choose from.
_MOST_KINDS = 40


class QuestionText(BaseModel):
    """A question as it comes: see :class:`~jetsched.cluster.whatif.Question`."""

    model_config = ConfigDict(extra="forbid")

    of: Literal["history", "queue"] = "history"
    span: str = Field(default="last-week", max_length=100)
    policy: str = Field(default="", max_length=200)
    boards: str = Field(default="", max_length=1000)

    @property
    def question(self) -> Question:
        """Raises :class:`InputError` for one that makes no sense."""
        return Question(self.of, self.span, self.policy, self.boards).check()


class WhatIf:
    """One question at a time, worked out beside the service, and the last answer."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        self._aside = Aside(closing=ui.live.closing, turn=ui.turn)
        self._answer: Answer | None = None

    def ask(self, question: Question) -> dict[str, Any]:
        """Have it worked out. Raises :class:`InputError` while another one is."""
        journal = str((self._ui.home / JOURNAL).absolute())
        self._aside.start(
            question,
            "jetsched.cluster.whatif_child",
            [journal],
            asdict(question),
            read=answer_of,
        )
        return self.state()

    def cancel(self) -> dict[str, Any]:
        """Stop what is being worked out. Raises :class:`InputError` where nothing is."""
        if not self._aside.cancel():
            raise InputError("nothing is being worked out", hint="ask a question first")
        return self.state()

    def state(self) -> dict[str, Any]:
        """How it goes, as JSON values; ``answer`` is the last one, whatever is asked now."""
        return {**self.going(), "answer": to_json(self.answer())}

    def going(self) -> dict[str, Any]:
        """What is being worked out, or was last, and how that went."""
        going = self._aside.going
        if going is None:
            going = Going(None, running=False)
        question: Question | None = going.mark
        return {
            "running": going.running,
            "question": None if question is None else question.words,
            "done": going.done,
            "total": going.total,
            "error": going.error,
            "hint": going.hint,
            "took_s": going.took_s,
        }

    def answer(self) -> Answer | None:
        """The last answer there was."""
        going = self._aside.going
        if going is not None and going.result is not None:
            self._answer = going.result
        return self._answer


class WhatIfView:
    """The live parts of the page."""

    def __init__(self, ui: Ui, whatif: WhatIf) -> None:
        self._ui, self._whatif = ui, whatif

    def look(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            "whatif-going": {"whatif-how": self._whatif.going()},
            "whatif-answer": {"whatif-came": self._whatif.answer()},
        }

    def draw(self, part_id: str, data: Any) -> str:
        if part_id == "whatif-how":
            return self._ui.render("whatif_parts.html", "how", data)
        return self._ui.render("whatif_parts.html", "came", data)


def kinds_of(ui: Ui) -> list[tuple[str, str]]:
    """(what a question calls it, words) of boards that can be added: such as are here, and all."""
    found: dict[Any, str] = {}
    for id, kind in ui.desk.device_classes().items():
        found.setdefault(kind, id)
    here = [(id, f"like {id}: {kind.label}") for kind, id in found.items()][:_MOST_KINDS]
    sheets = [
        (model.name, f"{model.title}, by its data sheet")
        for model in DEVICE_MODELS.values()
        if model.cuda_cores
    ]
    return here + sheets


def add_whatif_page(app: FastAPI, ui: Ui) -> None:
    """Put the page, its routes of the API and the kept reports into the application."""
    whatif = WhatIf(ui)
    ui.live.add("whatif", lambda params: WhatIfView(ui, whatif), period_s=0.5, readings=True)
    add_reports(ui)

    @ui.router.get("/whatif")
    def page(request: Request) -> HTMLResponse:
        """Ask, and see the last answer."""
        given = QuestionText.model_construct(**_known(request))
        names = [name for name in policies.BUILT_IN if name not in _NOT_LIVE]
        return ui.page(
            request,
            "whatif.html",
            shown=ui.live.shown("whatif"),
            given=given,
            spans=SPANS,
            policies=names,
            kinds=kinds_of(ui),
            reports=kept_reports(ui.home),
            command=_command(given),
        )

    @app.post("/whatif", status_code=202, tags=["what if"])
    def ask(text: QuestionText) -> dict[str, Any]:
        """Have a question worked out, one at a time: the history or the queue under another
        `policy`, or with `boards` added (`orin-nano:2,nx-1:1`)."""
        return whatif.ask(text.question)

    @app.get("/whatif", tags=["what if"])
    def state() -> dict[str, Any]:
        """How far it is, and the last answer."""
        return whatif.state()

    @app.delete("/whatif", tags=["what if"])
    def cancel() -> dict[str, Any]:
        """Stop what is being worked out."""
        return whatif.cancel()


def _known(request: Request) -> dict[str, Any]:
    """What the address says of a question: a form that was sent without a script."""
    found = {k: v[:200] for k, v in request.query_params.items() if k in QuestionText.model_fields}
    like, count = request.query_params.get("like", ""), request.query_params.get("count", "")
    if like and count.isascii() and count.isdigit() and int(count[:4]):
        found["boards"] = f"{like[:100]}:{count[:4]}"
    return found


def _command(given: QuestionText) -> str:
    """What to type instead, where there is no script; "" for what no command does."""
    try:
        return given.question.command
    except InputError:
        return ""
