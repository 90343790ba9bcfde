"""The machine under a run: the best source of its sensors, and its memory beside a baseline.

jetsched measures *this* job. On a Jetson the GPU shares the board's memory, and what it holds is in
no process's RSS; so memory is read before the workload begins, and what is more is the job's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jetsched.profiler.identity import power_mode
from jetsched.profiler.procfs import number_after
from jetsched.profiler.sensors import Missing, Reading, Sensors, Source
from jetsched.profiler.sensors_sysfs import (
    coolers,
    gpu_memory_mib,
    number_in,
    text_in,
    throttle_counts,
)
from jetsched.profiler.tegrastats import plausible

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Look:
    """The machine at one moment. None: nobody sees it."""

    reading: Reading
    board_memory_mib: float | None = None  # MemTotal - MemAvailable
    gpu_share_mib: float | None = None  # on the GPU's side, more than before
    growth_mib: float | None = None  # of board_memory_mib, since before
    throttling: tuple[str, ...] = ()


@dataclass
class Machine:
    """Opens the first source that works, and falls back to the next when one fails at once.

    Made before the workload starts (that is when the baseline is taken, from one small file);
    everything else belongs to the telemetry's thread. Without any source the swap and the hottest
    zone come from psutil.
    """

    candidates: Callable[[], Iterable[Source | Missing]] = tuple
    root: Path = Path("/")
    why_psutil: str = ""  # no sensors are to be read, and why
    source: Source | None = field(default=None, init=False)
    baseline_mib: float | None = field(default=None, init=False)
    gpu_baseline_mib: float | None = field(default=None, init=False)
    helper_cpu_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._sensors: Sensors | None = None
        self._left: Iterator[Source | Missing] = iter(())
        self._passed_over: dict[str, str] = {}
        self._problems: dict[str, None] = {}  # a set that keeps its order
        self._seen = False
        self._interval_s = 1.0
        self._psutil = Reading()
        self.baseline_mib = self._memory_mib()
        self.gpu_baseline_mib = gpu_memory_mib(self.root)
        self._throttled = throttle_counts(self.root)
        self._coolers = coolers(self.root)
        self._hot: tuple[str, ...] = ()

    @property
    def unified(self) -> bool:
        """Whether the GPU's share of memory counts against the board's."""
        return self.source.unified if self.source else self.gpu_baseline_mib is not None

    def open(self, interval_s: float) -> None:
        """Look for the sources and open the best."""
        self._interval_s = interval_s
        self._left = iter(self.candidates())
        self._open_next()

    def look(self, slow: bool) -> Look:
        """What the sensors and the kernel say now; what is dear is renewed on a slow look only."""
        reading = self._read() or Reading()
        if reading.temperature_c is None or reading.swap_used_mib is None:
            reading = self._filled(reading, slow)
        board = self._memory_mib()
        share = self._gpu_share(reading)
        growth = None
        if self.unified and board is not None and self.baseline_mib is not None:
            growth = max(0.0, board - self.baseline_mib)
        if slow and self.unified:
            self._hot = self._held_back()
        return Look(reading, board, share, growth, (*reading.throttling, *self._hot))

    def close(self) -> None:
        """End the source; a second call does nothing."""
        if self._sensors is not None:
            self._note(self._sensors)
            self.helper_cpu_s += self._sensors.close()
            self._sensors = None

    def throttled(self) -> tuple[str, ...]:
        """What the hardware's own counters say that happened since the baseline."""
        now = throttle_counts(self.root)
        grown = {name: count - self._throttled.get(name, 0) for name, count in now.items()}
        return tuple(f"{name}: {times} times" for name, times in grown.items() if times > 0)

    def record(self) -> dict[str, Any]:
        """Which source it was and why, in JSON values."""
        why = self.source.why if self.source else self.why_psutil
        return {
            "source": self.source.name if self.source else "psutil",
            "why": why or "; ".join(f"{k}: {text}" for k, text in self._passed_over.items()),
            "passed_over": dict(self._passed_over),
            "problems": list(self._problems),
            "memory_baseline_mib": self.baseline_mib,
            "gpu_memory_baseline_mib": self.gpu_baseline_mib,
            # An agent knows its board since it began; somebody may have called nvpmodel since.
            "power_mode": power_mode(self.root) or None,
        }

    def _read(self) -> Reading | None:
        if self._sensors is None:
            return None
        reading = self._sensors.read()
        self._seen = self._seen or reading is not None
        if reading is None and self._sensors.problem and not self._seen and self.source:
            self._passed_over[self.source.name] = self._sensors.problem  # it never worked
            self.helper_cpu_s += self._sensors.close()
            self._open_next()
        elif self._sensors.problem:
            self._note(self._sensors)
        return reading

    def _open_next(self) -> None:
        self._sensors, self.source = None, None
        for candidate in self._left:
            if isinstance(candidate, Missing):
                self._passed_over[candidate.name] = candidate.why
                continue
            try:
                self._sensors = candidate.open(self._interval_s)
                self.source = candidate
                return
            except OSError as error:
                self._passed_over[candidate.name] = str(error)

    def _note(self, sensors: Sensors) -> None:
        if sensors.problem:
            self._problems[sensors.problem] = None

    def _held_back(self) -> tuple[str, ...]:
        states = ((name, number_in(path)) for name, path in self._coolers)
        return tuple(f"hot: {name}" for name, state in states if (state or 0) > 0)

    def _gpu_share(self, reading: Reading) -> float | None:
        """More than before: by the kernel's figure where it has one, else by the source's."""
        used = gpu_memory_mib(self.root) if self.unified else None
        if used is None:
            used = reading.gpu_memory_mib
        if used is None:
            return None
        if self.gpu_baseline_mib is None:
            self.gpu_baseline_mib = used  # the workload has hardly begun
        return max(0.0, used - self.gpu_baseline_mib)

    def _memory_mib(self) -> float | None:
        text = text_in(self.root / "proc/meminfo")
        total, free = number_after("MemTotal:", text), number_after("MemAvailable:", text)
        return None if total is None or free is None else (total - free) / 1024

    def _filled(self, reading: Reading, slow: bool) -> Reading:
        """What the source does not see, from psutil."""
        if slow:
            import psutil

            swap, degrees = None, None
            if reading.swap_used_mib is None:
                swap = psutil.swap_memory().used / _MIB
            if reading.temperature_c is None:
                degrees = _hottest()
            self._psutil = Reading(swap_used_mib=swap, temperature_c=degrees)
        swap, degrees = reading.swap_used_mib, reading.temperature_c
        return replace(
            reading,
            swap_used_mib=self._psutil.swap_used_mib if swap is None else swap,
            temperature_c=self._psutil.temperature_c if degrees is None else degrees,
        )


def _hottest() -> float | None:
    import psutil

    zones = psutil.sensors_temperatures().items()
    told = {f"{name} {i}": zone.current for name, group in zones for i, zone in enumerate(group)}
    return max((degrees for degrees in plausible(told).values() if degrees > 0), default=None)
