"""Where a report takes its story from: this machine's journal, a file, or a head elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from jetsched.cluster.protocol import Key, attempt_name
from jetsched.cluster.store import JOURNAL
from jetsched.errors import InputError, JetschedError, UnreachableError
from jetsched.files import from_json, home
from jetsched.records import Decision, State
from jetsched.words import progress_words

if TYPE_CHECKING:
    from jetsched.cluster.client import Client

#: Where a head keeps the logs of jobs, beside its journal (cluster/scheduling.py).
_LOGS = "logs"
#: So much of the end of a log is told.
LOG_BYTES = 12_000


@dataclass(frozen=True)
class LogEnd:
    """The last of what an attempt wrote, in whole lines; before it ``left_out`` bytes."""

    attempt: int
    text: str
    left_out: int


@dataclass(frozen=True)
class Now:
    """How a job stands, in the words of `queue`; of one that waits, what the policy sees."""

    state: State
    words: str
    decision: Decision | None


@dataclass(frozen=True)
class Source:
    """A journal that can be read, its logs, and the head that writes it, where one answers."""

    journal: Path
    #: What it is, for a person.
    words: str
    logs: Path | None = None
    client: Client | None = None

    def now(self, job_id: str) -> Now | None:
        """How a job stands; None where no head can be asked, or knows it."""
        if self.client is None:
            return None
        try:
            found = self.client.why(job_id)
        except JetschedError:  # it has gone, or is busy: the journal has told the rest
            return None
        job = found["job"]
        waits = job["state"] in ("waiting", "held")
        own = {key: value for key, value in found.items() if key not in ("job", "files")}
        words = progress_words(job, job["attempts"][-1] if job["attempts"] else None)
        return Now(job["state"], words, from_json(Decision, own) if waits else None)

    def log_end(self, key: Key) -> LogEnd | None:
        """The end of an attempt's log; None where there is none, or nothing in it."""
        if self.logs is not None:
            return _end_of_file(self.logs / f"{attempt_name(key)}.log", key[1])
        if self.client is None:
            return None
        try:
            return _end_of_remote(self.client, key)
        except JetschedError:
            return None


@contextmanager
def source(journal: Path | None = None) -> Iterator[Source]:
    """The journal that is named; else the head's that ``JETSCHED_HEAD`` names, else this machine's.

    A head elsewhere is asked for its journal, which is kept as long as this goes on. Raises
    :class:`InputError` where there is none, :class:`UnreachableError` where it does not answer.
    """
    from jetsched.cluster.connection import HEAD_VARIABLE

    if journal is not None:
        if not journal.is_file():
            raise InputError(f"there is no history: no file {journal}", hint="name another one")
        yield Source(journal, str(journal), journal.parent / _LOGS)
    elif os.environ.get(HEAD_VARIABLE, "").strip():
        with _elsewhere() as found:
            yield found
    else:
        with _here() as found:
            yield found


@contextmanager
def _here() -> Iterator[Source]:
    from jetsched.cluster.client import Client

    path = home() / JOURNAL
    if not path.is_file():
        raise InputError(
            f"there is no history: no file {path}",
            hint="it is written by a cluster that ran: jetsched up; or name one with --journal",
        )
    try:
        client = Client.connect()
    except (InputError, UnreachableError):
        yield Source(path, str(path), home() / _LOGS)
        return
    with client:
        yield Source(path, str(path), home() / _LOGS, client)


@contextmanager
def _elsewhere() -> Iterator[Source]:
    from jetsched.cluster.client import Client

    with Client.connect(timeout_s=120.0) as client, TemporaryDirectory(prefix="jetsched-") as place:
        path = Path(place) / "journal.jsonl"
        with path.open("wb") as file:
            for part in client.connection.read("/journal"):
                file.write(part)
        yield Source(path, client.connection.url, None, client)


# -------------------------------------------------------------------------------------------- logs


def _end_of_file(path: Path, attempt: int) -> LogEnd | None:
    try:
        with path.open("rb") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - LOG_BYTES)
            file.seek(begin)
            cut = file.readline(LOG_BYTES) if begin else b""
            data = file.read(LOG_BYTES)
    except OSError:
        return None
    return _log_end(data or cut, attempt, begin + len(cut) if data else begin)


def _end_of_remote(client: Client, key: Key) -> LogEnd | None:
    part = client.log(key[0], attempt=key[1], last_bytes=LOG_BYTES)
    data = str(part["text"]).encode()
    return _log_end(data, key[1], max(0, part["offset"] - len(data)))


def _log_end(data: bytes, attempt: int, left_out: int) -> LogEnd | None:
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    return LogEnd(attempt, text, left_out) if text.strip() else None
