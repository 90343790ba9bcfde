"""Predicted against measured as a picture of a page: on the line is as thought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from jetsched.cluster import svg
from jetsched.cluster.markup import Html, tag
from jetsched.units import format_duration

#: More points hide each other; those in between are left out, evenly.
MOST_DOTS = 1200
_HEIGHT, _LEFT, _BELOW = 300.0, 0.13, 24.0
_SHAPES = 4


@dataclass(frozen=True)
class Dot:
    """A run: seconds that were estimated and measured, a group (of boards), and what it was."""

    estimated_s: float
    measured_s: float
    group: str
    words: str


def scatter(dots: Sequence[Dot], *, title: str) -> Html:
    """A figure with logarithmic axes, estimated to the right and measured upwards."""
    dots = [dot for dot in dots if dot.estimated_s > 0 and dot.measured_s > 0]
    step = max(1, ceil(len(dots) / MOST_DOTS))
    shown = dots[::step]
    values = [value for dot in shown for value in (dot.estimated_s, dot.measured_s)]
    low, high = log10(min(values) / 1.15), log10(max(values) * 1.15)
    groups = sorted({dot.group for dot in shown})

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
        words = format_duration(seconds)
        parts += [
            svg.line(x(seconds), 4, x(seconds), 4 + _HEIGHT, "grid"),
            svg.line(svg.percent(_LEFT), y(seconds), "100%", y(seconds), "grid"),
            svg.text(
                x(seconds), _HEIGHT + 19, words, class_="soft", anchor=_anchor(share(seconds))
            ),
            svg.text(svg.percent(_LEFT - 0.01), y(seconds) + 4, words, class_="soft", anchor="end"),
        ]
    parts.append(svg.line(svg.percent(_LEFT), 4 + _HEIGHT, "100%", 4, "ideal"))
    for dot in shown:
        number = groups.index(dot.group)
        point = svg.at(
            x(dot.estimated_s), y(dot.measured_s), tag("title", dot.words), _shape(number)
        )
        parts.append(point)
    entries = [(svg.at("11", 6.5, _shape(n)), group) for n, group in enumerate(groups)]
    entries.append((svg.line("1", 12, "21", 1, "ideal"), "as thought; above it: took longer"))
    left_out = f" Every {step}. one of {len(dots):,} is drawn." if step > 1 else ""
    caption = f"To the right: estimated before it began. Upwards: measured.{left_out}"
    picture = svg.drawing(title, _HEIGHT + _BELOW, parts)
    return svg.figure(picture, svg.keys(entries), caption=caption)


def _anchor(share: float) -> str:
    return "end" if share > 0.95 else "middle"


def _shape(number: int) -> Html:
    """A shape and a colour per group: a disc, a square, a diamond, a triangle."""
    paths = (
        "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",
        "M-3.6-3.6H3.6V3.6H-3.6Z",
        "M0-5L5 0L0 5L-5 0Z",
        "M0-5L5 4H-5Z",
    )
    return tag("path", d=paths[number % _SHAPES], class_=f"dot w{number % _SHAPES}")


def _ticks(low_s: float, high_s: float) -> list[float]:
    """Round times between the two, at most about six."""
    steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400]
    steps_s = [0.001 * 10**n for n in range(3)] + [float(step) for step in steps]
    steps_s += [86400.0 * n for n in (2, 5, 10, 30)]
    inside = [step for step in steps_s if low_s <= step <= high_s]
    if not inside:
        return [10 ** floor(log10(high_s))] if 10 ** floor(log10(high_s)) >= low_s else []
    return inside[:: ceil(len(inside) / 6)]
