"""Talks to the scheduler's API: what the command line uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from jetsched.cluster.state import ClusterState, read_state
from jetsched.errors import InputError, JetschedError, NeverFitsError, UnreachableError
from jetsched.files import from_json
from jetsched.files import home as data_home
from jetsched.problems import FileProblems, Problem
from jetsched.records import Decision

if TYPE_CHECKING:
    import httpx

START_IT = "start it with: jetsched up --emulate xavier-nx,orin-nano"

Json = dict[str, Any]


class Client:
    """The scheduler of this machine. Raises what the scheduler raised, as the same kind of error.

    Every method may raise :class:`UnreachableError` when the scheduler stopped in the meantime.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = 35.0) -> None:
        import httpx

        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_s,
            trust_env=False,  # no proxy for the loopback
        )

    @classmethod
    def connect(cls, home: Path | None = None) -> Client:
        """The scheduler that `jetsched up` started, if it answers."""
        state = read_state(home or data_home())
        if state is None:
            raise UnreachableError("the scheduler is not running", hint=START_IT)
        client = cls.to(state)
        try:
            client.health()
        except UnreachableError:
            client.close()
            raise
        return client

    @classmethod
    def to(cls, state: ClusterState, *, timeout_s: float = 35.0) -> Client:
        """The scheduler of a cluster, whether it answers or not."""
        return cls(state.url, state.api_token, timeout_s=timeout_s)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---------------------------------------------------------------------------------- wishes

    def submit(
        self, files: Iterable[Path | str], *, hold: bool = False, user: str = ""
    ) -> list[Json]:
        """Submit job files, all or none; returns the jobs' rows.

        Raises :class:`FileProblems`, or :class:`NeverFitsError` with the decision as ``decision``.
        """
        jobs = _job_texts([Path(file) for file in files])
        return self._list("POST", "/jobs", {"jobs": jobs, "hold": hold, "user": user})

    def submit_specs(
        self, specs: Iterable[Json], *, hold: bool = False, user: str = ""
    ) -> list[Json]:
        """Submit jobs in the form of a job file, as JSON values."""
        jobs = [{"spec": spec} for spec in specs]
        return self._list("POST", "/jobs", {"jobs": jobs, "hold": hold, "user": user})

    def cancel(self, job_id: str) -> Json:
        return self._object("POST", f"/jobs/{_part(job_id)}/cancel")

    def hold(self, job_id: str, text: str = "") -> Json:
        """Keep a job back that waits; returns its row."""
        return self._object("POST", f"/jobs/{_part(job_id)}/hold", {"text": text})

    def release(self, job_id: str) -> Json:
        return self._object("POST", f"/jobs/{_part(job_id)}/release")

    def retry(self, job_id: str) -> Json:
        """Try a job again that ended and is not done; returns its row."""
        return self._object("POST", f"/jobs/{_part(job_id)}/retry")

    def pause(self, text: str = "") -> Json:
        """Start nothing any more: ``paused``, ``text``, ``changed``, ``waiting``, ``running``."""
        return self._object("POST", "/queue/pause", {"text": text})

    def resume(self) -> Json:
        """Start jobs again: the same keys as :meth:`pause`."""
        return self._object("POST", "/queue/resume")

    def drain(self, device_id: str, text: str = "") -> Json:
        """Give a board no new jobs: ``device``, ``closings``, rows of what is ``running`` there."""
        return self._object("POST", f"/devices/{_part(device_id)}/drain", {"text": text})

    def undrain(self, device_id: str) -> Json:
        """Give a board jobs again: the same keys as :meth:`drain`, and ``changed``."""
        return self._object("POST", f"/devices/{_part(device_id)}/undrain")

    def remove(self, device_id: str) -> Json:
        """Forget a board that is gone: ``device``, and the ids of the ``devices`` that are left."""
        return self._object("DELETE", f"/devices/{_part(device_id)}")

    def use_policy(self, spec: str) -> Json:
        """Have another policy decide; returns its name as ``policy``, and the old one's."""
        return self._object("POST", "/policy", {"policy": spec})

    # ------------------------------------------------------------------------------- questions

    def plan(self, file: Path | str) -> Json:
        """A :class:`~jetsched.records.Decision` as JSON, with the job's ``name`` and ``work``."""
        return self._object("POST", "/plan", _job_texts([Path(file)])[0])

    def jobs(self, *, open_only: bool = False) -> list[Json]:
        return self._list("GET", "/jobs", params={"open": open_only})

    def job(self, job_id: str) -> Json:
        return self._object("GET", f"/jobs/{_part(job_id)}")

    def why(self, job_id: str) -> Json:
        """A :class:`~jetsched.records.Decision` as JSON, with the job's row as ``job``."""
        return self._object("GET", f"/jobs/{_part(job_id)}/why")

    def devices(self) -> list[Json]:
        return self._list("GET", "/devices")

    def status(self) -> Json:
        return self._object("GET", "/status")

    def health(self) -> Json:
        return self._object("GET", "/healthz")

    def log(self, job_id: str, *, attempt: int | None = None, offset: int = 0) -> Json:
        """``text`` from ``offset`` on, the next ``offset``, ``attempt``, ``ended``, ``final``."""
        params: Json = {"offset": offset}
        if attempt is not None:
            params["attempt"] = attempt
        return self._object("GET", f"/jobs/{_part(job_id)}/log", params=params)

    def follow_log(
        self, job_id: str, *, attempt: int | None = None, every_s: float = 0.5
    ) -> Iterator[str]:
        """The log as it grows: of one attempt, or of the last one and those that follow it."""
        import time

        offset, number = 0, attempt
        while True:
            part = self.log(job_id, attempt=number, offset=offset)
            if part["text"]:
                offset, number = part["offset"], part["attempt"]
                yield part["text"]
            elif part["final"] or (part["ended"] and attempt is not None):
                return
            elif part["ended"] and (newest := self.log(job_id)["attempt"]) != number:
                offset, number = 0, newest
            else:
                time.sleep(every_s)

    # ---------------------------------------------------------------------------------- inside

    def _object(self, method: str, path: str, body: Any = None, params: Any = None) -> Json:
        return cast(Json, self._ask(method, path, body, params))

    def _list(self, method: str, path: str, body: Any = None, params: Any = None) -> list[Json]:
        return cast(list[Json], self._ask(method, path, body, params))

    def _ask(self, method: str, path: str, body: Any, params: Any) -> Any:
        import httpx

        try:
            answer = self._http.request(method, path, json=body, params=params)
        except httpx.HTTPError as error:
            text = f"the scheduler does not answer ({type(error).__name__})"
            raise UnreachableError(text, hint="start it again with: jetsched up") from None
        if answer.is_success:
            return answer.json()
        raise _error_of(answer)


def _part(job_id: str) -> str:
    """A job id as one part of a path, whatever somebody typed."""
    from urllib.parse import quote

    return quote(job_id, safe="") or "%20"


def _job_texts(files: list[Path]) -> list[Json]:
    """The files as the API takes them. What is no text at all is refused here."""
    try:
        return [
            {
                "text": file.read_text(encoding="utf-8"),
                "file": str(file),
                "folder": str(file.absolute().parent),
            }
            for file in files
        ]
    except (OSError, ValueError):
        from jetsched.jobfile import load_jobs

        load_jobs(files)
        raise


def _error_of(answer: httpx.Response) -> JetschedError:
    """The error that the scheduler raised, as the same kind of error here."""
    try:
        told = answer.json()
        text, hint, code = told["error"], told.get("hint", ""), told.get("exit_code", 1)
    except (ValueError, KeyError, TypeError):
        return JetschedError(f"the scheduler answered {answer.status_code}: {answer.text[:200]}")
    if told.get("problems"):
        return FileProblems(from_json(Problem, problem) for problem in told["problems"])
    for kind in (InputError, NeverFitsError, UnreachableError):
        if code == kind.exit_code:
            error: JetschedError = kind(text, hint=hint)
            if told.get("decision"):
                error.decision = from_json(Decision, told["decision"])  # type: ignore[attr-defined]
            return error
    return JetschedError(text, hint=hint)
