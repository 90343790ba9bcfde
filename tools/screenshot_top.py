"""`jetsched top` as a picture: what stands in a real pseudo-terminal, drawn by the browser."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Mapping
from itertools import groupby

from browser import Chrome
from terminals import TerminalRun

WIDTH, HEIGHT = 132, 40
#: So long it looks at the fleet, for its lines to have a past.
LOOKS_S = 25.0

GROUND, INK = "#16181c", "#e6e4df"
#: Of a terminal's eight colours, as they are told apart on a dark ground.
COLOURS = {
    "black": "#16181c",
    "red": "#ff8a80",
    "green": "#7ddc9a",
    "brown": "#f2cc60",
    "yellow": "#f2cc60",
    "blue": "#8ab8ff",
    "magenta": "#e0a3ff",
    "cyan": "#7fdbe6",
    "white": "#e6e4df",
}


def shown_top(env: Mapping[str, str]) -> str:
    """The terminal's screen as HTML; ``env`` names the head."""
    command = [sys.executable, "-m", "jetsched", "top"]
    with TerminalRun(command, env, width=WIDTH, height=HEIGHT) as run:
        end = time.monotonic() + LOOKS_S
        while time.monotonic() < end:
            run.read()
        lines = [_line(run, number) for number in range(HEIGHT)]
        run.press("q")
        run.end()
    return "\n".join(lines)


def _line(run: TerminalRun, number: int) -> str:
    cells = [run.screen.buffer[number][column] for column in range(WIDTH)]
    spans = []
    for (fg, bg, bold, reverse), run_of in groupby(
        cells, key=lambda c: (c.fg, c.bg, c.bold, c.reverse)
    ):
        ink, ground = _colour(fg, INK), _colour(bg, GROUND)
        if reverse:
            ink, ground = ground, ink
        weight = ";font-weight:bold" if bold else ""
        text = html.escape("".join(cell.data for cell in run_of))
        spans.append(f'<span style="color:{ink};background:{ground}{weight}">{text}</span>')
    return "".join(spans)


def _colour(name: str, default: str) -> str:
    plain = name.removeprefix("bright")
    if name == "default":
        return default
    return COLOURS.get(plain, f"#{plain}" if len(plain) == 6 else default)


def top_png(browser: Chrome, env: Mapping[str, str]) -> bytes:
    """A PNG of the terminal, of the width that its characters take."""
    style = f"margin:0;padding:12px;background:{GROUND};font:14px/1.25 DejaVu Sans Mono,monospace"
    page = browser.tab("").page
    page.set_content(
        f'<body style="background:{GROUND};margin:0"><pre style="display:inline-block;{style}">'
        f"{shown_top(env)}</pre></body>"
    )
    png = page.locator("pre").screenshot()
    browser.close_tabs()
    return png
