"""A real browser for tests of the page: Chromium driven by Playwright, and axe-core.

`make browser` brings them in; where something cannot be had, the tests that want it are skipped and
say so. What goes wrong on a page unseen (an error in its console, a request to elsewhere) is noted
by the tab, and :meth:`Tab.check` tells.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response

FOUND = Path(__file__).resolve().parent.parent / ".venv/browser/found.json"
#: Against hanging only.
SOON_MS = 120_000
#: The browser has to be quiet by itself: it asks its maker for this and that.
OPTIONS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
#: WCAG 2 A and AA, and what axe-core holds for good practice.
SERIOUS = ("serious", "critical")
#: In CSS pixels: the width that the issue asks for is the narrowest in use.
PHONE_PX = {"width": 360, "height": 740}
DESK_PX = {"width": 1280, "height": 900}


@dataclass(frozen=True)
class Look:
    """How somebody looks at a page."""

    name: str
    dark: bool = False
    phone: bool = False

    def __str__(self) -> str:
        return self.name

    def options(self) -> dict[str, Any]:
        """Of a browser context."""
        return {
            "color_scheme": "dark" if self.dark else "light",
            "viewport": PHONE_PX if self.phone else DESK_PX,
            "is_mobile": self.phone,
            "has_touch": self.phone,
            "reduced_motion": "reduce",
            "locale": "en-GB",
            "timezone_id": "Asia/Tokyo",  # not the head's, whose times are shown
        }


LIGHT, DARK, PHONE = Look("light"), Look("dark", dark=True), Look("phone", phone=True)


def found() -> dict[str, Any]:
    """What `make browser` found."""
    try:
        return dict(json.loads(FOUND.read_bytes()))
    except (OSError, ValueError):
        return {}


def wanted(name: str) -> str:
    """A path from what was found; skips the test where it is not there."""
    there = found()
    path = str(there.get(name) or "")
    if not path:
        why = there.get("missing", {}).get(name, "make browser has not been run")
        pytest.skip(f"no {name}: {why}")
    return path


class Tab:
    """A page in the browser, and what went wrong on it unseen.

    ``allowed`` are parts of messages that a test expects, such as a refusal that it provokes.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.trouble: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        page.on("request", self._asked)
        page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.trouble.append(f"console {message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)
        where = urlsplit(request.url)
        if where.scheme != "data" and f"{where.scheme}://{where.netloc}" != self.origin:
            self.trouble.append(f"outside request: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            path = urlsplit(response.url).path
            self.trouble.append(f"answer {response.status}: {response.request.method} {path}")

    def open(self, path: str) -> Tab:
        """Go to a page of the served world, and wait until its scripts have begun their work."""
        self.page.goto(self.origin + path, wait_until="load", timeout=SOON_MS)
        return self

    def check(self, *allowed: str) -> None:
        """Fails with what went wrong on the page, but for messages that have a text of these."""
        wrong = [text for text in self.trouble if not any(part in text for part in allowed)]
        assert wrong == [], f"{self.page.url}: {wrong}"

    def overflow(self) -> list[str]:
        """What sticks out of the window sideways; empty where nobody needs to scroll so."""
        found: list[str] = self.page.evaluate(
            """() => {
                const wide = document.documentElement.clientWidth;
                if (document.scrollingElement.scrollWidth <= wide) return [];
                const out = [...document.body.querySelectorAll('*')].filter(
                    (e) => e.getBoundingClientRect().right > wide + 1);
                const name = (e) => e.tagName.toLowerCase() + (e.id ? '#' + e.id : '') +
                    [...e.classList].map((c) => '.' + c).join('');
                return ['page: ' + document.scrollingElement.scrollWidth + ' > ' + wide,
                        ...out.slice(0, 8).map(name)];
            }"""
        )
        return found

    def axe(self) -> list[str]:
        """The serious findings of axe-core, one line each: rule, help, where."""
        script = Path(wanted("axe")).read_text(encoding="utf-8")
        self.page.evaluate(script)  # by the debugger's door: the page's own policy lets none in
        answer = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{v['id']} ({v['impact']}): {v['help']}: "
            + "; ".join(
                str(node["target"][0]) + " " + node["html"][:120] for node in v["nodes"][:3]
            )
            for v in answer["violations"]
            if v["impact"] in SERIOUS
        ]

    def reached(self, most: int = 400) -> list[str]:
        """What the Tab key leads to, in order, until it comes round; ids, or words where none."""
        self.page.evaluate("() => document.activeElement.blur()")
        seen: list[str] = []
        for _ in range(most):
            self.page.keyboard.press("Tab")
            name = self.page.evaluate(
                """() => {
                    const e = document.activeElement;
                    if (!e || e === document.body || e === document.documentElement) return '';
                    e.dataset.reached = 'yes';
                    return e.id || e.name || e.getAttribute('aria-label')
                        || e.textContent.trim() || '?';
                }"""
            )
            if not name and seen:
                return seen
            seen.append(name)
        return seen

    def unreached(self) -> list[str]:
        """Visible controls that the Tab key does not lead to.

        Those with ``tabindex="-1"`` are reached by arrow keys from the one of them that has none.
        """
        self.reached()
        found: list[str] = self.page.evaluate(
            """() => [...document.querySelectorAll(
                    'a[href], button, input, select, textarea, summary, [tabindex="0"]')]
                .filter((e) => e.checkVisibility() && !e.disabled && !e.dataset.reached
                        && e.type !== 'hidden' && e.tabIndex >= 0 && !e.closest('[inert]')
                        && !(e.type === 'radio' && document.querySelector(
                            `input[type=radio][name="${e.name}"][data-reached]`)))
                .map((e) => e.outerHTML.slice(0, 120))"""
        )
        return found


@dataclass
class Chrome:
    """A running browser. Each tab has a context of its own: no cookie is shared."""

    chromium: Chromium
    _contexts: list[BrowserContext] = field(default_factory=list)

    def tab(self, origin: str, look: Look = LIGHT, **options: Any) -> Tab:
        """A new window at no page yet; ``options`` are Playwright's, of a context."""
        context = self.chromium.new_context(**{**look.options(), **options})
        context.set_default_timeout(SOON_MS)
        self._contexts.append(context)
        return Tab(context.new_page(), origin)

    def close_tabs(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()


@contextmanager
def chrome() -> Iterator[Chrome]:
    """Start the browser, and end it; skips the test where there is none."""
    path = wanted("chromium")
    wanted("playwright")
    from playwright.sync_api import sync_playwright

    # As root there is no sandbox, and a container's /dev/shm is too small for it.
    alone = ("--no-sandbox", "--disable-dev-shm-usage") if os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[*OPTIONS, *alone])
        try:
            yield Chrome(chromium)
        finally:
            chromium.close()
