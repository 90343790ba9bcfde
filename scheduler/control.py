"""What people ask of the scheduler while it runs, and what closes boards and opens them again.

The part of the book beside the life of a job that is submitted, started and ends.
"""

from __future__ import annotations

from jetsched.records import FINAL_STATES, Reason
from jetsched.scheduler.book import Book
from jetsched.scheduler.costs import Costs
from jetsched.scheduler.events import (
    DeviceClosed,
    DeviceOpened,
    DeviceRemoved,
    HoldAsked,
    QueuePaused,
    Reattached,
    RetryAsked,
)


class ControlledBook(Book):
    """A book in which jobs can be held, boards closed, and the queue paused."""

    def __init__(self, costs: Costs, share: int = 1, aging_s: float = 0.0) -> None:
        super().__init__(costs, share, aging_s)
        #: Why nothing is started now; None while the queue is not paused.
        self.paused: Reason | None = None
        self._appliers |= {
            HoldAsked: self._hold,
            RetryAsked: self._retry,
            QueuePaused: self._pause,
            DeviceClosed: self._close,
            DeviceOpened: self._open,
            DeviceRemoved: self._remove,
            Reattached: self._reattach,
        }

    # -- what people ask -------------------------------------------------------------------------

    def _hold(self, event: HoldAsked) -> None:
        record = self.jobs.get(event.job_id)
        if record is None or record.state not in ("waiting", "held"):
            return
        if event.hold:
            self._unqueue(record)
            record.kept = True
            record.reason = Reason("Held", event.text or "somebody holds it")
            self._settle(record, None)
        elif record.kept:
            self._unqueue(record)
            record.kept = False
            self._await(record)

    def _retry(self, event: RetryAsked) -> None:
        record = self.jobs.get(event.job_id)
        if record is None or record.state not in FINAL_STATES or record.state == "done":
            return
        record.cancel_asked = False
        record.forgiven = len(record.attempts)
        self.groups.save(record)
        self._await(record)

    def _pause(self, event: QueuePaused) -> None:
        text = f": {event.text}" if event.text else ""
        self.paused = Reason("Held", f"the queue is paused{text}") if event.paused else None

    # -- what happens to boards ------------------------------------------------------------------

    def _close(self, event: DeviceClosed) -> None:
        self.fleet.close(event.device_id, event.code, event.text)
        self._new_generation()

    def _open(self, event: DeviceOpened) -> None:
        self.fleet.reopen(event.device_id, event.code)
        self._new_generation()

    def _remove(self, event: DeviceRemoved) -> None:
        self._leave(event.device_id, event.at_s, f"{event.device_id} was removed")
        self.fleet.forget(event.device_id)
        self._new_generation()
        self._retest([*self.held.values(), *self.queue])

    def may_reattach(self, job_id: str, attempt: int) -> bool:
        """Whether an attempt that was given up as lost can be the job's current one again.

        It must be the last one, nobody may have held or cancelled the job meanwhile, and its device
        must be there and free.
        """
        record = self.given_up(job_id, attempt)
        if record is None or record.kept:
            return False
        device_id = record.attempts[-1].device
        return device_id in self.fleet.devices and device_id not in self.fleet.finish_s

    def _reattach(self, event: Reattached) -> None:
        if not self.may_reattach(event.job_id, event.attempt):
            return
        record = self.jobs[event.job_id]
        self._take_back(record)
        current = record.attempts[-1]
        record.state, record.reason = "running", None
        finish_s = current.start_s + current.estimate.time_s
        self.fleet.start(current.device, event.job_id, current.estimate, finish_s)
