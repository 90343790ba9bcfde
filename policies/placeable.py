"""The waiting jobs that some device can run, in the order of the queue."""

from __future__ import annotations

from sortedcontainers import SortedDict

from jetsched.records import Job
from jetsched.scheduler.view import View


def placeable(job: Job, view: View) -> bool:
    """Whether the job can go anywhere in the fleet as it is, busy devices included."""
    return any(time_s is not None for time_s in view.times(job))


class Placeable:
    """Finds the first of them, however many others wait before them.

    A cache of the view's queue. Each job is judged once in a generation: O(log n) for each.
    """

    def __init__(self) -> None:
        self._jobs: SortedDict[tuple[int, int], Job] = SortedDict()  # by their place in the queue
        self._mark = (-2, 0)  # of no view

    def first(self, most: int, view: View) -> list[Job]:
        """The first so many. The view must show the scheduler's own queue, and nothing placed."""
        self._follow(view)
        found: list[Job] = []
        gone = []
        for key, job in self._jobs.items():
            if len(found) == most:
                break
            if view.waits(job.id):
                found.append(job)
            else:
                gone.append(key)
        for key in gone:
            del self._jobs[key]
        return found

    def _follow(self, view: View) -> None:
        generation, length = view.mark
        anew = generation != self._mark[0]
        jobs = view.queue() if anew else view.arrivals(self._mark[1])
        if anew:
            self._jobs.clear()
        self._mark = (generation, length)
        able = {}
        for job in jobs:
            key = view.record(job.id).queue_key
            self._jobs.pop(key, None)  # one that comes back may have been killed for memory
            if view.waits(job.id) and placeable(job, view):
                able[key] = job
        self._jobs.update(able)
