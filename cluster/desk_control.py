"""Wishes at the desk that steer: stop, hold and retry jobs, pause the queue, close boards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from jetsched.cluster.desk_base import UnknownDeviceError
from jetsched.cluster.desk_jobs import JobDesk
from jetsched.cluster.livepolicy import live_policy
from jetsched.errors import InputError
from jetsched.policies.specs import Spec
from jetsched.records import FINAL_STATES, Code
from jetsched.scheduler.checks import policy_name
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceClosed,
    DeviceOpened,
    DeviceRemoved,
    Event,
    HoldAsked,
    PolicyChanged,
    QueuePaused,
    RetryAsked,
)
from jetsched.scheduler.state import JobRecord

DRAINING: Code = "Draining"


class ControlDesk(JobDesk):
    """Takes wishes, and answers with what became of them. Methods may be called from any thread.

    All of them raise :class:`InputError` for what makes no sense; nothing has changed then.
    """

    # ------------------------------------------------------------------------------------- jobs

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Stop a job, wherever it is. Raises :class:`InputError` for one that has ended."""

        def wish(record: JobRecord, now_s: float) -> Event:
            if record.state in FINAL_STATES:
                raise InputError(f"job {job_id} has ended already: {record.state}")
            return CancelAsked(now_s, job_id)

        return self._about(job_id, wish)

    def hold(self, job_id: str, text: str = "") -> dict[str, Any]:
        """Keep a job back that has not started, until it is released."""

        def wish(record: JobRecord, now_s: float) -> Event:
            if record.state in FINAL_STATES:
                raise InputError(f"job {job_id} has ended already: {record.state}")
            if record.current is not None:
                raise InputError(
                    f"job {job_id} runs on {record.current.device}: only what waits can be held",
                    hint=f"to stop it: jetsched cancel {job_id}",
                )
            return HoldAsked(now_s, job_id, True, text)

        return self._about(job_id, wish)

    def release(self, job_id: str) -> dict[str, Any]:
        """Let a job wait again that somebody holds."""

        def wish(record: JobRecord, now_s: float) -> Event:
            if not record.kept:
                why = f": {record.reason.text}" if record.reason is not None else ""
                raise InputError(
                    f"nobody holds job {job_id}, it is {record.state}{why}",
                    hint=f"see: jetsched why {job_id}",
                )
            return HoldAsked(now_s, job_id, False)

        return self._about(job_id, wish)

    def retry(self, job_id: str) -> dict[str, Any]:
        """Try a job again that has ended and is not done."""

        def wish(record: JobRecord, now_s: float) -> Event:
            if record.state == "done":
                raise InputError(f"job {job_id} is done", hint="to run it again, submit it again")
            if record.state not in FINAL_STATES:
                raise InputError(
                    f"job {job_id} has not ended: it is {record.state}",
                    hint=f"see: jetsched why {job_id}",
                )
            return RetryAsked(now_s, job_id)

        return self._about(job_id, wish)

    def _about(self, job_id: str, wish: Callable[[JobRecord, float], Event]) -> dict[str, Any]:
        """Take a wish about a job; its row, once it was decided on."""
        return self._cluster.ask(
            lambda now_s: self._row(self._record(job_id), now_s, {}),
            before=lambda now_s: [wish(self._record(job_id), now_s)],
        )

    # ------------------------------------------------------------------------------ the queue

    def pause(self, text: str = "") -> dict[str, Any]:
        """Start nothing any more; what runs goes on. ``changed`` is False if it was so already."""
        return self._pausing(True, text)

    def resume(self) -> dict[str, Any]:
        """Start jobs again."""
        return self._pausing(False, "")

    def _pausing(self, paused: bool, text: str) -> dict[str, Any]:
        scheduler, fleet, changed = self._scheduler, self._scheduler.fleet, False

        def before(now_s: float) -> Iterable[Event]:
            nonlocal changed
            changed = paused != (scheduler.paused is not None)
            return [QueuePaused(now_s, paused, text)] if paused or changed else []

        def answer(now_s: float) -> dict[str, Any]:
            reason = scheduler.paused
            return {
                "paused": reason is not None,
                "text": reason.text if reason is not None else "",
                "changed": changed,
                "waiting": len(scheduler.queue),
                "running": sum(len(fleet.jobs_on(device_id)) for device_id in fleet.job_on),
            }

        return self._cluster.ask(answer, before=before)

    # ------------------------------------------------------------------------------------ boards

    def drain(self, device_id: str, text: str = "") -> dict[str, Any]:
        """Give a board no new jobs; what runs there goes on, and is in the answer."""

        def before(now_s: float) -> Iterable[Event]:
            self._check_device(device_id)
            return [DeviceClosed(now_s, device_id, DRAINING, text)]

        return self._cluster.ask(lambda now_s: self._closings(device_id, now_s), before=before)

    def undrain(self, device_id: str) -> dict[str, Any]:
        """Give a board jobs again; ``closings`` in the answer is what else may close it.

        ``changed`` is False if nobody had drained it.
        """
        changed = False

        def before(now_s: float) -> Iterable[Event]:
            nonlocal changed
            self._check_device(device_id)
            changed = DRAINING in self._scheduler.fleet.closings.get(device_id, ())
            return [DeviceOpened(now_s, device_id, DRAINING)] if changed else []

        return self._cluster.ask(
            lambda now_s: {**self._closings(device_id, now_s), "changed": changed}, before=before
        )

    def remove(self, device_id: str) -> dict[str, Any]:
        """Forget a board that is gone for good. Refused while it is there, or runs anything."""

        def before(now_s: float) -> Iterable[Event]:
            self._check_device(device_id)
            running = self._scheduler.fleet.jobs_on(device_id)
            if running:
                raise InputError(
                    f"{device_id} runs job {', '.join(running)}",
                    hint=f"first: jetsched drain {device_id}, then stop its agent",
                )
            board = self._cluster.boards.get(device_id)
            if board is not None and board.node is not None:
                raise InputError(
                    f"{device_id} is there, and would be back at once",
                    hint="first stop its agent: end `jetsched join` on the board",
                )
            return [DeviceRemoved(now_s, device_id)]

        def answer(now_s: float) -> dict[str, Any]:
            return {"device": device_id, "devices": self._device_ids()}

        return self._cluster.ask(answer, before=before)

    def _device_ids(self) -> list[str]:
        fleet = self._scheduler.fleet
        return sorted({*self._cluster.boards, *fleet.devices, *fleet.away})

    def _check_device(self, device_id: str) -> None:
        ids = self._device_ids()
        if device_id not in ids:
            here = f"devices here: {', '.join(ids)}" if ids else "there is no device yet"
            raise UnknownDeviceError(f"there is no device {device_id!r}; {here}")

    def _closings(self, device_id: str, now_s: float) -> dict[str, Any]:
        """Why a board takes no jobs, and what runs there until when."""
        scheduler = self._scheduler
        closings = scheduler.fleet.closings.get(device_id, {})
        return {
            "device": device_id,
            "closings": [{"code": code, "text": text} for code, text in closings.items()],
            "running": [
                self._row(scheduler.jobs[job_id], now_s, {})
                for job_id in scheduler.fleet.jobs_on(device_id)
            ],
        }

    # ---------------------------------------------------------------------------------- policy

    def use_policy(self, spec: str) -> dict[str, Any]:
        """Have another policy decide, from now on and about everything that waits.

        The journal knows it by its spec, for the scheduler that is started next on this cluster.
        Raises :class:`InputError` for one that cannot be loaded; the old one goes on then.
        """
        chosen, spec = live_policy(spec), Spec.of(spec).absolute
        old = policy_name(self._scheduler.policy)

        def before(now_s: float) -> Iterable[Event]:
            self._scheduler.policy = chosen
            return [PolicyChanged(now_s, spec)]

        return self._cluster.ask(
            lambda now_s: {"policy": policy_name(chosen), "before": old}, before=before
        )
