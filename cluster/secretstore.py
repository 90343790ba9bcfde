"""Secrets that jobs name: kept on the head, handed to a board with an order, never written down.

A job file says ``env: {HF_TOKEN: {secret: hf}}``; journal, answers and the files of an attempt hold
the name alone. What comes back from boards (logs, the texts of failures) is redacted here.
"""

from __future__ import annotations

import getpass
import os
import re
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from jetsched.errors import InputError
from jetsched.files import make_folder, write_atomically
from jetsched.problems import did_you_mean, quoted

#: In the data home; only its owner may enter it.
SECRETS = "secrets"
LONGEST_BYTES = 16 * 1024
#: Of shorter values every other line would be full of stars; they are not redacted.
SHORTEST_REDACTED_BYTES = 6

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


class Secrets:
    """A folder with a file for each secret. Changes are seen at once. For several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._stamp: int | None = None
        self._values: tuple[bytes, ...] = ()
        self._pattern: re.Pattern[bytes] | None = None

    def set(self, name: str, value: str) -> None:
        """Keep a value under a name, whatever was there before.

        Raises :class:`InputError` for an odd name, or a value that no variable can hold.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{quoted(name)} is not a name for a secret", hint="letters, digits, '_', '-'"
            )
        data = value.encode("utf-8", "surrogateescape")
        if not data or b"\0" in data or len(data) > LONGEST_BYTES:
            raise InputError(
                f"the value of {name} is empty, holds a NUL, or is larger than 16 KiB",
                hint=f"printf %s VALUE | jetsched secret set {name}",
            )
        make_folder(self.folder)
        os.chmod(self.folder, 0o700)
        write_atomically(self.folder / name, data, mode=0o600)

    def remove(self, name: str) -> None:
        """Forget a secret. Raises :class:`InputError` if there is none."""
        self.check([name])
        (self.folder / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """What there is, in the order of the alphabet."""
        try:
            return sorted(name for name in os.listdir(self.folder) if _NAME.fullmatch(name))
        except FileNotFoundError:
            return []

    def check(self, names: Iterable[str]) -> None:
        """Raises :class:`InputError` for the first name that there is no secret of."""
        known = self.names()
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known) or f"on the head: jetsched secret set {name}"
                raise InputError(f"there is no secret {quoted(name)}", hint=hint)

    def resolved(self, wanted: Iterable[tuple[str, str]]) -> dict[str, str]:
        """The values for (variable, name) pairs, by variable.

        Raises :class:`InputError` where one is gone.
        """
        pairs = list(wanted)
        self.check(name for _, name in pairs)
        return {variable: self._read(name) for variable, name in pairs}

    def _read(self, name: str) -> str:
        try:
            return (self.folder / name).read_bytes().decode("utf-8", "surrogateescape")
        except OSError as error:
            raise InputError(f"the secret {name} cannot be read: {error.strerror}") from None

    # --------------------------------------------------------------------------------- redaction

    @property
    def longest(self) -> int:
        """How many bytes the longest value that is redacted has; 0 where none is."""
        self._look()
        return max(map(len, self._values), default=0)

    def redact(self, data: bytes) -> bytes:
        """The same bytes with a star for each one of a value: offsets stay what they are."""
        self._look()
        pattern = self._pattern
        if pattern is None:
            return data
        return pattern.sub(lambda found: b"*" * len(found[0]), data)

    def redact_text(self, text: str) -> str:
        """The same for a text."""
        return self.redact(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")

    def _look(self) -> None:
        """Read the values again where the folder has changed: files are replaced, not written."""
        try:
            stamp = self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            stamp = 0
        with self._lock:
            if stamp == self._stamp:
                return
            found = set[bytes]()
            for name in self.names():
                try:
                    value = (self.folder / name).read_bytes()
                except OSError:  # removed just now, or not ours to read: then no job has it either
                    continue
                # A value of several lines may be shown line by line.
                found |= {value, *value.splitlines()}
            kept = [v for v in found if len(v) >= SHORTEST_REDACTED_BYTES]
            self._values = tuple(sorted(kept, key=len, reverse=True))
            self._pattern = re.compile(b"|".join(map(re.escape, self._values))) if kept else None
            self._stamp = stamp


def typed(name: str) -> str:
    """A value from a pipe, or from a person without showing it; a line break at its end goes.

    Raises :class:`InputError` for what is no text, or where nobody types anything.
    """
    try:
        if sys.stdin.isatty():
            return getpass.getpass(f"Value of {name}: ")
        return sys.stdin.read(LONGEST_BYTES + 2).removesuffix("\n").removesuffix("\r")
    except (EOFError, ValueError):
        raise InputError(
            "no value came", hint=f"printf %s VALUE | jetsched secret set {name}"
        ) from None
