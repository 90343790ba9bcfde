"""Bars and spark-lines of characters, for `jetsched top`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Stands for each character that a terminal would not show, or would obey.
UNPRINTABLE = "\ufffd"


@dataclass(frozen=True)
class Marks:
    """The characters of pictures. ``parts`` grow from an empty place to a full one."""

    parts: str
    empty: str
    levels: str
    cursor: str


BLOCKS = Marks(parts=" ▏▎▍▌▋▊▉█", empty="░", levels="▁▂▃▄▅▆▇█", cursor="▸")
#: For a terminal that does not speak UTF-8.
PLAIN = Marks(parts=" #", empty=".", levels="_.-=+*#@", cursor=">")


def marks_for(encoding: str | None) -> Marks:
    """Those that an output of this encoding can show."""
    return BLOCKS if (encoding or "").lower().replace("-", "") == "utf8" else PLAIN


def bar(share: float | None, width: int, marks: Marks) -> str:
    """A bar that is ``width`` characters wide, filled to a share; empty where none is known.

    Whatever is more than nothing shows, and only what is full looks so.
    """
    if share is None or width <= 0:
        return " " * max(width, 0)
    steps = len(marks.parts) - 1
    most = width * steps
    filled = round(min(max(share, 0.0), 1.0) * most)
    if share > 0:
        filled = max(filled, 1)
    if share < 1:
        filled = min(filled, most - 1)
    whole, part = divmod(filled, steps)
    text = marks.parts[-1] * whole + (marks.parts[part] if part else "")
    return text + marks.empty * (width - len(text))


def spark(values: Sequence[float | None], low: float, high: float, marks: Marks) -> str:
    """A line as wide as there are values, from ``low`` to ``high``; a gap where one is unknown."""
    top = len(marks.levels) - 1
    scale = top / (high - low) if high > low else 0.0
    return "".join(
        " " if value is None else marks.levels[min(max(round((value - low) * scale), 0), top)]
        for value in values
    )


def clean(text: str) -> str:
    """A text in one line that a terminal shows and does not obey: names and logs are anybody's."""
    if text.isprintable():
        return text
    text = text.expandtabs(4)
    return "".join(c if c.isprintable() else UNPRINTABLE for c in text)
