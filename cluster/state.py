"""The state file: what `up` started, so that `down` ends exactly that and clients find the API.

And how a folder is held against another process of ours.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from jetsched.cluster.processes import OwnProcess
from jetsched.errors import InputError
from jetsched.files import from_json, json_bytes, make_folder, to_json, write_atomically

#: In the data home; only its owner may read it, for it holds the API's token.
STATE_FILE = "cluster.json"
VERSION = 1


@dataclass(frozen=True)
class ClusterState:
    """A cluster on this machine, whether it lives or was left over."""

    id: str  # the mark of its processes
    version: int
    started_at: str  # ISO 8601, UTC
    emulate: str  # as it was asked for
    policy: str
    temp: str  # Ray's folder, with the token of Ray in it
    api_token: str
    api_port: int = 0
    ray_port: int = 0
    processes: tuple[OwnProcess, ...] = ()
    devices: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def ray_address(self) -> str:
        return f"127.0.0.1:{self.ray_port}"

    @property
    def token_file(self) -> Path:
        """Where Ray's own token is: whoever has it can run code in the cluster."""
        return Path(self.temp) / "token"

    def of_role(self, role: str) -> list[OwnProcess]:
        return [p for p in self.processes if p.role == role]

    def is_alive(self, role: str) -> bool:
        """Whether there are processes of this role and all of them live."""
        processes = self.of_role(role)
        return bool(processes) and all(p.alive for p in processes)

    def without(self, role: str) -> ClusterState:
        kept = tuple(p for p in self.processes if p.role != role)
        return replace(self, processes=kept)


def state_path(home: Path) -> Path:
    return home / STATE_FILE


def read_state(home: Path) -> ClusterState | None:
    """The cluster that was started here; None if there is none. Raises InputError if unreadable."""
    path = state_path(home)
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    state = from_json(ClusterState, data)
    if state.version != VERSION:
        raise InputError(
            f"{path} was written by another version of jetsched",
            hint="run its `jetsched down` first",
        )
    return state


def write_state(home: Path, state: ClusterState) -> None:
    write_atomically(state_path(home), json_bytes(to_json(state)), mode=0o600)


@contextmanager
def alone(folder: Path, otherwise: str) -> Iterator[None]:
    """Hold a folder, which is created, until the end or the death of this process.

    Raises :class:`InputError` with the text ``otherwise`` where another one holds it.
    """
    handle = os.open(make_folder(folder), os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(otherwise) from None
        yield
    finally:
        os.close(handle)
