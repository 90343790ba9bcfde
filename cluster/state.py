"""The state file: what `up` started, so that `down` ends exactly that and clients find the API.

And how a folder is held against another process of ours.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jetsched.cluster.health import DEFAULT_HEALTH, Health
from jetsched.cluster.processes import OwnProcess
from jetsched.cluster.rayplace import RayPlace, RayTls
from jetsched.errors import InputError
from jetsched.files import from_json, json_bytes, make_folder, to_json, write_atomically

#: In the data home; only its owner may read it, for it holds the API's token.
STATE_FILE = "cluster.json"
VERSION = 2
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Options:
    """What `up` was asked for, as far as every restart needs it. Times in seconds."""

    health: Health = DEFAULT_HEALTH
    lease_s: float = 60.0  # an agent that has not heard from the head for so long stops its work
    aging_s: float = 600.0  # a job gains a point of priority per so long a wait; 0: never
    allow_commands: bool = True  # jobs of kind `command` may be submitted
    checkpoints_to_head: bool = True  # so that another board can go on from them
    tls_cert: str = ""  # of the API, PEM; "": plain HTTP
    tls_key: str = ""
    ray_tls: RayTls = field(default_factory=RayTls)


@dataclass(frozen=True)
class ClusterState:
    """A cluster whose head is on this machine, whether it lives or was left over."""

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
    devices: tuple[str, ...] = ()  # that are emulated here
    host: str = LOOPBACK  # where Ray and the API listen
    #: "" where Ray is ours; else ``host:port`` of somebody's, which `down` leaves as it is.
    foreign_ray: str = ""
    #: Another one after each start of Ray's head: what was in Ray before is gone.
    ray_life: str = ""
    ray_since_s: float = 0.0  # when that was, by the wall clock
    cluster: str = ""  # the lasting name of this head and its boards
    options: Options = field(default_factory=Options)
    #: How often something had to be started again, and why it was the last time.
    restarts: int = 0
    trouble: str = ""

    @property
    def url(self) -> str:
        scheme = "https" if self.options.tls_cert else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.api_port}"

    @property
    def ray_address(self) -> str:
        return self.foreign_ray or f"{self.host}:{self.ray_port}"

    @property
    def token_file(self) -> Path:
        """Where Ray's own token is: whoever has it can run code in the cluster."""
        return Path(self.temp) / "token"

    def place(self, home: Path) -> RayPlace:
        """What its Ray processes on this machine have in common."""
        return RayPlace(
            mark=self.id,
            home=str(home),
            address=self.ray_address,
            ip=self.host,
            temp=self.temp,
            health=self.options.health,
            tls=self.options.ray_tls,
        )

    def of_role(self, role: str) -> list[OwnProcess]:
        return [p for p in self.processes if p.role == role]

    def is_alive(self, role: str) -> bool:
        """Whether there are processes of this role and all of them live."""
        processes = self.of_role(role)
        return bool(processes) and all(p.alive for p in processes)


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
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise InputError(
            f"{path} was written by another version of jetsched",
            hint="run its `jetsched down` first; if that is gone, remove the file",
        )
    return from_json(ClusterState, data)


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
