"""What is measured beside a running workload: memory, CPU, GPU, power, temperature, swap.

A telemetry back end samples in a thread of its own and answers for the whole run at the end. This
file has the interface and the back end that works on every Linux, psutil; a board's own sources
(tegrastats, jtop, sysfs, NVML) implement the same three methods.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import Protocol

#: Samples a second; a workload's memory changes within a step, which takes longer than this.
SAMPLE_S = 0.25
#: What costs more is read once in this many samples: the process tree, temperatures, swap.
SLOW_EVERY = 8
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    """One moment. None: this back end does not see it."""

    t_s: float  # on the monotonic clock
    memory_mib: float | None = None  # of the workload's processes: RSS, shared pages counted once
    cpu_pct: float | None = None  # of the workload since the last sample; 100 is one busy core
    swap_used_mib: float | None = None  # of the whole machine
    gpu_util_pct: float | None = None
    gpu_memory_mib: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None  # the hottest zone


@dataclass(frozen=True)
class Summary:
    """A run in a few numbers. None: it was not seen."""

    samples: int = 0
    peak_memory_mib: float | None = None
    cpu_util_pct: float | None = None  # mean
    gpu_util_pct: float | None = None  # mean
    swap_delta_mib: float | None = None  # end - start
    power_w: float | None = None  # mean over time
    energy_j: float | None = None  # integral of power
    temperature_c: float | None = None  # highest


class Telemetry(Protocol):
    """A source of samples. The runner owns it: `start` once, `latest` at will, `stop` once.

    Neither method may block for longer than a sample takes, and none raises because a sensor is
    missing: what cannot be seen is None.
    """

    def start(self, pid: int) -> None:
        """Begin to sample; ``pid`` is the supervisor, below which the workload's processes are."""

    def latest(self) -> Sample | None:
        """The newest sample, or None before the first."""

    def stop(self) -> Summary:
        """End sampling and sum up; a second call answers the same."""


class Totals:
    """Sums up samples as they come, so that a run of hours needs no more room than one of seconds.

    Means are over time (trapezoids between samples); memory and temperature are maxima.
    """

    def __init__(self) -> None:
        self.latest: Sample | None = None
        self._samples = 0
        self._integrals: dict[str, tuple[float, float]] = {}  # name -> (integral, seconds)
        self._last: dict[str, tuple[float, float]] = {}  # name -> (t_s, value)
        self._highest: dict[str, float] = {}
        self._swap_first: float | None = None
        self._swap_last: float | None = None

    def add(self, sample: Sample) -> None:
        self._samples += 1
        for name in ("cpu_pct", "gpu_util_pct", "power_w"):
            self._integrate(name, sample.t_s, getattr(sample, name))
        for name in ("memory_mib", "temperature_c"):
            value = getattr(sample, name)
            if value is not None:
                self._highest[name] = max(value, self._highest.get(name, value))
        if sample.swap_used_mib is not None:
            if self._swap_first is None:
                self._swap_first = sample.swap_used_mib
            self._swap_last = sample.swap_used_mib
        self.latest = sample

    def summary(self) -> Summary:
        swap = None
        if self._swap_first is not None and self._swap_last is not None:
            swap = self._swap_last - self._swap_first
        return Summary(
            samples=self._samples,
            peak_memory_mib=self._highest.get("memory_mib"),
            cpu_util_pct=self._mean("cpu_pct"),
            gpu_util_pct=self._mean("gpu_util_pct"),
            swap_delta_mib=swap,
            power_w=self._mean("power_w"),
            energy_j=self._integrals["power_w"][0] if "power_w" in self._integrals else None,
            temperature_c=self._highest.get("temperature_c"),
        )

    def _integrate(self, name: str, t_s: float, value: float | None) -> None:
        if value is None:
            return
        if name in self._last:
            t0, before = self._last[name]
            total, seconds = self._integrals.get(name, (0.0, 0.0))
            step = t_s - t0
            self._integrals[name] = (total + step * (before + value) / 2, seconds + step)
        self._last[name] = (t_s, value)

    def _mean(self, name: str) -> float | None:
        total, seconds = self._integrals.get(name, (0.0, 0.0))
        if seconds > 0:
            return total / seconds
        return self._last[name][1] if name in self._last else None


class PsutilTelemetry:
    """The processes below the supervisor, with psutil; costs well under 1 % of a core.

    Memory is the sum of RSS, with PSS instead where there are several processes, so that pages
    they share count once; PSS is dear, so it is renewed only every other second.
    """

    def __init__(self, sample_s: float = SAMPLE_S) -> None:
        self._sample_s = sample_s
        self._totals = Totals()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._summary: Summary | None = None
        self.own_cpu_s = 0.0  # what sampling itself has cost

    def start(self, pid: int) -> None:
        self._thread = threading.Thread(
            target=self._sample_until_over, args=(pid,), name="telemetry", daemon=True
        )
        self._thread.start()

    def latest(self) -> Sample | None:
        return self._totals.latest

    def stop(self) -> Summary:
        if self._summary is None:
            self._over.set()
            if self._thread is not None:
                self._thread.join()
            self._summary = self._totals.summary()
        return self._summary

    def _sample_until_over(self, pid: int) -> None:
        tree = _Tree(pid)
        count = 0
        while True:
            slow = count % SLOW_EVERY == 0 or count < 4  # at first processes come and go
            self._totals.add(tree.sample(slow))
            self.own_cpu_s = time.thread_time()
            count += 1
            if self._over.wait(self._sample_s):
                return


class _Tree:
    """The workload's processes as they were last seen, and what must be kept between samples."""

    def __init__(self, pid: int) -> None:
        import psutil

        self._psutil = psutil
        self._pid = pid
        self._processes: list[psutil.Process] = []
        self._cpu_s: dict[int, float] = {}
        self._at = time.monotonic()
        self._pss_per_rss = 1.0
        self._swap: float | None = None
        self._temperature: float | None = None

    def sample(self, slow: bool) -> Sample:
        if slow:
            self._refresh()
        now = time.monotonic()
        rss, used_s = 0.0, 0.0
        for process in self._processes:
            with contextlib.suppress(self._psutil.Error), process.oneshot():
                rss += process.memory_info().rss / _MIB
                times = process.cpu_times()
                spent = times.user + times.system
                used_s += spent - self._cpu_s.get(process.pid, 0.0)
                self._cpu_s[process.pid] = spent
        lasted, self._at = now - self._at, now
        return Sample(
            t_s=now,
            memory_mib=rss * self._pss_per_rss if self._processes else None,
            cpu_pct=100 * used_s / lasted if lasted > 0.01 else None,
            swap_used_mib=self._swap,
            temperature_c=self._temperature,
        )

    def _refresh(self) -> None:
        with contextlib.suppress(self._psutil.Error):
            root = self._psutil.Process(self._pid)
            known = {process.pid: process for process in self._processes}
            found = root.children(recursive=True)
            self._processes = [known.get(process.pid, process) for process in found]
        self._pss_per_rss = self._share() if len(self._processes) > 1 else 1.0
        self._swap = self._psutil.swap_memory().used / _MIB
        self._temperature = self._hottest()

    def _share(self) -> float:
        """Which part of the summed RSS is left when shared pages count once."""
        pss, rss = 0, 0
        for process in self._processes:
            with contextlib.suppress(self._psutil.Error):
                full = process.memory_full_info()
                pss, rss = pss + full.pss, rss + full.rss
        return pss / rss if rss else 1.0

    def _hottest(self) -> float | None:
        zones = self._psutil.sensors_temperatures().values()
        degrees = [zone.current for group in zones for zone in group if zone.current > 0]
        return max(degrees, default=None)
