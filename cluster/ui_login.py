"""Logging in with a token, and out; links that log in once."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Header, Request
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from jetsched.cluster.api_errors import RefusedError
from jetsched.cluster.api_gate import Guard
from jetsched.cluster.ui_base import Ui
from jetsched.cluster.ui_front import Front, peer_of, refuse_other_sites
from jetsched.errors import InputError

FIRST = "/ui/fleet"
LONGEST_FORM_BYTES = 4096


def add_login(ui: Ui, front: Front, guard: Guard) -> None:
    """Put the routes into the application."""

    @ui.router.get("/login")
    def login(request: Request, ticket: str = "", next: str = FIRST) -> Response:
        if ticket:
            cookie = front.sessions.of_ticket(ticket, peer_of(request.scope))
            if cookie is not None:
                return _welcome(request, cookie, next)
        wrong = "that link is used up or too old: make another one" if ticket else ""
        return ui.page(request, "login.html", framed=False, next=_inside(next), wrong=wrong)

    @ui.router.post("/login")
    async def log_in(request: Request) -> Response:
        body = await request.body()
        if len(body) > LONGEST_FORM_BYTES:
            return await run_in_threadpool(_refused, request, FIRST, "that is no token")
        form = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
        token = form.get("token", [""])[0].strip()
        wanted = form.get("next", [FIRST])[0]
        try:
            refuse_other_sites(request.scope)
            role = guard.role_of(token, request.client.host if request.client else "")
        except InputError as error:
            return await run_in_threadpool(_refused, request, wanted, f"{error}: {error.hint}")
        cookie = front.sessions.of_token(token, peer_of(request.scope))
        if cookie is None:
            text = f"a token of role {role} is not for these pages, an admin's is"
            return await run_in_threadpool(_refused, request, wanted, text)
        return _welcome(request, cookie, wanted)

    @ui.router.post("/logout")
    def log_out(request: Request) -> Response:
        cookie = front.cookie(request.scope, "")
        return JSONResponse({"next": "/ui/login"}, headers={"Set-Cookie": cookie})

    @ui.router.post("/ticket")
    def ticket(authorization: Annotated[str, Header()] = "") -> JSONResponse:
        _, _, token = authorization.partition(" ")
        if not token:
            raise RefusedError("a link is made for whoever shows a token")
        return JSONResponse({"path": f"/ui/login?ticket={front.sessions.ticket(token)}"})

    def _refused(request: Request, wanted: str, text: str) -> Response:
        return ui.page(
            request, "login.html", framed=False, status_code=401, next=_inside(wanted), wrong=text
        )

    def _welcome(request: Request, cookie: str, wanted: str) -> Response:
        answer = RedirectResponse(_inside(wanted), 303)
        answer.headers["Set-Cookie"] = front.cookie(request.scope, cookie)
        return answer


def _inside(path: str) -> str:
    """A path of these pages: nobody is sent elsewhere by a link that was made for that."""
    fine = path.startswith("/ui/") and not any(part in path for part in ("//", "..", "\\"))
    return path if fine and path.isprintable() and not path.startswith("/ui/login") else FIRST
