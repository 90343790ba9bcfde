"""Who ran what in each of the worlds of a question, as the lanes of its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from jetsched.cluster.simulating import SimulationRun
from jetsched.cluster.summaries import Bar, chosen, label, lanes_of
from jetsched.cluster.svg_lanes import Lanes, Track, thinned
from jetsched.cluster.timescale import elapsed
from jetsched.cluster.whatif_picture import Picture
from jetsched.cluster.whatif_worlds import World
from jetsched.records import Device
from jetsched.units import format_duration

#: So many boards are drawn of each world.
MOST_LANES = 16


def picture_of(
    world: World,
    before: SimulationRun,
    after: SimulationRun,
    added: Sequence[Device],
    names: Sequence[str],
) -> Picture:
    """What was, where it was, and both simulations, on the same boards; ``names`` are theirs."""
    boards = chosen(world.scenario.devices, MOST_LANES)
    groups = []
    if world.past is not None:
        groups.append(Lanes(_past_tracks(world, boards), names[0]))
    new = list(added)[: MOST_LANES // 2]
    groups += [
        Lanes(_tracks(before, boards), f"{names[-1]}: {before.policy}"),
        Lanes(_tracks(after, [*boards, *new]), f"What if: {after.policy}"),
    ]
    span_s = max([1.0, *map(_last_s, groups)])
    away = _away(world, span_s)
    groups = [
        replace(g, tracks=[replace(t, away=away.get(_board(t), ())) for t in g.tracks])
        for g in groups
    ]
    shown = f" {len(boards)} of {len(world.scenario.devices):,} boards are drawn." * (
        len(boards) < len(world.scenario.devices)
    )
    since = "the first job came" if world.past is not None else "now"
    told = ", ".join(f"{g.title} until {format_duration(_last_s(g))}" for g in groups)
    words = f"Lanes of boards with their jobs over time: {told}."
    caption = f"Time since {since}.{shown}"
    return Picture(thinned(groups, elapsed(span_s)), span_s, words, caption)


def _away(world: World, span_s: float) -> Mapping[str, list[tuple[float, float]]]:
    """By board when it was not there: until the end of the picture, where it never came back."""
    away: dict[str, list[tuple[float, float]]] = {}
    for outage in world.scenario.outages:
        if outage.from_s < span_s:
            span = (outage.from_s, min(outage.until_s, span_s))
            away.setdefault(outage.device_id, []).append(span)
    return away


def _last_s(group: Lanes) -> float:
    ends = [bar.start_s if bar.end_s is None else bar.end_s for t in group.tracks for bar in t.bars]
    return max(ends, default=0.0)


def _track(device_id: str, model: str, bars: Sequence[Bar]) -> Track:
    return Track(f"{device_id} · {model}", bars)


def _board(track: Track) -> str:
    return track.name.partition(" · ")[0]


def _tracks(run: SimulationRun, boards: Sequence[Device]) -> list[Track]:
    return [_track(lane.device, lane.model, lane.bars) for lane in lanes_of(run, boards)]


def _past_tracks(world: World, boards: Sequence[Device]) -> list[Track]:
    """What ran there, what still runs included: its bar has no end."""
    origin_s, past = world.origin_s, world.past or {}
    bars: dict[str, list[Bar]] = {board.id: [] for board in boards}
    for id, job in past.items():
        for a in job.attempts:
            if a.device in bars and (a.end_s is None or a.end_s > origin_s):
                end_s = None if a.end_s is None else a.end_s - origin_s
                start_s = max(0.0, a.start_s - origin_s)
                bars[a.device].append(Bar(id, label(job.job), start_s, end_s, a.outcome))
    return [
        _track(board.id, board.model, sorted(bars[board.id], key=lambda bar: bar.start_s))
        for board in boards
    ]
