"""Whether the scheduler's API still answers: a process that lives may have hung."""

from __future__ import annotations

import socket
import ssl
import threading
import time

#: How often it is asked, and how long it has for an answer.
EVERY_S, TIMEOUT_S = 5.0, 10.0
#: One that has answered before, and then not for so long, has hung.
SILENCE_S = 90.0

_QUESTION = b"GET /healthz HTTP/1.0\r\nHost: head\r\nConnection: close\r\n\r\n"


class Watchdog:
    """Asks an address in a thread of its own; :meth:`is_hung` says what has come of it."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: bool = False,
        every_s: float = EVERY_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._address = (host, port)
        self._tls = tls
        self._every_s, self._silence_s = every_s, silence_s
        self._answered: float | None = None  # monotonic
        threading.Thread(target=self._go_on, name="watchdog", daemon=True).start()

    def begin(self) -> None:
        """There is another process now, which has not answered yet: it may take its time."""
        self._answered = None

    def is_hung(self, now: float) -> bool:
        """Whether it has answered once, and then for long not."""
        answered = self._answered
        return answered is not None and now - answered > self._silence_s

    def _go_on(self) -> None:
        while True:
            time.sleep(self._every_s)
            if self._answers():
                self._answered = time.monotonic()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(
                self._address, timeout=min(TIMEOUT_S, self._silence_s)
            ) as plain:
                if not self._tls:
                    return _is_answer(plain)
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is ours
                with context.wrap_socket(plain) as wrapped:
                    return _is_answer(wrapped)
        except (OSError, ValueError):
            return False


def _is_answer(connection: socket.socket) -> bool:
    """Also that it has too much to do is an answer, but not that its loop is stuck."""
    connection.sendall(_QUESTION)
    said = b""
    while part := connection.recv(4096):
        said += part
    return said.startswith(b"HTTP/1.") and b'"stuck"' not in said
