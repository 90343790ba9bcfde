"""The story of one job, from the journal: attempts, why each went where it did, how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jetsched.cluster.history import entries_of
from jetsched.cluster.pastjobs import PastAttempt, PastBook, PastJob, jobs_of
from jetsched.cluster.storysource import LogEnd, Now, Source
from jetsched.cluster.storyspan import HINT
from jetsched.cluster.telling import Told, tell
from jetsched.errors import InputError
from jetsched.files import to_json
from jetsched.records import Decision
from jetsched.scheduler.events import DeviceLost, DeviceRemoved, Start


@dataclass(frozen=True)
class JobStory:
    """All that is known of a job. ``decisions`` are by the number of the attempt they led to.

    ``now`` is how a job stands that has not ended, where its head could be asked; ``at_s`` is when
    this was told, by the wall clock.
    """

    source: str
    past: PastJob
    told: tuple[Told, ...]
    decisions: Mapping[int, Decision]
    now: Now | None
    log: LogEnd | None
    at_s: float

    @property
    def last(self) -> PastAttempt | None:
        return self.past.attempts[-1] if self.past.attempts else None

    @property
    def emulated(self) -> bool:
        """Whether any of it ran on a board that is none."""
        return any(attempt.device_class.emulated for attempt in self.past.attempts)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        attempts = [
            {
                **attempt.to_json(),
                "device_class": to_json(attempt.device_class),
                "estimate": to_json(attempt.estimate),
                "measurement": to_json(attempt.measurement),
            }
            for attempt in self.past.attempts
        ]
        return {
            "source": self.source,
            "at_s": self.at_s,
            "job": {**self.past.to_json(), "attempts": attempts},
            "told": to_json(self.told),
            "decisions": {str(number): to_json(d) for number, d in self.decisions.items()},
            "now": to_json(self.now),
            "log": to_json(self.log),
        }


def job_story(job_id: str, source: Source) -> JobStory:
    """The story of a job. Raises :class:`InputError` for one that never was."""
    book = PastBook()
    told: list[Told] = []
    decisions: dict[int, Decision] = {}
    for entry in entries_of(source.journal, job_id=job_id):
        concerns = job_id in jobs_of(entry) or isinstance(entry, DeviceLost | DeviceRemoved)
        if not concerns or job_id not in book.take(entry):
            continue
        if isinstance(entry, Start) and entry.decision is not None:
            decisions[entry.attempt] = entry.decision
        words = tell(entry, book)
        told += [words] if words is not None else []
    past = book.jobs.get(job_id)
    if past is None:
        raise InputError(
            f"{source.words} knows no job {job_id!r}",
            hint=f"see: jetsched history; or name {HINT}",
        )
    last = past.attempts[-1] if past.attempts else None
    return JobStory(
        source.words,
        past,
        tuple(told),
        decisions,
        None if past.over else source.now(job_id),
        source.log_end((job_id, last.number)) if last is not None else None,
        time.time(),
    )
