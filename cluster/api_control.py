"""Routes that steer: hold and retry jobs, pause the queue, close boards and open them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from jetsched.cluster.desk import Desk

#: The most that somebody may say about why.
LONGEST_TEXT = 1_000


class Because(BaseModel):
    """Why somebody wants it, in their own words."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field("", max_length=LONGEST_TEXT)


#: The body may be left out.
Why = Annotated[Because | None, Body()]


def add_control_routes(app: FastAPI, desk: Desk) -> None:
    """Put the routes into the application."""

    @app.post("/jobs/{job_id}/hold", tags=["jobs"])
    def hold(job_id: str, why: Why = None) -> dict[str, Any]:
        """Keep a job back that has not started, until it is released; answers with its row."""
        return desk.hold(job_id, _text(why))

    @app.post("/jobs/{job_id}/release", tags=["jobs"])
    def release(job_id: str) -> dict[str, Any]:
        """Let a job wait again that somebody holds; answers with its row."""
        return desk.release(job_id)

    @app.post("/jobs/{job_id}/retry", tags=["jobs"])
    def retry(job_id: str) -> dict[str, Any]:
        """Try a job again that has ended and is not done; answers with its row."""
        return desk.retry(job_id)

    @app.post("/queue/pause", tags=["scheduler"])
    def pause(why: Why = None) -> dict[str, Any]:
        """Start nothing any more; what runs goes on."""
        return desk.pause(_text(why))

    @app.post("/queue/resume", tags=["scheduler"])
    def resume() -> dict[str, Any]:
        """Start jobs again."""
        return desk.resume()

    @app.post("/devices/{device_id}/drain", tags=["boards"])
    def drain(device_id: str, why: Why = None) -> dict[str, Any]:
        """Give a board no new jobs; answers with what still runs there."""
        return desk.drain(device_id, _text(why))

    @app.post("/devices/{device_id}/undrain", tags=["boards"])
    def undrain(device_id: str) -> dict[str, Any]:
        """Give a board jobs again; answers with what else closes it."""
        return desk.undrain(device_id)

    @app.delete("/devices/{device_id}", tags=["boards"])
    def remove(device_id: str) -> dict[str, Any]:
        """Forget a board that is gone for good."""
        return desk.remove(device_id)


def _text(why: Because | None) -> str:
    return why.text.strip() if why is not None else ""
