"""EDF: the earliest deadline that can still be met goes first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

from jetsched.policies.deadline_remarks import DeadlineRemarks
from jetsched.policies.implied import STRETCH, implied_deadlines
from jetsched.policies.index import Index, Key
from jetsched.policies.situation import Situation, is_private, situation
from jetsched.records import Estimate, Job, Placement, Remark
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View


class EarliestDeadline:
    """Start the job with the earliest deadline that can still be met; say which ones cannot.

    Earliest deadline first (Jackson 1955; Liu and Layland, *Scheduling algorithms for
    multiprogramming in a hard-real-time environment*, J. ACM 20, 1973). Under overload EDF alone
    fails, each job being just too late because of the one before it (Locke, *Best-effort decision
    making for real-time scheduling*, 1986); here a job whose deadline no device can meet any more
    gives way, so that it makes nobody else late. When jobs come, deadlines that cannot be met are
    remarked on at once (:mod:`~jetsched.policies.deadline_remarks`).

    Of several free kinds of devices a job takes the slowest that needs no more than 1/``reserve``
    of the time left, and the fastest if there is none: fast boards are kept for who needs them.
    Jobs without a deadline, and those that have lost theirs, come behind, in the order of an
    implied one (:mod:`~jetsched.policies.implied`). They do not starve: for each second that a
    device is given to a deadline before them they are owed ``share`` of a second. Linux leaves as
    much, 5 %, to what has no real-time claim.

    Good: few missed deadlines, at any load. Bad: mean completion under overload, where jobs without
    deadlines wait; use another policy where there are no deadlines.
    """

    name = "earliest_deadline"
    ages = True

    def __init__(self, reserve: float = 2.0, share: float = 0.05, stretch: float = STRETCH) -> None:
        if not reserve >= 1:
            raise ValueError(f"reserve must be at least 1, not {reserve}")
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1, not {share}")
        if not 0 <= stretch <= 1e6:
            raise ValueError(f"stretch must lie in 0..1e6, not {stretch}")
        self.reserve, self.share, self.stretch = reserve, share, stretch
        #: Device-seconds that the jobs behind are owed; and before the last decision.
        self._owed_s = self._owed_before_s = 0.0
        self._tiers = _Tiers(stretch)
        self._remarks = DeadlineRemarks()
        self._situation: Situation | None = None

    def decide(self, view: View) -> Iterator[Placement | Remark]:
        """Remarks on what has come, then starts, as long as a device is free."""
        if view.planning or is_private(view):
            yield from self._starts(view, _Tiers(self.stretch, self._remarks.hopeless))
            return
        now = situation(view)
        if now == self._situation:
            self._owed_s = self._owed_before_s
        self._situation, self._owed_before_s = now, self._owed_s
        hopeless = self._remarks.judge(view)
        self._tiers.hopeless = self._remarks.hopeless
        self._tiers.follow(view)
        self._tiers.give_up(hopeless, view)
        yield from self._remarks.remarks(view, self._tiers.lose(view.now_s, view))
        if view.free_count:
            yield from self._starts(view, self._tiers)

    def _starts(self, view: View, tiers: _Tiers) -> Iterator[Placement]:
        tiers.follow(view)
        while True:
            at_s, kinds = _open(view, tiers)
            tiers.lose(at_s, view)
            first = tiers.first_deadline(at_s, kinds, view)
            other = _first(view, kinds, tiers.behind)
            if first is not None and (other is None or self._goes_first(view, first, other)):
                placement = self._urgent(view, at_s, kinds, first[1][-1], tiers.urgent)
                if placement is not None and other is not None:
                    self._owed_s += self.share * placement.estimate.time_s
            elif other is not None:
                kind, key = other
                tiers.behind.take(kind)
                placement = view.place(key[-1], kind)
                if placement is not None:
                    self._owed_s = max(0.0, self._owed_s - placement.estimate.time_s)
            elif view.planning and kinds:
                continue  # what stood there has lost its deadline on these kinds
            else:
                return
            if placement is not None and (placement.start_s <= view.now_s or view.planning):
                _note(view, placement)
                yield placement

    def _goes_first(self, view: View, first: _Found, other: _Found) -> bool:
        """Whether a deadline goes before a job that has none, or none that can be met."""
        priority, behind = first[1][0], other[1][0]
        if priority != behind:
            return priority < behind
        return _time_s(view, other) > self._owed_s

    def _urgent(
        self, view: View, at_s: float, kinds: Sequence[ClassState], job: Job, urgent: Index
    ) -> Placement | None:
        """The job on the kind that suits its deadline best; out of the index in any case."""
        for kind in kinds:
            key = urgent.first(kind, view)
            if key is not None and key[-1].id == job.id:
                urgent.take(kind)
        for kind in self._preferred(view, job, at_s, kinds):
            placement = view.place(job, kind)
            if placement is not None and (placement.start_s <= view.now_s or view.planning):
                return placement
        return None

    def _preferred(
        self, view: View, job: Job, at_s: float, kinds: Sequence[ClassState]
    ) -> list[ClassState]:
        """The kinds on which the job would be in time, the best one first."""
        costs = view.costs(job)
        spare: list[tuple[float, int, ClassState]] = []
        scarce: list[tuple[float, int, ClassState]] = []
        for kind in kinds:
            cost = costs[kind.position]
            if cost is not None and at_s <= _latest_s(job, cost):
                easy = self.reserve * cost.time_s <= (job.deadline_s or 0.0) - at_s
                (spare if easy else scarce).append((cost.time_s, kind.position, kind))
        spare.sort(key=lambda option: (-option[0], option[1]))
        return [kind for *_, kind in spare + sorted(scarce, key=lambda option: option[:2])]

    def __deepcopy__(self, memo: dict[int, Any]) -> EarliestDeadline:
        """A copy without the index: that is a cache, and looking ahead must not move it on."""
        copy = EarliestDeadline(self.reserve, self.share, self.stretch)
        copy._owed_s, copy._owed_before_s = self._owed_s, self._owed_before_s
        copy._situation = self._situation
        copy._remarks = self._remarks.copy()
        copy._tiers.hopeless = copy._remarks.hopeless
        return copy


class _Tiers:
    """The jobs whose deadline can be met, and the others behind them.

    Those for which no device was free in time when they came are ``hopeless``. They stand in both:
    a device may be free sooner than expected.
    """

    def __init__(self, stretch: float, hopeless: Collection[str] = ()) -> None:
        self.urgent, self.behind = Index(), Index()
        self.hopeless = hopeless
        self._stretch = stretch
        self._generation = -2
        #: By when each job has to start on its best kind, or else it has lost its deadline.
        self._latest: list[tuple[float, int, Job]] = []
        self._serial = 0

    def follow(self, view: View) -> None:
        """Bring both up to date."""
        if view.mark[0] != self._generation:
            self._latest.clear()
            self._generation = view.mark[0]
        self.urgent = self.urgent.follow(view, self._deadlines)
        self.behind = self.behind.follow(view, self._implied)

    def lose(self, at_s: float, view: View) -> list[Job]:
        """Put behind whose deadline is lost by then, wherever they start; returns these jobs."""
        lost = []
        while self._latest and self._latest[0][0] < at_s:
            job = heappop(self._latest)[-1]
            if view.waits(job.id):
                self.behind.add(job, view, self._lost)
                lost.append(job)
        return lost

    def give_up(self, jobs: Sequence[Job], view: View) -> None:
        """Put jobs behind whose deadline cannot be met as things are."""
        for job in jobs:
            self.behind.add(job, view, self._lost)

    def first_deadline(self, at_s: float, kinds: Sequence[ClassState], view: View) -> _Found | None:
        """The earliest deadline that can be met on one of the kinds.

        Time only passes: what is late on a kind is late there for good, and leaves its heap.
        """
        for kind in kinds:
            while (key := self.urgent.first(kind, view)) is not None:
                cost = view.costs(key[-1])[kind.position]
                if cost is not None and at_s <= _latest_s(key[-1], cost):
                    break
                self.urgent.drop(kind)
        return _first(view, kinds, self.urgent)

    def _deadlines(self, job: Job, view: View) -> Sequence[float | None]:
        """The deadline, on the kinds where it can still be met."""
        costs = view.costs(job)
        best_s = _last_start_s(job, costs)
        if best_s is None or best_s < view.now_s:
            return [None] * len(costs)
        self._serial += 1
        heappush(self._latest, (best_s, self._serial, job))
        return [
            None if cost is None or _latest_s(job, cost) < view.now_s else job.deadline_s
            for cost in costs
        ]

    def _implied(self, job: Job, view: View) -> Sequence[float | None]:
        """The ranks behind of a job that has just come: none where its deadline can be met."""
        costs = view.costs(job)
        best_s = _last_start_s(job, costs)
        if best_s is not None and best_s >= view.now_s and job.id not in self.hopeless:
            return [None] * len(costs)
        return self._lost(job, view)

    def _lost(self, job: Job, view: View) -> Sequence[float | None]:
        return implied_deadlines(job, view.costs(job), self._stretch)


#: A job that is first on a kind, as it stands in the heap there.
_Found = tuple[ClassState, Key]


def _open(view: View, tiers: _Tiers) -> tuple[float, list[ClassState]]:
    """The kinds that could start a job next, and when: now, but for a look ahead."""
    if not view.planning:
        return view.now_s, [kind for kind in view.kinds if view.free_in(kind)]
    soon = [
        (view.earliest_s(kind), kind)
        for kind in view.kinds
        if tiers.urgent.first(kind, view) or tiers.behind.first(kind, view)
    ]
    at_s = min((start_s for start_s, _ in soon), default=view.now_s)
    return at_s, [kind for start_s, kind in soon if start_s <= at_s]


def _first(view: View, kinds: Sequence[ClassState], tier: Index) -> _Found | None:
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


def _latest_s(job: Job, cost: Estimate) -> float:
    """By when a job with a deadline has to start."""
    assert job.deadline_s is not None
    return job.deadline_s - cost.time_s


def _last_start_s(job: Job, costs: Sequence[Estimate | None]) -> float | None:
    """By when the job has to start on its best kind; None without a deadline."""
    if job.deadline_s is None:
        return None
    return max((_latest_s(job, cost) for cost in costs if cost is not None), default=None)


def _note(view: View, chosen: Placement) -> None:
    """What `why` will show: how late the job would be, or when it would be done."""
    if view.explains:
        job = chosen.job
        options = view.options(job)
        scores = [option.finish_s - (job.deadline_s or 0.0) for option in options]
        view.note(job, options, scores, chosen)
