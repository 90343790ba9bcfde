"""Talks to the scheduler's API: what the command line uses, on the head and on other machines."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from uuid import uuid4

from jetsched.cluster.connection import Connection, Head, head_named, head_of
from jetsched.cluster.sse import ServerEvent
from jetsched.cluster.state import ClusterState
from jetsched.files import home as data_home
from jetsched.jobsource import folder_of, name_of, read_bytes

#: As many jobs as come with one answer.
PAGE = 1000

Json = dict[str, Any]


class Client:
    """The scheduler of this machine, or of another. Raises what the scheduler raised, as the same
    kind of error.

    Every method may raise :class:`UnreachableError` when the scheduler stopped in the meantime.
    """

    def __init__(
        self, url: str, token: str, *, ca: Path | None = None, timeout_s: float = 35.0
    ) -> None:
        self._connection = Connection(Head(url, token, ca), timeout_s=timeout_s)

    @classmethod
    def connect(cls, home: Path | None = None, *, timeout_s: float | None = 35.0) -> Client:
        """The head that ``JETSCHED_HEAD`` names, else the one that `jetsched up` started here.

        Raises :class:`UnreachableError` where it does not answer.
        """
        client = cls._of(head_named(home or data_home()), timeout_s=timeout_s)
        try:
            client.health()
        except BaseException:
            client.close()
            raise
        return client

    @classmethod
    def to(cls, state: ClusterState, *, timeout_s: float = 35.0) -> Client:
        """The scheduler of a cluster, whether it answers or not."""
        return cls._of(head_of(state), timeout_s=timeout_s)

    @classmethod
    def _of(cls, head: Head, *, timeout_s: float | None = 35.0) -> Client:
        client = cls.__new__(cls)
        client._connection = Connection(head, timeout_s=timeout_s)
        return client

    @property
    def connection(self) -> Connection:
        """For what asks more of the API than is here: cluster/client_files.py."""
        return self._connection

    def close(self) -> None:
        self._connection.close()

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
        self, files: Iterable[Path | str], *, hold: bool = False, user: str = "", key: str = ""
    ) -> list[Json]:
        """Submit job files, all or none, and once however often it must be asked; returns the rows.

        ``key`` makes asking again safe also after this process has ended; else one is made up.
        Raises :class:`FileProblems`, or :class:`NeverFitsError` with the decision as ``decision``.
        """
        return self._submit(self._texts([Path(file) for file in files]), hold, user, key)

    def submit_specs(
        self, specs: Iterable[Json], *, hold: bool = False, user: str = "", key: str = ""
    ) -> list[Json]:
        """Submit jobs in the form of a job file, as JSON values."""
        return self._submit([{"spec": spec} for spec in specs], hold, user, key)

    def _texts(self, files: list[Path]) -> list[Json]:
        """Job files for the API; to another machine go the files that they name as well."""
        texts = _job_texts(files)
        if self._connection.is_own:
            return texts
        from jetsched.cluster.client_files import FileClient

        return FileClient(self).job_texts(files)

    def _submit(self, jobs: list[Json], hold: bool, user: str, key: str) -> list[Json]:
        body = {"jobs": jobs, "hold": hold, "user": user, "key": key or uuid4().hex}
        return cast(list[Json], self._connection.ask("POST", "/jobs", body, again=True))

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
        """All jobs, or those that have not ended, in the order of submission."""
        found: list[Json] = []
        while True:
            after = found[-1]["id"] if found else ""
            page = self.page(states="open" if open_only else "", after=after)
            found += page
            if len(page) < PAGE:
                return found

    def page(
        self,
        *,
        states: str = "",
        order: str = "submitted",
        after: str = "",
        limit: int = PAGE,
        **wanted: str,
    ) -> list[Json]:
        """At most ``limit`` jobs behind the one that is named; fewer are the last ones.

        ``states`` are names with commas between, ``open`` for all that have not ended; ``order`` is
        *submitted*, *newest*, or *queue*: what runs, what waits in turn, what is held, the rest; or
        a column such as *name* or *-priority*. ``wanted`` are ``text``, ``device``, ``user`` and
        ``priority``.
        """
        params = {"state": states, "order": order, "after": after, "limit": limit, **wanted}
        return cast(list[Json], self._connection.ask("GET", "/jobs", params=params))

    def job(self, job_id: str) -> Json:
        return self._object("GET", f"/jobs/{_part(job_id)}")

    def why(self, job_id: str) -> Json:
        """A :class:`~jetsched.records.Decision` as JSON, with the job's row as ``job``."""
        return self._object("GET", f"/jobs/{_part(job_id)}/why")

    def devices(self) -> list[Json]:
        return cast(list[Json], self._connection.ask("GET", "/devices"))

    def recent(self, *, after_s: float | None = None, most: int | None = None) -> Json:
        """Lists of the last minutes' readings, by device: see :class:`~cluster.recent.Recent`."""
        asked = {"after_s": after_s, "most": most}
        params = {name: value for name, value in asked.items() if value is not None}
        return self._object("GET", "/devices/recent", params=params)

    def doctor(self, device_id: str) -> Json:
        """Have a board examined: ``device``, ``at_s``, ``note``, and rows of ``findings``."""
        return self._object("POST", f"/devices/{_part(device_id)}/doctor")

    def status(self) -> Json:
        """The policy and its mistakes, and under ``states`` how many jobs there are in each."""
        return self._object("GET", "/status")

    def health(self) -> Json:
        return self._object("GET", "/healthz")

    def log(
        self,
        job_id: str,
        *,
        attempt: int | None = None,
        offset: int = 0,
        last_bytes: int | None = None,
    ) -> Json:
        """``text`` from ``offset`` on, the next ``offset``, ``attempt``, ``ended``, ``final``.

        With ``last_bytes`` only the last lines of a log that is longer.
        """
        params: Json = {"offset": offset}
        if last_bytes is not None:
            params["last_bytes"] = last_bytes
        if attempt is not None:
            params["attempt"] = attempt
        return self._object("GET", f"/jobs/{_part(job_id)}/log", params=params)

    def follow_log(self, job_id: str, *, attempt: int | None = None) -> Iterator[str]:
        """The log as it grows: of one attempt, or of the last one and those that follow it."""
        params = {} if attempt is None else {"attempt": attempt}
        for event in self._connection.follow(f"/jobs/{_part(job_id)}/log/stream", params):
            if event.name == "log":
                yield str(event.data["text"])

    def follow(self, last: str = "") -> Generator[ServerEvent, None, None]:
        """What changes, as it does: *hello* first, *reset* where something may have been missed.

        ``last`` is the id of an event: what came after it comes first.
        """
        return self._connection.follow("/events", last=last)

    def _object(self, method: str, path: str, body: Any = None, params: Any = None) -> Json:
        return cast(Json, self._connection.ask(method, path, body, params))


def _part(job_id: str) -> str:
    """A job id as one part of a path, whatever somebody typed."""
    from urllib.parse import quote

    return quote(job_id, safe="") or "%20"


def _job_texts(files: list[Path]) -> list[Json]:
    """The files as the API takes them. What is no text at all is refused here."""
    try:
        return [
            {
                "text": read_bytes(file).decode("utf-8"),
                "file": name_of(file),
                "folder": str(folder_of(file).absolute()),
            }
            for file in files
        ]
    except (OSError, ValueError):
        from jetsched.jobfile import load_jobs

        load_jobs(files)
        raise
