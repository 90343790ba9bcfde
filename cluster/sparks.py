"""Lines of what boards have said in the last minutes: small ones in cards, large ones with axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jetsched.cluster import svg
from jetsched.cluster.markup import Html, tag
from jetsched.units import format_duration

#: How many steps a spark-line has from the bottom to the top.
STEPS = 20
#: A line ends where nothing came for so many times the usual pause: the board was silent.
GAP = 4
#: The height of a large picture, and what its axes take of it.
HEIGHT, TOP, BOTTOM = 110, 8, 20

#: Steps from the bottom; None where the value is not known.
Levels = tuple[int | None, ...]


#: Their coordinates as text: hundreds of cards are drawn again every few seconds.
_X = tuple(f"{x} " for x in range(240))
_Y = tuple(f"{STEPS - level}" for level in range(STEPS + 1))


def levels(values: Sequence[float], low: float, high: float) -> Levels:
    """Values, or not a number, as steps of a spark-line: what looks the same is equal."""
    room = high - low
    found: list[int | None] = []
    for value in values:
        if value != value:  # not a number
            found.append(None)
        elif room <= 0 or value <= low:
            found.append(0)
        else:
            found.append(STEPS if value >= high else int((value - low) / room * STEPS + 0.5))
    return tuple(found)


def spark(found: Levels) -> Html:
    """A line as wide as it is given room for. The number stands beside it: nobody reads it out."""
    path, gap = [], True
    for x, level in zip(_X, found, strict=False):
        if level is not None:
            path.append(("M" if gap else " ") + x + _Y[level])
        gap = level is None
    return Html(
        f'<svg class="spark" viewBox="0 -1 {max(1, len(found) - 1)} {STEPS + 2}"'
        ' preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<path d="{"".join(path)}"/></svg>'
    )


def chart(
    title: str,
    at_s: Sequence[float],
    values: Sequence[float | None],
    low: float,
    high: float,
    unit: str,
) -> Html:
    """The same with axes: values from ``low`` to ``high``, and how long ago it begins."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or at_s[-1] <= at_s[0]:
        return tag("p", "nothing was measured yet", class_="soft")
    span_s, inner = at_s[-1] - at_s[0], HEIGHT - TOP - BOTTOM
    scale = 1.0 / (high - low) if high > low else 0.0
    points = [
        (1000 * (at - at_s[0]) / span_s, None if v is None else inner * (1 - (v - low) * scale))
        for at, v in zip(at_s, values, strict=True)
    ]
    usual = 1000 / (len(points) - 1)
    path = "".join(
        "M" + " ".join(f"{x:.0f} {y:.1f}" for x, y in piece) for piece in _pieces(points, usual)
    )
    line = tag(
        "svg",
        tag("path", d=path, class_="line"),
        x="0",
        y=str(TOP),
        width="100%",
        height=str(inner),
        viewBox=f"0 0 1000 {inner}",
        preserveAspectRatio="none",
        overflow="visible",
    )
    words = (
        f"{title}: {known[-1]:,.0f} {unit} now, {min(known):,.0f} to {max(known):,.0f} {unit}"
        f" in the last {format_duration(span_s)}"
    )
    parts = [
        svg.line("0", TOP, "100%", TOP, "grid"),
        svg.line("0", TOP + inner, "100%", TOP + inner, "grid"),
        line,
        svg.text("0", TOP + 11, f"{high:,.0f} {unit}", class_="tick"),
        svg.text("0", TOP + inner - 3, f"{low:,.0f}", class_="tick"),
        svg.text("0", HEIGHT - 5, f"{format_duration(span_s)} ago", class_="tick"),
        svg.text("100%", HEIGHT - 5, "now", class_="tick", anchor="end"),
    ]
    return svg.drawing(words, HEIGHT, parts)


def _pieces(
    points: Sequence[tuple[float, float | None]], usual: float = 1.0
) -> Iterator[list[tuple[float, float]]]:
    """The points of each unbroken line."""
    piece: list[tuple[float, float]] = []
    for x, y in points:
        if piece and (y is None or x - piece[-1][0] > GAP * usual):
            yield piece
            piece = []
        if y is not None:
            piece.append((x, y))
    if piece:
        yield piece
