"""Pools: devices between which no waiting job tells a difference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jetsched.records import Device, Job, Needs, Placement
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View

#: The devices that a job names, and the disk that it asks for.
_Wish = tuple[tuple[str, ...], float | None]


class Pool:
    """Devices of one kind that all meet, or all fail, each wish of the jobs that wait.

    Most often a whole kind. Never changed: made anew when devices or wishes are others.
    """

    __slots__ = ("_devices", "_meets", "kind", "size")

    def __init__(
        self, kind: ClassState, meets: dict[_Wish, bool], devices: Sequence[Device] | None
    ) -> None:
        self.kind = kind
        self.size = len(kind.devices) if devices is None else len(devices)
        self._meets = meets
        self._devices = devices  # None: the whole kind

    def suits(self, job: Job) -> bool:
        """Whether the devices meet the job's wishes; not if nobody had such wishes before."""
        return not job.needs.picky or self._meets.get(_wish_of(job), False)

    def holds(self) -> bool:
        """Whether its devices are still there as they were; a whole kind may grow or shrink."""
        there = self.kind.devices
        return self._devices is None or all(there.get(d.id) is d for d in self._devices)

    def free_in(self, view: View) -> int:
        """How many of the devices could start a job now."""
        if self._devices is None:
            return view.free_in(self.kind)
        return sum(view.is_free(device) for device in self._devices)

    def earliest_s(self, view: View) -> float:
        """When the first of the devices is free."""
        if self._devices is None:
            return view.earliest_s(self.kind)
        return min(view.available_s(device) for device in self._devices)

    def clocks(self, view: View, most: int) -> list[float]:
        """When the first so many of the devices are free, sorted."""
        if self._devices is not None:
            return sorted(view.available_s(device) for device in self._devices)[:most]
        return view.first_clocks(self.kind, most)

    def place(self, job: Job, view: View) -> Placement | None:
        """The job on the earliest of the devices; None where it cannot go."""
        if self._devices is None:
            return view.place(job, self.kind)
        device = min(self._devices, key=lambda d: (view.available_s(d), d.id))
        return view.place_on(job, device)


def _wish_of(job: Job) -> _Wish:
    return job.needs.device, job.needs.disk_mib


def pools_of(view: View, jobs: Iterable[Job]) -> list[Pool]:
    """The pools of a fleet for these jobs: one per kind, more where wishes split a kind."""
    wishes = list(dict.fromkeys(_wish_of(job) for job in jobs if job.needs.picky))
    if not wishes:
        return [Pool(kind, {}, None) for kind in view.kinds]
    needs = [Needs(device=named, disk_mib=disk_mib) for named, disk_mib in wishes]
    pools = []
    for kind in view.kinds:
        alike: dict[tuple[bool, ...], list[Device]] = {}
        for device in sorted(kind.devices.values(), key=lambda d: d.id):
            alike.setdefault(tuple(device.satisfies(need) for need in needs), []).append(device)
        for met, devices in alike.items():
            meets = dict(zip(wishes, met, strict=True))
            pools.append(Pool(kind, meets, None if len(alike) == 1 else devices))
    return pools
