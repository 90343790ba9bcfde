"""The page Fleet: a card for each board, or a row; what it is, does, has and lacks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse

from jetsched.cluster import boardview
from jetsched.cluster.boardorder import URGENT, natural
from jetsched.cluster.boardview import LINES, PROFILES, STATES
from jetsched.cluster.sparks import spark
from jetsched.cluster.ui_base import Ui
from jetsched.cluster.ui_board import add_board_page
from jetsched.errors import InputError
from jetsched.words import DEVICES, board_cells, done_word

Json = Mapping[str, Any]

#: What the cards can be ordered by -> its words.
ORDERS = {
    "name": "name",
    "attention": "what needs attention first",
    "memory": "memory of jobs",
    "heat": "temperature",
    "power": "power",
}
LOOKS = {"cards": "cards", "table": "a table"}
#: How often readings are shown anew, and into how many looks that is divided.
READ_S, SHARES = 3.0, 6


@dataclass(frozen=True)
class Asked:
    """Which boards are to be shown, and how; what is empty is not asked for."""

    text: str = ""
    state: str = ""
    order: str = "name"
    look: str = "cards"

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Asked:
        """From the address of a page. Raises :class:`InputError`."""
        known = {field.name for field in fields(cls)}
        for name in params:
            if name not in known:
                raise InputError(f"the page Fleet knows no {name!r}", hint=", ".join(known))
        asked = cls(**{name: value.strip()[:200] for name, value in params.items() if value})
        for name, value, words in (
            ("state", asked.state, ("", *STATES)),
            ("order", asked.order, ORDERS),
            ("look", asked.look, LOOKS),
        ):
            if value not in words:
                raise InputError(f"{name}: {value!r} is none of {', '.join(filter(None, words))}")
        return asked

    @property
    def params(self) -> dict[str, str]:
        """What :meth:`of` makes the same of."""
        usual = Asked()
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value != getattr(usual, name)}

    def link(self, **changes: str) -> str:
        """The address of this page, with some of it changed."""
        query = urlencode({**self.params, **changes})
        return "/ui/fleet" + (f"?{query}" if query else "")

    def takes(self, row: Json) -> bool:
        """Whether a board is one of those that are asked for, whatever its state."""
        words = (row["id"], row["model"], row["power_mode"], row["job_id"], row["job_name"])
        said = " ".join(str(word) for word in (*words, *row["labels"]) if word).casefold()
        return all(part in said for part in self.text.casefold().split())

    @property
    def key(self) -> Callable[[Json], Any]:
        """What the boards are sorted by."""

        def urgent(row: Json) -> Any:
            return URGENT.index(row["state"]), natural(row["id"])

        def most(name: str) -> Callable[[Json], Any]:
            return lambda row: (-(row[name] if row[name] is not None else -1e9), natural(row["id"]))

        return {
            "attention": urgent,
            "memory": most("memory_mib"),
            "heat": most("temperature_c"),
            "power": most("power_w"),
        }.get(self.order, lambda row: natural(row["id"]))


class FleetView:
    """The boards that are asked for, and how many there are in each state.

    A card has two parts, so that a reading does not replace what a person is about to click.
    """

    def __init__(self, ui: Ui, params: Mapping[str, str]) -> None:
        self._ui = ui
        self._asked = Asked.of(params)
        self._what: dict[str, Any] = {}
        self._now: dict[str, Any] = {}
        self._due: dict[str, _Due] = {}

    def look(self) -> dict[str, dict[str, Any]]:
        rows = [row for row in self._ui.desk.devices() if self._asked.takes(row)]
        counts = Counter(row["state"] for row in rows)
        states = tuple((state, counts[state]) for state in STATES if counts[state])
        summary = {"fleet-summary": (self._asked.params, states, _power(rows))}
        shown = [row for row in rows if self._asked.state in ("", row["state"])]
        shown.sort(key=self._asked.key)
        none = {} if shown else {"fleet-none": (self._asked.params, bool(rows))}
        if self._asked.look == "table":
            cells = {f"row-{row['id']}": _cells(row) for row in shown}
            return {"fleet-summary-list": summary, "fleet-rows": cells, "fleet-none-list": none}
        self._what = {f"what-{row['id']}": boardview.what(row) for row in shown}
        self._now = self._seen(shown)
        return {
            "fleet-summary-list": summary,
            # A card stays as it is once it is there; what is in it is drawn anew.
            "fleet-cards": {f"board-{row['id']}": row["id"] for row in shown},
            "fleet-what": self._what,
            "fleet-now": self._now,
            "fleet-none-list": none,
        }

    def draw(self, part_id: str, data: Any) -> str:
        kind, _, device_id = part_id.partition("-")
        match kind:
            case "board":
                inner = [
                    self.draw(f"what-{device_id}", self._what[f"what-{device_id}"]),
                    self.draw(f"now-{device_id}", self._now[f"now-{device_id}"]),
                ]
                return self._render("card", device_id, *inner)
            case "what":
                return self._render("what", data, STATES[data["state"]], PROFILES)
            case "now":
                return self._render("now", data, LINES, spark)
            case "row":
                return self._render("row", data, STATES[data["state"]])
        macro = "summary" if part_id == "fleet-summary" else "empty"
        return self._render(macro, *data, Asked.of(data[0]), STATES)

    def _render(self, macro: str, *values: Any) -> str:
        return self._ui.render("fleet_parts.html", macro, *values)

    def _seen(self, rows: Sequence[Json]) -> dict[str, Any]:
        """What has been read of the boards: of each every few seconds, not of all at once.

        So a look costs about the same each time, and what happens is not kept waiting by it.
        """
        readings, now = self._ui.desk.readings(), time.monotonic()
        due, found = {}, {}
        for place, row in enumerate(rows):
            part_id, mark = f"now-{row['id']}", (row["state"], row["job_id"])
            known, recent = self._due.get(part_id), readings.get(row["id"])
            if known is not None and known.mark == mark and now < known.at and recent is not None:
                due[part_id], found[part_id] = known, self._now[part_id]
                continue
            again = now + (READ_S if known is not None else READ_S * (place % SHARES) / SHARES)
            due[part_id] = _Due(again, mark)
            last_s = recent.last_s if recent is not None else None
            lines = boardview.sparks(recent, row["memory_total_mib"]) if recent is not None else {}
            found[part_id] = boardview.now(row, lines, last_s)
        self._due = due
        return found


@dataclass(frozen=True)
class _Due:
    """When the readings of a board are shown anew (monotonic), or when ``mark`` is another."""

    at: float
    mark: tuple[Any, ...]


def _power(rows: Sequence[Json]) -> tuple[int, int] | None:
    """Watts of all boards that tell it, and how many these are."""
    told = [row["power_w"] for row in rows if row["power_w"] is not None]
    return (round(sum(told)), len(told)) if told else None


def _cells(row: Json) -> dict[str, Any]:
    """A row of `jetsched devices`; when its job ends is a moment, which the browser counts down."""
    cells = dict(zip(DEVICES, board_cells({**row, "overdue_s": 0.0}), strict=True))
    cells["DONE"] = done_word({"overdue_s": 0.0, "finish_s": None})
    return {
        "id": row["id"],
        "state": row["state"],
        "job_id": row["job_id"],
        "finish_s": row["finish_s"],
        "cells": cells,
        "emulated": bool(row["emulated"]),
    }


def add_fleet_page(ui: Ui) -> None:
    """Put the page, and the one of a board, into the dashboard."""
    ui.live.add("fleet", lambda params: FleetView(ui, params), period_s=0.5, readings=True)

    @ui.router.get("/fleet")
    def fleet(request: Request) -> HTMLResponse:
        """All boards."""
        params, problem = dict(request.query_params), None
        try:
            asked = Asked.of(params)
        except InputError as error:
            asked, problem = Asked(), error
        return ui.page(
            request,
            "fleet.html",
            status_code=200 if problem is None else 400,
            asked=asked,
            problem=problem,
            shown=ui.live.shown("fleet", asked.params),
            states=STATES,
            orders=ORDERS,
            looks=LOOKS,
            titles=DEVICES,
        )

    add_board_page(ui)
