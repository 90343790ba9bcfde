"""The route that tells what ran when on which board, what runs, and what is foreseen."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import Response

from jetsched.cluster.desk import Desk
from jetsched.cluster.desk_timeline import MOST_LANES, TimelineWish
from jetsched.files import json_bytes, to_json

#: Where nobody says which window: this long until now, and half as long from now on.
USUAL_PAST_S = 12 * 3600.0


def add_timeline_route(app: FastAPI, desk: Desk) -> None:
    """Put the route into the application."""

    @app.get("/timeline", tags=["boards"], response_model=dict[str, Any])
    def timeline(
        from_s: Annotated[
            float | None, Query(description="Seconds since 1970; 12 hours ago if not given.")
        ] = None,
        to_s: Annotated[
            float | None, Query(description="Seconds since 1970; in 6 hours if not given.")
        ] = None,
        text: Annotated[
            str, Query(description="Only boards with this in their id or model.", max_length=100)
        ] = "",
        skip: Annotated[int, Query(ge=0, le=1 << 31, description="Boards to leave out.")] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_LANES, description="Boards at most.")] = 200,
    ) -> Response:
        """Per board what ran, what runs and what is foreseen; thin neighbours are one bar."""
        now_s = time.time()
        from_s = now_s - USUAL_PAST_S if from_s is None else from_s
        to_s = now_s + USUAL_PAST_S / 2 if to_s is None else to_s
        found = desk.timeline(TimelineWish(from_s, to_s, text, skip, limit))
        return Response(json_bytes(to_json(found)), media_type="application/json")
