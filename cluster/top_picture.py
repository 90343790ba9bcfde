"""What `jetsched top` knows at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from jetsched.cluster.top_events import Happened
from jetsched.cluster.top_trail import Trails
from jetsched.records import FINAL_STATES

Json = Mapping[str, Any]
#: Which jobs the queue shows.
Shown = Literal["open", "waiting", "running", "ended"]

STATES: dict[Shown, tuple[str, ...]] = {
    "open": ("starting", "running", "waiting", "held"),
    "waiting": ("waiting", "held"),
    "running": ("starting", "running"),
    "ended": tuple(sorted(FINAL_STATES)),
}


@dataclass(frozen=True)
class Detail:
    """What was asked about one job: its decision, or the end of its log. ``error``: why not."""

    kind: Literal["why", "log"]
    job_id: str
    why: Json | None = None
    lines: Sequence[str] = ()
    attempt: int = 0
    error: str = ""


@dataclass(frozen=True)
class Wish:
    """What somebody looks at, and what is therefore asked for."""

    shown: Shown = "open"
    count: int = 50  # of jobs
    kind: Literal["", "why", "log"] = ""
    job_id: str = ""


@dataclass(frozen=True)
class Picture:
    """Rows as the API tells them. ``at`` is when they were asked for, by the monotonic clock."""

    head: str
    status: Json
    devices: Sequence[Json]
    jobs: Sequence[Json]
    shown: Shown
    at: float
    events: Sequence[Happened] = ()
    trails: Trails = field(default_factory=Trails)
    detail: Detail | None = None
    #: Why the head does not answer; all else is as it was then.
    trouble: str = ""
    #: What became of the last thing that was to be done, and how many there were.
    said: str = ""
    saids: int = 0

    @property
    def total(self) -> int:
        """How many jobs there are of those that are shown, asked for or not."""
        return sum(int(self.status["states"][state]) for state in STATES[self.shown])
