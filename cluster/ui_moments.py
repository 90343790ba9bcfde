"""Moments on pages: how long ago, how long still, at what time; said anew whenever it is sent.

Times of day are those of the head's time zone, in texts, tables and pictures, whoever looks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from markupsafe import Markup

from jetsched import words
from jetsched.units import format_duration

#: What :func:`_moment` makes. Texts of people cannot look like it: templates escape them.
_MADE = re.compile(
    r'(<time datetime="[^"<>]*" data-at="(-?[0-9.]+)"'
    r' data-as="(since|left|done|starts|clock)">)[^<]*(?=</time>)'
)


def since(at_s: float | None) -> Markup:
    """For how long something has been so; the browser keeps it up to date."""
    return _moment(at_s, "since")


def left(at_s: float | None) -> Markup:
    """How long it is until then; what is past is said to be over its time."""
    return _moment(at_s, "left")


def until(at_s: float | None, kind: str) -> Markup:
    """``starts in 5m`` or ``done in 5m``; a job that should be done is over its estimate.

    ``kind`` is ``starts`` or ``done``.
    """
    return _moment(at_s, kind)


def moment(at_s: float | None) -> Markup:
    """The time of day, with the date where it is another day's."""
    return _moment(at_s, "clock")


def seconds_of(stamp: str) -> float | None:
    """The moment of an ISO 8601 text; None for none. Without a zone it is UTC's."""
    if not stamp:
        return None
    try:
        found = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


@dataclass(frozen=True)
class Zone:
    """The head's time zone now: its name, as people say it, and how far it is ahead of UTC."""

    words: str
    ahead_s: int


def zone() -> Zone:
    """What the head's clock shows the time of."""
    here = time.localtime()
    ahead = time.strftime("%z", here)
    utc = f"UTC{ahead[:3]}:{ahead[3:]}"
    words = "UTC" if here.tm_gmtoff == 0 else f"{here.tm_zone} ({utc})"
    return Zone(words, here.tm_gmtoff)


def freshened(html: str) -> str:
    """HTML that was drawn some time ago, with the texts that its moments have now."""
    return _MADE.sub(lambda found: found[1] + _WORDS[found[3]](float(found[2])), html)


def _since(at_s: float) -> str:
    return _whole(max(0.0, time.time() - at_s))


def _left(at_s: float) -> str:
    left_s = at_s - time.time()
    return f"{_whole(-left_s)} over its estimate" if left_s < 0 else f"in {_whole(left_s)}"


def _done(at_s: float) -> str:
    text = _left(at_s)
    return f"done {text}" if text.startswith("in ") else text


def _starts(at_s: float) -> str:
    return f"starts in {_whole(max(0.0, at_s - time.time()))}"


def _whole(seconds: float) -> str:
    return format_duration(float(int(seconds)))


#: By ``data-as``; time.js has the same.
_WORDS: Mapping[str, Callable[[float], str]] = {
    "since": _since,
    "left": _left,
    "done": _done,
    "starts": _starts,
    "clock": words.clock,
}


def _moment(at_s: float | None, kind: str) -> Markup:
    if at_s is None:
        return Markup("\u2013")
    # By the head's clock: time.js takes day and time from it.
    iso = datetime.fromtimestamp(at_s).astimezone().isoformat(timespec="seconds")
    html = Markup('<time datetime="{}" data-at="{:.3f}" data-as="{}">{}</time>')
    return html.format(iso, at_s, kind, _WORDS[kind](at_s))
