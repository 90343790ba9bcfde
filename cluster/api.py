"""The HTTP API: a thin skin over the :class:`Desk`. The routes are in ``api_*.py``, by subject."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from jetsched import __version__
from jetsched.cluster.api_boards import add_board_routes
from jetsched.cluster.api_errors import add_error_handlers
from jetsched.cluster.api_gate import Gate, Guard
from jetsched.cluster.api_jobs import add_job_routes
from jetsched.cluster.desk import Desk
from jetsched.cluster.joining import Joining, add_join_route

DESCRIPTION = """Submit jobs, ask about them, and about the boards that they run on.

Every request but those of the group *open* carries `Authorization: Bearer TOKEN`: the token of this
run, which the command line finds in the data home, or one that `jetsched token new` made. Whatever
is not a success holds `error`, `hint`, `exit_code` and `kind`."""


def create_app(desk: Desk, guard: Guard, joining: Joining | None = None) -> FastAPI:
    """The application; the guard's gate stands before everything. Without joining none can join."""
    app = FastAPI(
        title="jetsched",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    add_error_handlers(app)
    app.add_middleware(Gate, guard=guard)

    @app.get("/healthz", tags=["open"])
    def healthz() -> dict[str, Any]:
        """Whether the service answers. Open to anybody, and says nothing more."""
        return {"status": "ok", "version": __version__}

    add_job_routes(app, desk)
    add_board_routes(app, desk)
    if joining is not None:
        add_join_route(app, joining)
    return app
