"""A policy in which each job picks a kind of device when its turn comes, and may wait for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from typing import Any

from jetsched.policies.index import Index, Key
from jetsched.policies.situation import Situation, is_private, situation
from jetsched.records import Estimate, Job, Placement, Remark
from jetsched.scheduler.cursor import LAST_ID, expected_s
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View

#: No more jobs than this wait for a kind, or than it has devices.
FEW = 32


@dataclass(frozen=True, slots=True)
class Option:
    """A kind of device that a job may pick: when it would start there, what it would cost."""

    kind: ClassState
    start_s: float
    cost: Estimate

    @property
    def finish_s(self) -> float:
        return self.start_s + self.cost.time_s


@dataclass(frozen=True, slots=True)
class Pick:
    """The option that a job takes. If that is busy, it waits for it until ``until_s``.

    ``text`` says why it waits, for `why`.
    """

    option: Option
    until_s: float = inf
    text: str = ""


class Patient(ABC):
    """Let each job pick a kind of device when its turn comes; first come, first served.

    A subclass writes :meth:`pick`. A job's turn comes when a device is free, and everybody before
    it has a device or waits for one. It may then wait for a busy kind as well: it gets the next
    device there, before all whose turn comes later (delay scheduling: Zaharia et al., *Delay
    scheduling*, EuroSys 2010). It starts there by the time that :attr:`Option.start_s` said, as
    long as what runs ends as estimated and nobody of higher priority comes. What has not started
    at ``until_s`` takes the next free device of any kind.

    A job is looked at once while it waits, whatever else happens: O(kinds x log jobs) for each.
    """

    #: What a person calls it; the name of the class where this is empty.
    name: str = ""
    ages = True

    def __init__(self) -> None:
        #: By job id: when the pick of a job that waits for a busy kind promised it to be done.
        self._promised_s: dict[str, float] = {}
        self._reset()

    def _reset(self) -> None:
        self._generation = -2
        #: Whose turn has not come, and who waits no longer for what it picked.
        self._fresh, self._impatient = Index(), Index()
        #: By the index of the kind: who waits for it, in order of priority and turn.
        self._held: dict[int, list[_Held]] = {}
        self._holding: set[str] = set()  # the ids of all of them
        self._until: list[tuple[float, int, Job]] = []  # by when they give up
        self._gave_up: set[str] = set()
        self._turns = 0
        self._situation: Situation | None = None
        #: What the last decision did: whom it offered a device, and who waits since then.
        self._offered: list[tuple[int, _Held]] = []
        self._new: list[tuple[int, _Held, float]] = []  # with what was promised before

    @abstractmethod
    def pick(self, job: Job, options: Sequence[Option], promised_s: float, view: View) -> Pick:
        """Which of the options the job takes; there is at least one.

        ``promised_s`` is when an earlier pick of the job promised it to be done, when kinds or
        costs were others; infinite if there was none. Must not change anything.
        """

    def decide(self, view: View) -> Iterator[Placement | Remark]:
        """Starts, as long as a device is free that somebody picks."""
        if not view.free_count:
            return
        if view.planning or is_private(view):
            yield from self._in_order(view)
            return
        self._follow(view)
        while (found := self._next(view)) is not None:
            tier, kind, job = found
            if tier == _HELD:
                self._offered.append((kind.index, heappop(self._held[kind.index])))
                placement = view.place(job, kind)
            elif tier == _IMPATIENT:
                self._impatient.take(kind)
                placement = _earliest(view, job)
            else:
                self._fresh.take(kind)
                placement, remark = self._turn(view, job)
                if remark is not None:
                    yield remark
            if placement is not None and placement.start_s <= view.now_s:
                _note(view, job, placement)
                yield placement

    # -- whose turn it is ------------------------------------------------------------------------

    def _follow(self, view: View) -> None:
        if view.mark[0] != self._generation:
            self._reset()
            self._generation = view.mark[0]
            self._promised_s = {i: s for i, s in self._promised_s.items() if view.waits(i)}
        for index, held in self._offered:
            if view.waits(held[-1].id):  # it waits for one of the kind that is busy, say
                heappush(self._held[index], held)
            else:
                self._forget(held[-1].id)
        self._offered.clear()
        now = situation(view)
        if now == self._situation:
            self._undo(view)
        self._situation = now
        self._new.clear()
        self._fresh.follow(view, _anywhere)
        self._impatient.follow(view, self._if_given_up)
        while self._until and self._until[0][0] < view.now_s:
            job = heappop(self._until)[-1]
            if job.id in self._holding and view.waits(job.id):
                self._gave_up.add(job.id)
                self._impatient.add(job, view, _anywhere)

    def _undo(self, view: View) -> None:
        """The same question again: those who have waited since then have their turn once more."""
        for index, held, promised_s in self._new:
            job = held[-1]
            if job.id in self._holding:
                self._forget(job.id)
                self._held[index].remove(held)
                heapify(self._held[index])
                self._until = [entry for entry in self._until if entry[-1].id != job.id]
                heapify(self._until)
                if promised_s < inf:
                    self._promised_s[job.id] = promised_s
                self._fresh.add(job, view, _anywhere)

    def _next(self, view: View) -> tuple[int, ClassState, Job] | None:
        """Who is served next: by priority, then who has waited too long, who waits, who is new."""
        best: tuple[float, float, float] | None = None
        found: tuple[int, ClassState, Job] | None = None
        for kind in view.kinds:
            if view.free_in(kind):
                for tier, priority, order, job in self._heads(view, kind):
                    if best is None or (priority, tier, order) < best:
                        best, found = (priority, tier, order), (tier, kind, job)
        if found is None or found[0] != _FRESH:
            return found
        for kind in view.kinds:  # who cannot use what is free picks before those behind it do
            if not view.free_in(kind) and len(self._waiting_for(kind, view)) < _most(kind):
                key = self._first_fresh(view, kind)
                if key is not None and best is not None and (key[0], _FRESH, key[2]) < best:
                    best, found = (key[0], _FRESH, key[2]), (_FRESH, kind, key[-1])
        return found

    def _heads(self, view: View, kind: ClassState) -> Iterator[tuple[int, float, float, Job]]:
        key = self._impatient.first(kind, view)
        if key is not None:
            yield _IMPATIENT, key[0], key[2], key[-1]
        held = self._waiting_for(kind, view)
        if held:
            yield _HELD, held[0][0], held[0][1], held[0][-1]
        key = self._first_fresh(view, kind)
        if key is not None:
            yield _FRESH, key[0], key[2], key[-1]

    def _first_fresh(self, view: View, kind: ClassState) -> Key | None:
        key = self._fresh.first(kind, view)
        while key is not None and key[-1].id in self._holding:
            self._fresh.drop(kind)
            key = self._fresh.first(kind, view)
        return key

    def _waiting_for(self, kind: ClassState, view: View) -> list[_Held]:
        """Those who wait for the kind; the first of them still does."""
        held = self._held.get(kind.index, [])
        while held and not view.waits(held[0][-1].id):
            self._forget(heappop(held)[-1].id)
        return held

    def _forget(self, job_id: str) -> None:
        self._holding.discard(job_id)
        self._gave_up.discard(job_id)
        self._promised_s.pop(job_id, None)

    def _if_given_up(self, job: Job, view: View) -> Sequence[float | None]:
        return _anywhere(job, view) if job.id in self._gave_up else [None] * len(view.kinds)

    # -- a turn ----------------------------------------------------------------------------------

    def _turn(self, view: View, job: Job) -> tuple[Placement | None, Remark | None]:
        """The job picks: it starts, or waits for a kind from now on."""
        options = self._options(view, job)
        if not options:
            return None, None
        promised_s = self._promised_s.get(job.id, inf)
        pick = self.pick(job, options, promised_s, view)
        option = pick.option
        placement = view.place(job, option.kind)
        if option.start_s <= view.now_s:
            return placement, None
        self._hold(view, job, pick, promised_s)
        if view.explains:
            _note(view, job, placement)
            return None, Remark(job.id, pick.text) if pick.text else None
        return None, None

    def _hold(self, view: View, job: Job, pick: Pick, promised_s: float) -> None:
        self._turns += 1
        index = pick.option.kind.index
        held = (-view.level(job), self._turns, job)
        heappush(self._held.setdefault(index, []), held)
        self._holding.add(job.id)
        self._new.append((index, held, promised_s))
        if pick.until_s < inf:
            heappush(self._until, (pick.until_s, self._turns, job))
            self._promised_s[job.id] = min(promised_s, pick.until_s + pick.option.cost.time_s)

    def _options(self, view: View, job: Job) -> list[Option]:
        """When the job would start on each kind, behind those who wait for it already."""
        options = []
        for kind, cost in zip(view.kinds, view.costs(job), strict=True):
            placement = view.place(job, kind)
            if cost is None or placement is None:
                continue
            start_s = placement.start_s
            if start_s > view.now_s:
                start_s = max(start_s, self._behind_s(view, kind, job))
            if start_s < inf:
                options.append(Option(kind, start_s, cost))
        return options

    def _behind_s(self, view: View, kind: ClassState, job: Job) -> float:
        """When a device of the kind is free for the job, behind those who wait for it already.

        Infinite if too many do. On a small kind they are laid out one by one; on a large one each
        is given a device of its own, which is never too soon.
        """
        held = self._waiting_for(kind, view)
        if not held:
            return view.earliest_s(kind)
        if len(held) >= _most(kind):
            return inf
        if len(kind.devices) > FEW:
            return _nth_s(view, kind, len(held))
        clocks, level = view.clocks(kind), -view.level(job)
        for other_level, _, other in sorted(held, key=lambda entry: entry[:2]):
            cost = view.costs(other)[kind.position]
            if other_level > level:
                break
            if cost is not None:
                heapreplace(clocks, clocks[0] + cost.time_s)
        return clocks[0]

    def _in_order(self, view: View) -> Iterator[Placement]:
        """Without the index, job by job: to look ahead, and for a view with a queue of its own."""
        for job in view.queue():
            if not view.free_count:
                return
            placements = {}
            for kind in view.kinds:
                placement = view.place(job, kind)
                if placement is not None:
                    placements[kind.index] = placement
            if placements:
                options = [
                    Option(kind, placements[kind.index].start_s, placements[kind.index].estimate)
                    for kind in view.kinds
                    if kind.index in placements
                ]
                pick = self.pick(job, options, self._promised_s.get(job.id, inf), view)
                placement = placements[pick.option.kind.index]
                _note(view, job, placement)
                yield placement

    def __deepcopy__(self, memo: dict[int, Any]) -> Patient:
        """A copy that knows who waits for what. The rest of the index is a cache, and left out."""
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._fresh, copy._impatient = Index(), Index()
        copy._promised_s = dict(self._promised_s)
        copy._held = {index: list(held) for index, held in self._held.items()}
        copy._holding, copy._gave_up = set(self._holding), set(self._gave_up)
        copy._until, copy._offered = list(self._until), list(self._offered)
        copy._new = list(self._new)
        return copy


#: Who waits for a kind: priority (negative), the number of its turn, the job.
_Held = tuple[int, int, Job]

#: Who is served first, of equal priority.
_IMPATIENT, _HELD, _FRESH = range(3)


def _anywhere(job: Job, view: View) -> Sequence[float | None]:
    return [None if cost is None else 0.0 for cost in view.costs(job)]


def _most(kind: ClassState) -> int:
    """How many jobs may wait for a kind."""
    return max(FEW, len(kind.devices))


def _earliest(view: View, job: Job) -> Placement | None:
    """Where the job is done first, of what is free."""
    free = [p for p in view.options(job) if p.start_s <= view.now_s]
    return min(free, key=lambda p: (p.finish_s, p.device.id), default=None)


def _nth_s(view: View, kind: ClassState, ahead: int) -> float:
    """When a busy device of the kind is free for one who has so many ahead; infinite if none is.

    At the latest: nobody ahead gets a second device meanwhile, and what is overdue comes last.
    """
    busy = kind.busy.in_order()
    at = busy.bisect_right((view.now_s, LAST_ID)) + ahead
    if at < len(busy):
        return busy[at][0]
    if ahead < len(busy):
        return max(busy[-1][0], expected_s(busy[0][0], view.now_s))
    return inf


def _note(view: View, job: Job, chosen: Placement | None) -> None:
    """What `why` will show: the joules of each option, or else when the job would be done."""
    if view.explains:
        options = view.options(job)
        known = all(p.estimate.energy_j is not None for p in options)
        scores = [(p.estimate.energy_j or 0.0) if known else p.finish_s for p in options]
        view.note(job, options, scores, chosen)
