"""Min-min: of all waiting jobs, the one that can be done first, where it is done first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jetsched.policies.index import Index
from jetsched.records import Placement
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View


class MinMin:
    """Again and again, give the job with the least completion time the device that has it so.

    Min-min of Ibarra and Kim (*Heuristic algorithms for scheduling independent tasks on
    nonidentical processors*, JACM 24, 1977), as in Maheswaran et al. (JPDC 59, 1999) and Braun et
    al. (JPDC 61, 2001). Planned anew in each decision, over all that waits and all devices, busy
    ones until they are free: on each kind of device only the shortest job can be next, so a step
    looks at one job per kind, however many wait. Good: mean completion, and a fair makespan for
    next to no work. Bad: the long jobs come last and stand alone then (1.14 of the best makespan
    on Braun's instances), and they starve while short ones keep coming.
    """

    name = "min_min"

    #: How many jobs one decision may hold for devices that are busy: bounds what it costs.
    lookahead: int = 100

    def __init__(self) -> None:
        self._index: Index | None = None

    def decide(self, view: View) -> Iterator[Placement]:
        """The job that can be done first of all, until no device is free or enough are held."""
        if not view.free_count:
            return
        if self._index is None:
            self._index = Index()
        index = self._index.follow(view, lambda job, seen: seen.times(job))
        held = 0
        while (kind := self._next(view, index)) is not None:
            placement = view.place(index.take(kind)[-1], kind)
            if placement is None:
                continue
            held += placement.start_s > view.now_s
            if view.explains:
                options = view.options(placement.job)
                view.note(placement.job, options, [p.finish_s for p in options], placement)
            yield placement
            if not view.free_count or (held >= self.lookahead and not view.planning):
                return

    @staticmethod
    def _next(view: View, index: Index) -> ClassState | None:
        """The kind on which the first completion is; more important jobs come first."""
        best: tuple[float, float, float, int] | None = None
        found: ClassState | None = None
        for kind in view.kinds:
            key = index.first(kind, view)
            if key is not None:
                start_s = view.earliest_s(kind)
                order = (key[0], start_s + key[1], start_s, key[2])
                if best is None or order < best:
                    best, found = order, kind
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> MinMin:
        """A copy without the index: that is a cache, and looking ahead must not move it on."""
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._index = None
        return copy
