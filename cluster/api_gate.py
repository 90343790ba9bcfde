"""The gate before the API: how large a request may be, and whose token opens what.

It looks at the head of a request only, so a body is not read for anybody who may not send it.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from starlette.responses import Response

from jetsched.cluster.api_errors import ForbiddenError, RefusedError, TooManyError, error_answer
from jetsched.cluster.throttle import Throttle
from jetsched.cluster.tokens import Role, Tokens, digest
from jetsched.errors import InputError, JetschedError

#: The most that a request may be.
LARGEST_BODY_BYTES = 4 * 1024 * 1024

#: They say nothing of this cluster: the description is that of the program's source.
OPEN = frozenset({"/healthz", "/openapi.json", "/docs"})
#: What a token that is not an administrator's opens.
ALLOWED: dict[Role, frozenset[tuple[str, str]]] = {
    "node": frozenset({("POST", "/nodes/join")}),
    "metrics": frozenset({("GET", "/metrics")}),
}

if TYPE_CHECKING:
    from jetsched.cluster.ui_session import Sessions

_OWNER = "jetsched.owner"
_Scope = MutableMapping[str, Any]
_App = Callable[[_Scope, Any, Any], Awaitable[None]]


class Guard:
    """Knows which token may do what: the one of this run, which is its owner's, and made ones."""

    def __init__(
        self, own_token: str, tokens: Tokens | None = None, throttle: Throttle | None = None
    ) -> None:
        self._own_token = own_token
        self._own = digest(own_token)
        self._tokens = tokens
        self._throttle = throttle or Throttle()

    def sessions(self) -> Sessions:
        """Sessions of browsers, which end with the tokens that are known here."""
        from jetsched.cluster.ui_session import Sessions  # of an extra

        return Sessions(self._own_token, self._tokens)

    def check(self, authorization: str, address: str, method: str, path: str) -> bool:
        """Whether it is the owner who asks: with the token of this run.

        Raises :class:`RefusedError`, :class:`ForbiddenError` or :class:`TooManyError`.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer" or not token:
            raise RefusedError(
                "the token is missing or wrong", hint="send Authorization: Bearer TOKEN"
            )
        role = self.role_of(token, address)
        if role != "admin" and (method, path) not in ALLOWED[role]:
            allowed = ", ".join(" ".join(one) for one in sorted(ALLOWED[role]))
            raise ForbiddenError(
                f"a token of role {role} is not for {method} {path}", hint=f"only for {allowed}"
            )
        return hmac.compare_digest(digest(token), self._own)

    def role_of(self, token: str, address: str) -> Role:
        """What a token may do. Raises :class:`RefusedError` or :class:`TooManyError`."""
        role: Role | None = "admin"
        if not hmac.compare_digest(digest(token), self._own):
            role = self._tokens.role_of(token) if self._tokens is not None else None
        if role is None:
            wait_s = self._throttle.wrong(address)
            if wait_s:
                raise TooManyError("too many wrong tokens came from your address", wait_s)
            raise RefusedError(
                "the token is missing or wrong", hint="jetsched token new NAME, on the head"
            )
        return role


@dataclass(frozen=True)
class Admitted:
    """A request that is let in; ``owner``: with the token of this run, or as its user."""

    owner: bool


class Pages(Protocol):
    """Who decides about browsers, which have no token."""

    def is_open(self, path: str) -> bool:
        """Whether anybody may ask for it."""
        ...

    def admit(
        self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]
    ) -> Admitted | Response | None:
        """Whether a browser is let in, or what it gets instead; None: a token is needed."""
        ...


class Gate:
    """ASGI: refuses what is too large or not allowed, and passes on the rest."""

    def __init__(self, app: _App, guard: Guard, pages: Pages | None = None) -> None:
        self._app = app
        self._guard = guard
        self._pages = pages

    async def __call__(self, scope: _Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers: dict[bytes, bytes] = dict(scope["headers"])
            try:
                status = _unfit(headers)
                if status is None and not self._is_open(scope["path"]):
                    admitted = self._admitted(scope, headers)
                    if not isinstance(admitted, Admitted):
                        await admitted(scope, receive, send)
                        return
                    scope[_OWNER] = admitted.owner
            except JetschedError as error:
                await error_answer(error)(scope, receive, send)
                return
            if status is not None:
                await error_answer(*status)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in OPEN or (self._pages is not None and self._pages.is_open(path))

    def _admitted(self, scope: _Scope, headers: dict[bytes, bytes]) -> Admitted | Response:
        if self._pages is not None and b"authorization" not in headers:
            found = self._pages.admit(scope, headers)
            if found is not None:
                return found
        address = scope["client"][0] if scope.get("client") else ""
        token = headers.get(b"authorization", b"").decode("utf-8", "replace")
        return Admitted(self._guard.check(token, address, scope["method"], scope["path"]))


def is_owner(scope: Mapping[str, Any]) -> bool:
    """Whether a request that was let in came from whom this run belongs to."""
    return bool(scope.get(_OWNER))


def _unfit(headers: dict[bytes, bytes]) -> tuple[JetschedError, int] | None:
    """Why a request is not read at all, with the HTTP status; None where it is."""
    if b"transfer-encoding" in headers:
        return InputError("the request does not say how long it is"), 411
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > LARGEST_BODY_BYTES:
        text = f"the request is larger than {LARGEST_BODY_BYTES:,} bytes"
        return InputError(text, hint="submit fewer jobs at a time"), 413
    return None
