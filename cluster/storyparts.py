"""What the pages of a job and of a week have in common: the frame, tables, marks of sources."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jetsched import __version__
from jetsched.cluster.markup import Html, joined, tag
from jetsched.cluster.pagestyle import CSS
from jetsched.cluster.svg import picture_css
from jetsched.records import Source
from jetsched.units import NOTHING

#: Who made a page: one of ours may be written over.
GENERATOR = "jetsched report"
#: Nothing may be fetched from anywhere, whatever stands in the page, and no script runs.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1rem; margin: 0.8rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
caption { text-align: left; padding: 0.3rem 0; }
th.words, tbody th.words { text-align: left; }
abbr { text-decoration: none; color: var(--soft); }
.label { border: 1px solid var(--line); border-radius: 4px; padding: 0 0.4rem;
  font-size: 0.88rem; white-space: nowrap; }
.chosen th, .chosen td { font-weight: 600; }
.log { max-height: 30rem; overflow: auto; }
.scroll { overflow-x: auto; }
tbody th { min-width: 6em; max-width: 18em; }
td.words { min-width: 7em; max-width: 26em; overflow-wrap: anywhere; }
td time, th time { white-space: nowrap; }
@media screen and (max-width: 640px) {
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 0.4rem; }
  tbody th, td.words { min-width: 0; max-width: none; }
  td span { white-space: normal; min-width: 0; overflow-wrap: anywhere; } }
@media print { .log { max-height: none; } }
"""


def whole_page(title: str, body: Iterable[Html]) -> str:
    """A page that needs no other file and no network."""
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    head = joined(
        (
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            tag("meta", name="generator", content=GENERATOR),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", title),
            tag("style", Html(CSS + picture_css() + _STYLE)),
        )
    )
    foot = tag("p", f"Made by jetsched {__version__} on {made}.", class_="soft")
    html = tag("html", tag("head", head), tag("body", tag("main", *body, foot)), lang="en")
    return f"<!DOCTYPE html>\n{html}\n"


# ------------------------------------------------------------------------------------------- marks


def mark(source: Source, *, emulated: bool = False) -> Html:
    """``(m)``, ``(e)`` or ``(a)``, and *emulated*: where a number comes from."""
    words = f"{source}, on an emulated board" if emulated else source
    short = f"({source[0]}, emulated)" if emulated else f"({source[0]})"
    return tag("abbr", short, title=words)


def marked(text: str, source: Source, *, emulated: bool = False) -> Html:
    """A number with its source; a dash has none."""
    if text in ("", NOTHING):
        return joined((NOTHING,))
    return joined((text, " ", mark(source, emulated=emulated)))


# ------------------------------------------------------------------------------------------ tables


@dataclass(frozen=True)
class Head:
    """What stands above a column; ``words``: it holds text, not numbers."""

    title: str
    words: bool = False


@dataclass(frozen=True)
class Line:
    """A row of a table: its first cell names it."""

    cells: Sequence[str]
    class_: str | None = None


def table(caption: str, heads: Sequence[Head], lines: Iterable[Line]) -> Html:
    """A table; on a phone each row is a card, with the columns' titles beside the cells."""
    titles = [
        tag("th", head.title, scope="col", class_="words" if head.words else None) for head in heads
    ]
    rows = []
    for line in lines:
        first, *rest = line.cells
        cells = [tag("th", first, scope="row")]
        for cell, head in zip(rest, heads[1:], strict=True):
            class_ = "words" if head.words else None
            cells.append(tag("td", tag("span", cell), data_label=head.title, class_=class_))
        rows.append(tag("tr", *cells, class_=line.class_))
    top = tag("caption", caption, class_="soft") if caption else joined(())
    made = tag("table", top, tag("thead", tag("tr", *titles)), tag("tbody", *rows))
    name = caption or ", ".join(head.title for head in heads)
    return tag("div", made, class_="scroll", tabindex="0", role="region", aria_label=name)


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Names with their values, one under the other; what is empty is left out."""
    parts: list[Html] = []
    for name, value in pairs:
        if value:
            parts += [tag("dt", name), tag("dd", value)]
    return tag("dl", *parts)


def bullets(lines: Iterable[str], class_: str | None = None) -> Html:
    """A list of sentences."""
    return tag("ul", *(tag("li", line) for line in lines), class_=class_)


def next_commands(*commands: str) -> Html:
    """What to type next, as every screen ends."""
    return joined(
        (tag("h2", "Next"), tag("pre", "\n".join(commands))),
    )


def moment(at_s: float) -> str:
    """A moment with its date: a report is read later."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))


def short_moment(at_s: float) -> Html:
    """The same in a table, where the year is told above it."""
    shown = time.strftime("%d %b %H:%M:%S", time.localtime(at_s))
    return tag("time", shown, datetime=moment(at_s))
