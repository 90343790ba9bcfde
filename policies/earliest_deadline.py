"""EDF: the earliest deadline that can still be met goes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop
from typing import Any

from jetsched.policies.deadline_remarks import DeadlineRemarks, late_next
from jetsched.policies.index import Index, Key
from jetsched.records import Estimate, Job, Placement, Remark
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View


class EarliestDeadline:
    """Start the job with the earliest deadline that can still be met; say which ones cannot.

    Earliest deadline first (Jackson 1955; Liu and Layland, *Scheduling algorithms for
    multiprogramming in a hard-real-time environment*, J. ACM 20, 1973). Under overload EDF alone is
    known to fail, each job being just too late because of the one before it (Locke 1986); here a
    deadline that cannot be met any more on a device gives it up, so that it makes nobody else late.
    When jobs come, deadlines that cannot be met are remarked on at once
    (:mod:`~jetsched.policies.deadline_remarks`).

    Of several free kinds of devices a job takes the slowest on which it is done ``reserve`` times
    as fast as it must be, and the fastest if there is none: that keeps fast boards for who needs
    them. Jobs without a deadline, and those whose deadline is lost, come behind, in the order of an
    implied deadline: submission + ``stretch`` x the run time, more on a device that is
    comparatively bad at it (Bender, Chakrabarti and Muthukrishnan, *Flow and stretch metrics for
    scheduling continuous job streams*, 1998). They do not starve: for each second that a device is
    given to a deadline before them, they are owed ``share`` of a second (Linux leaves as much to
    what has no real-time claim).

    Good: few missed deadlines, at any load. Bad: mean completion under overload, where jobs without
    deadlines wait; use another policy where there are no deadlines.
    """

    name = "earliest_deadline"
    ages = True

    def __init__(self, reserve: float = 2.0, share: float = 0.05, stretch: float = 10.0) -> None:
        if not reserve >= 1:
            raise ValueError(f"reserve must be at least 1, not {reserve}")
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1, not {share}")
        if not 0 <= stretch <= 1e6:
            raise ValueError(f"stretch must lie in 0..1e6, not {stretch}")
        self.reserve, self.share, self.stretch = reserve, share, stretch
        #: Device-seconds that the jobs behind are owed.
        self._owed_s = 0.0
        self._reset()

    def _reset(self) -> None:
        self._urgent, self._behind = _Heaps(), _Heaps()
        self._remarks = DeadlineRemarks()

    def decide(self, view: View) -> Iterator[Placement | Remark]:
        """Remarks on what has come, then starts, as long as a device is free."""
        if not view.planning:
            yield from self._remarks.on_new(view)
        if not view.free_count:
            return
        urgent = self._urgent.follow(view, _deadlines)
        behind = self._behind.follow(view, self._implied)
        assert isinstance(urgent, _Heaps) and isinstance(behind, _Heaps)
        while True:
            at_s, kinds = _open(view, (urgent, behind))
            yield from self._give_up(view, at_s, kinds, urgent, behind)
            first = _first(view, kinds, urgent)
            other = _first(view, kinds, behind)
            if first is None and other is None:
                if view.planning and kinds:
                    continue  # what was there has lost its deadline, and may be found behind
                return
            if first is not None and (other is None or self._goes_first(view, first, other)):
                yield from self._start_urgent(view, at_s, kinds, first, urgent, other is not None)
            elif other is not None:
                yield from self._start_behind(view, other, behind)

    # -- who goes first --------------------------------------------------------------------------

    def _goes_first(self, view: View, first: _Found, other: _Found) -> bool:
        """Whether a deadline goes before a job that has none, or none that can be met."""
        priority, behind = first[1][0], other[1][0]
        if priority != behind:
            return priority < behind
        return _time_s(view, other) > self._owed_s

    def _start_urgent(
        self,
        view: View,
        at_s: float,
        kinds: Sequence[ClassState],
        found: _Found,
        urgent: _Heaps,
        passes: bool,
    ) -> Iterator[Placement]:
        job = found[1][-1]
        for kind in kinds:
            key = urgent.first(kind, view)
            if key is not None and key[-1].id == job.id:
                urgent.take(kind)
        for kind in self._preferred(view, job, at_s, kinds):
            placement = view.place(job, kind)
            if placement is not None and (placement.start_s <= view.now_s or view.planning):
                if passes:
                    self._owed_s += self.share * placement.estimate.time_s
                _note(view, placement)
                yield placement
                return

    def _start_behind(self, view: View, found: _Found, behind: _Heaps) -> Iterator[Placement]:
        kind, key = found
        behind.take(kind)
        placement = view.place(key[-1], kind)
        if placement is not None and (placement.start_s <= view.now_s or view.planning):
            self._owed_s = max(0.0, self._owed_s - placement.estimate.time_s)
            _note(view, placement)
            yield placement

    def _preferred(
        self, view: View, job: Job, at_s: float, kinds: Sequence[ClassState]
    ) -> list[ClassState]:
        """The kinds on which the job would be in time, the best one first."""
        assert job.deadline_s is not None
        left_s = job.deadline_s - at_s
        costs = view.costs(job)
        spare: list[tuple[float, int, ClassState]] = []
        scarce: list[tuple[float, int, ClassState]] = []
        for kind in kinds:
            cost = costs[kind.position]
            if cost is not None and cost.time_s <= left_s:
                easy = self.reserve * cost.time_s <= left_s
                (spare if easy else scarce).append((cost.time_s, kind.position, kind))
        spare.sort(key=lambda option: (-option[0], option[1]))
        return [kind for *_, kind in spare + sorted(scarce, key=lambda option: option[:2])]

    # -- deadlines that are lost -----------------------------------------------------------------

    def _give_up(
        self,
        view: View,
        at_s: float,
        kinds: Sequence[ClassState],
        urgent: _Heaps,
        behind: _Heaps,
    ) -> Iterator[Remark]:
        """Drop what would be late on a kind from the front there; behind, if it is everywhere.

        Time only passes: what is late on a kind now is late there for good.
        """
        for kind in kinds:
            while (key := urgent.first(kind, view)) is not None:
                job = key[-1]
                cost = view.costs(job)[kind.position]
                if cost is not None and at_s + cost.time_s <= key[1]:
                    break
                urgent.drop(kind)
                late = late_next(job, view)
                if late is not None:
                    if not view.planning:
                        yield from self._remarks.say(late, view)
                    behind.add(job, view, self._lost)

    def _implied(self, job: Job, view: View) -> Sequence[float | None]:
        """The ranks behind of a job that has just come: none where its deadline can be met."""
        if job.deadline_s is not None and any(r is not None for r in _deadlines(job, view)):
            return [None] * len(view.kinds)
        return self._lost(job, view)

    def _lost(self, job: Job, view: View) -> Sequence[float | None]:
        """The implied deadline on each kind."""
        costs = view.costs(job)
        best_s = min((cost.time_s for cost in costs if cost is not None), default=0.0)
        return [
            None if cost is None else job.submitted_s + self.stretch * _worth(cost, best_s)
            for cost in costs
        ]

    def __deepcopy__(self, memo: dict[int, Any]) -> EarliestDeadline:
        """A copy without the index: that is a cache, and looking ahead must not move it on."""
        copy = EarliestDeadline(self.reserve, self.share, self.stretch)
        copy._owed_s = self._owed_s
        return copy


#: A job that is first on a kind, as it stands in the heap there.
_Found = tuple[ClassState, Key]


class _Heaps(Index):
    """Jobs can leave it for good, and come into it later than they come into the queue."""

    def drop(self, kind: ClassState) -> None:
        """Take the first job on the kind out, for good."""
        heappop(self._heaps[kind.index])

    def add(self, job: Job, view: View, ranks: Any) -> None:
        """Add a job that waits, on the kinds where it has a rank."""
        self._add(job, view, ranks)


def _open(view: View, tiers: Sequence[_Heaps]) -> tuple[float, list[ClassState]]:
    """The kinds that could start a job next, and when: now, but for a look ahead."""
    if not view.planning:
        return view.now_s, [kind for kind in view.kinds if view.free_in(kind)]
    wanted = [k for k in view.kinds if any(tier.first(k, view) is not None for tier in tiers)]
    soon = [(view.earliest_s(kind), kind) for kind in wanted]
    at_s = min((start_s for start_s, _ in soon), default=view.now_s)
    return at_s, [kind for start_s, kind in soon if start_s <= at_s]


def _first(view: View, kinds: Sequence[ClassState], tier: _Heaps) -> _Found | None:
    """The first job of all that are first on one of the kinds: priority, rank, run time, order."""
    best: tuple[float, ...] | None = None
    found: _Found | None = None
    for kind in kinds:
        key = tier.first(kind, view)
        if key is not None:
            order = (key[0], key[1], _time_s(view, (kind, key)), key[2])
            if best is None or order < best:
                best, found = order, (kind, key)
    return found


def _time_s(view: View, found: _Found) -> float:
    kind, key = found
    cost = view.costs(key[-1])[kind.position]
    return cost.time_s if cost is not None else 0.0


def _deadlines(job: Job, view: View) -> Sequence[float | None]:
    """The deadline, on the kinds where it can still be met."""
    deadline_s = job.deadline_s
    return [
        deadline_s
        if deadline_s is not None and cost is not None and view.now_s + cost.time_s <= deadline_s
        else None
        for cost in view.costs(job)
    ]


def _worth(cost: Estimate, best_s: float) -> float:
    """How long a run is, made longer where another kind would do it faster."""
    return cost.time_s * (cost.time_s / best_s) ** 2 if best_s > 0 else cost.time_s


def _note(view: View, chosen: Placement) -> None:
    """What `why` will show: how late the job would be, or when it would be done."""
    if view.explains:
        job = chosen.job
        options = view.options(job)
        scores = [option.finish_s - (job.deadline_s or 0.0) for option in options]
        view.note(job, options, scores, chosen)
