"""What ran on which board and when: an index of all attempts, small and quick to look into."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from jetsched.records import Attempt
from jetsched.scheduler.events import Action, Start
from jetsched.scheduler.state import JobRecord


class _Lane:
    """The attempts of one board, in the order of their starts."""

    __slots__ = ("longest_s", "numbers", "records", "starts_s")

    def __init__(self) -> None:
        self.starts_s = array("d")
        self.records: list[JobRecord] = []
        self.numbers = array("L")
        #: No attempt here that has ended lasted longer: so far back a look has to begin.
        self.longest_s = 0.0

    def at(self, place: int) -> Attempt:
        """The attempt at a place, as it stands now."""
        return self.records[place].attempts[self.numbers[place] - 1]


class Ran:
    """All attempts by board. Changed by the loop's thread, which also changes the jobs; looked into
    by any: a window may hold a hundred thousand, and the loop must not wait for that.

    It keeps where an attempt stands, not the attempt: one that was given up may go on after all.
    """

    def __init__(self, jobs: Iterable[JobRecord] = ()) -> None:
        self._lanes: dict[str, _Lane] = {}
        attempts = [(a.start_s, record, a) for record in jobs for a in record.attempts]
        for _, record, attempt in sorted(attempts, key=lambda found: found[0]):
            self.start(record, attempt)
            self.end(attempt)

    def note(
        self, actions: Iterable[Action], ended: Iterable[Attempt], jobs: Mapping[str, JobRecord]
    ) -> None:
        """Take in what was started and what has ended; ``jobs`` has the jobs by id."""
        for action in actions:
            if isinstance(action, Start):
                record = jobs[action.placement.job.id]
                self.start(record, record.attempts[action.attempt - 1])
        for attempt in ended:
            self.end(attempt)

    def start(self, record: JobRecord, attempt: Attempt) -> None:
        lane = self._lanes.get(attempt.device)
        if lane is None:
            lane = self._lanes[attempt.device] = _Lane()
        elif (before := lane.at(-1)).end_s is not None:
            self.end(before)  # several events may be told of late, when it is not the last any more
        lane.records.append(record)
        lane.numbers.append(attempt.number)
        lane.starts_s.append(attempt.start_s)  # the last: who looks goes by how many of these are

    def end(self, attempt: Attempt) -> None:
        if attempt.end_s is not None:
            lane = self._lanes[attempt.device]
            lane.longest_s = max(lane.longest_s, attempt.end_s - attempt.start_s)

    @property
    def devices(self) -> Sequence[str]:
        """All boards on which anything ever ran."""
        return list(self._lanes)

    def between(
        self, device_id: str, from_s: float, to_s: float
    ) -> Iterator[tuple[JobRecord, Attempt]]:
        """The attempts that have ended and ran on a board at some time of the window.

        Boundaries are on the cluster's clock.
        """
        lane = self._lanes.get(device_id)
        if lane is None:
            return
        first = bisect_left(lane.starts_s, from_s - lane.longest_s)
        last = bisect_left(lane.starts_s, to_s)
        for place in range(first, last):
            attempt = lane.at(place)
            if attempt.end_s is not None and attempt.end_s >= from_s:
                yield lane.records[place], attempt
