"""Tokens of the API: who may do what. Only their hashes are kept, so a token is seen once."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, get_args

from jetsched.errors import InputError
from jetsched.files import from_json, json_bytes, make_folder, write_atomically
from jetsched.problems import did_you_mean, quoted

#: *admin* may do everything, *node* may only join, *metrics* may only read /metrics.
Role = Literal["admin", "node", "metrics"]
ROLES: tuple[Role, ...] = get_args(Role)

#: In the data home; only its owner may read it.
TOKENS_FILE = "tokens.json"
VERSION = 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class Known:
    """What is kept of a token: everything but the token."""

    name: str
    role: Role
    made_at: str  # ISO 8601, UTC
    sha256: str  # of a token of 256 random bits, which no dictionary holds: no salt is needed


class Tokens:
    """The tokens of a head. Changes are seen by a head that runs, at its next request.

    Safe for several processes and threads. Raises :class:`InputError` for a file that is not
    readable: nobody gets in then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[tuple[int, int, int], tuple[Known, ...]] | None = None

    def new(self, name: str, role: Role) -> str:
        """Make a token and return it; nobody can tell it again.

        Raises :class:`InputError` for a name that is taken or odd, or a role that does not exist.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{quoted(name)} is not a name for a token", hint="letters, digits, '.', '_', '-'"
            )
        if role not in ROLES:
            raise InputError(f"there is no role {quoted(role)}", hint=f"one of: {', '.join(ROLES)}")
        token = f"jetsched-{role}-{secrets.token_urlsafe(32)}"
        made_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with self._changing() as known:
            if any(other.name == name for other in known):
                raise InputError(
                    f"there is a token {quoted(name)} already",
                    hint=f"another name, or first: jetsched token revoke {name}",
                )
            known.append(Known(name, role, made_at, digest(token)))
        return token

    def revoke(self, name: str) -> Known:
        """Have a token open nothing from now on. Raises :class:`InputError` if there is none."""
        with self._changing() as known:
            for index, one in enumerate(known):
                if one.name == name:
                    return known.pop(index)
            names = [one.name for one in known]
            raise InputError(
                f"there is no token {quoted(name)}",
                hint=did_you_mean(name, names) or "see: jetsched token ls",
            )

    def ls(self) -> list[Known]:
        """What is known of all tokens, in the order in which they were made."""
        return list(self._load())

    def role_of(self, token: str) -> Role | None:
        """What a token may do; None for one that was never made, or was revoked."""
        mine, found = digest(token), None
        for one in self._load():  # all of them, so that the time tells nothing
            if hmac.compare_digest(mine, one.sha256):
                found = one.role
        return found

    def _load(self) -> tuple[Known, ...]:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return ()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, _parse(self.path))
        return self._read[1]

    @contextmanager
    def _changing(self) -> Iterator[list[Known]]:
        """The tokens, to be changed; written at the end, unless something was raised."""
        folder = make_folder(self.path.parent)
        handle = os.open(folder / f".{self.path.name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            known = list(_parse(self.path)) if self.path.exists() else []
            yield known
            content = {"version": VERSION, "tokens": [asdict(one) for one in known]}
            write_atomically(self.path, json_bytes(content) + b"\n", mode=0o600)
        finally:
            os.close(handle)


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _parse(path: Path) -> tuple[Known, ...]:
    try:
        data = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise InputError(
            f"{path} was written by another version of jetsched", hint="upgrade jetsched"
        )
    tokens: tuple[Known, ...] = from_json(tuple[Known, ...], data.get("tokens"))
    return tokens
