"""The page of one board: its last minutes, what closes it, how it drifts, what the doctor says."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from jetsched.cluster.boardview import (
    LEVELS,
    LINES,
    PROFILES,
    STATES,
    labels_of,
    memory,
    scale,
    what,
)
from jetsched.cluster.desk_base import UnknownDeviceError
from jetsched.cluster.recent import Recent
from jetsched.cluster.sparks import chart
from jetsched.cluster.ui_base import Ui
from jetsched.errors import InputError
from jetsched.words import share_done

Json = Mapping[str, Any]

#: How far back the lines go, of a board that was silent in between.
LINES_S = 600.0


class BoardView:
    """One board. Its parts: what it is and does, what is wrong with it, its lines, the doctor."""

    def __init__(self, ui: Ui, params: Mapping[str, str]) -> None:
        if set(params) != {"id"}:
            raise InputError("the view of a board wants its id, and nothing else")
        self._ui, self._id = ui, params["id"]

    def look(self) -> dict[str, dict[str, Any]]:
        desk, board = self._ui.desk, self._id
        top, rest = f"top-{board}", f"rest-{board}"
        try:
            row, recent = desk.device(board), desk.reading(board)
        except UnknownDeviceError:  # it was removed while somebody looked at it
            return {top: {f"one-gone-{board}": (board,)}, rest: {}}
        share = share_done(row["progress"])
        done = None if share is None else round(100 * share)
        head = {**what(row), "done": done, "closings": _closings(row)}
        parts = {
            "facts": (_facts(row),),
            "lines": (board, _lines(row, recent)),
            "drift": (board, dict(row["drift"]), _profile(row["profile"])),
            "doctor": (board, desk.last_doctor(board)),
        }
        return {
            top: {f"one-head-{board}": (head,)},
            rest: {f"one-{name}-{board}": data for name, data in parts.items()},
        }

    def draw(self, part_id: str, data: Any) -> str:
        macro = part_id.split("-")[1]
        match macro:
            case "head":
                more: tuple[Any, ...] = (STATES[data[0]["state"]],)
            case "lines":
                data, more = (data[0], [(line, chart(*line)) for line in data[1]]), ()
            case "drift":
                more = (PROFILES,)
            case "doctor":
                more = (LEVELS,)
            case _:
                more = ()
        return self._ui.render("board_parts.html", macro, *data, *more)


def _closings(row: Json) -> tuple[tuple[str, str], ...]:
    return tuple((closing["code"], closing["text"]) for closing in row["closings"])


def _profile(profile: Json | None) -> dict[str, Any] | None:
    """With the moment as seconds, which is how a page tells moments."""
    if profile is None:
        return None
    at_s = None
    with suppress(ValueError, AttributeError):  # an old row may have none
        at_s = datetime.fromisoformat(profile["measured_at"].replace("Z", "+00:00")).timestamp()
    return {"verdict": profile["verdict"], "text": profile["text"], "at_s": at_s}


def _facts(row: Json) -> dict[str, Any]:
    """What stands in the list of facts; numbers that move with each reading are rounded."""
    kind = row["device_class"] or {}
    free = row["disk_free_mib"]
    return {
        "id": row["id"],
        "model": row["model"],
        "software": kind.get("software") or "",
        "labels": labels_of(row),
        "memory": memory(row),
        "throttled": row["throttled"],
        "disk": None if free is None else round(free / 1024, 1),
        "emulated": bool(row["emulated"]),
        "scale": row["scale"],
        "cap": row["cap"] or "",
        "slowdown": row["slowdown"],
    }


def _lines(row: Json, recent: Recent) -> tuple[Any, ...]:
    """What :func:`chart` draws, for each quantity that the board tells."""
    told = recent.told(None if recent.last_s is None else recent.last_s - LINES_S)
    found = []
    for name, (word, unit, least) in LINES.items():
        values = told[name]
        known = [value for value in values if value is not None]
        if known:
            low, high = scale(name, known, row["memory_total_mib"], least)
            found.append((word, tuple(told["at_s"]), tuple(values), low, high, unit))
    return tuple(found)


def add_board_page(ui: Ui) -> None:
    """Put the page into the dashboard."""
    ui.live.add("board", lambda params: BoardView(ui, params), period_s=1.0, readings=True)

    @ui.router.get("/devices/{device_id}")
    def board(request: Request, device_id: str) -> HTMLResponse:
        """One board."""
        try:
            ui.desk.device(device_id)
        except UnknownDeviceError:
            known = sorted(row["id"] for row in ui.desk.devices())
            return ui.page(
                request,
                "board.html",
                status_code=404,
                device_id=device_id,
                shown=None,
                known=known,
            )
        shown = ui.live.shown("board", {"id": device_id})
        return ui.page(request, "board.html", device_id=device_id, shown=shown, known=[])
