"""Where the lines lie that show how boards drift."""

from __future__ import annotations

from dataclasses import dataclass

from jetsched.cluster.ui_charts import LogScale, points
from jetsched.profiler.drift_story import BoardStory

#: The line of a board: how wide and high, and between which factors.
WIDE, HIGH, SLOWEST, FASTEST = 200.0, 48.0, 2.5, 0.4


@dataclass(frozen=True, slots=True)
class DriftLine:
    """How many times as long as usual a board's runs took, over time; slower is higher."""

    line: str
    dots: tuple[tuple[float, float], ...]
    usual: float  # where 1x lies
    profiled: tuple[float, ...]  # when it was profiled
    since: float | None  # from when on it is off
    first_s: float
    last_s: float


def drift_line(story: BoardStory) -> DriftLine | None:
    """The line of a board; None where no run could be compared with others."""
    told = [(p.at_s, p.ratio) for p in story.points if p.ratio is not None]
    if not told:
        return None
    first_s, last_s = told[0][0], story.points[-1].at_s
    span_s = max(last_s - first_s, 1e-9)
    scale = LogScale((FASTEST, SLOWEST), HIGH, room=1.0)

    def across(at_s: float) -> float:
        return round(min(max((at_s - first_s) / span_s, 0.0), 1.0) * WIDE, 1)

    places = [(across(at_s), round(HIGH - scale.at(ratio), 1)) for at_s, ratio in told]
    since_s = story.drift.since_s
    return DriftLine(
        points(places),
        tuple(places),
        round(HIGH - scale.at(1.0), 1),
        tuple(across(p.at_s) for p in story.points if p.profiled and p.at_s >= first_s),
        None if since_s is None or since_s < first_s else across(since_s),
        first_s,
        last_s,
    )
