"""The logs of attempts on the head: written as they come, kept when the node dies."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Protocol

from jetsched.cluster.protocol import Key, attempt_name
from jetsched.files import make_folder

log = logging.getLogger(__name__)


class Redactor(Protocol):
    """Knows what nobody may read: see :class:`jetsched.cluster.secretstore.Secrets`."""

    @property
    def longest(self) -> int:
        """How many bytes of text one secret may take up; 0 where there is none."""
        ...

    def redact(self, data: bytes) -> bytes:
        """The same number of bytes, without secrets."""
        ...

    def redact_text(self, text: str) -> str:
        """A text without secrets."""
        ...


class Unredacted:
    """There are no secrets."""

    longest = 0

    def redact(self, data: bytes) -> bytes:
        return data

    def redact_text(self, text: str) -> str:
        return text


UNREDACTED = Unredacted()


class JobLogs:
    """A folder with a file for each attempt. What comes in is redacted first."""

    def __init__(self, folder: Path, redactor: Redactor = UNREDACTED) -> None:
        self._folder = make_folder(folder)
        self._redactor = redactor

    def path(self, key: Key) -> Path:
        """Where the log of an attempt is, or would be."""
        return self._folder / f"{attempt_name(key)}.log"

    def size(self, key: Key) -> int:
        """How many bytes of it are here."""
        try:
            return self.path(key).stat().st_size
        except FileNotFoundError:
            return 0

    def begin(self, key: Key) -> None:
        """A new attempt: a log of that name is of a history that was thrown away."""
        self.path(key).unlink(missing_ok=True)

    def keep(self, key: Key, offset: int, chunk: bytes) -> None:
        """Write a part in its place. A full disk leaves a gap and must not stop the scheduler.

        A secret may have come in two parts: the end of what is there is looked at once more.
        """
        try:
            handle = os.open(self.path(key), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                begin = max(0, offset - max(0, self._redactor.longest - 1))
                before = os.pread(handle, offset - begin, begin)
                if len(before) < offset - begin:  # behind a gap
                    begin, before = offset, b""
                os.pwrite(handle, self._redactor.redact(before + chunk), begin)
            finally:
                os.close(handle)
        except OSError as error:
            log.error("the log of %s-%d has a gap: %s", *key, error)

    def clean(self, text: str) -> str:
        """What a board says of an attempt, such as its last words, without secrets."""
        return self._redactor.redact_text(text)
