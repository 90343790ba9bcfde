"""Routes about jobs: hand them in, list them, ask about one, stop it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from jetsched.cluster.desk import Desk
from jetsched.errors import InputError
from jetsched.jobfile import FileProblems, JobSpec, Problem, parse_job
from jetsched.profiler.models import positions


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


def add_job_routes(app: FastAPI, desk: Desk) -> None:
    """Put the routes into the application."""

    @app.post("/jobs", status_code=201, tags=["jobs"])
    def submit(wish: Submission) -> list[dict[str, Any]]:
        """Submit jobs, all or none; answers with their rows."""
        return desk.submit(_specs(desk, wish.jobs), user=wish.user, hold=wish.hold)

    @app.get("/jobs", tags=["jobs"])
    def jobs(open: bool = False) -> list[dict[str, Any]]:
        """The jobs, in the order of submission."""
        return desk.jobs(open_only=open)

    @app.get("/jobs/{job_id}", tags=["jobs"])
    def job(job_id: str) -> dict[str, Any]:
        """Everything that is known of a job."""
        return desk.job(job_id)

    @app.get("/jobs/{job_id}/why", tags=["jobs"])
    def why(job_id: str) -> dict[str, Any]:
        """The stored decision about a job: what the policy saw."""
        return desk.why(job_id)

    @app.get("/jobs/{job_id}/log", tags=["jobs"])
    def log(
        job_id: str,
        offset: Annotated[int, Query(ge=0, le=1 << 62)] = 0,
        attempt: Annotated[int | None, Query(ge=1, le=1 << 31)] = None,
    ) -> dict[str, Any]:
        """The next part of the log of an attempt."""
        return desk.log(job_id, attempt, offset)

    @app.post("/jobs/{job_id}/cancel", tags=["jobs"])
    def cancel(job_id: str) -> dict[str, Any]:
        """Stop a job, wherever it is."""
        return desk.cancel(job_id)

    @app.post("/plan", tags=["jobs"])
    def plan(wish: JobText) -> dict[str, Any]:
        """What would become of a job that was submitted now. Submits nothing."""
        return desk.plan(_specs(desk, [wish])[0])


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
