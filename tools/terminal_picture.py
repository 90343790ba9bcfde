"""A picture of what a terminal shows, for the docs: `jetsched top` over a computed fleet."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pyte
from api_world import TOKEN, Served
from terminals import TerminalRun

WIDTH, HEIGHT = 132, 34
SIZE_PX = 15
#: So long until the lines of the last minutes say something.
LIVE_S = 45.0
PAPER, INK = "#1d1f21", "#dcdcdc"
COLOURS = {
    "red": "#ff8a80",
    "green": "#9ccc65",
    "brown": "#ffd54f",  # what pyte calls the yellow of a terminal
    "cyan": "#4dd0e1",
}


def top_picture(served: Served, home: Path) -> bytes:
    """A PNG of `jetsched top` at a service, after it has run for a while."""
    (home / "token").write_text(TOKEN)
    env = {
        "JETSCHED_HEAD": served.url,
        "JETSCHED_TOKEN_FILE": str(home / "token"),
        "JETSCHED_HOME": str(home / "data"),
        "NO_COLOR": "",
    }
    words = [sys.executable, "-m", "jetsched", "top"]
    with TerminalRun(words, env, width=WIDTH, height=HEIGHT) as run:
        run.until_shown("boards,")
        run.press("jj")
        end = time.monotonic() + LIVE_S
        while (left_s := end - time.monotonic()) > 0:
            run.read(left_s)
        png = drawn(run.screen)
        run.press("q")
        run.end()
    return png


def drawn(screen: pyte.Screen) -> bytes:
    """A PNG of a terminal's screen, dark as most are."""
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    fonts = Path(get_data_path()) / "fonts/ttf"
    plain = ImageFont.truetype(str(fonts / "DejaVuSansMono.ttf"), SIZE_PX)
    bold = ImageFont.truetype(str(fonts / "DejaVuSansMono-Bold.ttf"), SIZE_PX)
    wide = round(plain.getlength("m"))
    ascent, descent = plain.getmetrics()
    high = ascent + descent
    picture = Image.new("RGB", ((screen.columns + 2) * wide, (screen.lines + 1) * high), PAPER)
    pen = ImageDraw.Draw(picture)
    for row in range(screen.lines):
        for column in range(screen.columns):
            cell = screen.buffer[row][column]
            ink, paper = COLOURS.get(cell.fg, INK), PAPER
            if cell.reverse:
                ink, paper = paper, ink
            x, y = (column + 1) * wide, row * high + high // 2
            if paper != PAPER:
                pen.rectangle((x, y, x + wide - 1, y + high - 1), fill=paper)
            if cell.data.strip():
                pen.text((x, y), cell.data, fill=ink, font=bold if cell.bold else plain)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
