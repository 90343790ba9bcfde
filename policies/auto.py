"""The default: a rule for mean completion that suits small fleets and large ones, and ages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal

from jetsched.policies.aged import AgedOrder, Entry, foresee
from jetsched.policies.matching import BIAS, Line, Row, first_places, front, lines, start
from jetsched.policies.pooled import PooledTimes
from jetsched.policies.priced import Prices, Walk, alone
from jetsched.records import Job, Placement
from jetsched.scheduler.view import Choice, Policy, View

Objective = Literal["mean", "makespan", "deadline", "energy"]

#: What decides for the other objectives.
SPECIALISTS = {
    "makespan": "makespan",
    "deadline": "earliest_deadline",
    "energy": "lowest_energy",
}

#: How many waiting jobs are matched at once.
WINDOW = 40

#: How strongly ranks fall while a job waits; 0 would be not at all, 1 in proportion.
AGING = 0.15

#: A second of a device that is busy makes so many jobs wait, where jobs are matched.
PRICE_MATCHED = 0.5

#: The first job of the queue that could start on a kind goes before all others when it has waited
#: so many times its run time and so many times its run time of other work was started there since
#: the last that did. It is looked for among at least so many.
PATIENCE = 20
SHARE = 16
REACH = 32


class Auto:
    """Choose by what the fleet and the queue look like, for mean completion if nothing else.

    For the ``objective`` mean: a device takes the short jobs that it is relatively good at (see
    ``comparative_advantage``), and the longer a job waits, the shorter it counts. A job waits for a
    faster device that is busy only if that pays, though each second there makes others wait: it has
    a price that follows load and demand. On up to ``few_devices`` the front of the queue is matched
    to places in line (see ``matching``), at such a price. Estimates of a workload's jobs that
    contradict each other about the kinds of devices are pooled. Nothing starves: on each kind, the
    first job of the queue that would start there goes before all others once it has waited 20 times
    its run time, and 16 times its run time of other work was started there since the last such
    turn.

    The other objectives are left to specialists: ``makespan``, ``deadline`` (earliest_deadline),
    ``energy`` (lowest_energy). Good: no need to choose. Bad: for one known load and one known fleet
    another policy may be a few per cent better.
    """

    name = "auto"
    ages = True

    def __init__(self, objective: Objective = "mean", few_devices: int = 16) -> None:
        if not 0 <= few_devices <= 500:
            raise ValueError(f"few_devices must lie in 0..500, not {few_devices}")
        self.objective = objective
        self.few_devices = few_devices
        self._specialist: Policy | None = None
        if objective != "mean":
            from jetsched import policies

            if objective not in SPECIALISTS:
                known = ", ".join(("mean", *SPECIALISTS))
                raise ValueError(f"objective must be one of {known}, not {objective!r}")
            self._specialist = policies.load(SPECIALISTS[objective])
        self._pooled = PooledTimes()
        self._order = AgedOrder(BIAS, AGING, self._pooled)
        self._prices = Prices()
        self._turns = Turns()

    def decide(self, view: View) -> Iterable[Choice]:
        """What starts now; a job for which it pays to wait is passed over."""
        if self._specialist is not None:
            return self._specialist.decide(view)
        if view.planning:
            self._pooled.follow(view)
            return foresee(view, self._order.follow(view))
        length = view.queue_length
        if not length or not view.free_count:
            return ()
        if len(view.devices) > self.few_devices:
            prices = self._prices.follow(view, self._pooled)
            if length == 1:
                return alone(view, prices, self._pooled)
            return self._walked(view, prices)
        self._prices.follow(view, self._pooled)
        prices = [max(PRICE_MATCHED, worth) for worth in self._prices.load.worth(view.kinds)]
        if length == 1:
            return alone(view, prices, self._pooled)
        return self._matched(view, prices)

    def _matched(self, view: View, prices: Sequence[float]) -> Iterator[Placement]:
        order = self._order.follow(view)
        kinds = lines(view, prices)
        for entry in self._turns.next(view, order, lambda entry: _place_of(entry, kinds)):
            for _, position in first_places([Row(entry.times_s)], kinds):
                for placement in start(view, entry.job, view.kinds[position]):
                    self._turns.started(placement, view, its_turn=True)
                    yield placement
        refused = False
        for entries in front(order, view, WINDOW):
            rows = [Row(entry.times_s, _weight(entry, view)) for entry in entries]
            for index, position in first_places(rows, kinds):
                placements = start(view, entries[index].job, view.kinds[position])
                refused = refused or not placements
                for placement in placements:
                    self._turns.started(placement, view, its_turn=False)
                    yield placement
        if refused:  # by wishes: others, maybe behind the window, may start where those cannot
            for placement in Walk(view, prices).through(order):
                self._turns.started(placement, view, its_turn=False)
                yield placement

    def _walked(self, view: View, prices: Sequence[float]) -> Iterator[Placement]:
        order = self._order.follow(view)
        walk = Walk(view, prices)
        for entry in self._turns.next(view, order, walk.best):
            for placement in walk.first(entry):
                self._turns.started(placement, view, its_turn=True)
                yield placement
        for placement in walk.through(order):
            self._turns.started(placement, view, its_turn=False)
            yield placement


class _Turn:
    """What was started on a kind of devices."""

    __slots__ = ("credit_s", "reach", "starts")

    def __init__(self) -> None:
        self.credit_s = 0.0  # since the last turn there
        self.starts = 0
        self.reach = REACH  # how far into the queue the next turn is looked for


class Turns:
    """Keeps jobs from starving: who goes before all others, on each kind of devices that is free.

    That is the first job of the queue that would start there now, once it has waited ``PATIENCE``
    times its run time, and other work of ``SHARE`` times its run time was started there since the
    last turn: under a lasting overload, turns take a limited part of the devices.

    Jobs that can start nowhere now are passed over. So that any number of them may stand ahead
    without all being looked at each time, the search goes twice as far with every other start.
    """

    def __init__(self) -> None:
        self._turns: dict[int, _Turn] = {}  # by the index of the kind
        #: What the last decision started, if it came to it: (job, kind, run time, was it its turn).
        self._pending: list[tuple[str, int, float, bool]] = []

    def next(
        self, view: View, order: AgedOrder, best: Callable[[Entry], int | None]
    ) -> Iterator[Entry]:
        """The jobs whose turn it is; ``best`` tells on which of ``view.kinds`` one would go."""
        self._settle(view)
        turns, free = self._turns, {}
        for number, kind in enumerate(view.kinds):
            open_turn = turns.get(kind.index)
            if open_turn is not None and open_turn.credit_s > 0 and view.free_in(kind):
                free[number] = open_turn
        if not free:
            return
        reach = max(turn.reach for turn in free.values())
        for job in islice(view.queue(), reach):
            entry = order.entry(job, view)
            times_s = entry.times_s
            if all(times_s[position] is None for position in free):
                continue
            position = best(entry)
            turn = None if position is None else free.get(position)
            if position is None or turn is None or not _starts_now(view, job, position):
                continue
            del free[position]
            enough = turn.credit_s >= SHARE * (times_s[position] or 0.0)
            if enough and view.waited_s(job) > PATIENCE * entry.unit_s:
                yield entry
            if not free:
                return

    def started(self, placement: Placement, view: View, *, its_turn: bool) -> None:
        """Note a start of this decision."""
        device_id = placement.device.id
        index = next(kind.index for kind in view.kinds if device_id in kind.devices)
        time_s = placement.estimate.time_s
        self._pending.append((placement.job.id, index, time_s, its_turn))

    def _settle(self, view: View) -> None:
        """Count what the last decision has really started."""
        before: dict[int, int] = {}
        for job_id, index, time_s, its_turn in self._pending:
            if view.waits(job_id):
                continue
            turn = self._turns.get(index)
            if turn is None:
                turn = self._turns[index] = _Turn()
            before.setdefault(index, turn.starts)
            turn.credit_s = 0.0 if its_turn else turn.credit_s + time_s
            turn.starts += 1
        for index, starts in before.items():
            turn = self._turns[index]
            highest = (turn.starts ^ starts).bit_length() - 1  # the bit that has changed
            turn.reach = max(REACH, REACH // 4 << highest)
        self._pending.clear()


def _starts_now(view: View, job: Job, position: int) -> bool:
    """Whether the free devices of the kind include one that suits the job's wishes."""
    if not job.needs.picky:
        return True
    placement = view.place(job, view.kinds[position])
    return placement is not None and placement.start_s <= view.now_s


def _place_of(entry: Entry, kinds: Sequence[Line]) -> int | None:
    """Where the job is done first if it is matched alone, prices counted."""
    costs_s = [
        (kind.waits_s[0] + time_s * (1.0 + kind.price), position)
        for position, (time_s, kind) in enumerate(zip(entry.times_s, kinds, strict=True))
        if time_s is not None
    ]
    return min(costs_s)[1] if costs_s else None


def _weight(entry: Entry, view: View) -> float:
    """By how much a job counts as shorter than it is, for having waited."""
    age_s = max(view.now_s - entry.born_s, entry.unit_s)
    return (entry.unit_s / age_s) ** AGING if entry.unit_s > 0 else 1.0
