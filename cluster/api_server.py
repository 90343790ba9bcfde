"""The HTTP server of the API: uvicorn, in a thread beside the scheduler's loop."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetsched.cluster.api import create_app
from jetsched.cluster.api_gate import Guard
from jetsched.cluster.desk import Desk
from jetsched.cluster.joining import Joining
from jetsched.cluster.rules import EVERYTHING, Rules
from jetsched.errors import InputError

if TYPE_CHECKING:
    import uvicorn

#: The most connections at a time; others are told to come again (503).
MOST_CONNECTIONS = 500


@dataclass(frozen=True)
class Tls:
    """Files in PEM: the head's certificate, with those between it and the CA, and its key."""

    cert: Path
    key: Path

    def check(self) -> None:
        """Raises :class:`InputError` where a server could not start with them."""
        for file in (self.cert, self.key):
            if not file.is_file():
                raise InputError(f"{file}: no such file", hint="--tls-cert and --tls-key, in PEM")
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                self.cert, self.key, password=lambda: b""
            )
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.cert} and {self.key} are no certificate with its key: {error}",
                hint="both in PEM, the key without a password",
            ) from None


def http_server(
    desk: Desk,
    guard: Guard,
    rules: Rules = EVERYTHING,
    *,
    tls: Tls | None = None,
    joining: Joining | None = None,
    journal: Path | None = None,
    home: Path | None = None,
) -> uvicorn.Server:
    """A server for sockets that are bound already: ``run(sockets=[...])`` in a thread."""
    import uvicorn

    server: uvicorn.Server | None = None

    def closing() -> bool:
        return server is not None and server.should_exit

    app = create_app(
        desk, guard, rules, joining=joining, journal=journal, home=home, closing=closing
    )
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=30,
        limit_concurrency=MOST_CONNECTIONS,
        proxy_headers=False,  # whoever writes them could be anybody to the throttle
        server_header=False,
        ssl_certfile=tls.cert if tls is not None else None,
        ssl_keyfile=tls.key if tls is not None else None,
    )
    server = uvicorn.Server(config)
    return server
