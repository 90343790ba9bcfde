"""The range in which a board's clocks may move, and whether they are locked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Clocks:
    """In MHz, of the GPU and of the first CPU that is on. None: not known."""

    gpu_min: float | None = None
    gpu_max: float | None = None
    gpu_now: float | None = None
    cpu_min: float | None = None
    cpu_max: float | None = None
    #: Nothing can move, as jetson_clocks leaves it; None where a range is not known.
    locked: bool | None = None


def clocks_of(root: Path = Path("/")) -> Clocks:
    """Of a Jetson, by cpufreq and devfreq; of any other machine its CPUs, never *locked*."""
    paths = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq")
    cpus = sorted(paths, key=lambda path: int(path.parent.name[3:]))
    ranges = [
        (low, high)
        for cpu in cpus
        if (low := _mhz(cpu / "scaling_min_freq", 1e3)) is not None
        and (high := _mhz(cpu / "scaling_max_freq", 1e3)) is not None
    ]
    highest = [mhz for cpu in cpus if (mhz := _mhz(cpu / "scaling_max_freq", 1e3)) is not None]
    drivers = sorted((root / "sys/class/devfreq").glob("*"))
    gpus = [path for path in drivers if re.search(r"17000000|gpu|gv11b|ga10b", path.name)]
    found = Clocks(
        cpu_min=ranges[0][0] if ranges else None,
        cpu_max=highest[0] if highest else None,
    )
    if not gpus:
        return found
    low, high, now = (_mhz(gpus[0] / name, 1e6) for name in ("min_freq", "max_freq", "cur_freq"))
    locked = None
    if ranges and low is not None and high is not None:
        locked = low == high and all(least == most for least, most in ranges)
    return Clocks(low, high, now, found.cpu_min, found.cpu_max, locked)


def _mhz(path: Path, per_mhz: float) -> float | None:
    try:
        return float(path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")) / per_mhz
    except (OSError, ValueError):
        return None
