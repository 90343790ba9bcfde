"""The HTTP API: a thin skin over the :class:`Desk`. On the loopback, and only with the token."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from jetsched import __version__
from jetsched.cluster.desk import Desk, UnknownJobError, WontFitError
from jetsched.errors import InputError, JetschedError, NeverFitsError, UnreachableError
from jetsched.files import to_json
from jetsched.jobfile import FileProblems, JobSpec, Problem, parse_job
from jetsched.profiler.models import positions

#: The most that a request may be.
LARGEST_BODY_BYTES = 4 * 1024 * 1024


class JobText(BaseModel):
    """A job file: its text, or what it says as JSON in ``spec``.

    ``file`` is what problems call it; paths in it are relative to ``folder``.
    """

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    spec: dict[str, Any] | None = None
    file: str = "<job>"
    folder: str | None = None


class Submission(BaseModel):
    """Jobs that are submitted together, all or none."""

    model_config = ConfigDict(extra="forbid")

    jobs: list[JobText] = Field(min_length=1, max_length=10_000)
    hold: bool = False  # queue also what no device can run now
    user: str = ""


class PolicyWish(BaseModel):
    """Another policy: a name, ``module:Class`` or the absolute path of a file, with options."""

    model_config = ConfigDict(extra="forbid")

    policy: str = Field(min_length=1, max_length=4096)


class RefusedError(JetschedError):
    """A request without the right token."""


def create_app(desk: Desk, token: str) -> FastAPI:
    """The application; every request but /healthz must carry ``Authorization: Bearer <token>``."""

    def check_token(authorization: Annotated[str, Header()] = "") -> None:
        if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise RefusedError("the token is missing or wrong")

    # Without the pages that describe the API: they would be told to anybody.
    app = FastAPI(title="jetsched", version=__version__, openapi_url=None)
    guarded = [Depends(check_token)]
    for kind in (JetschedError, RequestValidationError):
        app.add_exception_handler(kind, _explain)

    @app.middleware("http")
    async def limit_body(request: Request, call_next: Any) -> Any:
        # The whole body is read before the token is looked at.
        if "transfer-encoding" in request.headers:
            error = InputError("the request does not say how long it is")
            return JSONResponse(error_json(error), 411)
        if int(request.headers.get("content-length") or 0) > LARGEST_BODY_BYTES:
            error = InputError(f"the request is larger than {LARGEST_BODY_BYTES:,} bytes")
            return JSONResponse(error_json(error), 413)
        return await call_next(request)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    @app.get("/status", dependencies=guarded)
    def status() -> dict[str, Any]:
        return desk.health()

    @app.post("/jobs", status_code=201, dependencies=guarded)
    def submit(wish: Submission) -> list[dict[str, Any]]:
        return desk.submit(_specs(desk, wish.jobs), user=wish.user, hold=wish.hold)

    @app.get("/jobs", dependencies=guarded)
    def jobs(open: bool = False) -> list[dict[str, Any]]:
        return desk.jobs(open_only=open)

    @app.get("/jobs/{job_id}", dependencies=guarded)
    def job(job_id: str) -> dict[str, Any]:
        return desk.job(job_id)

    @app.get("/jobs/{job_id}/why", dependencies=guarded)
    def why(job_id: str) -> dict[str, Any]:
        return desk.why(job_id)

    @app.get("/jobs/{job_id}/log", dependencies=guarded)
    def log(
        job_id: str,
        offset: Annotated[int, Query(ge=0)] = 0,
        attempt: Annotated[int | None, Query(ge=1)] = None,
    ) -> dict[str, Any]:
        return desk.log(job_id, attempt, offset)

    @app.post("/jobs/{job_id}/cancel", dependencies=guarded)
    def cancel(job_id: str) -> dict[str, Any]:
        return desk.cancel(job_id)

    @app.post("/plan", dependencies=guarded)
    def plan(wish: JobText) -> dict[str, Any]:
        return desk.plan(_specs(desk, [wish])[0])

    @app.post("/policy", dependencies=guarded)
    def use_policy(wish: PolicyWish) -> dict[str, Any]:
        return desk.use_policy(wish.policy)

    @app.get("/devices", dependencies=guarded)
    def devices() -> list[dict[str, Any]]:
        return desk.devices()

    return app


def _specs(desk: Desk, wishes: list[JobText]) -> list[JobSpec]:
    """The jobs of all texts. Raises :class:`FileProblems` with the problems of all of them."""
    known = desk.device_names()
    specs: list[JobSpec] = []
    problems: list[Problem] = []
    for wish in wishes:
        if (wish.text is None) == (wish.spec is None):
            raise InputError("a job needs either a text or a spec")
        text = wish.text if wish.text is not None else json.dumps(wish.spec)
        folder = Path(wish.folder) if wish.folder is not None else None
        try:
            specs.append(
                parse_job(text, wish.file, folder=folder, known_devices=known, positions=positions)
            )
        except FileProblems as found:
            problems += found.problems
    if problems:
        raise FileProblems(problems)
    return specs


def error_json(error: JetschedError) -> dict[str, Any]:
    """An error as the API tells it: ``error``, ``hint``, ``exit_code``, and what it is about."""
    answer: dict[str, Any] = {
        "error": str(error),
        "hint": error.hint,
        "exit_code": error.exit_code,
        "kind": type(error).__name__,
    }
    if isinstance(error, FileProblems):
        answer["problems"] = error.to_json()
    if isinstance(error, WontFitError):
        answer["decision"] = to_json(error.decision)
    return answer


async def _explain(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        error = InputError(f"the request is not valid: {where}: {first['msg']}")
        return JSONResponse(error_json(error), 422)
    assert isinstance(error, JetschedError)
    return JSONResponse(error_json(error), _status(error))


def _status(error: JetschedError) -> int:
    if isinstance(error, RefusedError):
        return 401
    if isinstance(error, UnknownJobError):
        return 404
    if isinstance(error, FileProblems):
        return 422
    if isinstance(error, NeverFitsError):
        return 409
    if isinstance(error, InputError):
        return 400
    return 503 if isinstance(error, UnreachableError) else 500
