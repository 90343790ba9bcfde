"""Comparative advantage: each device takes the short jobs that it is relatively good at."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop
from itertools import islice

from jetsched.records import DeviceClass, Job, Placement
from jetsched.scheduler.view import View


class ComparativeAdvantage:
    """Let a free device take the short jobs that no other does much faster.

    A free device d takes the waiting job with the least ``p_d * (p_d / p_best) ** bias``: p_d its
    run time there, p_best its run time on the fastest kind of device in the fleet. With ``bias`` 0
    it is shortest job first; a larger one leaves a job to the devices that are made for it. Named
    after Ricardo's principle of trade (1817); in scheduling it is affinity for unrelated machines
    (Al-Azzoni and Down, *Linear programming-based affinity scheduling*, IEEE TPDS 19, 2008) with
    shortest-first order. Good: mean completion at high load, when devices differ and sizes are
    known; a device never idles while something can run there. Bad: a long job waits as long as
    shorter ones keep coming (a higher ``priority`` is served first), and at low load a job starts
    on a slow device though a fast one would have been free a moment later.
    """

    name = "comparative_advantage"

    #: How many waiting jobs are compared, from the front: bounds what a decision costs.
    lookahead: int = 300

    def __init__(self, bias: float = 2.0) -> None:
        if not 0 <= bias <= 16:
            raise ValueError(f"bias must lie in 0..16, not {bias}")
        self.bias = bias

    def decide(self, view: View) -> Iterator[Placement]:
        """The best pair of a waiting job and a free device, as long as there is one."""
        if not view.free_count:
            return
        pairs: list[tuple[int, float, int, str, DeviceClass, Job]] = []
        for order, job in enumerate(islice(view.queue(), self.lookahead)):
            options = view.options(job)
            scores = self._scores(options)
            view.note(job, options, scores, None)
            for option, score in zip(options, scores, strict=True):
                if option.start_s <= view.now_s:
                    device = option.device
                    pairs.append((-job.priority, score, order, device.id, device.device_class, job))
        heapify(pairs)
        while pairs and view.free_count:
            *_, kind, job = heappop(pairs)
            if view.is_placed(job.id):
                continue
            placement = self._on(kind, job, view)
            if placement is not None:
                yield placement

    def _scores(self, options: list[Placement]) -> list[float]:
        best_s = min((p.estimate.time_s for p in options), default=0.0)
        times = (p.estimate.time_s for p in options)
        return [t * (t / best_s) ** self.bias if best_s > 0 else t for t in times]

    def _on(self, kind: DeviceClass, job: Job, view: View) -> Placement | None:
        """The job on a device of the class that is still free, if there is one."""
        if next(view.free_devices(kind), None) is None:
            return None
        options = view.options(job)  # the device that was first may be taken by now
        for placement in options:
            if placement.device.device_class == kind and placement.start_s <= view.now_s:
                view.note(job, options, self._scores(options), placement)
                return placement
        return None
