"""What a view reads from, and what one decision lays over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from jetsched.records import Placement, Verdict
from jetsched.scheduler.costs import UnitCost
from jetsched.scheduler.cursor import Cursor
from jetsched.scheduler.fleet import Fleet
from jetsched.scheduler.sharing import Occupant
from jetsched.scheduler.state import ClassState, Group, JobRecord, Queue, Usage


class Considered:
    """What a policy thought about one job: kept for `why`."""

    __slots__ = ("best", "options", "scores")

    def __init__(
        self, options: Sequence[Placement], scores: Sequence[float], best: Placement | None
    ) -> None:
        self.options = options
        self.scores = scores
        self.best = best


class Sources:
    """What all views of a scheduler read from."""

    __slots__ = ("fleet", "offers", "queue", "records", "usage", "verdicts")

    def __init__(
        self,
        queue: Queue,
        fleet: Fleet,
        verdicts: Callable[[JobRecord, ClassState], Verdict],
        offers: Callable[[Group], tuple[UnitCost | None, ...]],
        records: Mapping[str, JobRecord],
        usage: Mapping[str, Usage],
    ) -> None:
        self.queue = queue
        self.fleet = fleet
        self.verdicts = verdicts
        self.offers = offers
        self.records = records
        self.usage = usage


class Overlay:
    """What one decision has given away so far."""

    __slots__ = (
        "beside", "considered", "cursors", "issued", "placed", "remarks", "taken_free", "taken_s",
    )  # fmt: skip

    def __init__(self) -> None:
        self.placed: set[str] = set()
        #: The devices given away, with the time at which they are free again.
        self.taken_s: dict[str, float] = {}
        self.taken_free = 0
        self.cursors: dict[int, Cursor] = {}
        self.considered: dict[str, Considered] = {}
        self.remarks: dict[str, str] = {}  # by job id
        #: Placements that the view itself has made since the last one was laid over it, by id().
        self.issued: dict[int, Placement] = {}
        #: What starts now, by device: only kept where several jobs may run on one.
        self.beside: dict[str, list[Occupant]] = {}

    def clear(self) -> None:
        """Nothing has been given away: for the next decision, as if it were new."""
        if self.placed:
            self.placed.clear()
            self.taken_s.clear()
            self.taken_free = 0
        for each in (self.cursors, self.considered, self.remarks, self.issued, self.beside):
            if each:
                each.clear()
