"""MCT: the device on which the job is done first."""

from __future__ import annotations

from collections.abc import Iterator

from jetsched.policies.base import Greedy
from jetsched.records import Job, Placement
from jetsched.scheduler.cursor import Cursor
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View


class EarliestFinish(Greedy):
    """Take the device on which the job is done first, waiting included.

    MCT, minimum completion time (Braun et al. 2001; Maheswaran et al., *Dynamic mapping of a class
    of independent tasks onto heterogeneous computing systems*, JPDC 59, 1999). The clocks of the
    devices are no memory of the policy: every decision starts from what runs now, so that a job
    that ended sooner or later than estimated sets them right. Good in general, and easy to explain.
    Bad with short jobs behind long ones: it serves in order of arrival and knows nothing of sizes.
    """

    name = "earliest_finish"

    def score(self, placement: Placement, view: View) -> float:
        return placement.finish_s

    def decide(self, view: View) -> Iterator[Placement]:
        """As any greedy policy; quicker where nobody will ask why a job was held."""
        if view.explains or view.planning or not view.untouched:
            yield from super().decide(view)
            return
        ahead = _Ahead(view)
        for job in view.queue():
            if not view.free_count or len(ahead.held) >= self.lookahead:
                return
            if job.needs.picky:  # its devices are some of a kind: from here on as usual
                yield from ahead.laid_out()
                yield from self.in_order(view, len(ahead.held))
                return
            kind = ahead.take(job)
            if kind is not None and (placement := view.place(job, kind)) is not None:
                yield placement


class _Ahead:
    """What the jobs ahead have taken, as the view would know it if each were laid over it."""

    def __init__(self, view: View) -> None:
        self.held: list[tuple[Job, ClassState]] = []
        self._view = view
        self._kinds = view.kinds
        self._cursors = [Cursor(kind) for kind in self._kinds]
        self._taken_s: dict[str, float] = {}

    def take(self, job: Job) -> ClassState | None:
        """Give the job the device where it is done first; the kind, if it starts there now."""
        now_s = self._view.now_s
        best: tuple[float, float, str, int] | None = None
        for position, time_s in enumerate(self._view.times(job)):
            if time_s is None:
                continue
            start_s, device_id = self._cursors[position].earliest(now_s, self._taken_s)
            option = (start_s + time_s, start_s, device_id, position)
            if best is None or option < best:
                best = option
        if best is None:
            return None
        finish_s, start_s, device_id, position = best
        self._taken_s[device_id] = finish_s
        self._cursors[position].plan(finish_s, device_id)
        if start_s <= now_s:
            return self._kinds[position]
        self.held.append((job, self._kinds[position]))
        return None

    def laid_out(self) -> Iterator[Placement]:
        """The placements of the jobs that were held, for the view."""
        for job, kind in self.held:
            placement = self._view.place(job, kind)
            if placement is not None:
                yield placement
