"""What a node knows of itself: how it is doing, and why it takes no new job.

Everything is read from the kernel's files, in a millisecond or two: no program and no service is
started for it. Where the sensors are is searched once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jetsched.cluster.nodeconfig import NodeConfig
from jetsched.cluster.protocol import Closing, Reading
from jetsched.profiler.heat import COOLED_C, zones_of
from jetsched.profiler.identity import identify, power_mode
from jetsched.profiler.procfs import free_mib, number_after
from jetsched.profiler.sensors import Reading as Seen
from jetsched.profiler.sensors import Sensors
from jetsched.profiler.sensors_sysfs import SysfsSensors, coolers, find_places, number_in, text_in
from jetsched.records import Device

#: Room that a disk must have beyond the least before the node takes jobs again.
ROOM = 1.1


class NodeWatch:
    """Looks at a node whenever it is asked. Nothing here raises for what cannot be seen.

    ``shortage`` says why something that was sent to it found no room, as long as there is none.
    """

    def __init__(self, config: NodeConfig, shortage: Callable[[], str] = str) -> None:
        self._config = config
        self._root = Path(config.root)
        # The machine that emulates a board is not that board, and others use it too.
        self._real = not config.device.device_class.emulated or self._root != Path("/")
        self._sensors: Sensors | None = None
        self._coolers: tuple[tuple[str, Path], ...] = ()
        self._zones = zones_of(self._root, config.limits.temperature_c) if self._real else ()
        self._hot = self._full = False
        self._unwritable = ""
        self._shortage = shortage
        self._identified: tuple[str, Mapping[str, Any]] = ("", {})  # power mode, identity

    def reading(self, jobs_mib: float | None) -> Reading:
        """The node now; ``jobs_mib`` is what its attempts hold."""
        seen = self._seen()
        total, free = self._memory(jobs_mib)
        return Reading(
            at_s=time.time(),
            memory_total_mib=total,
            memory_free_mib=free,
            jobs_mib=jobs_mib,
            gpu_util_pct=seen.gpu_util_pct,
            power_w=seen.power_w,
            temperature_c=seen.temperature_c,
            power_mode=self._mode() or None,
            disk_free_mib=free_mib(self._config.folder),
            throttled=self._throttled(seen),
            closings=self.closings(),
            device=self.device(),
        )

    def device(self) -> Device:
        """The device in the power mode that it is in: another mode makes it another class."""
        device, mode = self._config.device, self._mode()
        if not mode or mode == device.device_class.power_mode:
            return device
        return replace(device, device_class=replace(device.device_class, power_mode=mode))

    def identity(self) -> Mapping[str, Any]:
        """The board's identity in the power mode that it is in; another mode has other clocks."""
        told, mode = self._config.identity, self._mode()
        if not mode or not told or mode == told.get("power_mode"):
            return told
        if mode != self._identified[0]:
            now = identify(self._root, self._config.python).to_dict()
            # What is free for jobs was measured when the node joined, before any ran.
            now.pop("memory_available_mib", None)
            self._identified = (mode, {**told, **now})
        return self._identified[1]

    def closings(self) -> tuple[Closing, ...]:
        """Why the node takes no new job now; empty: it does."""
        found = (self._heat(), self._disk(), self._wrong_mode(), self._no_python())
        return tuple(closing for closing in found if closing is not None)

    def unwritable(self, text: str) -> None:
        """An attempt's folder could not be made. Until something can be written the node is closed,
        whatever room there seems to be: the disk may be read-only, or out of inodes."""
        self._unwritable = text

    @property
    def missing_mib(self) -> float:
        """How much room its disk lacks to take jobs again; 0 while it takes them."""
        free = free_mib(self._config.folder)
        if not self._full or free is None:
            return 0.0
        return max(0.0, self._config.disk_min_mib * ROOM - free)

    # ------------------------------------------------------------------------------------- closings

    def _heat(self) -> Closing | None:
        warmest = ""
        for zone in self._zones:
            degrees = zone.temperature_c()
            limit_c = zone.limit_c - (COOLED_C if self._hot else 0.0)
            if degrees is not None and degrees >= limit_c:
                warmest = f"{zone.name} is at {degrees:.0f} C"
                until = zone.limit_c - COOLED_C
        self._hot = bool(warmest)
        return (
            ("TooHot", f"{warmest}; it takes jobs again below {until:.0f} C") if warmest else None
        )

    def _disk(self) -> Closing | None:
        config = self._config
        free = free_mib(config.folder)
        least = config.disk_min_mib * (ROOM if self._full else 1.0)
        self._full = free is not None and free < least
        if self._full:
            return "NoDisk", f"{free or 0:.0f} MiB free in {config.folder}, {least:.0f} are needed"
        if self._unwritable and not _can_write(Path(config.folder)):
            return "NoDisk", self._unwritable
        self._unwritable = ""
        text = self._shortage()
        return ("NoDisk", text) if text else None

    def _wrong_mode(self) -> Closing | None:
        wished, mode = self._config.power_mode, self._mode()
        if not wished or not mode or mode == wished:
            return None
        return "WrongPowerMode", f"it is in power mode {mode}, and is to be in {wished}"

    def _no_python(self) -> Closing | None:
        python = self._config.python
        if shutil.which(python) is not None:
            return None
        return "EnvMissing", f"the workload's interpreter is gone: {python}"

    # ------------------------------------------------------------------------------------- readings

    def _mode(self) -> str:
        return power_mode(self._root) if self._real else ""

    def _seen(self) -> Seen:
        if not self._real:
            return Seen()
        if self._sensors is None:
            self._sensors = _open(self._root, self._config.identity.get("kind") == "gpu")
            self._coolers = coolers(self._root)
        return self._sensors.read() or Seen()

    def _throttled(self, seen: Seen) -> bool | None:
        if not self._coolers:
            return bool(seen.throttling) or None
        return bool(seen.throttling) or any((number_in(path) or 0) > 0 for _, path in self._coolers)

    def _memory(self, jobs_mib: float | None) -> tuple[float | None, float | None]:
        """An emulated board has what its cap leaves, a real one what the kernel says."""
        cap = self._config.limits.memory_mib
        if not self._real and cap is not None:
            return cap, None if jobs_mib is None else max(0.0, cap - jobs_mib)
        text = text_in(self._root / "proc/meminfo")
        total, free = number_after("MemTotal:", text), number_after("MemAvailable:", text)
        return (None if total is None else total / 1024), (None if free is None else free / 1024)


def _open(root: Path, card: bool) -> Sensors:
    """The kernel's own files, or NVML for a graphics card."""
    if card and root == Path("/"):
        with contextlib.suppress(ImportError, OSError):
            from jetsched.profiler.sensors_nvml import NvmlSensors

            return NvmlSensors()
    return SysfsSensors(find_places(root))


def _can_write(folder: Path) -> bool:
    probe = folder / f".probe.{os.getpid()}.tmp"
    try:
        probe.write_bytes(bytes(4096))
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return True
