"""The board's sensors through NVIDIA's ``tegrastats``, a process of ours beside the run."""

from __future__ import annotations

import time

from jetsched.profiler import tegrastats
from jetsched.profiler.sensor_process import SensorProcess
from jetsched.profiler.sensors import Reading

#: It can do about ten lines a second.
FASTEST_MS = 100


class TegrastatsSensors:
    """Starts ``tegrastats`` and takes its newest line at each reading."""

    def __init__(self, program: str, interval_s: float) -> None:
        interval_ms = max(FASTEST_MS, round(interval_s * 1000))
        self._process = SensorProcess([program, "--interval", str(interval_ms)])
        self._stale_s = max(2.0, 8 * interval_s)
        self._reading: Reading | None = None
        self.problem = ""

    def read(self) -> Reading | None:
        line = self._process.newest_line()
        sample = tegrastats.parse(line) if line is not None else None
        if sample is not None:
            self._reading = _reading(sample)
            self.problem = "" if sample.power_w is not None else "power: tegrastats shows no rails"
        elif self._process.ended:
            self._reading = None
            self.problem = f"tegrastats ended after {self._process.lines} lines"
        elif time.monotonic() - self._process.line_at > self._stale_s:
            self._reading = None
            self.problem = f"tegrastats said nothing for {self._stale_s:.0f} s"
        return self._reading

    def close(self) -> float:
        return self._process.close()


def _reading(sample: tegrastats.Sample) -> Reading:
    return Reading(
        gpu_util_pct=sample.gpu_pct,
        gpu_mhz=sample.gpu_mhz,
        swap_used_mib=sample.swap_used_mib,
        power_w=sample.power_w,
        temperature_c=max(sample.temperatures_c.values(), default=None),
    )
