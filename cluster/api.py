"""The HTTP API: a thin skin over the :class:`Desk`. The routes are in ``api_*.py``, by subject."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from jetsched import __version__
from jetsched.cluster.api_boards import add_board_routes
from jetsched.cluster.api_control import add_control_routes
from jetsched.cluster.api_docs import add_docs_page
from jetsched.cluster.api_errors import add_error_handlers
from jetsched.cluster.api_events import Followers, add_event_routes
from jetsched.cluster.api_files import add_file_routes
from jetsched.cluster.api_gate import Gate, Guard, Pages
from jetsched.cluster.api_jobs import add_job_routes
from jetsched.cluster.api_journal import add_journal_route
from jetsched.cluster.api_metrics import add_metrics_route
from jetsched.cluster.api_timeline import add_timeline_route
from jetsched.cluster.desk import Desk
from jetsched.cluster.joining import Joining, add_join_route
from jetsched.cluster.pulse import BEAT_S, Pulse
from jetsched.cluster.rules import EVERYTHING, Rules
from jetsched.cluster.ui_missing import add_missing_page

DESCRIPTION = """Submit jobs, ask about them, and about the boards that they run on.

Every request but those of the group *open* carries `Authorization: Bearer TOKEN`: the token of this
run, which the command line finds in the data home, or one that `jetsched token new` made. Whatever
is not a success holds `error`, `hint`, `exit_code` and `kind`."""


def create_app(
    desk: Desk,
    guard: Guard,
    rules: Rules = EVERYTHING,
    *,
    joining: Joining | None = None,
    journal: Path | None = None,
    home: Path | None = None,
    closing: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """The application; the guard's gate stands before everything.

    Without ``joining`` no board can join, without ``home``, the head's data home, there are no
    pages for people. ``journal`` is the file whose size /metrics tells; ``closing`` says that the
    server wants to end, so that nobody follows any longer.
    """
    pulse = Pulse(desk)
    app = FastAPI(
        title="jetsched",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=_beating(pulse),
    )
    add_error_handlers(app)
    followers = Followers(closing)
    front = _add_pages(app, desk, guard, rules, home, followers) if home is not None else None
    app.add_middleware(Gate, guard=guard, pages=front)

    @app.get("/healthz", tags=["open"])
    def healthz() -> JSONResponse:
        """Whether the service answers and its loop turns (503 if not). Open to anybody."""
        told = {"version": __version__, "loop_lag_s": round(pulse.lag_s, 3)}
        if pulse.turns:
            return JSONResponse({"status": "ok", **told})
        return JSONResponse({"status": "stuck", **told, **_stuck(pulse)}, 503)

    add_job_routes(app, desk, rules)
    add_event_routes(app, desk, followers)
    add_board_routes(app, desk)
    add_timeline_route(app, desk)
    add_control_routes(app, desk)
    add_file_routes(app, desk)
    add_metrics_route(app, desk, pulse, journal)
    if journal is not None:
        add_journal_route(app, journal)
    if joining is not None:
        add_join_route(app, joining)
    add_docs_page(app)
    return app


def _add_pages(
    app: FastAPI, desk: Desk, guard: Guard, rules: Rules, home: Path, followers: Followers
) -> Pages | None:
    """The pages, and who lets browsers in; a word about it where the extra is not installed."""
    try:
        from jetsched.cluster.ui import add_pages
        from jetsched.cluster.ui_front import Front
    except ImportError as error:
        if error.name not in ("jinja2", "markupsafe", "itsdangerous"):
            raise
        add_missing_page(app)
        return None
    front = Front(guard.sessions())
    add_pages(app, desk, rules, home, guard=guard, front=front, followers=followers)
    return front


def _stuck(pulse: Pulse) -> dict[str, Any]:
    return {
        "error": f"the scheduler's loop has not turned for {pulse.silent_s:.0f} s",
        "hint": "see logs/service.log on the head; jetsched up starts a dead one again",
        "exit_code": 5,
        "kind": "UnreachableError",
    }


def _beating(pulse: Pulse) -> Callable[[FastAPI], Any]:
    """Has the loop asked every few seconds for as long as the application lives."""

    async def beat() -> None:
        while True:
            await run_in_threadpool(pulse.beat)
            await asyncio.sleep(BEAT_S)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(beat())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return lifespan
