"""Bars of the timeline as SVG: a lane per board, drawn once for all who look.

Along x everything is a part of the window's width (``jetsched.cluster.svg``). What moves with the
clock carries ``data-from``, and ``web/static/timeline.js`` moves it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from urllib.parse import quote, urlencode

from jetsched.cluster import svg
from jetsched.cluster.desk_timeline import TimeLane
from jetsched.cluster.endmarks import ENDINGS, ending_of
from jetsched.cluster.markup import Html, joined, tag
from jetsched.cluster.timebars import TimeBar
from jetsched.cluster.timescale import Scale
from jetsched.cluster.timewindow import TimeWindow
from jetsched.records import Outcome
from jetsched.units import format_duration
from jetsched.words import clock, outcome_word

_HEIGHT, _TOP, _BAR = 30, 4, 22
_MIDDLE = _TOP + _BAR / 2
#: Where the whisker of a p90 lies: below the words of the bars that it reaches over.
_SPREAD = _TOP + _BAR - 4
#: The narrowest bar, and the narrowest with words in it, as parts of the width.
_LEAST, _WORDS = 0.0015, 0.03
#: Between the words of a bar and its end.
_APART = 0.005

_NEARER = {"week": "day", "day": "hour"}


def settled(lane: TimeLane, window: TimeWindow) -> TimeLane:
    """The lane with what is foreseen rounded to what can be seen, so that trifles draw nothing."""
    step_s = window.length_s / 500

    def rounded(at_s: float | None) -> float | None:
        return None if at_s is None else round(at_s / step_s) * step_s

    bars = [
        bar
        if bar.kind == "past"
        else replace(
            bar,
            start_s=bar.start_s if bar.kind == "running" else rounded(bar.start_s) or 0.0,
            end_s=rounded(bar.end_s) or 0.0,
            p90_s=rounded(bar.p90_s),
        )
        for bar in lane.bars
    ]
    return replace(lane, bars=tuple(bars))


def lane_html(part_id: str, lane: TimeLane, window: TimeWindow, now_s: float) -> Html:
    """A board with its bars. Of these one can be reached by Tab, the others by the arrow keys."""
    scale = Scale(window.from_s, window.to_s, ())
    stop = next((bar for bar in lane.bars if bar.kind == "running"), None)
    if stop is None and lane.bars:
        stop = lane.bars[-1]
    bars = [_bar(bar, scale, window, now_s, reached=bar is stop) for bar in lane.bars]
    # Over all bars, or the next one would hide how far this one may reach.
    bars += [line for bar in lane.bars if bar.p90_s for line in _whisker(scale, bar)]
    picture = tag(
        "svg",
        svg.rect("0", _TOP, "100%", _BAR, class_="back"),
        *bars,
        class_="lane-bars",
        width="100%",
        height=f"{_HEIGHT}",
        role="group",
        aria_label=f"{lane.device}: {summary(lane)}",
    )
    return tag("li", _name(lane), picture, id=part_id, class_="lane")


def _name(lane: TimeLane) -> Html:
    shown: list[Html] = [tag("span", lane.device, class_="lane-id")]
    if lane.present:
        address = f"/ui/devices/{quote(lane.device, safe='')}"
        shown = [tag("a", lane.device, href=address, data_drawer="", class_="lane-id")]
    shown.append(tag("span", lane.model, class_="soft"))
    if lane.emulated:
        shown.append(tag("span", "emulated", class_="emulated"))
    if not lane.present:
        shown.append(tag("span", "○ not there", class_="badge"))
    elif lane.closed:
        shown.append(tag("span", "‖ takes no jobs", class_="badge warn", title=lane.closed))
    return tag("div", *shown, class_="lane-name")


def summary(lane: TimeLane) -> str:
    """What is in a lane, in words: ``3 done, 1 killed (memory), runs 7, 2 planned``."""
    counts: Counter[Outcome] = Counter()
    for bar in lane.bars:
        counts.update(dict(bar.outcomes))
    told = [f"{count:,} {outcome_word(outcome)}" for outcome, count in counts.items()]
    told += [f"runs {bar.job_id}" for bar in lane.bars if bar.kind == "running"]
    planned = sum(bar.jobs for bar in lane.bars if bar.kind == "planned")
    told += [f"{planned:,} planned"] if planned else []
    return ", ".join(told) or "nothing in this time"


# -------------------------------------------------------------------------------------------- a bar


def _bar(bar: TimeBar, scale: Scale, window: TimeWindow, now_s: float, *, reached: bool) -> Html:
    x = scale.at(bar.start_s)
    end_s = max(bar.end_s, now_s) if bar.kind == "running" else bar.end_s
    right = max(scale.at(end_s), x + _LEAST)
    parts = [_rect(x, right, f"tbar {_look(bar)}")]
    if bar.kind == "planned":
        parts.append(_rect(x, right, "hatched", fill="url(#planned)"))
    if bar.kind == "running":
        parts.append(_so_far(bar, scale, now_s))
    ending = ending_of(bar.outcome)
    if ending is not None:
        bad = "sign gone" if ending.gone else "sign"
        at = svg.percent(min(max((x + right) / 2, 0.004), 0.996))
        parts.append(svg.text(at, _MIDDLE + 5, ending.sign, class_=bad, anchor="middle"))
    elif right - x > _WORDS:
        light = "bar-words" if bar.kind == "past" else "bar-words dark"
        words = svg.text("5", 16, _short(bar), class_=light)
        parts.append(
            tag("svg", words, x=svg.percent(x), y=f"{_TOP}", width=svg.percent(right - x - _APART),
                height=f"{_BAR}")
        )  # fmt: skip
    # Higher than the bar, so that no neighbour hides all of it.
    parts.append(svg.rect(svg.percent(x), 1.5, svg.percent(right - x), _HEIGHT - 3, class_="ring"))
    return tag("a", *parts, **_link(bar, window, reached=reached), aria_label=told(bar))


def _rect(x: float, right: float, class_: str, **more: str) -> Html:
    return svg.rect(svg.percent(x), _TOP, svg.percent(right - x), _BAR, class_=class_, **more)


def _so_far(bar: TimeBar, scale: Scale, now_s: float) -> Html:
    """The part of a running bar that is past; it grows with the clock, also beyond its end."""
    x, now = scale.at(bar.start_s), scale.at(now_s)
    return _rect(x, max(now, x), "so-far", data_from=f"{bar.start_s:.1f}")


def _whisker(scale: Scale, bar: TimeBar) -> list[Html]:
    x1, x2 = svg.percent(scale.at(bar.end_s)), svg.percent(scale.at(bar.p90_s or bar.end_s))
    if x1 == x2:
        return []
    return [
        svg.line(x1, _SPREAD, x2, _SPREAD, "whisker"),
        svg.line(x2, _SPREAD - 4, x2, _SPREAD + 4, "whisker"),
    ]


def _look(bar: TimeBar) -> str:
    if bar.kind != "past":
        return bar.kind
    ending = ending_of(bar.outcome)
    if ending is None:
        return "done"
    return "gone" if ending.gone else "ended-badly"


def _short(bar: TimeBar) -> str:
    return f"{bar.jobs} jobs" if bar.jobs > 1 else f"{bar.job_id} {bar.name}"


def _link(bar: TimeBar, window: TimeWindow, *, reached: bool) -> dict[str, str | None]:
    """A bar leads to its job; several in one to a nearer look, where there is one."""
    stop = "0" if reached else "-1"
    if bar.jobs == 1 or window.span not in _NEARER:
        address = f"/ui/jobs/{quote(bar.job_id, safe='')}"
        return {"href": address, "data_drawer": "", "tabindex": stop}
    middle_s = round((bar.start_s + bar.end_s) / 2)
    query = urlencode({"span": _NEARER[window.span], "at": middle_s})
    return {"href": f"/ui/timeline?{query}", "tabindex": stop}


def told(bar: TimeBar) -> str:
    """A bar in words, for those who do not see it and those who point at it."""
    when = f"{clock(bar.start_s)} to {clock(bar.end_s)}"
    if bar.jobs > 1:
        ended = ", ".join(f"{count:,} {outcome_word(o)}" for o, count in bar.outcomes)
        return f"{bar.jobs:,} short jobs, {ended or 'planned'}, {when}"
    who = f"job {bar.job_id} {bar.name}, {bar.work}".replace(" ,", ",")
    lasts = format_duration(bar.end_s - bar.start_s)
    if bar.kind == "past":
        assert bar.outcome is not None
        expected = f" (estimated {format_duration(bar.estimated_s)})" if bar.estimated_s else ""
        because = f": {bar.text}" if bar.text else ""
        return f"{who}: {outcome_word(bar.outcome)} after {lasts}{expected}, {when}{because}"
    spread = "" if bar.p90_s is None else f", nine times out of ten by {clock(bar.p90_s)}"
    if bar.kind == "running":
        started = f"since {clock(bar.start_s)}, done at {clock(bar.end_s)}"
        return f"{who}: try {bar.attempt} runs {started}{spread} ({bar.source})"
    return f"{who}: planned, {when}{spread} ({bar.source})"


# --------------------------------------------------------------------------------- scale and keys


def axis_html(part_id: str, window: TimeWindow, scale: Scale, now_s: float) -> Html:
    """What lies behind all lanes: the hours or days, and the line of the present moment."""
    parts = []
    for at_s, words in scale.ticks:
        x = svg.percent(scale.at(at_s))
        anchor = "start" if scale.at(at_s) < 0.04 else "end" if scale.at(at_s) > 0.92 else "middle"
        parts.append(tag("line", x1=x, x2=x, y1="18", y2="100%", class_="grid"))
        parts.append(svg.text(x, 13, words, class_="soft", anchor=anchor))
    now = svg.percent(scale.at(now_s))
    hidden = None if window.from_s <= now_s <= window.to_s else "hidden"
    line = tag("line", x1=now, x2=now, y1="18", y2="100%", class_="now", visibility=hidden)
    picture = tag(
        "svg", *parts, line, class_="axis-picture", width="100%", height="100%",
        aria_hidden="true", focusable="false",
    )  # fmt: skip
    return tag(
        "div", picture, id=part_id, class_="axis", data_from=f"{window.from_s:.3f}",
        data_to=f"{window.to_s:.3f}",
    )  # fmt: skip


def keys_html() -> Html:
    """What the bars and signs mean. It also holds the hatch that all lanes use."""
    stroke = tag("path", d="M-2 2l4-4M0 8l8-8M6 10l4-4", class_="hatch")
    pattern = tag(
        "pattern", stroke, id="planned", width="8", height="8", patternUnits="userSpaceOnUse"
    )
    planned = [
        svg.rect("1", 2, "14", 11, class_="tbar planned"),
        svg.rect("1", 2, "14", 11, fill="url(#planned)"),
        svg.line("15", 9.5, "25", 9.5, "whisker"),
        svg.line("25", 5.5, "25", 13.5, "whisker"),
    ]
    running = [
        svg.rect("1", 2, "24", 11, class_="tbar running"),
        svg.rect("1", 2, "14", 11, class_="so-far"),
    ]
    entries: list[tuple[list[Html], str]] = [
        ([svg.rect("1", 2, "24", 11, class_="tbar done")], "done"),
        (running, "runs, and how long it should"),
        (planned, "planned (p50), with its p90"),
    ]
    for ending in ENDINGS.values():
        gone = "gone" if ending.gone else ""
        box = svg.rect("1", 2, "24", 11, class_=f"tbar {gone or 'ended-badly'}")
        sign = svg.text("13", 12, ending.sign, class_=f"sign {gone}".rstrip(), anchor="middle")
        entries.append(([box, sign], ending.words))
    items = [
        tag("li", tag("svg", *sign, width="28", height="15", aria_hidden="true"), words)
        for sign, words in entries
    ]
    defs = tag("svg", tag("defs", pattern), class_="visually-hidden", aria_hidden="true")
    return joined([defs, tag("ul", *items, class_="time-keys", aria_label="What the bars mean")])
