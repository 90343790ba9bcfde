"""Round robin: the devices take turns."""

from __future__ import annotations

from jetsched.policies.base import Greedy
from jetsched.records import Placement
from jetsched.scheduler.view import View


class RoundRobin(Greedy):
    """Give the devices turns: job i goes to device i modulo their number.

    Cyclic dispatching, the default of load balancers (Harchol-Balter 2013, ch. 24). A kind of
    device with n members has n turns in a row; among them the first that is free serves. A job that
    cannot run on the device whose turn it is goes to the next kind; one that starts again has moved
    on by a turn. Good when devices and jobs are alike. Bad when they are not: a slow device gets as
    many jobs as a fast one, and jobs wait for their turn's device while others idle.
    """

    name = "round_robin"

    def score(self, placement: Placement, view: View) -> float:
        record = view.record(placement.job.id)
        classes = view.device_classes
        total = sum(count for _, count in classes)
        turn = (record.order + len(record.attempts)) % total
        first = 0
        for kind, count in classes:
            if kind == placement.device.device_class:
                return 0 if first <= turn < first + count else (first - turn) % total
            first += count
        raise LookupError(f"{placement.device.id} is of no class of the fleet")
