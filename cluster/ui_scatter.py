"""Where the marks of predicted against measured times lie, and the lines of boards that drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jetsched.cluster.ui_charts import LogScale, Tick, points
from jetsched.profiler.accuracy import Compared
from jetsched.profiler.drift_story import BoardStory
from jetsched.units import format_rate

#: The band beside the diagonal: what a run may be off by.
BAND = 0.15
SIDE = 400.0
#: Of more marks than this the whiskers would be all that is seen.
WHISKERS = 120
#: Marks of kinds of board are told apart without colour: paths around 0,0.
SHAPES = (
    "M-4 0 a4 4 0 1 0 8 0 a4 4 0 1 0 -8 0",  # a circle
    "M-4 -4 h8 v8 h-8 z",
    "M0 -5 L5 4 H-5 z",
    "M0 -5.5 L5.5 0 L0 5.5 L-5.5 0 z",
    "M-4 -4 L4 4 M-4 4 L4 -4",
    "M0 -5 V5 M-5 0 H5",
)
#: The line of a board: how wide and high, and between which factors.
WIDE, HIGH, SLOWEST, FASTEST = 200.0, 48.0, 2.5, 0.4


@dataclass(frozen=True, slots=True)
class Mark:
    """One comparison, where it lies; y grows downwards."""

    x: float
    y: float
    p90: float | None  # where its p90 lies, to the right
    kind: int
    text: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of board, for the key."""

    number: int
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Scatter:
    """A picture of the size SIDE x SIDE."""

    marks: tuple[Mark, ...]
    kinds: tuple[Kind, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    band: str  # points of the band around the diagonal

    @property
    def side(self) -> float:
        return SIDE

    @property
    def shapes(self) -> Sequence[str]:
        return SHAPES


def scatter(compared: Sequence[Compared]) -> Scatter | None:
    """Predicted across, measured upwards: what lies above the line took longer. None of nothing."""
    if not compared:
        return None
    names = sorted({each.device for each in compared})
    number = {name: place for place, name in enumerate(names)}
    whiskers = len(compared) <= WHISKERS
    values = [v for each in compared for v in (each.measured_s, each.predicted_s)]
    values += [each.predicted_p90_s for each in compared if whiskers]
    scale = LogScale(values, SIDE)
    marks = [
        Mark(
            round(scale.at(each.predicted_s), 1),
            round(SIDE - scale.at(each.measured_s), 1),
            round(scale.at(each.predicted_p90_s), 1) if whiskers else None,
            number[each.device],
            f"{each.work} on {each.board or each.device}: {format_rate(each.measured_s)} measured,"
            f" {format_rate(each.predicted_s)} predicted",
        )
        for each in compared
    ]
    counts = [sum(each.device == name for each in compared) for name in names]
    kinds = [Kind(number[name], name, many) for name, many in zip(names, counts, strict=True)]
    ticks = scale.seconds()
    up = [Tick(SIDE - tick.at, tick.text) for tick in ticks]
    low, high = scale.low, scale.high
    corners = [
        (low, low * (1 - BAND)),
        (high, high * (1 - BAND)),
        (high, high * (1 + BAND)),
        (low, low * (1 + BAND)),
    ]
    band = points((scale.at(x), SIDE - scale.at(y)) for x, y in corners)
    return Scatter(tuple(marks), tuple(kinds), tuple(ticks), tuple(up), band)


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
