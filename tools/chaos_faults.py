"""The faults of `make chaos`, drawn from a seed: which, where, when in the life of an attempt."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

FaultKind = Literal[
    "kill_child",
    "kill_supervisor",
    "kill_agent",
    "kill_raylet",
    "kill_service",
    "kill_gcs",
    "power_node",
    "power_head",
    "cut_short",
    "cut_long",
    "disk_full",
    "clock_step",
    "hang_child",
]
#: When: as an attempt is being started, when it is about to end, in the middle of one, or anyhow.
Moment = Literal["start", "finish", "middle", "any"]

KINDS: tuple[FaultKind, ...] = FaultKind.__args__  # type: ignore[attr-defined]
#: Those that hit what runs somewhere; the others do not need anything to run.
HITS_ATTEMPT = {"kill_child", "kill_supervisor", "hang_child"}
ON_HEAD = {"kill_service", "kill_gcs", "power_head"}
#: Not to be had without hosts of their own.
NEEDS_HOSTS = {"power_node", "power_head", "cut_short", "cut_long", "disk_full", "clock_step"}


@dataclass(frozen=True)
class Fault:
    """One fault as it was drawn. ``pause_s`` passes after the one before it, then its moment is
    waited for; ``delay_s`` passes after that; ``lasts_s`` until it is made good again."""

    number: int
    kind: FaultKind
    host: str
    moment: Moment
    pause_s: float
    delay_s: float
    lasts_s: float
    step_s: float = 0.0  # of a clock

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def draw_faults(
    count: int,
    seed: int,
    *,
    lease_s: float,
    boards: Sequence[str] = ("nx", "orin"),
    hosts: bool = True,
) -> list[Fault]:
    """So many faults, the same for the same seed: every kind as often, in any order.

    Without ``hosts`` of their own, only those that kill or stop a process.
    """
    draw = random.Random(f"faults {seed}")
    kinds = [kind for kind in KINDS if hosts or kind not in NEEDS_HOSTS]
    drawn: list[FaultKind] = []
    while len(drawn) < count:
        drawn += draw.sample(kinds, len(kinds))
    return [_draw(n, kind, draw, lease_s, boards) for n, kind in enumerate(drawn[:count], 1)]


def _draw(
    number: int, kind: FaultKind, draw: random.Random, lease_s: float, boards: Sequence[str]
) -> Fault:
    host = "head" if kind in ON_HEAD else draw.choice(boards)
    if kind == "clock_step":
        host = draw.choice(("head", *boards))
    moment: Moment = draw.choice(("start", "finish", "middle", "any"))
    lasts_s = {
        "cut_short": draw.uniform(0.5, lease_s * 0.6),
        "cut_long": lease_s + draw.uniform(3.0, 12.0),
        "power_node": draw.uniform(0.5, 8.0),
        "power_head": draw.uniform(0.5, 6.0),
        "disk_full": draw.uniform(3.0, 12.0),
        "hang_child": 60.0,  # where nothing ends it before
    }.get(kind, 0.0)
    step_s = draw.choice((-3600.0, -90.0, -5.0, 5.0, 90.0, 3600.0)) if kind == "clock_step" else 0.0
    pause_s, delay_s = draw.uniform(0.0, 4.0), draw.uniform(0.0, 0.6)
    return Fault(number, kind, host, moment, pause_s, delay_s, lasts_s, step_s)
