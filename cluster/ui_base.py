"""What all pages of the dashboard share: templates, live views, and the frame around them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jetsched import __version__, words
from jetsched.cluster.aside import Turn
from jetsched.cluster.desk import Desk
from jetsched.cluster.rules import Rules
from jetsched.cluster.ui_front import PART_HEADER, is_own_user
from jetsched.cluster.ui_live import Hub
from jetsched.cluster.ui_moments import left, moment, seconds_of, since, until, zone
from jetsched.units import format_duration, format_energy, format_rate, format_size, number

WEB = Path(__file__).parent / "web"
#: Nothing from elsewhere, nothing that stands in the page itself, and no frame around it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class NavItem:
    """A page in the navigation."""

    path: str
    title: str


NAV = (
    NavItem("/ui/fleet", "Fleet"),
    NavItem("/ui/queue", "Queue"),
    NavItem("/ui/submit", "Submit"),
    NavItem("/ui/timeline", "Timeline"),
    NavItem("/ui/fit", "Fit map"),
    NavItem("/ui/whatif", "What if"),
    NavItem("/ui/costs", "Cost model"),
)


class Ui:
    """The pages' side of one application.

    ``home`` is the head's data home, ``rules`` are what submissions are checked with; long work
    beside the service takes its ``turn``.
    """

    def __init__(self, desk: Desk, rules: Rules, home: Path, live: Hub) -> None:
        self.desk = desk
        self.rules = rules
        self.home = home
        self.live = live
        self.turn = Turn()
        self.router = APIRouter(prefix="/ui", include_in_schema=False)
        self._environment = _environment()

    def page(
        self,
        request: Request,
        template: str,
        *,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        framed: bool = True,
        **values: Any,
    ) -> HTMLResponse:
        """A whole page, or only its block ``part`` where a script asks for that.

        ``values`` are the template's; every one also has ``nav``, ``path`` and ``frame``, the live
        line about the scheduler. What is not ``framed`` tells nothing of the cluster.
        """
        found = self._environment.get_template(template)
        is_part = PART_HEADER.decode() in request.headers
        values["path"], values["nav"], values["now_s"] = request.url.path, NAV, time.time()
        values["zone"] = zone()
        values["frame"] = self.live.shown("frame") if framed and not is_part else None
        # Whoever is let in without a login would be in again at once.
        values["may_leave"] = not is_own_user(request.scope, dict(request.scope["headers"]))
        if is_part:
            context = found.new_context(values)
            html = "".join(found.blocks["part"](context))
        else:
            html = found.render(values)
        return HTMLResponse(html, status_code, headers={**HEADERS, **(headers or {})})

    def render(self, template: str, macro: str, *args: Any, **values: Any) -> str:
        """What a macro of a template makes of these arguments."""
        module = self._environment.get_template(template).module
        return str(getattr(module, macro)(*args, **values))


class FrameView:
    """The line above every page: the policy, how many jobs, whether the queue is paused."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui

    def look(self) -> dict[str, dict[str, Any]]:
        health = self._ui.desk.health()
        del health["at_s"]
        return {"frame": {"frame-line": health}}

    def draw(self, part_id: str, data: Any) -> str:
        return self._ui.render("frame.html", "line", data)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(WEB),
        autoescape=True,
        auto_reload=False,  # to ask each time whether a file is new takes as long as drawing
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=format_duration,
        size=format_size,
        energy=format_energy,
        number=number,
        clock=words.clock,
        state_word=words.state_word,
        outcome_word=words.outcome_word,
        gib=words.gib,
        rate=format_rate,
        seconds=seconds_of,
        source=source,
    )
    environment.globals.update(
        version=__version__, since=since, left=left, moment=moment, until=until, words=words
    )
    return environment


_SOURCES = {"measured": "m", "estimated": "e", "assumed": "a"}


def source(name: str | None) -> Markup:
    """The mark of where a number comes from, which says its word to those who ask."""
    if not name:
        return Markup("")
    return Markup('<abbr class="source" title="{}">({})</abbr>').format(name, _SOURCES[name])
