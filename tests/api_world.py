"""A world behind HTTP, for tests: a real uvicorn on a random port of the loopback."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

from live_world import LiveWorld

from jetsched.cluster.api_gate import Guard
from jetsched.cluster.api_server import http_server
from jetsched.cluster.client import Client
from jetsched.cluster.tokens import Tokens

TOKEN = "a-token-of-this-test"
JOB = "work: {kind: command, run: 'echo hi', like: {kind: infer, model: tiny-gpt2}}\n"
LIKE = {"kind": "infer", "model": "tiny-gpt2"}


class Served:
    """A world behind HTTP; ``port`` is where an earlier one was. As a context it ends the server,
    not the world."""

    def __init__(
        self, world: LiveWorld, tokens: Tokens | None = None, *, port: int = 0, **server: Any
    ) -> None:
        self.world = world
        self._listener = socket.create_server(("127.0.0.1", port))
        # asyncio does this only for sockets that say that they are of TCP
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = http_server(world.desk, Guard(TOKEN, tokens), **server)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True
        )
        self._thread.start()
        self.client = Client(self.url, TOKEN)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(120)
        assert not self._thread.is_alive()


def job_file(folder: Path, text: str = JOB, name: str = "job.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path
