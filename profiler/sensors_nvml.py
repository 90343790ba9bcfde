"""The sensors of an NVIDIA graphics card through NVML, with NVIDIA's own binding (nvidia-ml-py).

Jetsons have no NVML. Of several cards the first is read.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from jetsched.profiler.sensors import Reading

_MIB = 1024 * 1024

#: NVML's bits for why clocks are held down; idling and chosen clocks are no throttling.
THROTTLING = {
    0x04: "power cap",
    0x08: "hardware slow-down",
    0x20: "thermal slow-down (driver)",
    0x40: "thermal slow-down (hardware)",
    0x80: "power brake",
}


class NvmlSensors:
    """Asks the driver in the thread that reads. Raises OSError where there is no driver or card."""

    def __init__(self, index: int = 0) -> None:
        self.problem = ""
        self._nvml: Any = importlib.import_module("pynvml")
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            raise OSError(f"NVML: {error}") from error
        try:
            self._card = self._nvml.nvmlDeviceGetHandleByIndex(index)
        except self._nvml.NVMLError as error:
            self._nvml.nvmlShutdown()
            raise OSError(f"NVML: {error}") from error

    def read(self) -> Reading:
        nvml, card = self._nvml, self._card
        load = self._ask(lambda: nvml.nvmlDeviceGetUtilizationRates(card).gpu)
        used = self._ask(lambda: nvml.nvmlDeviceGetMemoryInfo(card).used)
        power = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(card))
        bits = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)) or 0
        return Reading(
            gpu_util_pct=load,
            gpu_mhz=self._ask(lambda: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM)),
            gpu_memory_mib=None if used is None else used / _MIB,
            power_w=None if power is None else power / 1000,
            temperature_c=self._ask(
                lambda: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)
            ),
            throttling=tuple(why for bit, why in THROTTLING.items() if int(bits) & bit),
        )

    def close(self) -> float:
        self._ask(self._nvml.nvmlShutdown)
        return 0.0

    def _ask(self, question: Callable[[], Any]) -> float | None:
        """A card that does not know something (power, in a virtual machine) says so by raising."""
        try:
            answer = question()
        except self._nvml.NVMLError as error:
            self.problem = f"NVML: {error}"
            return None
        return None if answer is None else float(answer)
