"""A board on which attempts are lost one after the other rests between them.

Whatever loses them there (a supervisor that is killed, an agent that is started again and again, a
loose plug) would else use up a job's retries within seconds. So the board is closed *before* the
scheduler hears of the loss: the job goes elsewhere, or waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jetsched.cluster.boards import Roster, Timing
from jetsched.scheduler.control import ControlledBook
from jetsched.scheduler.events import (
    DeviceClosed,
    DeviceLost,
    DeviceOpened,
    DeviceRemoved,
    Event,
    Finished,
    Reattached,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rest:
    """How many attempts in a row were lost on a board, and until when it takes none."""

    losses: int
    pause_s: float
    until_s: float


class Resting:
    """For the loop's thread. Moments are the cluster's seconds.

    Each loss in a row doubles the rest; an attempt that ends in any other way, or that was given up
    and lives, ends it. It is kept in mind for as long as the scheduler lives: one that comes back
    opens each board when it answers.
    """

    def __init__(
        self, book: ControlledBook, roster: Roster, timing: Timing, now_s: Callable[[], float]
    ) -> None:
        self._book = book
        self._roster = roster
        self._timing = timing
        self._now_s = now_s
        self._rests: dict[str, Rest] = {}

    def before(self, event: Event) -> Iterator[Event]:
        """What must be handled before this event."""
        if isinstance(event, Finished):
            device_id = self._device_of(event)
            if device_id is None or event.outcome in ("preempted", "cancelled"):
                return  # says nothing of the board
            if event.outcome != "lost":
                yield from self._end(device_id)
            elif event.job_id in self._jobs_on(device_id):  # else it was counted before
                if self._book.fleet.closings.get(device_id, {}).keys() - {"DeviceOffline"}:
                    return  # the cause is known, and the board is closed until it is over
                self._begin(device_id)
                yield DeviceClosed(self._now_s(), device_id, "DeviceOffline", self.why(device_id))
        elif isinstance(event, DeviceLost):  # it was closed before
            if self._jobs_on(event.device_id):
                self._begin(event.device_id)
        elif isinstance(event, Reattached):
            device_id = self._device_of(event)
            if device_id is not None:
                yield from self._end(device_id)
        elif isinstance(event, DeviceRemoved):
            self._rests.pop(event.device_id, None)

    def over(self) -> Iterator[Event]:
        """Open the boards that have rested."""
        now_s = self._now_s()
        for device_id, rest in list(self._rests.items()):
            if now_s >= rest.until_s:
                yield from self._open(device_id)

    def why(self, device_id: str) -> str:
        """Why a board that is there takes no job now; empty when it may have some."""
        rest = self._rests.get(device_id)
        if rest is None or self._now_s() >= rest.until_s:
            return ""
        lost = "an attempt was lost here"
        if rest.losses > 1:
            lost = f"{rest.losses} attempts in a row were lost here"
        return f"{lost}: it rests for {rest.pause_s:.0f} s"

    def _begin(self, device_id: str) -> None:
        timing, before = self._timing, self._rests.get(device_id)
        losses = before.losses + 1 if before is not None else 1
        others = any(other != device_id for other in self._book.fleet.open)
        first_s = timing.rest_s if others else timing.lone_rest_s
        pause_s = min(timing.longest_rest_s, first_s * 2 ** min(losses - 1, 20))
        self._rests[device_id] = Rest(losses, pause_s, self._now_s() + pause_s)
        log.warning("%s: %s", device_id, self.why(device_id))

    def _end(self, device_id: str) -> Iterator[Event]:
        if self._rests.pop(device_id, None) is not None:
            yield from self._open(device_id)

    def _open(self, device_id: str) -> Iterator[Event]:
        """One that is not ready is opened by whoever waits for its agent."""
        board = self._roster.boards.get(device_id)
        closings = self._book.fleet.closings.get(device_id, {})
        if board is not None and board.ready and "DeviceOffline" in closings:
            yield DeviceOpened(self._now_s(), device_id, "DeviceOffline")

    def _jobs_on(self, device_id: str) -> list[str]:
        fleet = self._book.fleet
        return fleet.jobs_on(device_id) if device_id in fleet.devices else []

    def _device_of(self, event: Finished | Reattached) -> str | None:
        """Where the attempt ran, if it is the job's last."""
        record = self._book.jobs.get(event.job_id)
        if record is None or not record.attempts or record.attempts[-1].number != event.attempt:
            return None
        return record.attempts[-1].device
