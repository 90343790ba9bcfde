"""Pictures as SVG that stand in a page themselves: as wide as it is, light or dark as it is.

Along x everything is a percentage and along y pixels, so that text keeps its size on a phone. How
things look is in ``web/static/pictures.css``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from jetsched.cluster.markup import Html, joined, tag

#: So many colours there are; more kinds of work share them, with another hatch.
COLOURS = 8
_HATCHES = (
    "",
    "M-1 1l2-2M0 8l8-8M7 9l2-2",
    "M-1 7l2 2M0 0l8 8M7-1l2 2",
    "M4 0v8",
    "M0 4h8",
    "M0 0l8 8M8 0l-8 8",
)


@cache
def picture_css() -> str:
    """The style sheet of pictures, for a page that must be one file."""
    path = Path(__file__).parent / "web" / "static" / "pictures.css"
    return path.read_text(encoding="utf-8")


def percent(share: float) -> str:
    """A part of the width, e.g. ``12.5%``; at most the whole of it."""
    return f"{100 * min(1.0, max(0.0, share)):.3f}".rstrip("0").rstrip(".") + "%"


def drawing(title: str, height: float, parts: Iterable[Html], *, uses: str = "") -> Html:
    """An SVG of a height in pixels; ``title`` is what is told to those who do not see it.

    ``uses`` is the prefix of its hatches (:func:`hatches`), where it has any.
    """
    defs = [hatches(uses)] if uses else []
    return tag(
        "svg",
        *defs,
        *parts,
        width="100%",
        height=f"{height:g}",
        role="img",
        aria_label=title,
        focusable="false",
    )


def hatches(prefix: str) -> Html:
    """The patterns that :func:`hatch_of` names. A page may hold several pictures: ids are apart."""
    made = [
        tag(
            "pattern",
            tag("path", d=path, class_="hatch"),
            id=f"{prefix}-hatch-{number}",
            width="8",
            height="8",
            patternUnits="userSpaceOnUse",
        )
        for number, path in enumerate(_HATCHES)
        if path
    ]
    return tag("defs", *made)


def hatch_of(prefix: str, number: int) -> str | None:
    """How the ``number``-th kind is hatched, as a value of ``fill``; None: not at all."""
    which = (number + number // COLOURS) % len(_HATCHES)
    return f"url(#{prefix}-hatch-{which})" if _HATCHES[which] else None


def colour_of(number: int) -> str:
    """The class that colours the ``number``-th kind."""
    return f"w{number % COLOURS}"


def text(x: str, y: float, words: str, *, class_: str = "", anchor: str = "start") -> Html:
    """A line of text that stands on ``y``."""
    return tag(
        "text", words, x=x, y=f"{y:g}", class_=class_ or None,
        text_anchor=None if anchor == "start" else anchor,
    )  # fmt: skip


def rect(x: str, y: float, width: str, height: float, **more: str | None) -> Html:
    return tag("rect", x=x, y=f"{y:g}", width=width, height=f"{height:g}", **more)


def line(x1: str, y1: float, x2: str, y2: float, class_: str) -> Html:
    return tag("line", x1=x1, y1=f"{y1:g}", x2=x2, y2=f"{y2:g}", class_=class_)


def at(x: str, y: float, *parts: Html) -> Html:
    """Parts around a point of their own."""
    return tag("svg", *parts, x=x, y=f"{y:g}", overflow="visible", width="1", height="1")


def figure(picture: Html, *below: Html, caption: str = "") -> Html:
    """A picture with its keys and a caption."""
    words = [tag("figcaption", caption)] if caption else []
    return tag("figure", picture, *below, *words, class_="picture")


def keys(entries: Sequence[tuple[Html, str]]) -> Html:
    """What the signs of a picture mean: a small picture of each, and the words."""
    items = [
        tag("li", tag("svg", sign, width="22", height="13", aria_hidden="true"), words)
        for sign, words in entries
    ]
    return tag("ul", *items, class_="keys") if items else joined(())
