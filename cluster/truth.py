"""What really happens when a job runs on a device, as far as a simulation is concerned."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Protocol

from jetsched.profiler.costs import Cost, CostModel
from jetsched.records import DeviceClass, Job, Never, Workload
from jetsched.scheduler.view import Costs

#: Memory of an imaginary board on which nothing is ever killed.
_ENDLESS_MIB = 1e9

#: So many pairs of a workload and a device class are kept by identity; then all are asked anew.
_MOST_PAIRS = 100_000


class TrueRun(NamedTuple):
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
    peak above what the device has. The model must not learn while it serves as truth. Of a
    :class:`CostModel` the costs of a unit of work are kept, so that a run is a multiplication.
    """

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        #: Of a :class:`CostModel`: what a unit of work costs, by the identities of the workload and
        #: the class, for hashing their many fields would take longer than all the rest. Both stand
        #: in the value, so that no other objects get their ids. Equal ones that are not the same
        #: object are only asked for more than once.
        self._pairs: dict[tuple[int, int], _Pair] = {}

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        workload = job.workload
        pair = self._pairs.get((id(workload), id(device_class)))
        if pair is None:
            if not isinstance(self._costs, CostModel):
                return self._as_told(job, device_class)
            pair = self._ask(self._costs, workload, device_class)
        rates = pair[2]
        if rates is None:
            return None
        work_s = job.amount * rates.rate_s
        energy_j = None if rates.work_w is None else rates.load_j + rates.work_w * work_s
        load_s = rates.load_s
        return TrueRun(load_s + work_s, load_s, rates.peak_mib, energy_j, rates.gpu_util_pct)

    def _as_told(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        """By the verdict about this very job."""
        verdict = self._costs.verdict(job, device_class)
        too_much_mib = 0.0
        if isinstance(verdict, Never):
            if verdict.code != "NeverFits":
                return None
            too_much_mib = _too_much_mib(verdict, device_class)
            verdict = self._costs.verdict(job, replace(device_class, memory_mib=_ENDLESS_MIB))
            if isinstance(verdict, Never):
                return None
        return TrueRun(
            verdict.time_s,
            verdict.load_s,
            max(verdict.peak_memory_mib + verdict.runtime_mib, too_much_mib),
            verdict.energy_j,
            verdict.gpu_util_pct,
        )

    def _ask(self, costs: CostModel, workload: Workload, device_class: DeviceClass) -> _Pair:
        if len(self._pairs) >= _MOST_PAIRS:
            self._pairs.clear()
        pair = (workload, device_class, _rates(costs, workload, device_class))
        self._pairs[id(workload), id(device_class)] = pair
        return pair


def _rates(costs: CostModel, workload: Workload, device_class: DeviceClass) -> _Rates | None:
    cost = costs.cost(workload, device_class)
    too_much_mib = 0.0
    if isinstance(cost, Never):
        if cost.code != "NeverFits":
            return None
        too_much_mib = _too_much_mib(cost, device_class)
        cost = costs.cost(workload, replace(device_class, memory_mib=_ENDLESS_MIB))
        if isinstance(cost, Never):
            return None
    return _Rates(cost, too_much_mib)


class _Rates:
    """A run of a workload on a device class, for so many units as there may be."""

    __slots__ = ("gpu_util_pct", "load_j", "load_s", "peak_mib", "rate_s", "work_w")

    def __init__(self, cost: Cost, too_much_mib: float) -> None:
        self.load_s = cost.load_s
        self.rate_s = cost.rate_s
        self.peak_mib = max(cost.peak_memory_mib + cost.runtime_mib, too_much_mib)
        known = cost.power_w is not None and cost.load_w is not None
        self.work_w = cost.power_w if known else None
        self.load_j = (cost.load_w or 0.0) * cost.load_s
        self.gpu_util_pct = cost.gpu_util_pct


_Pair = tuple[Workload, DeviceClass, _Rates | None]


def _too_much_mib(never: Never, device_class: DeviceClass) -> float:
    """What a run must need at least that does not fit the device."""
    return max(never.peak_memory_mib or 0.0, 1.01 * device_class.memory_mib)
