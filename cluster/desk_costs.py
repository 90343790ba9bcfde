"""What boards cost at the desk: which kinds there are, and how their runs went over time."""

from __future__ import annotations

from collections.abc import Iterable

from jetsched.cluster.desk_base import DeskBase
from jetsched.profiler.drift_story import Stories, noted, stories
from jetsched.records import Attempt, DeviceClass


class CostDesk(DeskBase):
    """Answers about boards as the cost model sees them. Methods may be called from any thread."""

    def device_classes(self) -> dict[str, DeviceClass]:
        """What each board is; without those that have not said it yet.

        Read beside the loop: a board's device is replaced as a whole.
        """
        boards = sorted(list(self._cluster.boards.items()))
        return {id: b.device.device_class for id, b in boards if b.device is not None}

    @property
    def runs_known(self) -> int:
        """How many runs :meth:`stories` would tell of by now; cheap."""
        return self._drift.changes

    def stories(self) -> Stories:
        """How each board did, and how well its runs were predicted."""
        classes = self.device_classes()
        return stories(self._cluster.ask(lambda now_s: noted(self._drift, classes)))

    def attempts_of(self, job_ids: Iterable[str]) -> dict[str, list[Attempt]]:
        """The attempts of those jobs that are known here."""
        wanted = list(job_ids)
        if not wanted:
            return {}

        def answer(now_s: float) -> dict[str, list[Attempt]]:
            jobs = self._scheduler.jobs
            return {id: list(jobs[id].attempts) for id in wanted if id in jobs}

        return self._cluster.ask(answer)
