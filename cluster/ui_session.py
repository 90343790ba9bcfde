"""Who looks at the pages: a signed cookie that stands for a token, and links that work once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeTimedSerializer

from jetsched.cluster.tokens import Tokens, digest

#: A person logs in again after so long.
LIFETIME_S = 7 * 24 * 3600
#: A link of `jetsched dashboard` is followed at once or never.
TICKET_S = 60.0
MOST_TICKETS = 100


@dataclass(frozen=True)
class Session:
    """Somebody who is logged in; ``owner``: with the token of this run, or as its user."""

    owner: bool


class Sessions:
    """Makes and reads session cookies. Nothing is kept: a cookie ends with the token behind it.

    For several threads.
    """

    def __init__(
        self, own_token: str, tokens: Tokens | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._own = digest(own_token)
        self._tokens = tokens
        key = hashlib.sha256(b"jetsched session " + own_token.encode()).digest()
        self._signer = URLSafeTimedSerializer(key, salt="jetsched.session")
        self._clock = clock
        self._tickets: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def of_token(self, token: str, peer: str) -> str | None:
        """A cookie's value for whoever shows an administrator's token; None for other texts.

        ``peer`` says who that is by the connection. The cookie is of no use to anybody else: a
        browser sends it to all servers of a host, whatever their port and whosever they are.
        """
        mine = digest(token)
        return self._signed(mine, peer) if self._session(mine) is not None else None

    def read(self, cookie: str, peer: str) -> Session | None:
        """Whose cookie it is; None if it is forged, another's, too old, or its token is revoked."""
        try:
            mine, owner = self._signer.loads(cookie, max_age=LIFETIME_S)
        except (BadSignature, ValueError, TypeError):
            return None
        return self._session(mine) if owner == peer and isinstance(mine, str) else None

    def ticket(self, token: str) -> str:
        """A text that is worth a cookie, once, within a minute; ``token`` is an administrator's."""
        made = secrets.token_urlsafe(32)
        with self._lock:
            now = self._clock()
            self._tickets = {t: v for t, v in self._tickets.items() if v[0] > now}
            if len(self._tickets) >= MOST_TICKETS:
                del self._tickets[next(iter(self._tickets))]
            self._tickets[digest(made)] = now + TICKET_S, digest(token)
        return made

    def of_ticket(self, ticket: str, peer: str) -> str | None:
        """A cookie's value for a ticket, which is used up; None if it is none, or too late."""
        with self._lock:
            until, mine = self._tickets.pop(digest(ticket), (0.0, ""))
        if self._clock() >= until or self._session(mine) is None:
            return None
        return self._signed(mine, peer)

    def _signed(self, mine: str, peer: str) -> str:
        # Half of a hash tells which token it is, and is of no use for guessing it.
        return str(self._signer.dumps([mine[:32], peer]))

    def _session(self, mine: str) -> Session | None:
        start = mine[:32]
        if hmac.compare_digest(start, self._own[:32]):
            return Session(owner=True)
        known = self._tokens.ls() if self._tokens is not None else []
        for one in known:
            if one.role == "admin" and hmac.compare_digest(start, one.sha256[:32]):
                return Session(owner=False)
        return None
