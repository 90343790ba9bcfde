"""Which kind of device each waiting job is to go to: matching for fleets and queues of any size."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Any

from jetsched.records import Job, Placement
from jetsched.scheduler.view import View

#: For so many jobs everything is always planned anew, for more when this part of them has changed.
_EXACT = 32
_STALE = 8

#: Priority (negative), run time on the kind, order of submission, when it came, the job.
_Key = tuple[int, float, int, int, Job]


class KindPlan:
    """The waiting jobs in one list per kind of device, shortest first.

    Made longest job first, each to the kind where its run time, times its place from last there, is
    least: 1-2 % above the best matching. A new job is put where it costs least, and everything is
    planned anew when an eighth of it has changed: O(kinds x log jobs) per job on the average.
    """

    def __init__(self) -> None:
        self._lists: list[list[_Key]] = []
        self._mark = (-2, 0)
        self._made = (0, 0)  # the length of the log and of the queue when it was made

    def starts(self, view: View) -> Iterator[Placement]:
        """The shortest jobs of each kind's on its free devices."""
        plan = self._follow(view)
        for kind, keys in zip(view.kinds, plan._lists, strict=True):
            for key in keys:
                if not view.free_in(kind):
                    break
                job = key[-1]
                placement = view.place(job, kind) if view.waits(job.id) else None
                if placement is not None and placement.start_s <= view.now_s:
                    yield placement

    def _follow(self, view: View) -> KindPlan:
        generation, length = view.mark
        if generation < 0 or not view.untouched:
            other = KindPlan()
            other._make(view)
            return other
        came = length - self._made[0]
        went = self._made[1] + came - view.queue_length
        most = max(_EXACT, _STALE * (came + went))
        if generation != self._mark[0] or view.queue_length <= most:
            self._make(view)
        else:
            for keys in self._lists:
                gone = 0
                while gone < len(keys) and not view.waits(keys[gone][-1].id):
                    gone += 1
                del keys[:gone]
            for number, job in enumerate(view.arrivals(self._mark[1]), self._mark[1]):
                if view.waits(job.id):
                    self._insert(job, number, view)
        self._mark = (generation, length)
        return self

    def _make(self, view: View) -> None:
        kinds = view.kinds
        counts = [0] * len(kinds)
        sizes = [max(1, len(kind.devices)) for kind in kinds]
        waits_s = [view.earliest_s(kind) - view.now_s for kind in kinds]
        jobs: list[tuple[float, Job, Sequence[float | None]]] = []
        for job in view.queue():
            times_s = view.times(job)
            known = [time_s for time_s in times_s if time_s is not None]
            if known:
                jobs.append((-min(known), job, times_s))
        jobs.sort(key=lambda row: row[0])
        self._lists = [[] for _ in kinds]
        for _, job, times_s in jobs:
            best_s, best = 0.0, -1
            for position, time_s in enumerate(times_s):
                if time_s is not None:
                    place = counts[position] // sizes[position] + 1
                    cost_s = time_s * place + waits_s[position]
                    if best < 0 or cost_s < best_s:
                        best_s, best = cost_s, position
            counts[best] += 1
            self._lists[best].append(_key(job, times_s[best], -1, view))
        for keys in self._lists:
            keys.sort()
        self._made = (view.mark[1], view.queue_length)

    def _insert(self, job: Job, number: int, view: View) -> None:
        """Put a new job where its own completion, and the wait of those behind it, grow least."""
        times_s = view.times(job)
        best_s, best = 0.0, -1
        for position, kind in enumerate(view.kinds):
            time_s, keys = times_s[position], self._lists[position]
            if time_s is None:
                continue
            ahead = bisect_left(keys, _key(job, time_s, number, view))
            # Those ahead take half the time of this one on the average.
            work_s = time_s * (len(keys) - ahead) + 0.5 * time_s * ahead
            wait_s = view.earliest_s(kind) - view.now_s
            cost_s = wait_s + time_s + work_s / max(1, len(kind.devices))
            if best < 0 or cost_s < best_s:
                best_s, best = cost_s, position
        if best >= 0:
            insort(self._lists[best], _key(job, times_s[best], number, view))

    def __deepcopy__(self, memo: dict[int, Any]) -> KindPlan:
        """A copy that goes its own way; the jobs are shared."""
        copy = KindPlan()
        copy.__dict__.update(self.__dict__)
        copy._lists = [list(keys) for keys in self._lists]
        return copy


def _key(job: Job, time_s: float | None, number: int, view: View) -> _Key:
    record = view.record(job.id)
    return (-record.level, time_s or 0.0, record.order, number, job)
