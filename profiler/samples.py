"""What is sampled beside a workload, and how samples are summed up over a run and its phases."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

#: Between two samples further apart than this nothing is known: a sensor was silent.
GAP_S = 5.0
#: A quantity's course keeps at most this many points, so that hours take no more room than minutes.
MOST_POINTS = 4096
#: Energy is told where power was seen for at least this part of the measured phase.
SEEN_ENOUGH = 0.9
#: From this load on, a GPU whose clock is low is held back; below, its governor saves power.
BUSY_PCT = 90.0
#: A clock this much below the highest is a drop.
CLOCK_DROP = 0.05


@dataclass(frozen=True)
class Sample:
    """One moment. None: nobody sees it."""

    t_s: float  # on the monotonic clock
    memory_mib: float | None = None  # the workload's: RSS, and its GPU share on unified memory
    cpu_pct: float | None = None  # of the workload since the last sample; 100 is one busy core
    swap_used_mib: float | None = None  # of the whole machine
    gpu_util_pct: float | None = None
    gpu_mhz: float | None = None
    gpu_memory_mib: float | None = None  # on the GPU's side, more than before the workload began
    board_memory_mib: float | None = None  # of the whole machine: MemTotal - MemAvailable
    power_w: float | None = None
    temperature_c: float | None = None  # the hottest zone
    throttling: tuple[str, ...] = ()  # why the hardware holds itself back, in its own words


@dataclass(frozen=True)
class Summary:
    """A run in a few numbers. None: it was not seen.

    GPU %, power and energy are of the measured phase, the rest is of the whole run. ``record`` is
    how it was measured, in JSON values.
    """

    samples: int = 0
    peak_memory_mib: float | None = None
    cpu_util_pct: float | None = None  # mean
    gpu_util_pct: float | None = None  # mean
    gpu_memory_mib: float | None = None  # peak, more than before
    gpu_memory_left_mib: float | None = None  # what the GPU's side had not given back at the end
    gpu_mhz: float | None = None  # highest
    gpu_busy_mhz: float | None = None  # lowest while the GPU was busy
    swap_delta_mib: float | None = None  # end - start
    power_w: float | None = None  # mean over time
    energy_j: float | None = None  # integral of power
    temperature_start_c: float | None = None
    temperature_c: float | None = None  # highest
    throttling: tuple[str, ...] = ()
    #: Whether ``peak_memory_mib`` has a GPU share in it, which no process counter has.
    unified: bool = False
    record: Mapping[str, Any] = field(default_factory=dict)


class Course:
    """The integral of one quantity over time, of which any stretch can be asked afterwards."""

    def __init__(self) -> None:
        self.last: tuple[float, float] | None = None  # (t_s, value)
        self._times: list[float] = []
        self._sums: list[tuple[float, float]] = []  # up to each time: (integral, seconds seen)

    def add(self, t_s: float, value: float) -> None:
        total, seen_s = self._sums[-1] if self._sums else (0.0, 0.0)
        if self.last is not None:
            before_s, before = self.last
            step = t_s - before_s
            if 0 < step <= GAP_S:
                total, seen_s = total + step * (before + value) / 2, seen_s + step
        self.last = (t_s, value)
        self._times.append(t_s)
        self._sums.append((total, seen_s))
        if len(self._times) > MOST_POINTS:  # the sums that stay are exact
            del self._times[1::2], self._sums[1::2]

    def between(self, since_s: float = -inf, until_s: float = inf) -> tuple[float, float]:
        """The integral over a stretch, and how many seconds of it were seen."""
        if not self._times or until_s <= since_s:
            return 0.0, 0.0
        (total0, seen0), (total1, seen1) = self._at(since_s), self._at(until_s)
        return total1 - total0, seen1 - seen0

    def mean(self, since_s: float = -inf, until_s: float = inf) -> float | None:
        total, seen_s = self.between(since_s, until_s)
        if seen_s > 0:
            return total / seen_s
        only = self.last  # a run so short that there is one sample
        inside = only is not None and len(self._times) == 1 and since_s <= only[0] <= until_s
        return only[1] if only is not None and inside else None

    def _at(self, t_s: float) -> tuple[float, float]:
        after = bisect_right(self._times, t_s)
        if after == 0:
            return self._sums[0]
        if after == len(self._times):
            return self._sums[-1]
        start, end = self._times[after - 1], self._times[after]
        part = (t_s - start) / (end - start)
        (total0, seen0), (total1, seen1) = self._sums[after - 1], self._sums[after]
        return total0 + part * (total1 - total0), seen0 + part * (seen1 - seen0)


class Totals:
    """Sums up samples as they come. Means are over time (trapezoids); memory and heat are maxima.

    Power and GPU % can be asked of any stretch, since only afterwards is it known which part of a
    run was loading and which was work.
    """

    def __init__(self) -> None:
        self.latest: Sample | None = None
        self._samples = 0
        self._courses = {name: Course() for name in ("cpu_pct", "gpu_util_pct", "power_w")}
        self._highest: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._busy = False
        self._busy_mhz: float | None = None
        self._throttling: dict[str, None] = {}  # a set that keeps its order

    def add(self, sample: Sample) -> None:
        self._samples += 1
        for name, course in self._courses.items():
            value = getattr(sample, name)
            if value is not None:
                course.add(sample.t_s, value)
        for name in ("memory_mib", "gpu_memory_mib", "gpu_mhz", "temperature_c"):
            value = getattr(sample, name)
            if value is not None:
                self._highest[name] = max(value, self._highest.get(name, value))
        for name in ("swap_used_mib", "temperature_c", "gpu_memory_mib"):
            value = getattr(sample, name)
            if value is not None:
                self._first.setdefault(name, value)
                self._last[name] = value
        self._throttling.update(dict.fromkeys(sample.throttling))
        busy = (sample.gpu_util_pct or 0.0) >= BUSY_PCT
        if busy and self._busy and sample.gpu_mhz:  # the first busy moment finds the clock low
            self._busy_mhz = min(sample.gpu_mhz, self._busy_mhz or inf)
        self._busy = busy
        self.latest = sample

    def summary(self, since_s: float = -inf, until_s: float = inf) -> Summary:
        """Sum up; the measured phase is from ``since_s`` to ``until_s`` on the samples' clock."""
        swap = None
        if "swap_used_mib" in self._first:
            swap = self._last["swap_used_mib"] - self._first["swap_used_mib"]
        power = self._courses["power_w"]
        return Summary(
            samples=self._samples,
            peak_memory_mib=self._highest.get("memory_mib"),
            cpu_util_pct=self._courses["cpu_pct"].mean(),
            gpu_util_pct=self._courses["gpu_util_pct"].mean(since_s, until_s),
            gpu_memory_mib=self._highest.get("gpu_memory_mib"),
            gpu_memory_left_mib=self._last.get("gpu_memory_mib"),
            gpu_mhz=self._highest.get("gpu_mhz"),
            gpu_busy_mhz=self._busy_mhz,
            swap_delta_mib=swap,
            power_w=power.mean(since_s, until_s),
            energy_j=self._energy_j(power, since_s, until_s),
            temperature_start_c=self._first.get("temperature_c"),
            temperature_c=self._highest.get("temperature_c"),
            throttling=(*self._throttling, *self._clock_drop()),
        )

    def _energy_j(self, power: Course, since_s: float, until_s: float) -> float | None:
        """None where power was not seen for long enough to speak of the whole phase."""
        joules, seen_s = power.between(since_s, until_s)
        if seen_s <= 0 or self.latest is None:
            return None
        lasted_s = min(until_s, self.latest.t_s) - since_s if since_s > -inf else seen_s
        return joules if seen_s >= SEEN_ENOUGH * lasted_s else None

    def _clock_drop(self) -> list[str]:
        highest, busy = self._highest.get("gpu_mhz"), self._busy_mhz
        if highest is None or busy is None or busy >= highest * (1 - CLOCK_DROP):
            return []
        return [f"GPU clock fell from {highest:.0f} to {busy:.0f} MHz under load"]
