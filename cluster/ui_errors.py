"""What a person sees where a page cannot be shown: the same error as a program gets, as a page."""

from __future__ import annotations

import json

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from jetsched.cluster.api_errors import KINDS, explain
from jetsched.cluster.ui_base import Ui


def add_error_pages(app: FastAPI, ui: Ui) -> None:
    """Have browsers get pages instead of JSON, below the pages' own address."""

    async def explained(request: Request, error: Exception) -> Response:
        answer = await explain(request, error)
        if not _wants_page(request):
            return answer
        problem = {**json.loads(bytes(answer.body)), **_for_people(request, error)}
        # No frame: it would ask the scheduler, which may be what does not answer.
        return await run_in_threadpool(
            ui.page,
            request,
            "error.html",
            status_code=answer.status_code,
            framed=False,
            problem=problem,
        )

    for kind in KINDS:
        app.add_exception_handler(kind, explained)


def _for_people(request: Request, error: Exception) -> dict[str, str]:
    """What is said otherwise than to programs, which are told of routes and what they take."""
    if isinstance(error, HTTPException) and error.detail == "Not Found":
        return {"error": f"there is no page {request.url.path}", "hint": "is the address whole?"}
    if isinstance(error, HTTPException):
        return {"error": error.detail, "hint": ""}
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        name = str(first["loc"][-1])
        is_missing = first["type"] == "missing"
        return {
            "error": f"the address cannot be understood: {name}: {first['msg']}",
            "hint": "is the address whole?" if is_missing else f"leave {name} out of it",
        }
    return {}


def _wants_page(request: Request) -> bool:
    is_page = request.url.path.startswith("/ui/") and request.method in ("GET", "HEAD")
    return is_page and "text/html" in request.headers.get("accept", "")
