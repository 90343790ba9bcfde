"""The route to the journal itself: what reports about the past are made of, elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from jetsched.cluster.store import journal_lines


def add_journal_route(app: FastAPI, journal: Path) -> None:
    """Put the route into the application."""

    @app.get("/journal", tags=["scheduler"], response_class=StreamingResponse)
    def entries() -> StreamingResponse:
        """Every event and decision since the head was new, as JSON lines, oldest first.

        It holds what jobs say, their commands and environment included; secrets only by name.
        """
        lines = journal_lines(journal)
        return StreamingResponse(lines, media_type="application/jsonl")
