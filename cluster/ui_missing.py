"""What is said at the pages' addresses where the extra that they need is not installed."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from jetsched.errors import UnreachableError

_TEXT = (
    '<!doctype html><html lang="en"><title>jetsched</title><h1>There are no pages here</h1>'
    "<p>On the head: <code>pip install 'jetsched[ui]'</code>, then <code>jetsched down</code> and"
    " <code>jetsched up</code>.</p></html>"
)


def add_missing_page(app: FastAPI) -> None:
    """Say what to install, instead of a bare *not found*."""

    @app.get("/ui/{rest:path}", include_in_schema=False)
    def missing(rest: str) -> HTMLResponse:
        return HTMLResponse(_TEXT, 501, headers={"Content-Security-Policy": "default-src 'none'"})

    @app.post("/ui/{rest:path}", include_in_schema=False)
    def none(rest: str) -> None:
        raise UnreachableError(
            "this head has no pages", hint="there: pip install 'jetsched[ui]', then down and up"
        )
