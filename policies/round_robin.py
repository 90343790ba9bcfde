"""Round robin: the devices take turns."""

from __future__ import annotations

from collections.abc import Sequence

from jetsched.policies.bound import Bound
from jetsched.records import Estimate, Job
from jetsched.scheduler.view import View


class RoundRobin(Bound):
    """Give the devices turns: job i goes to device i modulo their number.

    Cyclic dispatching, the default of load balancers (Harchol-Balter 2013, ch. 24). A kind of
    device with n members has n turns in a row; among them the first that is free serves. A job that
    cannot run on the device whose turn it is goes to the next kind; one that starts again has moved
    on by a turn. Good when devices and jobs are alike. Bad when they are not: a slow device gets as
    many jobs as a fast one, and jobs wait for their turn's device while others idle.
    """

    name = "round_robin"

    def prefer(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        record = view.record(job.id)
        total = len(view.devices)
        turn = (record.order + len(record.attempts)) % total
        turns: list[float | None] = []
        first = 0
        for kind, cost in zip(view.kinds, costs, strict=True):
            after = first + len(kind.devices)
            away = 0 if first <= turn < after else (first - turn) % total
            turns.append(None if cost is None else float(away))
            first = after
        return turns
