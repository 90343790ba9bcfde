"""The page *Timeline*: what ran, runs and will run on each board, as bars or as a table."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse

from jetsched.cluster.desk_timeline import TimeLane, Timeline, TimelineWish
from jetsched.cluster.endmarks import ending_of
from jetsched.cluster.timebars import TimeBar
from jetsched.cluster.timescale import on_the_clock
from jetsched.cluster.timewindow import SPANS, USUAL, TimeWindow, date_of, window_at
from jetsched.cluster.ui_base import Ui
from jetsched.cluster.ui_timebars import axis_html, keys_html, lane_html, settled
from jetsched.errors import InputError
from jetsched.problems import quoted

#: So many boards are on a page: as many as are drawn and sent at once without anybody waiting.
LANES = 200
#: The most rows of the table.
MOST_ROWS = 500
_SHAPES = ("bars", "table")


@dataclass(frozen=True)
class Look:
    """What is looked at: the parameters of the page's address, checked."""

    span: str = USUAL
    at: str = ""
    text: str = ""
    page: int = 1
    shape: str = "bars"

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Look:
        """Raises :class:`InputError` for what is none."""
        page = params.get("page") or "1"
        if not (page.isascii() and page.isdigit() and 1 <= int(page[:9]) <= 10_000):
            raise InputError(f"there is no page {quoted(page)}", hint="pages count from 1")
        shape = params.get("view") or "bars"
        if shape not in _SHAPES:
            raise InputError(f"there is no view {quoted(shape)}", hint="views: bars, table")
        look = cls(
            params.get("span") or USUAL,
            params.get("at") or "",
            (params.get("text") or "").strip()[:100],
            int(page),
            shape,
        )
        look.window(time.time())
        return look

    def window(self, now_s: float) -> TimeWindow:
        return window_at(self.span, self.at, now_s)

    def wish(self, window: TimeWindow) -> TimelineWish:
        skip = (self.page - 1) * LANES
        joins = self.shape == "bars"
        return TimelineWish(window.from_s, window.to_s, self.text, skip, LANES, joins)

    def address(self, **changes: Any) -> str:
        """The page's address with some parameters changed; the usual ones are left out."""
        changed = replace(self, **changes)
        params = {
            "span": changed.span if changed.span != USUAL else "",
            "at": changed.at,
            "text": changed.text,
            "page": str(changed.page) if changed.page > 1 else "",
            "view": changed.shape if changed.shape != "bars" else "",
        }
        query = urlencode({name: value for name, value in params.items() if value})
        return "/ui/timeline" + (f"?{query}" if query else "")


def add_timeline_page(ui: Ui) -> None:
    """Put the page and its live view into the application."""
    ui.live.add("timeline", lambda params: TimelineView(ui, Look.of(params)), period_s=0.5)

    @ui.router.get("/timeline")
    def timeline(request: Request) -> HTMLResponse:
        params = {name: value for name, value in request.query_params.items()}
        try:
            look = Look.of(params)
        except InputError as error:
            return ui.page(
                request, "timeline.html", status_code=400, look=Look(), wrong=error, shown=None,
                keys="", spans=SPANS, day="",
            )  # fmt: skip
        day = date_of(look.window(time.time()).middle_s) if look.at else ""
        wanted = {n: v for n, v in params.items() if n in ("span", "at", "text", "page", "view")}
        return ui.page(
            request,
            "timeline.html",
            look=look,
            wrong=None,
            shown=ui.live.shown("timeline", wanted),
            keys=keys_html(),
            spans=SPANS,
            day=day,
        )


@dataclass(frozen=True)
class Head:
    """What stands above the lanes."""

    window: TimeWindow
    boards: int
    waiting: int
    placed: int
    paused: str | None


@dataclass(frozen=True)
class TableRow:
    """A bar with its board."""

    device: str
    emulated: bool
    bar: TimeBar


class TimelineView:
    """The timeline with some parameters, as live parts."""

    def __init__(self, ui: Ui, look: Look) -> None:
        self._ui = ui
        self._look = look

    def look(self) -> dict[str, dict[str, Any]]:
        window = self._look.window(time.time())
        found = self._ui.desk.timeline(self._look.wish(window))
        head = Head(window, found.boards, found.waiting, found.placed, found.paused)
        parts: dict[str, dict[str, Any]] = {"timeline-head": {"timeline-nav": head}}
        if self._look.shape == "table":
            return {**parts, "timeline-rows": _rows(found, window)}
        lanes = {f"lane-{lane.device}": (settled(lane, window), window) for lane in found.lanes}
        return {**parts, "timeline-top": {"timeline-axis": window}, "timeline-lanes": lanes}

    def draw(self, part_id: str, data: Any) -> str:
        now_s = time.time()
        if part_id == "timeline-nav":
            scale = on_the_clock(data.window.from_s, data.window.to_s)
            template = "timeline_parts.html"
            return self._ui.render(template, "head", data, self._look, LANES, list(SPANS), scale)
        if part_id == "timeline-axis":
            return axis_html(part_id, data, on_the_clock(data.from_s, data.to_s), now_s)
        if isinstance(data, TableRow):
            ending = ending_of(data.bar.outcome)
            sign = "" if ending is None else ending.sign
            return self._ui.render("timeline_parts.html", "row", part_id, data, sign)
        lane, window = data
        return lane_html(part_id, lane, window, now_s)


def _rows(found: Timeline, window: TimeWindow) -> dict[str, TableRow]:
    """The bars of all lanes, the latest first; a row's id names its attempt."""
    lanes: list[TimeLane] = [settled(lane, window) for lane in found.lanes]
    rows = [TableRow(lane.device, lane.emulated, bar) for lane in lanes for bar in lane.bars]
    rows.sort(key=lambda row: (-row.bar.start_s, row.device))
    return {f"row-{row.bar.job_id}-{row.bar.attempt}": row for row in rows[:MOST_ROWS]}
