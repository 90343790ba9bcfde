"""The default: a rule for mean completion that suits small fleets and large ones, and ages."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any, Literal

from jetsched.policies.aged import AgedOrder, foresee
from jetsched.policies.matching import Row, first_places, front, lines, sizes_of, start, times_of
from jetsched.policies.priced import Load, Walk, alone
from jetsched.records import Job, Placement
from jetsched.scheduler.view import Choice, Policy, View

Objective = Literal["mean", "makespan", "deadline", "energy"]

#: What decides for the other objectives.
SPECIALISTS = {
    "makespan": "makespan",
    "deadline": "earliest_deadline",
    "energy": "lowest_energy",
}

#: On more devices than this, jobs are gone through one by one; on fewer they are matched.
FEW_DEVICES = 16

#: How many waiting jobs are matched at once.
WINDOW = 40

#: How strongly ranks fall while a job waits; 0 would be not at all, 1 in proportion.
AGING = 0.25

#: A second of a device that is busy makes so many jobs wait, at full load.
PRICE = 1.2
PRICE_MATCHED = 0.5

#: The first job of the queue goes before all others when it has waited so many times its run time
#: and so many times its run time of other work has been started since the last that did.
PATIENCE = 20
SHARE = 16


class Auto:
    """Choose by what the fleet and the queue look like, for mean completion if nothing else.

    For the ``objective`` mean, three things go together. *Order*: a device takes the short jobs
    that it is relatively good at (see ``comparative_advantage``), and the longer a job waits, the
    shorter it counts. *Waiting for better*: a job waits for a faster device that is busy only if
    that pays although each second there makes others wait, by a price that follows the load.
    *Plan*: on up to 16 devices the front of the queue is matched to places in line (see
    ``matching``), with such a price and such an aging. Nothing starves: the first job of the queue
    goes before all others once it has waited 20 times its run time, and 16 times its run time of
    other work was started since the last job that did so.

    The other objectives are left to specialists: ``makespan``, ``deadline`` (earliest_deadline),
    ``energy`` (lowest_energy). Good: no need to choose. Bad: for one known load and one known fleet
    another policy may be a few per cent better.
    """

    name = "auto"
    ages = True

    def __init__(self, objective: Objective = "mean") -> None:
        self.objective = objective
        self._specialist: Policy | None = None
        if objective != "mean":
            from jetsched import policies

            if objective not in SPECIALISTS:
                known = ", ".join(("mean", *SPECIALISTS))
                raise ValueError(f"objective must be one of {known}, not {objective!r}")
            self._specialist = policies.load(SPECIALISTS[objective])
        self._order = AgedOrder(AGING)
        self._load = Load()
        self._credit_s = 0.0

    def decide(self, view: View) -> Iterator[Choice]:
        """What starts now; a job for which it pays to wait is passed over."""
        if self._specialist is not None:
            yield from self._specialist.decide(view)
        elif not view.free_count:
            return
        elif view.planning:
            yield from foresee(view, self._order.follow(view, sizes_of))
        elif len(view.devices) <= FEW_DEVICES:
            yield from self._matched(view)
        else:
            price = PRICE * self._load.follow(view)
            if view.queue_length == 1:
                yield from self._counted(alone(view, price))
            else:
                yield from self._walked(view, price)

    def _matched(self, view: View) -> Iterator[Placement]:
        kinds = lines(view, PRICE_MATCHED)
        overdue = self._overdue(view)
        order = self._order.follow(view, sizes_of)
        groups = [[entry.job for entry in entries] for entries in front(order, view, WINDOW)]
        if overdue is not None:
            groups = [[overdue], *([job for job in jobs if job is not overdue] for jobs in groups)]
        for jobs in groups:
            rows = [self._row(job, view) for job in jobs]
            for index, position in first_places(rows, kinds):
                started = start(view, jobs[index], view.kinds[position])
                yield from self._counted(started, overdue)

    def _row(self, job: Job, view: View) -> Row:
        times_s = times_of(job, view)
        unit_s = min((time_s for time_s in times_s if time_s is not None), default=0.0)
        waited_s = max(0.0, view.waited_s(job))
        weight = (unit_s / (waited_s + unit_s)) ** AGING if unit_s > 0 else 1.0
        return Row(times_s, weight)

    def _walked(self, view: View, price: float) -> Iterator[Placement]:
        walk = Walk(view, price)
        order = self._order.follow(view, sizes_of)
        overdue = self._overdue(view)
        if overdue is not None:
            yield from self._counted(walk.first(overdue), overdue)
        yield from self._counted(walk.through(order))

    def _overdue(self, view: View) -> Job | None:
        """The first job of the queue, if its patience is at an end and the credit is there."""
        job = next(view.queue(), None)
        if job is None:
            return None
        needs_s = min((cost.time_s for cost in view.costs(job) if cost is not None), default=inf)
        if self._credit_s < SHARE * needs_s or view.waited_s(job) <= PATIENCE * needs_s:
            return None
        return job

    def _counted(
        self, placements: Iterator[Placement], overdue: Job | None = None
    ) -> Iterator[Placement]:
        """The placements; what they start is credit for the next job that is overdue."""
        for placement in placements:
            if placement.job is overdue:
                self._credit_s = 0.0
            else:
                self._credit_s += placement.estimate.time_s
            yield placement

    def __deepcopy__(self, memo: dict[int, Any]) -> Auto:
        """A copy without what is only kept to be quick: looking ahead must not move it on."""
        copy = Auto(self.objective)
        copy._load, copy._credit_s = self._load, self._credit_s
        return copy
