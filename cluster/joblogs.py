"""The logs of attempts on the head: written as they come, kept when the node dies."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from jetsched.cluster.protocol import Key, attempt_name
from jetsched.files import make_folder

log = logging.getLogger(__name__)


class JobLogs:
    """A folder with a file for each attempt."""

    def __init__(self, folder: Path) -> None:
        self._folder = make_folder(folder)

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
        """Write a part in its place. A full disk leaves a gap and must not stop the scheduler."""
        try:
            handle = os.open(self.path(key), os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                os.pwrite(handle, chunk, offset)
            finally:
                os.close(handle)
        except OSError as error:
            log.error("the log of %s-%d has a gap: %s", *key, error)
