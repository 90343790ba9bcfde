"""How a person's browser gets to the pages that the head serves."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from jetsched.cluster.client import Client

#: What a desktop sets for programs that have a window.
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


@dataclass(frozen=True)
class Door:
    """Where the pages are. ``link`` opens them without a login: once, within a minute, if ``once``;
    else it is the pages' own address, and always does."""

    url: str
    link: str
    once: bool

    @property
    def tunnel(self) -> str:
        """What a person elsewhere types first; empty where the head listens for them anyhow."""
        address = urlsplit(self.url)
        if not _is_loopback(self.url):
            return ""
        return f"ssh -L {address.port}:{address.netloc} {socket.gethostname()}"


def door(client: Client) -> Door:
    """The way to the pages of the head that the client asks.

    Raises what the head answers: it may have no pages, or the token may not be an administrator's.
    """
    head = client.connection
    path = str(head.ask("POST", "/ui/ticket")["path"])
    url = f"{head.url}/ui/fleet"
    if head.is_own and _is_loopback(head.url):  # they are open to whom this head belongs to
        return Door(url, url, once=False)
    return Door(url, head.url + path, once=True)


def open_in_browser(link: str, environ: Mapping[str, str] = os.environ) -> str:
    """Have this desktop's browser show a page; returns why not, an empty text if it does.

    Browsers that would take over the terminal are left alone.
    """
    if sys.platform == "linux" and not any(environ.get(name) for name in _DISPLAYS):
        return "there is no desktop here"
    import webbrowser

    try:
        if webbrowser.open(link):
            return ""
    except (OSError, webbrowser.Error):
        pass
    return "no browser was found here"


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
