"""The board's sensors from the kernel's own files: GPU load, INA3221 power monitors, thermal zones.

Every Jetson has them, and reading them takes neither a service nor a program. The places differ
with board and JetPack, so they are searched once, when a run begins.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

from jetsched.profiler.procfs import number_after
from jetsched.profiler.sensors import Reading
from jetsched.profiler.tegrastats import plausible, total_power_w

#: How the integrated GPU is called in /sys: by its address, or by its generation.
GPU_NAME = re.compile(r"gpu|gv11b|ga10b|gp10b|gm20b|17000000\.|57000000\.")
#: How deep below /sys/devices the GPU's folder may lie; the whole tree is too big to search.
DEPTH = 4
#: Temperatures change slowly, and there are ten of them.
ZONES_S = 1.0


@dataclass(frozen=True)
class Rail:
    """One channel of a power monitor: in mV and mA, or in mW at once (JetPack 4)."""

    name: str
    files: tuple[Path, ...]

    def power_w(self) -> float | None:
        values = [number_in(path) for path in self.files]
        if any(value is None for value in values):
            return None
        product = 1.0
        for value in values:
            product *= (value or 0.0) / 1000
        return product


@dataclass(frozen=True)
class Places:
    """Where a board's sensors are. Empty: it has none of that kind, or it is nowhere we look."""

    root: Path
    gpu_loads: tuple[Path, ...] = ()  # per mille
    gpu_clocks: tuple[Path, ...] = ()  # Hz
    rails: tuple[Rail, ...] = ()
    zones: tuple[tuple[str, Path], ...] = ()  # thousandths of a degree

    @property
    def label(self) -> str:
        words = ["GPU load"] if self.gpu_loads else []
        words += ["GPU clock"] if self.gpu_clocks else []
        words += [f"power of {', '.join(rail.name for rail in self.rails)}"] if self.rails else []
        return "; ".join(words) or "no sensors"


def find_places(root: Path = Path("/")) -> Places:
    """Search a board's sensors below a root folder; some 10 ms on a board."""
    clocks = [
        path / "cur_freq"
        for path in sorted((root / "sys/class/devfreq").glob("*"))
        if GPU_NAME.search(path.name)
    ]
    return Places(
        root,
        tuple(_gpu_loads(root)[:1]),
        tuple(path for path in clocks if path.exists()),
        tuple(_rails(root)),
        tuple(
            (text_in(path / "type"), path / "temp")
            for path in sorted((root / "sys/class/thermal").glob("thermal_zone*"))
        ),
    )


class SysfsSensors:
    """Reads the files in the thread that asks."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._zones_at = -inf
        self._temperature: float | None = None
        self.problem = "; ".join(_refusals(places))

    def read(self) -> Reading:
        places = self._places
        now = time.monotonic()
        if now - self._zones_at >= ZONES_S:
            self._temperature, self._zones_at = self._hottest(), now
        load = _first(places.gpu_loads)
        clocks = [hertz for path in places.gpu_clocks if (hertz := number_in(path)) is not None]
        powers = {rail.name: rail.power_w() for rail in places.rails}
        memory = text_in(places.root / "proc/meminfo")
        total, free = number_after("SwapTotal:", memory), number_after("SwapFree:", memory)
        return Reading(
            gpu_util_pct=None if load is None else load / 10,
            gpu_mhz=max(clocks) / 1e6 if clocks else None,
            swap_used_mib=None if total is None or free is None else (total - free) / 1024,
            power_w=total_power_w({k: watts for k, watts in powers.items() if watts is not None}),
            temperature_c=self._temperature,
        )

    def close(self) -> float:
        return 0.0

    def _hottest(self) -> float | None:
        # The kernel refuses to read a zone whose part of the chip is off.
        told = {name: number_in(path) for name, path in self._places.zones}
        degrees = {name: value / 1000 for name, value in told.items() if value is not None}
        return max(plausible(degrees).values(), default=None)


def gpu_memory_mib(root: Path) -> float | None:
    """What GPU programs have taken of a Jetson's memory: in no process's RSS. None elsewhere."""
    kib = number_after("NvMapMemUsed:", text_in(root / "proc/meminfo"))
    return None if kib is None else kib / 1024


def throttle_counts(root: Path) -> Mapping[str, int]:
    """How often the hardware has throttled since boot for under-voltage or over-current (Orin)."""
    names = {"oc1": "under-voltage", "oc2": "average over-current", "oc3": "over-current"}
    counts: dict[str, int] = {}
    for path in sorted((root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt")):
        count = number_in(path)
        if count is not None:
            number = path.name.partition("_")[0]
            counts[names.get(number, number)] = int(count)
    return counts


def coolers(root: Path) -> tuple[tuple[str, Path], ...]:
    """What the kernel can hold back when the board is hot, and where it says how far. No fans."""
    found = (
        (text_in(path / "type"), path / "cur_state")
        for path in sorted((root / "sys/class/thermal").glob("cooling_device*"))
    )
    return tuple((name, path) for name, path in found if name and "fan" not in name.lower())


def _gpu_loads(root: Path) -> list[Path]:
    """``load`` files of the GPU. Links into the same tree are not followed twice."""
    found: dict[Path, Path] = {}
    linked = (root / "sys/class/devfreq").glob("*/device/load")
    for path in [*_below(root / "sys/devices", DEPTH), *linked]:
        if GPU_NAME.search(path.parent.name) or GPU_NAME.search(path.parent.parent.name):
            found.setdefault(path.resolve(), path)
    return sorted(found.values(), key=lambda path: len(path.parts))


def _below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if not entry.is_dir():
            continue
        if GPU_NAME.search(entry.name) and os.path.exists(os.path.join(entry.path, "load")):
            yield Path(entry.path) / "load"
        elif depth > 1 and not entry.is_symlink():
            yield from _below(Path(entry.path), depth - 1)


def _rails(root: Path) -> Iterator[Rail]:
    """Channels with a name; a channel that leads nowhere is called NC, or has no name."""
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if text_in(chip / "name") != "ina3221":
            continue
        for channel in range(1, 4):
            name = text_in(chip / f"in{channel}_label")
            files = (chip / f"in{channel}_input", chip / f"curr{channel}_input")
            if name not in ("", "NC") and all(path.exists() for path in files):
                yield Rail(name, files)
    # JetPack 4 has a driver of NVIDIA's own.
    for chip in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*")):
        for channel in range(3):
            name = text_in(chip / f"rail_name_{channel}")
            power = chip / f"in_power{channel}_input"
            if name not in ("", "NC") and power.exists():
                yield Rail(name, (power,))


def _refusals(places: Places) -> Iterator[str]:
    """One clear line for each kind of sensor that is there and may not be read."""
    kinds = {
        "GPU load": places.gpu_loads,
        "GPU clock": places.gpu_clocks,
        "power": tuple(path for rail in places.rails for path in rail.files),
    }
    for kind, paths in kinds.items():
        refused = [path for path in paths if not os.access(path, os.R_OK)]
        if refused:
            yield f"{kind}: no permission for {refused[0]}"
    if not places.rails:
        yield "power: no INA3221 is there"


def _first(paths: tuple[Path, ...]) -> float | None:
    return number_in(paths[0]) if paths else None


def text_in(path: Path) -> str:
    """A small file of /proc or /sys; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def number_in(path: Path) -> float | None:
    try:
        return float(text_in(path))
    except ValueError:
        return None
