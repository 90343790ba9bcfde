"""Errors as the API tells them: one JSON form, and the HTTP status of each kind."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from jetsched.cluster.desk_base import (
    ConflictError,
    UnknownDeviceError,
    UnknownJobError,
    WontFitError,
)
from jetsched.cluster.keptreports import NoReportError
from jetsched.errors import InputError, JetschedError, NeverFitsError, UnreachableError
from jetsched.files import to_json
from jetsched.jobfile import FileProblems

log = logging.getLogger(__name__)

#: What may end a request; whatever else there is, is an error of ours.
KINDS: tuple[type[Exception], ...] = (
    JetschedError,
    RequestValidationError,
    HTTPException,
    Exception,
)


class RefusedError(InputError):
    """A request without the right token."""


class ForbiddenError(InputError):
    """The token is known, but is not for this."""


class TooManyError(InputError):
    """Too many wrong tokens came from the same address; ``wait_s`` says when to try again."""

    def __init__(self, message: str, wait_s: int) -> None:
        super().__init__(message, hint=f"try again in {wait_s} s")
        self.wait_s = wait_s


class ErrorBody(BaseModel):
    """What every answer that is no success holds."""

    error: str
    hint: str
    exit_code: int
    kind: str


def add_error_handlers(app: FastAPI) -> None:
    """Have every error come out in the one form."""
    for kind in KINDS:
        app.add_exception_handler(kind, explain)


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


def error_answer(error: JetschedError, status: int | None = None) -> JSONResponse:
    """The answer to a request that raised the error."""
    headers = {}
    if isinstance(error, TooManyError):
        headers["Retry-After"] = str(error.wait_s)
    if isinstance(error, RefusedError):
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_json(error), status or _status(error), headers)


async def explain(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that ended so."""
    if isinstance(error, JetschedError):
        return error_answer(error)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        told = InputError(
            f"the request is not valid: {where}: {first['msg']}",
            hint="what each route takes is at /docs",
        )
        return error_answer(told, 422)
    if isinstance(error, HTTPException):
        told = InputError(
            f"{request.method} {request.url.path}: {error.detail}", hint="the routes are at /docs"
        )
        answer = error_answer(told, error.status_code)
        answer.headers.update(error.headers or {})
        return answer
    log.exception("%s %s", request.method, request.url.path, exc_info=error)
    bug = JetschedError("internal error", hint="the head's logs/service.log has the traceback")
    return error_answer(bug, 500)


def _status(error: JetschedError) -> int:
    """The HTTP status of an error; the first kind that it is of counts."""
    for kind, status in (
        (RefusedError, 401),
        (ForbiddenError, 403),
        (UnknownJobError, 404),
        (UnknownDeviceError, 404),
        (NoReportError, 404),
        (ConflictError, 409),
        (TooManyError, 429),
        (FileProblems, 422),
        (NeverFitsError, 409),
        (InputError, 400),
        (UnreachableError, 503),
    ):
        if isinstance(error, kind):
            return status
    return 500
