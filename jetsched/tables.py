"""Tables for a terminal or a pipe: plain text in, nothing else behind it.

In a terminal that is too narrow, long cells are cut and columns are dropped in a fixed order
instead of wrapping; in a pipe nothing is dropped and nothing is coloured.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Colours that go with words which say the same.
STYLES = {
    "DONE": "green",
    "RUNNING": "cyan",
    "STARTING": "cyan",
    "WAITING": "yellow",
    "HELD": "yellow",
    "FAILED": "red",
    "LOST": "red",
    "NO": "red",
    "tight": "yellow",
    "steady": "green",
    "READY": "green",
    "BUSY": "cyan",
    "DEGRADED": "yellow",
    "DRAINING": "yellow",
    "SUSPECT": "yellow",
    "OFFLINE": "red",
    "✓": "green",
    "~": "yellow",
    "✗": "red",
}
_GAP = 2

#: A piece of a line, and its style.
Span = tuple[str, str]


@dataclass(frozen=True)
class Column:
    """A column of a table. The highest ``drop`` goes first when space is short; 0 never goes."""

    title: str
    right: bool = False
    drop: int = 0
    #: The most characters shown; longer cells are cut with an ellipsis.
    most: int = 40
    #: Before any column goes, this one is cut down to so many; 0: it is not.
    least: int = 0


def console(*, stderr: bool = False) -> Console:
    """Where to print: coloured in a terminal, plain in a pipe or with NO_COLOR."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    if not file.isatty():
        return Console(file=file, width=10_000, no_color=True, highlight=False, soft_wrap=True)
    if os.environ.get("NO_COLOR"):  # rich would still print bold and dim
        return Console(file=file, color_system=None, highlight=False, soft_wrap=True)
    return Console(file=file, highlight=False, soft_wrap=True)


def width() -> int:
    """Columns to fill: those of the terminal; in a pipe as many as it takes."""
    if not sys.stdout.isatty():
        return int(os.environ.get("COLUMNS") or 10_000)
    return os.get_terminal_size(sys.stdout.fileno()).columns


def print_table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], indent: int = 2
) -> list[Column]:
    """Print a table, as wide as the terminal allows. Returns the columns that had no room."""
    out = console()
    shown, lines = fit(columns, rows, width() - indent)
    for line in lines:
        out.print(" " * indent, _text(line), sep="")
    return [column for i, column in enumerate(columns) if i not in shown]


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int) -> list[Text]:
    """The lines of a table at most ``width`` characters wide, as long as any column can go."""
    return [_text(line) for line in fit(columns, rows, width)[1]]


def fit(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int
) -> tuple[list[int], list[list[Span]]]:
    """Which columns are shown, and the lines as spans: titles first, then one for each row."""
    cells = [
        [cut(cell, column.most) for cell, column in zip(row, columns, strict=True)] for row in rows
    ]
    widths = [
        max([len(column.title), *(cells_wide(row[i]) for row in cells)])
        for i, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    floors = [
        min(widths[i], max(column.least, len(column.title))) if column.least else widths[i]
        for i, column in enumerate(columns)
    ]
    while sum(floors[i] + _GAP for i in shown) - _GAP > width:
        drops = [i for i in shown if columns[i].drop]
        if not drops:
            break
        shown.remove(max(drops, key=lambda i: (columns[i].drop, i)))
    spare = width + _GAP - sum(floors[i] + _GAP for i in shown)
    for i in shown:
        more = max(0, min(spare, widths[i] - floors[i]))
        widths[i], spare = floors[i] + more, spare - more
        for row in cells:
            row[i] = cut(row[i], widths[i])
    lines = [_line([column.title for column in columns], columns, widths, shown, header=True)]
    return shown, lines + [_line(row, columns, widths, shown) for row in cells]


def _line(
    row: Sequence[str],
    columns: Sequence[Column],
    widths: Sequence[int],
    shown: Sequence[int],
    header: bool = False,
) -> list[Span]:
    line: list[Span] = []
    for position, i in enumerate(shown):
        space = " " * (widths[i] - cells_wide(row[i]))
        last = position == len(shown) - 1
        style = "bold" if header else _style(row[i])
        if columns[i].right:
            line.append((space, ""))
        line.append((row[i], style))
        if not last:
            line.append((" " * _GAP if columns[i].right else space + " " * _GAP, ""))
    return line


def _text(line: Iterable[Span]) -> Text:
    from rich.text import Text

    text = Text(no_wrap=True)
    for words, style in line:
        text.append(words, style)
    return text


def _style(cell: str) -> str:
    """By the cell's word, or by the sign that it begins with."""
    return STYLES.get(cell.split("(")[0].strip()) or STYLES.get(cell[:1], "")


def cut(cell: str, most: int) -> str:
    """At most ``most`` characters wide; one of Chinese or Japanese is two wide."""
    if cells_wide(cell) <= most:
        return cell
    from rich.cells import set_cell_size

    return set_cell_size(cell, most - 1).rstrip() + "…"


def cells_wide(text: str) -> int:
    """How many characters' width a text takes in a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with an ETA while this goes on, gone afterwards; it hears (done, total).

    Nothing is shown where nobody looks, that is, if stderr is not a terminal.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import Progress

    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def next_steps(*commands: str) -> None:
    """The last line of a screen: what to type next."""
    out = console()
    out.print()
    out.print("Next: " + "   ·   ".join(commands), style="dim")
