"""All devices, by id and by class: who is there, who takes new jobs, who runs what until when."""

from __future__ import annotations

from jetsched.records import Code, Device, DeviceClass, Estimate
from jetsched.scheduler.heldfiles import HeldFiles
from jetsched.scheduler.sharing import Occupant, Sharing, occupant_of
from jetsched.scheduler.state import ClassState


class Fleet:
    """All devices, by id and by class. A class stays known when its last device is lost.

    A device with *closings* takes no new jobs. It stands aside with others of its class, in a kind
    that no policy sees, so that what looks for a device never has to ask whether it is open.

    ``share`` is how many jobs a board may run at a time. With more than one, ``job_on`` has the
    first of them, and ``finish_s`` is when the last is expected to end.
    """

    def __init__(self, share: int = 1) -> None:
        self.sharing = Sharing(share) if share > 1 else None
        self.devices: dict[str, Device] = {}  # all that are there
        self.open: dict[str, Device] = {}  # those of them that take new jobs
        #: Why a device takes none, by its id: code -> text. Kept while it is away.
        self.closings: dict[str, dict[Code, str]] = {}
        self.classes: list[ClassState] = []  # in a fixed order, whoever joined first
        self.kinds: list[ClassState] = []  # those of them that have open devices now
        #: Grows whenever what the kinds are, or what jobs cost on them, may have changed.
        self.generation = 0
        self._by_class: dict[DeviceClass, ClassState] = {}
        self._aside: dict[DeviceClass, ClassState] = {}  # their closed devices
        self._kinds_made = 0
        self._kind_of: dict[str, ClassState] = {}  # by device id
        self._class_of: dict[str, ClassState] = {}  # the same of those that are away, too
        self.finish_s: dict[str, float] = {}  # of the busy devices
        self.job_on: dict[str, str] = {}  # device id -> job id
        self.free_count = 0  # open ones
        self.files = HeldFiles()

    def kind(self, device_class: DeviceClass) -> ClassState | None:
        """The class's devices; None if it was never seen."""
        return self._by_class.get(device_class)

    @property
    def away(self) -> dict[str, Device]:
        """The devices that were there once, and were not removed."""
        known = self._class_of.items()
        return {i: state.known[i] for i, state in known if i not in self.devices}

    def class_of(self, device_id: str) -> ClassState:
        """The kind that the device stands with: that of the closed ones if it is closed."""
        return self._kind_of[device_id]

    def last_class(self, device_id: str) -> DeviceClass | None:
        """What the device is, or was when it was last there; None if it is not known."""
        state = self._class_of.get(device_id)
        return state.device_class if state is not None else None

    def join(self, device: Device) -> bool:
        """Add or replace a device; what runs there goes on. True if its class is a new one."""
        finish_s = self.finish_s.get(device.id)
        job_id = self.job_on.get(device.id)
        together: list[Occupant] = []
        if device.id in self.devices:
            if self.sharing is not None:
                together = self.sharing.lift(device.id, self._kind_of[device.id].index)
            self.leave(device.id)
        state = self._by_class.get(device.device_class)
        new = state is None
        if state is None:
            state = self._by_class[device.device_class] = self._new_kind(device.device_class)
            self.classes = sorted(self._by_class.values(), key=_class_order)
            self.generation += 1  # also where it joins closed: there may be hope now
        self._know(device, state)
        if device.id in self.closings:
            state = self._aside_of(device.device_class)
        else:
            self.open[device.id] = device
        self.devices[device.id] = device
        self._kind_of[device.id] = state
        state.devices[device.id] = device
        if len(state.devices) == 1 and state.takes:
            self._count_kinds()
        state.free.add(device.id)
        self.free_count += state.takes
        if finish_s is not None and job_id is not None:
            self.occupy(device.id, job_id, finish_s)
        if self.sharing is not None:
            for occupant in together:
                self.sharing.enter(device.id, state.index, occupant)
        return new

    def leave(self, device_id: str) -> None:
        """The device is gone, and nothing runs there any more; it stays known."""
        if self.sharing is not None:
            self.sharing.lift(device_id, self._kind_of[device_id].index)
        if device_id in self.finish_s:
            self.release(device_id)
        state = self._kind_of.pop(device_id)
        state.free.remove(device_id)
        self.free_count -= state.takes
        del state.devices[device_id]
        del self.devices[device_id]
        self.open.pop(device_id, None)
        if not state.devices and state.takes:
            self._count_kinds()

    def forget(self, device_id: str) -> None:
        """No longer know a device that is away, nor classes that no known device is of."""
        self.closings.pop(device_id, None)
        self.files.forget(device_id)
        state = self._class_of.pop(device_id, None)
        if state is None:
            return
        del state.known[device_id]
        self._by_class = {c: state for c, state in self._by_class.items() if state.known}
        self.classes = sorted(self._by_class.values(), key=_class_order)
        self.generation += 1

    def close(self, device_id: str, code: Code, text: str) -> None:
        """The device takes no new jobs, for one more reason; it may be one that is away."""
        closings = self.closings.setdefault(device_id, {})
        was_open = not closings
        closings[code] = text
        if was_open and device_id in self.devices:
            self.join(self.devices[device_id])

    def reopen(self, device_id: str, code: Code) -> None:
        """One reason less why the device takes no new jobs."""
        closings = self.closings.get(device_id, {})
        if closings.pop(code, None) is not None and not closings:
            del self.closings[device_id]
            if device_id in self.devices:
                self.join(self.devices[device_id])

    def _new_kind(self, device_class: DeviceClass, takes: int = 1) -> ClassState:
        state = ClassState(device_class, self._kinds_made, takes)
        self._kinds_made += 1
        return state

    def _aside_of(self, device_class: DeviceClass) -> ClassState:
        state = self._aside.get(device_class)
        if state is None:
            state = self._aside[device_class] = self._new_kind(device_class, takes=0)
        return state

    def _know(self, device: Device, state: ClassState) -> None:
        before = self._class_of.get(device.id)
        if before is not None:
            del before.known[device.id]
        self._class_of[device.id] = state
        state.known[device.id] = device

    def _count_kinds(self) -> None:
        self.kinds = [state for state in self.classes if state.devices]
        for state in self.classes:
            state.position = -1
        for position, state in enumerate(self.kinds):
            state.position = position
        self.generation += 1

    def occupy(self, device_id: str, job_id: str, finish_s: float) -> None:
        state = self._kind_of[device_id]
        state.free.remove(device_id)
        self.free_count -= state.takes
        state.busy.add(device_id, finish_s)
        self.finish_s[device_id] = finish_s
        self.job_on[device_id] = job_id

    def release(self, device_id: str) -> None:
        state = self._kind_of[device_id]
        state.busy.remove(device_id)
        del self.finish_s[device_id], self.job_on[device_id]
        state.free.add(device_id)
        self.free_count += state.takes

    # -- several jobs on a board -----------------------------------------------------------------

    def jobs_on(self, device_id: str) -> list[str]:
        """The ids of all jobs that run on the device."""
        if self.sharing is not None:
            return list(self.sharing.on(device_id))
        job_id = self.job_on.get(device_id)
        return [] if job_id is None else [job_id]

    def start(self, device_id: str, job_id: str, estimate: Estimate, finish_s: float) -> None:
        """A job starts, beside others if there are any."""
        if device_id not in self.finish_s:
            self.occupy(device_id, job_id, finish_s)
        else:
            first, last_s = self.job_on[device_id], self.finish_s[device_id]
            self._expect(device_id, first, max(last_s, finish_s))
        if self.sharing is not None:
            occupant = occupant_of(job_id, estimate, finish_s)
            self.sharing.enter(device_id, self._kind_of[device_id].index, occupant)

    def end(self, device_id: str, job_id: str) -> None:
        """A job ends; others on the device go on."""
        if self.sharing is not None:
            self.sharing.leave(device_id, self._kind_of[device_id].index, job_id)
            left = self.sharing.on(device_id)
            if left:
                last_s = max(occupant.finish_s for occupant in left.values())
                self._expect(device_id, next(iter(left)), last_s)
                return
        self.release(device_id)

    def _expect(self, device_id: str, job_id: str, finish_s: float) -> None:
        busy = self._kind_of[device_id].busy
        busy.remove(device_id)
        busy.add(device_id, finish_s)
        self.finish_s[device_id] = finish_s
        self.job_on[device_id] = job_id


def _class_order(state: ClassState) -> tuple[str, str, str, float]:
    kind = state.device_class
    return (kind.model, kind.power_mode, kind.software, kind.memory_mib)
