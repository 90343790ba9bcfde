"""The story of a span of time: its jobs, what ended badly and why, how the boards were used."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, NamedTuple

from jetsched.cluster.history import entries_of
from jetsched.cluster.pastjobs import PastAttempt, PastBook, PastJob
from jetsched.cluster.presences import BoardPast, Presences
from jetsched.cluster.storysource import Source
from jetsched.cluster.storyspan import Span
from jetsched.cluster.telling import Told, tell
from jetsched.errors import InputError
from jetsched.files import to_json
from jetsched.records import Outcome
from jetsched.scheduler.events import (
    DeviceClosed,
    DeviceJoined,
    DeviceLost,
    DeviceOpened,
    DeviceRemoved,
    PolicyChanged,
    QueuePaused,
    ServiceStarted,
)

#: What is told of a week beside its jobs.
_NOTABLE = (
    *(DeviceClosed, DeviceJoined, DeviceLost, DeviceOpened, DeviceRemoved),
    *(PolicyChanged, QueuePaused, ServiceStarted),
)


class Ended(NamedTuple):
    """An attempt, and the job that it was one of."""

    job: PastJob
    attempt: PastAttempt


@dataclass(frozen=True)
class WeekStory:
    """What happened from ``from_s`` to ``until_s``; jobs and attempts are as they stood then.

    ``jobs`` are all to which something happened, or that ran or waited.
    """

    source: str
    name: str
    from_s: float
    until_s: float
    jobs: Sequence[PastJob]
    boards: Sequence[BoardPast]
    told: Sequence[Told]

    @property
    def submitted(self) -> list[PastJob]:
        """The jobs that came in that time."""
        return [job for job in self.jobs if job.submitted_s >= self.from_s]

    @property
    def done(self) -> list[PastJob]:
        """The jobs that were done in that time."""
        return [job for job, attempt in self.ended if attempt.outcome == "done"]

    @cached_property
    def ended(self) -> list[Ended]:
        """The attempts that ended in that time, in the order of their ends."""
        found = [
            Ended(job, attempt)
            for job in self.jobs
            for attempt in job.attempts
            if attempt.end_s is not None and attempt.end_s >= self.from_s
        ]
        return sorted(found, key=lambda one: one.attempt.end_s or 0.0)

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many attempts ended how."""
        return Counter(a.outcome for _, a in self.ended if a.outcome is not None)

    @property
    def emulated(self) -> bool:
        """Whether any of it ran on a board that is none."""
        kinds = [a.device_class for job in self.jobs for a in job.attempts]
        return any(kind.emulated for kind in kinds)

    @cached_property
    def on(self) -> Mapping[str, Sequence[Ended]]:
        """By board the attempts that ran there in that time, or in a part of it."""
        found: dict[str, list[Ended]] = {board.id: [] for board in self.boards}
        for job in self.jobs:
            for attempt in job.attempts:
                if (attempt.end_s or inf) > self.from_s:
                    found.setdefault(attempt.device, []).append(Ended(job, attempt))
        return found

    def busy_s(self, board_id: str) -> float:
        """Seconds of that time that something ran there."""
        spans = [(a.start_s, a.end_s or self.until_s) for _, a in self.on[board_id]]
        return sum(max(0.0, end_s - max(start_s, self.from_s)) for start_s, end_s in spans)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "source": self.source,
            "name": self.name,
            "from_s": self.from_s,
            "until_s": self.until_s,
            "submitted": len(self.submitted),
            "outcomes": dict(self.outcomes),
            "energy": to_json(energy_of(a for _, a in self.ended)._asdict()),
            "boards": [self._board_json(board) for board in self.boards],
            "jobs": [job.to_json() for job in self.jobs],
            "told": to_json(self.told),
        }

    def _board_json(self, board: BoardPast) -> dict[str, Any]:
        attempts = [attempt for _, attempt in self.on[board.id]]
        return {
            "id": board.id,
            "device_class": to_json(board.device_class),
            "there_s": board.there_s,
            "busy_s": self.busy_s(board.id),
            "away": [list(span) for span in board.away],
            "outcomes": dict(Counter(a.outcome or "running" for a in attempts)),
            "energy": energy_of(attempts)._asdict(),
        }


class Energy(NamedTuple):
    """What attempts have used, in joules, as far as it was measured: of ``of`` of ``ended``."""

    energy_j: float | None
    of: int
    ended: int


def energy_of(attempts: Iterable[PastAttempt]) -> Energy:
    """The energy of attempts that have ended."""
    ended = [a for a in attempts if a.end_s is not None]
    known = [
        a.measurement.energy_j
        for a in ended
        if a.measurement is not None and a.measurement.energy_j is not None
    ]
    return Energy(sum(known) if known else None, len(known), len(ended))


def week_story(span: Span, source: Source) -> WeekStory:
    """Read the journal once. Raises :class:`InputError` where it tells nothing of that time."""
    book, presences = PastBook(), Presences()
    wanted: dict[str, None] = {}
    told: list[Told] = []
    first_s = last_s = None
    for entry in entries_of(source.journal):
        if entry.at_s >= span.until_s:
            break
        first_s = entry.at_s if first_s is None else first_s
        last_s = entry.at_s
        presences.take(entry)
        touched = book.take(entry)
        if entry.at_s >= span.from_s:
            wanted.update(dict.fromkeys(touched))
            words = tell(entry, book) if isinstance(entry, _NOTABLE) else None
            told += [words] if words is not None else []
        book.forget(wanted, len(wanted))
    if first_s is None or last_s is None or last_s < span.from_s:
        raise InputError(_nothing(span, first_s, last_s), hint="jetsched report all --out all.html")
    until_s = min(span.until_s, max(last_s, time.time()))
    if until_s == inf or span.from_s == -inf:  # all there is, to its last entry
        until_s = last_s
    from_s = max(span.from_s, first_s)
    jobs = [job for id, job in book.jobs.items() if id in wanted or _was_there(job, from_s)]
    return WeekStory(
        source.words,
        span.name,
        from_s,
        until_s,
        sorted(jobs, key=lambda job: job.submitted_s),
        presences.boards(from_s, until_s),
        told,
    )


def _was_there(job: PastJob, from_s: float) -> bool:
    """Whether a job to which nothing happened in that time ran through it, or waited."""
    ended_s = job.end_s
    return ended_s is None or ended_s >= from_s


def _nothing(span: Span, first_s: float | None, last_s: float | None) -> str:
    if first_s is None or last_s is None:
        return f"nothing is in the history of {span.name}"
    first, last = (
        time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s)) for at_s in (first_s, last_s)
    )
    return f"nothing is in the history of {span.name}: it goes from {first} to {last}"
