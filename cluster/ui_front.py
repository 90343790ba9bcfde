"""Lets people's browsers in: by cookie, and on this machine without a login.

A browser sends along with a request whatever it has for the place, also when another site makes it
ask. So what changes something is open only to requests that this server's own pages made.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.responses import RedirectResponse, Response

from jetsched.cluster.api_errors import ForbiddenError
from jetsched.cluster.api_gate import Admitted
from jetsched.cluster.peers import uid_of_peer
from jetsched.cluster.ui_session import LIFETIME_S, Session, Sessions

#: Pages set it; a form or a link of another site cannot.
PAGE_HEADER = b"x-jetsched-page"
#: A part of a page is asked for by a script: it is told to log in, not sent elsewhere.
PART_HEADER = b"x-jetsched-part"
OPEN_PREFIXES = ("/ui/static/", "/ui/login")
SAFE_METHODS = ("GET", "HEAD")

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: A proxy adds one of them, or one that begins with ``x-forwarded``: who connects is then not who
#: asks.
_OF_PROXIES = (
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"x-client-ip",
    b"x-original-forwarded-for",
    b"true-client-ip",
    b"cf-connecting-ip",
)

Headers = Mapping[bytes, bytes]
Scope = Mapping[str, Any]


class Front:
    """Decides about requests that come without a token in their head."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions

    def is_open(self, path: str) -> bool:
        """Whether anybody may ask for it: what the login is made of."""
        return path.startswith(OPEN_PREFIXES)

    def admit(self, scope: Scope, headers: Headers) -> Admitted | Response | None:
        """Whether a browser is let in, or where it is sent instead; None: that is not known here.

        Raises :class:`ForbiddenError` for a change that another site may have asked for.
        """
        path, method = scope["path"], scope["method"]
        is_page = path in ("/", "/ui") or path.startswith("/ui/")
        session = self._session(scope, headers)
        # No cookie here: browsers would show it to every other server of this machine.
        if session is None and (is_page or _is_from_page(headers)) and is_own_user(scope, headers):
            session = Session(owner=True)
        if session is not None:
            if method not in SAFE_METHODS:
                _refuse_other_pages(scope, headers)
            return Admitted(session.owner)
        if not is_page or method not in SAFE_METHODS or PART_HEADER in headers:
            return None
        if path.startswith("/ui/live"):
            return None
        return RedirectResponse(f"/ui/login?next={quote(_wanted(scope), safe='')}", 303)

    def cookie(self, scope: Scope, value: str) -> str:
        """The head line that gives a session to a browser; an empty value takes it away."""
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        lives = LIFETIME_S if value else 0
        name = cookie_name(scope)
        return f"{name}={value}; Path=/; Max-Age={lives}; HttpOnly; SameSite=Strict{secure}"

    def _session(self, scope: Scope, headers: Headers) -> Session | None:
        try:
            cookies = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
        except CookieError:
            return None
        morsel = cookies.get(cookie_name(scope))
        return self.sessions.read(morsel.value, peer_of(scope)) if morsel is not None else None


def cookie_name(scope: Scope) -> str:
    """Cookies are shared by all ports of a host, and a host may have several heads."""
    server = scope.get("server") or ("", 0)
    return f"jetsched_session_{server[1]}"


def peer_of(scope: Scope) -> str:
    """Who is at the other end: its address, on this machine the user that its socket is of."""
    client, server = scope.get("client"), scope.get("server")
    if not client or not server:
        return ""
    if ipaddress.ip_address(client[0]).is_loopback:
        return f"uid {uid_of_peer(tuple(client), tuple(server))}"
    return str(client[0])


def is_own_user(scope: Scope, headers: Headers) -> bool:
    """Whether the browser runs on this machine, as the user whose process this is.

    The name that it asked for must be one of the loopback: a site's own name may be made to lead
    here, and that site's scripts would be let in.
    """
    if any(name in _OF_PROXIES or name.startswith(b"x-forwarded") for name in headers):
        return False
    host = headers.get(b"host", b"").decode("latin-1")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name.lower() in _LOOPBACK_NAMES and peer_of(scope) == f"uid {os.getuid()}"


def refuse_other_sites(scope: Scope) -> None:
    """Raises :class:`ForbiddenError` for a request that a page of another site has made."""
    headers = dict(scope["headers"])
    origin, host = headers.get(b"origin"), headers.get(b"host", b"").decode("latin-1")
    same = origin is None or urlsplit(origin.decode("latin-1")).netloc == host
    if not same or headers.get(b"sec-fetch-site", b"same-origin") not in (b"same-origin", b"none"):
        raise ForbiddenError(
            "a page of another site has asked for this", hint="open the page of this server"
        )


def _is_from_page(headers: Headers) -> bool:
    """Whether a page of this server asks, as browsers say it; older ones say where they were."""
    fetched = headers.get(b"sec-fetch-site")
    if fetched is not None or PAGE_HEADER in headers:
        return fetched in (None, b"same-origin")
    referrer = urlsplit(headers.get(b"referer", b"").decode("latin-1"))
    return bool(referrer.netloc) and referrer.netloc == headers.get(b"host", b"").decode("latin-1")


def _refuse_other_pages(scope: Scope, headers: Headers) -> None:
    refuse_other_sites(scope)
    if PAGE_HEADER not in headers:
        raise ForbiddenError(
            "a change without a token must come from a page of this server",
            hint="programs send Authorization: Bearer TOKEN",
        )


def _wanted(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    path: str = scope["path"]
    return path + (f"?{query}" if query else "")
