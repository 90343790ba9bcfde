"""The dashboard: pages for people, on the application that serves the API."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from jetsched.cluster.api_events import Followers
from jetsched.cluster.api_gate import Guard
from jetsched.cluster.desk import Desk
from jetsched.cluster.rules import Rules
from jetsched.cluster.ui_base import WEB, FrameView, Ui
from jetsched.cluster.ui_costs import add_costs_pages
from jetsched.cluster.ui_errors import add_error_pages
from jetsched.cluster.ui_fleet import add_fleet_page
from jetsched.cluster.ui_front import Front
from jetsched.cluster.ui_job import add_job_page
from jetsched.cluster.ui_live import Hub
from jetsched.cluster.ui_login import add_login
from jetsched.cluster.ui_queue import add_queue_page
from jetsched.cluster.ui_submit import add_submit_page
from jetsched.cluster.ui_timeline import add_timeline_page
from jetsched.cluster.ui_whatif import add_whatif_page


class _Static(StaticFiles):
    """Files that a browser asks about each time: after an upgrade none of them may be old."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers.update({"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"})
        return answer


def add_pages(
    app: FastAPI,
    desk: Desk,
    rules: Rules,
    home: Path,
    *,
    guard: Guard,
    front: Front,
    followers: Followers,
) -> Ui:
    """Put the pages into the application."""
    ui = Ui(desk, rules, home, Hub(desk.feed, followers))
    ui.live.add("frame", lambda params: FrameView(ui), period_s=0.5)
    ui.live.add_route(ui.router)
    add_error_pages(app, ui)
    add_login(ui, front, guard)
    add_fleet_page(ui)
    add_queue_page(ui)
    add_job_page(ui)
    add_submit_page(ui)
    add_timeline_page(ui)
    add_costs_pages(ui)
    add_whatif_page(app, ui)

    @app.get("/", include_in_schema=False)
    @app.get("/ui", include_in_schema=False)
    @app.get("/ui/", include_in_schema=False)
    def first() -> RedirectResponse:
        return RedirectResponse("/ui/fleet", 303)

    app.mount("/ui/static", _Static(directory=WEB / "static"))
    app.include_router(ui.router)
    return ui
