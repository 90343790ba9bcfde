"""The board's sensors through jetson-stats (jtop), which runs in a helper process of ours."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jetsched.profiler.sensor_process import SensorProcess
from jetsched.profiler.sensors import Reading
from jetsched.profiler.tegrastats import plausible

HELPER = Path(__file__).with_name("jtop_helper.py")
#: It imports jetson-stats and asks its service before the first line; slow on a busy board.
START_PATIENCE_S = 30.0


def has_jtop(python: str) -> bool:
    """Whether an interpreter can import jtop; finds out without importing it."""
    if python == sys.executable:
        return importlib.util.find_spec("jtop") is not None
    if shutil.which(python) is None:
        return False
    question = "import importlib.util, sys; sys.exit(importlib.util.find_spec('jtop') is None)"
    try:
        asked = subprocess.run([python, "-c", question], capture_output=True, timeout=30, cwd="/")
    except (OSError, subprocess.SubprocessError):
        return False
    return asked.returncode == 0


class JtopSensors:
    """Starts the helper and takes its newest line at each reading."""

    def __init__(self, python: str, interval_s: float) -> None:
        self._process = SensorProcess([python, str(HELPER), str(interval_s)])
        self._stale_s = max(3.0, 8 * interval_s)
        self._reading: Reading | None = None
        self.problem = ""

    def read(self) -> Reading | None:
        line = self._process.newest_line()
        told = _object(line) if line is not None else {}
        if told.get("problem"):
            self._reading, self.problem = None, f"jtop: {told['problem']}"
        elif told:
            self._reading = _reading(told)
        elif self._process.ended:
            self._reading = None
            self.problem = self.problem or f"jtop ended after {self._process.lines} lines"
        else:
            patience_s = self._stale_s if self._process.lines else START_PATIENCE_S
            if time.monotonic() - self._process.line_at > patience_s:
                self._reading = None
                self.problem = f"jtop said nothing for {patience_s:.0f} s"
        return self._reading

    def close(self) -> float:
        return self._process.close()


def _reading(told: dict[str, Any]) -> Reading:
    temperatures = plausible(told.pop("temperatures_c", {}))
    return Reading(**told, temperature_c=max(temperatures.values(), default=None))


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
