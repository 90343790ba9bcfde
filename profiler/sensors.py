"""The board's sensors: GPU load and clock, power, temperature. Where they are read, and from whom.

A *source* is one way to read them; :func:`candidates` says which there are on this machine, the
best first. The workload's own memory and CPU come from its processes (profiler/telemetry.py).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

#: The socket of jetson-stats' service, below the root folder.
JTOP_SOCKET = "run/jtop.sock"


@dataclass(frozen=True)
class Reading:
    """The board at one moment. None: this source does not see it."""

    gpu_util_pct: float | None = None
    gpu_mhz: float | None = None
    gpu_memory_mib: float | None = None  # of all processes
    swap_used_mib: float | None = None
    power_w: float | None = None  # of the module, or of the graphics card
    temperature_c: float | None = None  # the hottest zone
    throttling: tuple[str, ...] = ()


class Sensors(Protocol):
    """An open source. The telemetry's thread owns it: `read` at each sample, `close` once.

    ``problem`` is why it does not work, or does not see everything; "" while all is well. Neither
    method raises for a sensor that is missing, and `read` waits for nothing.
    """

    problem: str

    def read(self) -> Reading | None:
        """The newest reading; None when there is none (yet), or it is too old to speak of now."""

    def close(self) -> float:
        """End it and whatever it has started; returns CPU seconds that its processes have used."""


@dataclass(frozen=True)
class Source:
    """One way to read the board's sensors, not opened yet."""

    name: str
    why: str  # it can be used; for a person
    open: Callable[[float], Sensors]  # takes seconds between samples; may raise OSError
    #: The GPU has no memory of its own: its share counts against the board's.
    unified: bool = True


@dataclass(frozen=True)
class Missing:
    """A way to read the sensors that this machine does not offer, and why not."""

    name: str
    why: str


def candidates(
    root: Path = Path("/"), pythons: tuple[str, ...] = (sys.executable, "/usr/bin/python3")
) -> Iterator[Source | Missing]:
    """The sources in the order in which they are preferred; what is asked later is found later.

    jtop knows most, tegrastats is on every Jetson, /sys needs neither; NVML is for graphics cards.
    ``root`` is where /run, /sys and /proc are looked for; ``pythons`` are interpreters that may
    have jetson-stats: the system's often has it where ours has not.
    """
    yield _jtop(root, pythons)
    yield _tegrastats()
    yield _sysfs(root)
    yield _nvml()


def _jtop(root: Path, pythons: tuple[str, ...]) -> Source | Missing:
    socket = root / JTOP_SOCKET
    if not socket.exists():
        return Missing("jtop", f"no service listens at {socket}")
    if not os.access(socket, os.W_OK):
        return Missing("jtop", f"no permission for {socket}: add the user to the group jtop")
    from jetsched.profiler.sensors_jtop import JtopSensors, has_jtop

    for python in pythons:
        if has_jtop(python):
            why = f"its service runs, and {python} has jetson-stats"
            return Source("jtop", why, partial(JtopSensors, python))
    return Missing("jtop", f"none of {', '.join(pythons)} has jetson-stats")


def _tegrastats() -> Source | Missing:
    found = shutil.which("tegrastats")
    if found is None:
        return Missing("tegrastats", "no such program")
    from jetsched.profiler.sensors_tegrastats import TegrastatsSensors

    return Source("tegrastats", f"{found} is there", partial(TegrastatsSensors, found))


def _sysfs(root: Path) -> Source | Missing:
    from jetsched.profiler.sensors_sysfs import SysfsSensors, find_places

    places = find_places(root)
    if not places.gpu_loads and not places.rails:
        return Missing("sysfs", f"neither a Tegra GPU nor an INA3221 below {root}")
    return Source("sysfs", f"{places.label} below {root}", lambda interval_s: SysfsSensors(places))


def _nvml() -> Source | Missing:
    if importlib.util.find_spec("pynvml") is None:
        return Missing("nvml", "nvidia-ml-py is not installed")
    from jetsched.profiler.sensors_nvml import NvmlSensors

    return Source(
        "nvml", "nvidia-ml-py is installed", lambda interval_s: NvmlSensors(), unified=False
    )
