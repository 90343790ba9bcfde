"""Predicted against measured as a picture of a page: on the line is as thought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from jetsched.cluster import svg
from jetsched.cluster.markup import Html, joined, tag
from jetsched.units import format_rate

#: More points hide each other; those in between are left out, evenly.
MOST_DOTS = 1200
#: Of more points than this the whiskers would be all that is seen.
MOST_WHISKERS = 120
#: What a run may be off by: so far from the line the band goes.
BAND = 0.15
_HEIGHT, _LEFT, _BELOW = 300.0, 0.13, 24.0
#: A disc, a square, a diamond, a triangle, one upside down, a bar.
_SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",
    "M-3.6-3.6H3.6V3.6H-3.6Z",
    "M0-5L5 0L0 5L-5 0Z",
    "M0-5L5 4H-5Z",
    "M0 5L5-4H-5Z",
    "M-5-2H5V2H-5Z",
)


@dataclass(frozen=True)
class Dot:
    """A run: seconds that were estimated and measured, a group (of boards), and what it was.

    ``p90_s`` is what nine of ten such runs were to keep to.
    """

    estimated_s: float
    measured_s: float
    group: str
    words: str
    p90_s: float | None = None


def scatter(dots: Sequence[Dot], *, title: str, what: str = "") -> Html:
    """A figure with logarithmic axes, estimated to the right and measured upwards.

    ``what`` says in a sentence of what these times are. Of no dots it is nothing.
    """
    dots = [dot for dot in dots if dot.estimated_s > 0 and dot.measured_s > 0]
    if not dots:
        return joined(())
    step = max(1, ceil(len(dots) / MOST_DOTS))
    shown = dots[::step]
    whiskers = len(shown) <= MOST_WHISKERS and any(dot.p90_s for dot in shown)
    values = [value for dot in shown for value in (dot.estimated_s, dot.measured_s)]
    if whiskers:
        values += [dot.p90_s for dot in shown if dot.p90_s]
    low, high = log10(min(values) / 1.15), log10(max(values) * 1.15)
    groups = sorted({dot.group for dot in shown})
    numbers = {group: number for number, group in enumerate(groups)}

    def share(seconds: float) -> float:
        return (log10(seconds) - low) / (high - low)

    def x(seconds: float) -> str:
        return svg.percent(_LEFT + (1 - _LEFT) * share(seconds))

    def y(seconds: float) -> float:
        return 4 + _HEIGHT * (1 - share(seconds))

    parts: list[Html] = [
        svg.rect(svg.percent(_LEFT), 4, svg.percent(1 - _LEFT), _HEIGHT, class_="back")
    ]
    for seconds in _ticks(10**low, 10**high):
        words = format_rate(seconds)
        parts += [
            svg.line(x(seconds), 4, x(seconds), 4 + _HEIGHT, "grid"),
            svg.line(svg.percent(_LEFT), y(seconds), "100%", y(seconds), "grid"),
            svg.text(
                x(seconds), _HEIGHT + 19, words, class_="soft", anchor=_anchor(share(seconds))
            ),
            svg.text(svg.percent(_LEFT - 0.01), y(seconds) + 4, words, class_="soft", anchor="end"),
        ]
    parts.append(svg.line(svg.percent(_LEFT), 4 + _HEIGHT, "100%", 4, "ideal"))
    least_s, most_s = 10**low, 10**high
    for factor in (1 - BAND, 1 + BAND):
        from_s, until_s = max(least_s, least_s / factor), min(most_s, most_s / factor)
        if from_s < until_s:
            parts.append(
                svg.line(x(from_s), y(from_s * factor), x(until_s), y(until_s * factor), "band")
            )
    for dot in shown:
        number = numbers[dot.group]
        if whiskers and dot.p90_s:
            at_x = x(dot.estimated_s)
            parts.append(svg.line(at_x, y(dot.estimated_s), at_x, y(dot.p90_s), "whisker"))
        point = svg.at(
            x(dot.estimated_s), y(dot.measured_s), tag("title", dot.words), _shape(number)
        )
        parts.append(point)
    entries = [(svg.at("11", 6.5, _shape(n)), group) for n, group in enumerate(groups)]
    entries += [
        (svg.line("1", 12, "21", 1, "ideal"), "as estimated; above it: took longer"),
        (svg.line("1", 12, "21", 1, "band"), f"{100 * BAND:.0f} % more or less"),
    ]
    if whiskers:
        entries.append((svg.line("11", 1, "11", 12, "whisker"), "up to what 9 of 10 keep to"))
    said = [what] if what else []
    said.append("To the right: estimated before it began. Upwards: measured.")
    if step > 1:
        said.append(f"{len(shown):,} of {len(dots):,} are drawn.")
    caption = " ".join(said)
    picture = svg.drawing(title, _HEIGHT + _BELOW, parts)
    return svg.figure(picture, svg.keys(entries), caption=caption)


def _anchor(share: float) -> str:
    return "end" if share > 0.95 else "middle"


def _shape(number: int) -> Html:
    """A shape and a colour per group, so that the colour is never the only carrier."""
    return tag("path", d=_SHAPES[number % len(_SHAPES)], class_=f"dot {svg.colour_of(number)}")


def _ticks(low_s: float, high_s: float) -> list[float]:
    """Round times between the two, at most about six."""
    steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400]
    steps_s = [m * 10.0**n for n in range(-6, 0) for m in (1, 2, 5)]
    steps_s += [float(step) for step in steps] + [86400.0 * n for n in (2, 5, 10, 30)]
    inside = [step for step in steps_s if low_s <= step <= high_s]
    if not inside:
        return [10 ** floor(log10(high_s))] if 10 ** floor(log10(high_s)) >= low_s else []
    return inside[:: ceil(len(inside) / 6)]
