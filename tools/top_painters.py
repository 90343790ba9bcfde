"""The pictures of `jetsched top`, painted in three ways into a terminal: what each costs.

python tools/top_painters.py ours|curses|rich      in a terminal: what bench_top.py runs there
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from terminals import TerminalRun

from jetsched.cluster.terminal import Line, Size, Terminal
from jetsched.cluster.top_events import Listener
from jetsched.cluster.top_marks import BLOCKS
from jetsched.cluster.top_view import View
from jetsched.cluster.top_watch import Watch, connect_to
from jetsched.top_screen import draw

#: Pictures are taken so many times, a look apart, and painted one after the other, so many times.
LOOKS, ROUNDS = 6, 5

Pictures = Sequence[Sequence[Line]]


def pictures(size: Size) -> Pictures:
    """What top would show in a few seconds."""
    connect = connect_to()
    watch, view = Watch(connect(), connect, Listener(connect)), View()
    found = []
    for _ in range(LOOKS):
        time.sleep(1.0)
        watch.look()
        view.settle(watch.picture, size)
        found.append(draw(watch.picture, view, size, BLOCKS))
    return found


def ours(size: Size, shown: Pictures) -> float:
    with Terminal() as terminal:
        return _timed(shown, lambda lines: terminal.paint(lines, size))


def with_curses(size: Size, shown: Pictures) -> float:
    """The standard library's, which compares cell by cell what is on the screen."""
    import curses

    def paint(screen: curses.window, lines: Sequence[Line]) -> None:
        screen.erase()
        for row, line in enumerate(lines):
            column = 0
            for text, style in line.spans:
                attributes = _ATTRIBUTES.get(style, 0) | (curses.A_REVERSE if line.marked else 0)
                # In the last corner it complains after it has written.
                text = text[: size.width - column - (row == size.height - 1)]
                screen.addstr(row, column, text, attributes)
                column += len(text)
        screen.refresh()

    def inside(screen: curses.window) -> float:
        curses.use_default_colors()
        for number, name in enumerate(("red", "green", "yellow", "cyan"), start=1):
            curses.init_pair(number, getattr(curses, f"COLOR_{name.upper()}"), -1)
            _ATTRIBUTES[name] = curses.color_pair(number)
        _ATTRIBUTES.update({"bold": curses.A_BOLD, "dim": curses.A_DIM})
        return _timed(shown, partial(paint, screen))

    return curses.wrapper(inside)


_ATTRIBUTES: dict[str, int] = {}


def with_rich(size: Size, shown: Pictures) -> float:
    """rich's Live, which renders the whole picture and sends all of it."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    def text(line: Line) -> Text:
        found = Text(no_wrap=True, style="reverse" if line.marked else "")
        for words, style in line.spans:
            found.append(words, style)
        return found

    with Live(console=Console(), screen=True, auto_refresh=False) as live:
        return _timed(shown, lambda lines: live.update(Group(*map(text, lines)), refresh=True))


def _timed(shown: Pictures, paint: Callable[[Sequence[Line]], None]) -> float:
    """Milliseconds of CPU for each picture, the process' own only."""
    paint(shown[-1])
    began = time.process_time()
    for _ in range(ROUNDS):
        for lines in shown:
            paint(lines)
    return 1000 * (time.process_time() - began) / (ROUNDS * len(shown))


WAYS: dict[str, Callable[[Size, Pictures], float]] = {
    "ours": ours,
    "curses": with_curses,
    "rich": with_rich,
}


def measured(way: str, env: dict[str, str], result: Path, width: int, height: int) -> float:
    """Milliseconds of CPU that one way takes for a picture, in a terminal of its own."""
    path = os.pathsep.join(["tests", "tools"])
    words = [sys.executable, __file__, way, str(result)]
    with TerminalRun(words, {**env, "PYTHONPATH": path}, width=width, height=height) as run:
        if run.end():
            raise RuntimeError(run.text)
    return float(result.read_text())


def main() -> None:
    width, height = os.get_terminal_size()
    size = Size(width, height)
    cost_ms = WAYS[sys.argv[1]](size, pictures(size))
    Path(sys.argv[2]).write_text(str(cost_ms))


if __name__ == "__main__":
    main()
