"""The default: a rule for mean completion that suits small fleets and large ones, and ages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from jetsched.policies.aged import AgedOrder, Entry, foresee
from jetsched.policies.matching import BIAS, Row, first_places, front, lines, start
from jetsched.policies.pooled import PooledTimes
from jetsched.policies.priced import Prices, Walk, alone
from jetsched.records import Placement
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

#: The first job of the queue goes before all others when it has waited so many times its run time
#: and so many times its run time of other work has been started since the last that did.
PATIENCE = 20
SHARE = 16


class Auto:
    """Choose by what the fleet and the queue look like, for mean completion if nothing else.

    For the ``objective`` mean, five things go together. *Order*: a device takes the short jobs
    that it is relatively good at (see ``comparative_advantage``), and the longer a job waits, the
    shorter it counts. *Waiting for better*: a job waits for a faster device that is busy only if
    that pays although each second there makes others wait, by a price that follows the load and, on
    kinds of many devices, demand. *Plan*: on up to ``few_devices`` the front of the queue is
    matched to places in line (see ``matching``), with such a price and such an aging. *Estimates*:
    where those of single jobs of a workload contradict each other about the kinds of devices, they
    are pooled. *Turns*: nothing starves, for the first job of the queue goes before all others once
    it has waited 20 times its run time, and 16 times its run time of other work was started since
    the last job that did so.

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
        self._pooled.follow(view)
        if length == 1:
            return alone(view, [PRICE_MATCHED] * len(view.kinds), self._pooled)
        return self._matched(view)

    def _matched(self, view: View) -> Iterator[Placement]:
        order = self._order.follow(view)
        kinds = lines(view, PRICE_MATCHED)
        groups = list(front(order, view, WINDOW))
        overdue = self._turns.next(view, order)
        if overdue is not None:
            groups = [[entry for entry in group if entry is not overdue] for group in groups]
            groups.insert(0, [overdue])
        for entries in groups:
            rows = [Row(entry.times_s, _weight(entry, view)) for entry in entries]
            for index, position in first_places(rows, kinds):
                entry = entries[index]
                for placement in start(view, entry.job, view.kinds[position]):
                    self._turns.started(entry, its_turn=entry is overdue)
                    yield placement

    def _walked(self, view: View, prices: Sequence[float]) -> Iterator[Placement]:
        order = self._order.follow(view)
        walk = Walk(view, prices)
        overdue = self._turns.next(view, order)
        if overdue is not None:
            for placement in walk.first(overdue):
                self._turns.started(overdue, its_turn=True)
                yield placement
        for placement in walk.through(order):
            self._turns.started(order.entry(placement.job, view), its_turn=False)
            yield placement


class Turns:
    """Keeps the first job of the queue from starving: when it is its turn to go before all others.

    That is when it has waited ``PATIENCE`` times its run time, and other work of ``SHARE`` times
    its run time was started since the last turn: under a lasting overload, turns take a limited
    part of the fleet.
    """

    def __init__(self) -> None:
        self._credit_s = 0.0
        #: What the last decision started, if it came to it: (job, its run time, was it its turn).
        self._pending: list[tuple[str, float, bool]] = []

    def next(self, view: View, order: AgedOrder) -> Entry | None:
        """The job whose turn it is, if it is anybody's."""
        for job_id, time_s, its_turn in self._pending:
            if not view.waits(job_id):  # it has really been started
                self._credit_s = 0.0 if its_turn else self._credit_s + time_s
        self._pending.clear()
        entry = order.entry(view.first(), view)
        unit_s = entry.unit_s
        if unit_s <= 0 or self._credit_s < SHARE * unit_s:
            return None
        return entry if view.waited_s(entry.job) > PATIENCE * unit_s else None

    def started(self, entry: Entry, *, its_turn: bool) -> None:
        """Note a start of this decision."""
        self._pending.append((entry.job.id, entry.unit_s, its_turn))


def _weight(entry: Entry, view: View) -> float:
    """By how much a job counts as shorter than it is, for having waited."""
    age_s = max(view.now_s - entry.born_s, entry.unit_s)
    return (entry.unit_s / age_s) ** AGING if entry.unit_s > 0 else 1.0
