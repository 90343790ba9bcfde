"""Who ran what, where and when, as a picture of a page: one lane per board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jetsched.cluster import svg
from jetsched.cluster.endmarks import ENDINGS, ending_of
from jetsched.cluster.markup import Html, joined, tag
from jetsched.cluster.summaries import Bar, join_thin
from jetsched.cluster.timescale import Scale
from jetsched.units import format_duration
from jetsched.words import outcome_word

#: Of more bars in one picture those too thin to be told apart are joined.
MOST_BARS = 1500
_LANE, _NAME, _BAR, _GROUP, _AXIS = 40, 15, 18, 26, 22


@dataclass(frozen=True)
class Track:
    """What a board did; ``away``: from when to when it was not there."""

    name: str
    bars: Sequence[Bar]
    away: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Lanes:
    """Boards that are drawn together, under a title where there are several of these."""

    tracks: Sequence[Track]
    title: str = ""


def lanes(groups: Sequence[Lanes], scale: Scale, *, title: str, prefix: str) -> Html:
    """A figure of all groups on one scale, with its keys; ``prefix`` is unique on the page."""
    groups = thinned(groups, scale)
    looks = _looks(groups)
    parts: list[Html] = []
    y = 4.0
    for group in groups:
        if group.title:
            parts.append(svg.text("0", y + 16, group.title, class_="group"))
            y += _GROUP
        top = y
        for track in group.tracks:
            parts += _track(track, y, scale, looks, prefix)
            y += _LANE
        parts[:0] = _grid(scale, top + _NAME, y - 2)  # behind the bars
    parts += _axis(scale, y)
    there = svg.drawing(title, y + _AXIS, parts, uses=prefix)
    return svg.figure(there, svg.keys(_keys(groups, looks, prefix)), caption=scale.words)


def thinned(groups: Sequence[Lanes], scale: Scale) -> Sequence[Lanes]:
    """The same with no more bars than can be told apart at that scale."""
    if sum(len(track.bars) for group in groups for track in group.tracks) <= MOST_BARS:
        return groups
    least_s = scale.span_s / 500
    return [
        replace(
            group,
            tracks=[replace(t, bars=join_thin(t.bars, least_s)) for t in group.tracks],
        )
        for group in groups
    ]


def _looks(groups: Sequence[Lanes]) -> dict[str, int]:
    """A number per kind of work, the same in all groups; "" is for several jobs in one bar."""
    bars = [bar for group in groups for track in group.tracks for bar in track.bars]
    labels = {bar.label for bar in bars if bar.job}
    ordered = sorted(labels, key=lambda words: (not words.startswith("train"), words))
    return {label: number for number, label in enumerate(ordered)}


# ------------------------------------------------------------------------------------------- a lane


def _track(
    track: Track, y: float, scale: Scale, looks: Mapping[str, int], prefix: str
) -> list[Html]:
    top = y + _NAME
    parts = [
        svg.text("0", y + 11, track.name),
        svg.rect("0", top, "100%", _BAR, class_="back"),
    ]
    for from_s, until_s in track.away:
        parts += _away(from_s, until_s, top, scale)
    for bar in track.bars:
        parts.append(_bar(bar, top, scale, looks, prefix))
    return parts


def _away(from_s: float, until_s: float, top: float, scale: Scale) -> list[Html]:
    x1, x2 = svg.percent(scale.at(from_s)), svg.percent(scale.at(until_s))
    if x1 == x2:
        return []
    middle = top + _BAR / 2
    lines = [
        svg.line(x1, middle, x2, middle, "axis"),
        svg.line(x1, top, x1, top + _BAR, "axis"),
        svg.line(x2, top, x2, top + _BAR, "axis"),
    ]
    lasted = format_duration(min(until_s, scale.until_s) - max(from_s, scale.from_s))
    return [tag("g", tag("title", f"away for {lasted}"), *lines, class_="away")]


def _bar(bar: Bar, top: float, scale: Scale, looks: Mapping[str, int], prefix: str) -> Html:
    end_s = scale.until_s if bar.end_s is None else bar.end_s
    x, right = scale.at(bar.start_s), scale.at(end_s)
    width = max(right - x, 0.0015)
    place = {"x": svg.percent(x), "y": top, "width": svg.percent(width), "height": _BAR}
    number = looks.get(bar.label) if bar.job else None
    colour = "many" if number is None else svg.colour_of(number)
    parts = [
        tag("title", _told(bar, end_s)),
        svg.rect(**place, class_=f"bar {colour} {_ended(bar)}".rstrip()),  # type: ignore[arg-type]
    ]
    hatch = svg.hatch_of(prefix, number) if number is not None and width > 0.004 else None
    if hatch is not None:
        parts.append(svg.rect(**place, fill=hatch))  # type: ignore[arg-type]
    sign = _sign(bar.outcome)
    middle = svg.percent((x + right) / 2)
    if sign is not None:
        parts.append(svg.at(middle, top + _BAR / 2, sign))
    elif bar.job and width > 0.012 * min(len(bar.job), 12):
        narrow = width < 0.035 * min(len(bar.job), 12)
        words = svg.text(
            middle, top + 13, bar.job[:12], class_="bar-id wide" if narrow else "bar-id"
        )
        parts.append(words)
    return tag("g", *parts)


def _told(bar: Bar, end_s: float) -> str:
    lasted = format_duration(end_s - bar.start_s)
    if not bar.job:
        return f"several short jobs in {lasted}"
    if bar.outcome is None:
        return f"job {bar.job}, {bar.label}: runs, {lasted} so far"
    return f"job {bar.job}, {bar.label}: {outcome_word(bar.outcome)} after {lasted}"


def _ended(bar: Bar) -> str:
    if bar.outcome is None:
        return "runs"
    ending = ending_of(bar.outcome)
    return "" if ending is None else "gone" if ending.gone else "ended-badly"


def _sign(outcome: str | None) -> Html | None:
    ending = ending_of(outcome)
    if ending is None:
        return None
    return tag("path", d=ending.path, class_="mark gone" if ending.gone else "mark")


# --------------------------------------------------------------------------------- scale and keys


def _grid(scale: Scale, top: float, bottom: float) -> list[Html]:
    return [
        svg.line(svg.percent(scale.at(at_s)), top, svg.percent(scale.at(at_s)), bottom, "grid")
        for at_s, _ in scale.ticks
    ]


def _axis(scale: Scale, y: float) -> list[Html]:
    parts = [svg.line("0", y, "100%", y, "axis")]
    for at_s, words in scale.ticks:
        share = scale.at(at_s)
        anchor = "start" if share < 0.06 else "end" if share > 0.94 else "middle"
        parts.append(svg.text(svg.percent(share), y + 15, words, class_="soft", anchor=anchor))
    return parts


def _keys(groups: Sequence[Lanes], looks: Mapping[str, int], prefix: str) -> list[tuple[Html, str]]:
    entries = []
    for label, number in looks.items():
        hatch = svg.hatch_of(prefix, number)
        box = [svg.rect("1", 1, "20", 11, class_=f"bar {svg.colour_of(number)}")]
        box += [svg.rect("1", 1, "20", 11, fill=hatch)] if hatch else []
        entries.append((joined(box), label))
    bars = [bar for group in groups for track in group.tracks for bar in track.bars]
    if any(not bar.job for bar in bars):
        entries.append((svg.rect("1", 1, "20", 11, class_="bar many"), "several short jobs"))
    if any(bar.outcome is None for bar in bars):
        entries.append((svg.rect("1", 1, "20", 11, class_="bar w7 runs"), "still runs"))
    found = {ending_of(bar.outcome) for bar in bars}
    for kind, ending in ENDINGS.items():
        if ending in found:
            sign = _sign(kind)
            assert sign is not None
            entries.append((svg.at("11", 6.5, sign), ending.words))
    if any(track.away for group in groups for track in group.tracks):
        entries.append((svg.line("1", 6.5, "21", 6.5, "axis"), "the board was away"))
    return entries
