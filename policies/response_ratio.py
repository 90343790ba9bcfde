"""Response ratio: the short jobs first, but whoever waits long for its length gains on them."""

from __future__ import annotations

from collections.abc import Iterator

from jetsched.policies.aged import AgedOrder, Entry, foresee
from jetsched.records import Placement
from jetsched.scheduler.view import View


class ResponseRatio:
    """Let a free device take the job with the best response ratio among those that suit it.

    A free device d takes the waiting job with the least ``p_d * (p_d / p_best) ** bias / (wait +
    p_best)``: p_d its run time there, p_best its run time on the fastest kind of device. On devices
    that are alike it is highest response ratio next (Brinch Hansen, *An analysis of response ratio
    scheduling*, IFIP Congress 1971); ``bias`` makes a device leave a job to those that are much
    better at it. Good: the slowest per cent of the jobs, at little cost in the mean; nothing
    starves, for what has waited k times its length is behind only what has waited so too. Bad: in
    a long overload all jobs wait in proportion to their length, which costs the short ones dearly.
    """

    name = "response_ratio"
    ages = True

    def __init__(self, bias: float = 1.0) -> None:
        if not 0 <= bias <= 16:
            raise ValueError(f"bias must lie in 0..16, not {bias}")
        self.bias = bias
        self._order = AgedOrder(bias, power=1.0)

    def decide(self, view: View) -> Iterator[Placement]:
        """The best pair of a waiting job and a free device, as long as there is one."""
        if not view.free_count:
            return
        order = self._order.follow(view)
        if view.planning:
            yield from foresee(view, order)
            return
        kinds = view.kinds
        full = {position for position, kind in enumerate(kinds) if not view.free_in(kind)}
        for position, entry in order.walk(view, full):
            placement = view.place(entry.job, kinds[position])
            if placement is None or placement.start_s > view.now_s:
                continue  # what it asks for is busy, though others of the kind are free
            if view.explains:
                self._note(view, entry, placement)
            yield placement
            if not view.free_in(kinds[position]):
                full.add(position)
                if len(full) == len(kinds):
                    return

    def _note(self, view: View, entry: Entry, chosen: Placement) -> None:
        """Keep what was thought of the job that starts."""
        options, scores = [], []
        for kind, size in zip(view.kinds, entry.sizes, strict=True):
            option = view.place(entry.job, kind)
            if option is not None and size is not None:
                options.append(option)
                scores.append(size / (view.now_s - entry.born_s))
        view.note(entry.job, options, scores, chosen)
