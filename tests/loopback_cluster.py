"""The same as a hosted cluster without hosts: emulated boards on the loopback, from `jetsched up`.

For machines where no namespaces can be had. Processes can be killed, nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hosted_cluster import SOME_PROMPTS, AskedCluster

from jetsched.cluster.asked import Asked
from jetsched.cluster.client import Client
from jetsched.cluster.processes import family
from jetsched.cluster.state import read_state
from jetsched.cluster.store import JOURNAL
from jetsched.cluster.up import down, up
from jetsched.errors import UnreachableError

T = TypeVar("T")


@dataclass
class Part:
    """The processes of one board, or of the head: what is of no board."""

    cluster: LoopbackCluster
    name: str

    def processes(self) -> list[int]:
        return [pid for pid in self.cluster.processes() if self.cluster.owner(pid) == self.name]


class LoopbackCluster(AskedCluster):
    """A head and its emulated boards on this machine."""

    def __init__(self, home: Path, emulate: str) -> None:
        self.home, self._emulate = home, emulate
        self.journal = home / JOURNAL
        self.prompts = home / "prompts.jsonl"
        self.hosts: dict[str, Part] = {}

    def start(self) -> None:
        """Start everything; returns when all boards are ready."""
        self.prompts.write_text(SOME_PROMPTS)
        state = up(Asked(emulate=self._emulate), home=self.home).state
        self.names = state.devices
        self.hosts = {name: Part(self, name) for name in ("head", *state.devices)}

    def stop(self) -> None:
        down(home=self.home)

    def client(self, timeout_s: float = 10.0, *, as_owner: bool = False) -> Client:
        state = read_state(self.home)
        if state is None:
            raise UnreachableError("the head is not up")
        return Client.to(state, timeout_s=timeout_s)

    def processes(self) -> list[int]:
        """Everything that lives of the cluster."""
        state = read_state(self.home)
        return [] if state is None else [p.pid for p in family(state.id, state.processes)]

    def owner(self, pid: int) -> str:
        """The board that a process belongs to, or "head"."""
        state = read_state(self.home)
        try:
            session, place = os.getsid(pid), os.readlink(f"/proc/{pid}/cwd")
            words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        except OSError:
            return "gone"
        for node in state.of_role("node") if state is not None else ():
            folder = f"/nodes/{node.device}/"
            if session == node.pid or folder in f"{place}/" or folder in words:
                return node.device
        return "head"


class Here:
    """Where files are opened when everything is on one machine: here."""

    def do(self, work: Callable[[], T]) -> T:
        return work()
