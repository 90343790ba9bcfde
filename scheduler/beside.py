"""What a view shows of boards that may run more than one job at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from jetsched.records import Device, Job, Never, Placement, Verdict
from jetsched.scheduler.fleet import Fleet
from jetsched.scheduler.overlay import Overlay
from jetsched.scheduler.sharing import Occupant, has_room
from jetsched.scheduler.state import ClassState


class SharedBoards(ABC):
    """The part of a view that only policies for co-location look at."""

    __slots__ = ()

    now_s: float
    _fleet: Fleet
    _overlay: Overlay

    @abstractmethod
    def verdict(self, job: Job, device: Device) -> Verdict:
        """What the job would cost on the device, or why it never runs there."""

    @abstractmethod
    def fetch_s(self, job: Job, device: Device) -> float | None:
        """Seconds that the job's files take to come to the device."""

    @property
    def share(self) -> int:
        """How many jobs a board may run at a time."""
        return self._fleet.sharing.limit if self._fleet.sharing is not None else 1

    def occupants(self, device: Device) -> list[Occupant]:
        """Who runs on the device, with what was expected of them; those of this decision too.

        Only known where several jobs may run on one.
        """
        if self._fleet.sharing is None:
            return []
        there = list(self._fleet.sharing.on(device.id).values())
        return there + self._overlay.beside.get(device.id, [])

    def with_room(self, kind: ClassState) -> Iterator[Device]:
        """The devices of the kind that run something and may run more, the idlest GPU first.

        Whether there is memory for a job tells :meth:`beside`. Those that got a job in this
        decision come last.
        """
        if self._fleet.sharing is None:
            return
        fresh = self._overlay.beside
        for _, device_id in self._fleet.sharing.room(kind.index):
            if device_id not in fresh:
                yield kind.devices[device_id]
        for device_id in list(fresh):
            device = kind.devices.get(device_id)
            if device is not None and has_room(self.occupants(device), self.share):
                yield device

    def beside(self, job: Job, device: Device) -> Placement | None:
        """The job on a device that runs others, from now on; None where it must not be.

        It must surely fit, and the memory that is admitted for all of them, too. The times are
        those of a device of its own: how much they slow each other is not known here.
        """
        others = self.occupants(device)
        if not others or len(others) >= self.share or device.id not in self._fleet.open:
            return None
        estimate = self.verdict(job, device)
        if isinstance(estimate, Never) or estimate.fit != "fits":
            return None
        admitted_mib = [estimate.admitted_mib, *(other.admitted_mib for other in others)]
        if min(admitted_mib) <= 0 or sum(admitted_mib) > device.device_class.memory_mib:
            return None
        finish_s = self.now_s + (self.fetch_s(job, device) or 0.0) + estimate.time_s
        return Placement(job, device, estimate, self.now_s, finish_s)
