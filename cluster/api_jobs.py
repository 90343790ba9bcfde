"""Routes about jobs: hand them in, list them, ask about one, stop it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from jetsched.cluster.api_gate import is_owner
from jetsched.cluster.desk import Desk
from jetsched.cluster.desk_logs import LOG_CHUNK_BYTES
from jetsched.cluster.desk_pages import Order, Page
from jetsched.cluster.desk_wanted import Wanted
from jetsched.cluster.rules import Rules
from jetsched.errors import InputError
from jetsched.files import json_bytes
from jetsched.jobfile import FileProblems, JobSpec, Problem, job_of_json, job_of_text
from jetsched.profiler.models import positions

#: So many jobs come with one answer where nobody says how many; more with one that asks for them.
USUAL_PAGE = 200
LARGEST_PAGE = 1000


class JobText(BaseModel):
    """A job file: its text, or what it says as JSON in ``spec``.

    ``file`` is what problems call it; paths in it are relative to ``folder``.
    """

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    spec: dict[str, Any] | None = None
    file: str = Field(default="<job>", max_length=4096)
    folder: str | None = Field(default=None, max_length=4096)


class Submission(BaseModel):
    """Jobs that are submitted together, all or none.

    ``key`` makes it safe to ask again where no answer came: the same key with the same jobs
    submits them once. Any text that is not used twice, such as a UUID.
    """

    model_config = ConfigDict(extra="forbid")

    jobs: list[JobText] = Field(min_length=1, max_length=10_000)
    hold: bool = False  # queue also what no device can run now
    user: str = Field(default="", max_length=100)
    key: str = Field(default="", max_length=200)

    @property
    def content(self) -> str:
        """A digest of all but the key."""
        said = json_bytes(self.model_dump(exclude={"key"}, mode="json"))
        return hashlib.sha256(said).hexdigest()


def add_job_routes(app: FastAPI, desk: Desk, rules: Rules) -> None:
    """Put the routes into the application."""

    @app.post("/jobs", status_code=201, tags=["jobs"])
    def submit(wish: Submission, request: Request) -> list[dict[str, Any]]:
        """Submit jobs, all or none; answers with their rows."""
        content = wish.content if wish.key else ""
        known = desk.submitted(wish.key, content)
        if known is not None:
            return known
        specs = _specs(desk, rules, wish.jobs, request)
        return desk.submit(specs, user=wish.user, hold=wish.hold, key=wish.key, content=content)

    @app.get("/jobs", tags=["jobs"], response_model=list[dict[str, Any]])
    def jobs(
        state: Annotated[
            str,
            Query(
                description="States, with commas between; `open`: all that have not ended.",
                max_length=200,
            ),
        ] = "",
        limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = USUAL_PAGE,
        after: Annotated[
            str, Query(description="The id of the last job of the page before.", max_length=100)
        ] = "",
        order: Annotated[
            Order, Query(description="queue: what runs, what waits in turn, what is held, the rest")
        ] = "submitted",
        text: Annotated[
            str,
            Query(
                description="Words that name, work, id, user, labels or device hold", max_length=200
            ),
        ] = "",
        device: Annotated[str, Query(description="One it runs or ran on", max_length=200)] = "",
        user: Annotated[str, Query(max_length=100)] = "",
        priority: Annotated[
            str, Query(description="A number, or a range such as 50-100", max_length=20)
        ] = "",
        skip: Annotated[int, Query(description="Leave so many out", ge=0, le=1 << 31)] = 0,
        count: Annotated[
            bool, Query(description="Say in X-Total-Count how many there are on all pages")
        ] = False,
    ) -> Response:
        """A page of jobs; fewer than `limit` are the last ones. `/status` counts all of them."""
        wanted = Wanted.of(state=state, text=text, device=device, user=user, priority=priority)
        page = Page(wanted, order, after, limit, skip)
        found, total = desk.counted(page) if count else (desk.jobs(page), None)
        headers = {} if total is None else {"X-Total-Count": str(total)}
        return Response(json_bytes(found), media_type="application/json", headers=headers)

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
        last_bytes: Annotated[
            int | None,
            Query(ge=1, le=LOG_CHUNK_BYTES, description="Of a longer log only its last lines"),
        ] = None,
    ) -> dict[str, Any]:
        """The next part of the log of an attempt; `offset` counts bytes."""
        return desk.log(job_id, attempt, offset, last_bytes)

    @app.post("/jobs/{job_id}/cancel", tags=["jobs"])
    def cancel(job_id: str) -> dict[str, Any]:
        """Stop a job, wherever it is."""
        return desk.cancel(job_id)

    @app.post("/plan", tags=["jobs"])
    def plan(wish: JobText, request: Request) -> dict[str, Any]:
        """What would become of a job that was submitted now. Submits nothing."""
        return desk.plan(_specs(desk, rules, [wish], request)[0])


def _specs(desk: Desk, rules: Rules, wishes: list[JobText], request: Request) -> list[JobSpec]:
    """The jobs of all texts. Raises :class:`FileProblems` with the problems of all of them."""
    known = desk.device_names()
    specs: list[JobSpec] = []
    problems: list[Problem] = []
    for wish in wishes:
        if (wish.text is None) == (wish.spec is None):
            raise InputError("a job needs either a text or a spec")
        around = rules.around(wish.folder, known, positions, is_owner=is_owner(request.scope))
        try:
            if wish.spec is not None:
                specs.append(job_of_json(wish.spec, wish.file, around))
            else:
                specs.append(job_of_text(wish.text or "", wish.file, around))
        except FileProblems as found:
            problems += found.problems
    if problems:
        raise FileProblems(problems)
    return specs
