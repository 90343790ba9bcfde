"""The timeline at the desk: per board what ran, what runs, and what is foreseen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from jetsched.cluster.desk_jobs import PATIENCE, JobDesk
from jetsched.cluster.timebars import TimeBar, joined, past_bar, planned_bar, running_bar
from jetsched.errors import InputError
from jetsched.records import Attempt, Job, Placement
from jetsched.scheduler.closed import closed_reason

#: The most boards that one answer shows, and how many thin bars make up a window at most.
MOST_LANES, FINENESS = 1000, 200


@dataclass(frozen=True)
class TimeLane:
    """A board with its bars, in the order of their starts; ``closed`` is why it takes no jobs.

    ``present``: it is there now; of one that was removed only its past is known.
    """

    device: str
    model: str
    emulated: bool
    present: bool
    closed: str
    bars: tuple[TimeBar, ...]


@dataclass(frozen=True)
class Timeline:
    """What boards do between two moments on the cluster's clock.

    ``boards`` are all that the question was about, of which ``lanes`` are a page. ``waiting`` jobs
    wait, and ``placed`` of them have a place in what is foreseen: a policy looks only so far ahead.
    """

    from_s: float
    to_s: float
    now_s: float
    lanes: tuple[TimeLane, ...]
    boards: int
    waiting: int
    placed: int
    paused: str | None


@dataclass(frozen=True)
class TimelineWish:
    """What is asked: a window, and a page of the boards whose id or model has a text in it.

    ``joins``: neighbours that are too thin to be told apart in the window are one bar.
    """

    from_s: float
    to_s: float
    text: str = ""
    skip: int = 0
    limit: int = MOST_LANES
    joins: bool = True

    def __post_init__(self) -> None:
        if not -inf < self.from_s < self.to_s < inf:
            raise InputError(
                f"there is no time between {self.from_s:g} and {self.to_s:g}",
                hint="from_s comes before to_s; both are seconds since 1970",
            )


class TimelineDesk(JobDesk):
    """Answers about time. Methods may be called from any thread."""

    def timeline(self, wish: TimelineWish) -> Timeline:
        """The bars of a window; where they are joined no lane has too many to draw.

        What is foreseen may be of a few seconds ago.
        """
        raw = self._cluster.ask(lambda now_s: self._window(wish, now_s))
        least_s = (wish.to_s - wish.from_s) / FINENESS if wish.joins else 0.0
        lanes = tuple(
            lane.drawn(wish, least_s, self._past(lane, wish, raw.now_s)) for lane in raw.lanes
        )
        return Timeline(
            wish.from_s,
            wish.to_s,
            raw.now_s,
            lanes,
            raw.boards,
            raw.waiting,
            raw.placed,
            raw.paused,
        )

    def _past(self, lane: _RawLane, wish: TimelineWish, now_s: float) -> list[TimeBar]:
        """What had ended on a board when the loop's thread was asked about it."""
        runs = {(job.id, attempt.number) for job, attempt, _ in lane.runs}
        return [
            past_bar(record.job, attempt)
            for record, attempt in self._ran.between(lane.device, wish.from_s, wish.to_s)
            if (attempt.end_s or 0.0) <= now_s and (record.job.id, attempt.number) not in runs
        ]

    def _window(self, wish: TimelineWish, now_s: float) -> _RawTimeline:
        """What the loop's thread has to look up; all else is done elsewhere."""
        scheduler = self._scheduler
        known = sorted({*self._cluster.boards, *self._ran.devices}, key=by_number)
        found = [device_id for device_id in known if self._is_meant(device_id, wish.text)]
        page = found[wish.skip : wish.skip + wish.limit]
        foreseen = self._foresee(now_s, 5 * PATIENCE) if scheduler.queue.length else {}
        plans: dict[str, list[Placement]] = {device_id: [] for device_id in page}
        for placement in foreseen.values():
            there = plans.get(placement.device.id)
            if there is not None and placement.start_s < wish.to_s:
                there.append(placement)
        return _RawTimeline(
            now_s,
            [self._lane(device_id, wish, plans[device_id]) for device_id in page],
            len(found),
            scheduler.queue.length,
            len(foreseen),
            scheduler.paused.text if scheduler.paused is not None else None,
        )

    def _is_meant(self, device_id: str, text: str) -> bool:
        if not text:
            return True
        kind = self._scheduler.fleet.last_class(device_id)
        return text in device_id or (kind is not None and text in kind.model)

    def _lane(self, device_id: str, wish: TimelineWish, plans: list[Placement]) -> _RawLane:
        fleet, jobs = self._scheduler.fleet, self._scheduler.jobs
        kind = fleet.last_class(device_id)
        closed = closed_reason(fleet.closings.get(device_id, {}))
        runs: list[tuple[Job, Attempt, float]] = []
        for job_id in fleet.jobs_on(device_id):
            current = jobs[job_id].current
            if current is not None:
                finish_s = current.start_s + current.estimate.time_s
                if fleet.sharing is None:  # with the time that its files take
                    finish_s = fleet.finish_s.get(device_id, finish_s)
                runs.append((jobs[job_id].job, current, finish_s))
        return _RawLane(
            device_id,
            kind.model if kind is not None else "",
            kind.emulated if kind is not None else False,
            device_id in fleet.devices,
            closed.text if closed is not None else "",
            runs,
            plans,
        )


@dataclass(frozen=True)
class _RawLane:
    device: str
    model: str
    emulated: bool
    present: bool
    closed: str
    runs: Sequence[tuple[Job, Attempt, float]]
    plans: Sequence[Placement]

    def drawn(self, wish: TimelineWish, least_s: float, past: Sequence[TimeBar]) -> TimeLane:
        bars = [*past]
        bars += [running_bar(*run) for run in self.runs if run[1].start_s < wish.to_s]
        bars += [planned_bar(p) for p in self.plans if p.finish_s >= wish.from_s]
        return TimeLane(
            self.device,
            self.model,
            self.emulated,
            self.present,
            self.closed,
            tuple(joined(bars, least_s)),
        )


@dataclass(frozen=True)
class _RawTimeline:
    now_s: float
    lanes: Sequence[_RawLane]
    boards: int
    waiting: int
    placed: int
    paused: str | None


def by_number(device_id: str) -> tuple[str, int, str]:
    """Sorts ``nx-2`` before ``nx-10``."""
    name, _, number = device_id.rpartition("-")
    return (name, int(number), "") if number.isascii() and number.isdigit() else (device_id, 0, "")
