"""Bars that are compared with each other: memory beside what there is of it, phases of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jetsched.cluster import svg
from jetsched.cluster.markup import Html, joined, tag

_ROW, _NAME, _BAR = 42, 15, 16


@dataclass(frozen=True)
class Part:
    """A piece of a bar: what it is, how much, and how that is said."""

    name: str
    value: float
    words: str


@dataclass(frozen=True)
class Stack:
    """A bar of pieces one after the other; ``words`` stands beside its name."""

    name: str
    parts: Sequence[Part]
    words: str = ""

    @property
    def value(self) -> float:
        return sum(part.value for part in self.parts)


def stacks(
    bars: Sequence[Stack], *, title: str, prefix: str, limit: float = 0.0, limit_words: str = ""
) -> Html:
    """A figure of bars on one scale, with keys of their pieces, and a line at ``limit``."""
    most = max([limit, *(bar.value for bar in bars)]) * 1.02 or 1.0
    names = list(dict.fromkeys(part.name for bar in bars for part in bar.parts))
    parts: list[Html] = []
    for number, bar in enumerate(bars):
        parts += _bar(bar, 4.0 + number * _ROW, most, names, prefix)
    height = 4.0 + len(bars) * _ROW
    entries = [(_swatch(number, prefix), name) for number, name in enumerate(names)]
    if limit:
        x = svg.percent(limit / most)
        parts.append(svg.line(x, 6, x, height - 6, "room"))
        entries.append((svg.line("11", 0, "11", 13, "room"), limit_words))
    return svg.figure(svg.drawing(title, height, parts, uses=prefix), svg.keys(entries))


def _bar(bar: Stack, y: float, most: float, names: Sequence[str], prefix: str) -> list[Html]:
    top = y + _NAME
    shown = [
        svg.text("0", y + 11, f"{bar.name}: {bar.words}" if bar.words else bar.name),
        svg.rect("0", top, "100%", _BAR, class_="back"),
    ]
    begin = 0.0
    for part in bar.parts:
        number = names.index(part.name)
        x, width = svg.percent(begin / most), svg.percent(part.value / most)
        hatch = svg.hatch_of(prefix, number)
        pieces = [
            tag("title", f"{part.name}: {part.words}"),
            svg.rect(x, top, width, _BAR, class_=f"part {svg.colour_of(number)}"),
        ]
        pieces += [svg.rect(x, top, width, _BAR, fill=hatch)] if hatch else []
        shown.append(tag("g", *pieces))
        begin += part.value
    return shown


def _swatch(number: int, prefix: str) -> Html:
    hatch = svg.hatch_of(prefix, number)
    pieces = [svg.rect("1", 1, "20", 11, class_=f"part {svg.colour_of(number)}")]
    pieces += [svg.rect("1", 1, "20", 11, fill=hatch)] if hatch else []
    return joined(pieces)
