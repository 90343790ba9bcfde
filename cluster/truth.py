"""What really happens when a job runs on a device, as far as a simulation is concerned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from jetsched.records import DeviceClass, Job, Never
from jetsched.scheduler.view import Costs

#: Memory of an imaginary board on which nothing is ever killed.
_ENDLESS_MIB = 1e9


@dataclass(frozen=True, slots=True)
class TrueRun:
    """A whole run, from start to end, if nothing stops it.

    ``time_s`` includes ``load_s``; ``energy_j`` is that of ``time_s``. A run whose
    ``peak_memory_mib`` exceeds the memory of its device is killed.
    """

    time_s: float
    load_s: float
    peak_memory_mib: float
    energy_j: float | None = None
    gpu_util_pct: float | None = None


class Truth(Protocol):
    """Knows how every run would go. The scheduler never sees it, only what comes of it."""

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        """The run of the job on a device of the class; None where it cannot even start."""
        ...


class CostsAsTruth:
    """Takes the estimates of a cost model, without any error, for what really happens.

    Times are its p50, memory live bytes with the runtime. Where it says that the job was, or would
    be, killed for memory, the run has the time that it would take if memory were endless, and a
    peak above what the device has. The model must not learn while it serves as truth.
    """

    def __init__(self, costs: Costs) -> None:
        self._costs = costs

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        verdict = self._costs.verdict(job, device_class)
        too_much_mib = 0.0
        if isinstance(verdict, Never):
            if verdict.code != "NeverFits":
                return None
            too_much_mib = max(verdict.peak_memory_mib or 0.0, 1.01 * device_class.memory_mib)
            verdict = self._costs.verdict(job, replace(device_class, memory_mib=_ENDLESS_MIB))
            if isinstance(verdict, Never):
                return None
        return TrueRun(
            time_s=verdict.time_s,
            load_s=verdict.load_s,
            peak_memory_mib=max(verdict.peak_memory_mib + verdict.runtime_mib, too_much_mib),
            energy_j=verdict.energy_j,
            gpu_util_pct=verdict.gpu_util_pct,
        )
