"""A board asks the head how to join: plain HTTP of the standard library, so that it stays small."""

from __future__ import annotations

import http.client
import json
import logging
import platform
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from jetsched import __version__
from jetsched.cluster.protocol import PROTOCOL
from jetsched.errors import InputError, JetschedError, UnreachableError
from jetsched.files import from_json

log = logging.getLogger(__name__)

#: How long the head has for an answer; a connection to one without power says nothing for minutes.
TIMEOUT_S = 5.0
#: How soon it is asked again that did not answer.
AGAIN_S = 1.0
#: The longest that we wait because the head asks for it.
LONGEST_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What the head tells a board that joins, and that is there; see joining.py."""

    device: str
    cluster: str
    ray_address: str
    ray_token: str
    ray_life: str
    ray_tls: bool
    health: Mapping[str, int]
    lease_s: float
    version: str
    state: str = "offline"
    text: str = ""


@dataclass(frozen=True)
class Latest:
    """The newest answer, or why there is none; ``at`` is when it was asked for (monotonic)."""

    answer: Answer | JetschedError
    at: float


class Head:
    """The head as a board reaches it.

    The token is read anew for each question. Redirects and proxies are not followed.
    """

    def __init__(self, url: str, token_file: Path, ca: str = "") -> None:
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._ca = ca
        self.latest: Latest | None = None
        self._now = threading.Event()
        self._closed = False

    def ask(self, wish: Mapping[str, object]) -> Answer:
        """Ask once.

        Raises :class:`InputError` where the head refuses us or a file is wrong, else
        :class:`UnreachableError`.
        """
        words = {
            **wish,
            "protocol": PROTOCOL,
            "version": __version__,
            "ray": version("ray"),
            "python": platform.python_version(),
        }
        request = urllib.request.Request(
            f"{self._url}/nodes/join",
            json.dumps(words).encode(),
            {
                "Authorization": f"Bearer {self._token()}",
                "Content-Type": "application/json",
                "Connection": "close",
            },
        )
        try:
            with self._opener().open(request, timeout=TIMEOUT_S) as response:
                return from_json(Answer, json.loads(response.read()))
        except urllib.error.HTTPError as error:
            raise _refusal(error, self._url) from None
        except ssl.SSLError as error:
            raise _untrusted(self._url, error) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLError):
                raise _untrusted(self._url, error.reason) from None
            raise self._silent(error.reason) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silent(error) from None

    def ask_every(self, pause_s: float, wish: Callable[[], Mapping[str, object]]) -> None:
        """Keep :attr:`latest` new, in a thread of its own, until :meth:`close`."""

        def go_on() -> None:
            while not self._closed:
                at = time.monotonic()
                wait_s = pause_s
                try:
                    self.latest = Latest(self.ask(wish()), at)
                except JetschedError as error:
                    self.latest = Latest(error, at)
                    if isinstance(error, LaterError):
                        wait_s = max(pause_s, error.wait_s)
                    elif isinstance(error, UnreachableError):
                        wait_s = min(pause_s, AGAIN_S)
                log.debug("%.1f: %s", at, self.latest)
                self._now.wait(wait_s)
                self._now.clear()

        threading.Thread(target=go_on, name="asks-the-head", daemon=True).start()

    def ask_soon(self) -> None:
        """Do not wait for the next time."""
        self._now.set()

    def close(self) -> None:
        self._closed = True
        self._now.set()

    def _token(self) -> str:
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it holds no token"
            raise InputError(f"--token-file {self._token_file}: {why}", hint=_NEW_TOKEN) from None
        if not token or len(token.split()) != 1:
            text = f"--token-file {self._token_file} does not hold one token"
            raise InputError(text, hint=_NEW_TOKEN)
        return token

    def _opener(self) -> urllib.request.OpenerDirector:
        handlers: list[urllib.request.BaseHandler] = [
            urllib.request.ProxyHandler({}),
            _NoRedirect(),
        ]
        if self._url.startswith("https:"):
            context = ssl.create_default_context(cafile=self._ca or None)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        return urllib.request.build_opener(*handlers)

    def _silent(self, why: object) -> UnreachableError:
        return UnreachableError(
            f"no head answers at {self._url} ({why})",
            hint="on the head: jetsched up --host ADDRESS. Is the address right, its port open?",
        )


_NEW_TOKEN = "on the head: jetsched token new NAME --role node"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _refusal(error: urllib.error.HTTPError, url: str) -> JetschedError:
    """What the head said instead of an answer."""
    try:
        told = json.loads(error.read())
        text, hint = str(told["error"]), str(told.get("hint", ""))
    except (ValueError, KeyError, TypeError, OSError):
        text, hint = f"{url} answered {error.code}; is it jetsched's?", ""
    if error.code == 401:
        return TokenError(f"the head refuses the token: {text}", hint=_NEW_TOKEN)
    if error.code == 403:
        return TokenError(f"the head refuses the token: {text}", hint=hint)
    if error.code == 429:
        return LaterError(f"the head cannot answer now: {text}", _wait_s(error), hint=hint)
    if error.code >= 500:
        return UnreachableError(f"the head cannot answer now: {text}", hint=hint)
    return InputError(text, hint=hint)


def _wait_s(error: urllib.error.HTTPError) -> float:
    """What ``Retry-After`` says, in seconds; a minute where it says a date, nothing or too much."""
    said = error.headers.get("Retry-After", "")
    return min(float(said), LONGEST_S) if said.isascii() and said.isdigit() else LONGEST_S


def _untrusted(url: str, error: Exception) -> InputError:
    return InputError(
        f"{url}: its certificate is not trusted ({error})",
        hint="--tls-ca FILE names the authority that signed it",
    )


class LaterError(UnreachableError):
    """The head is there, and asks to be left alone for ``wait_s`` seconds."""

    def __init__(self, message: str, wait_s: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.wait_s = wait_s


class TokenError(JetschedError):
    """The token is not the head's; who has joined before stays, and asks again."""

    exit_code = InputError.exit_code
