"""The cost model that the scheduler relies on, as it sees it."""

from __future__ import annotations

from typing import Protocol

from jetsched.records import (
    DeviceClass,
    Estimate,
    Fit,
    Job,
    Measurement,
    Never,
    Verdict,
    Workload,
)


class Costs(Protocol):
    """What running a job on a class of devices would cost, or why it never can."""

    def verdict(self, job: Job, device_class: DeviceClass) -> Verdict:
        """An estimate for the whole job, or :class:`Never`. Pure; asked once per job and class."""
        ...

    def learn(self, measurement: Measurement) -> bool:
        """Take a measurement into account. True if some verdict may be another one now."""
        ...


class UnitCost(Protocol):
    """What a unit of work costs: ``load_s + amount * rate_s`` seconds for a whole job."""

    @property
    def load_s(self) -> float: ...

    @property
    def rate_s(self) -> float: ...

    @property
    def fit(self) -> Fit: ...

    def of(self, amount: float) -> Estimate:
        """The estimate for so many units of work."""
        ...


class UnitCosts(Costs, Protocol):
    """A cost model in which jobs of the same workload cost the same per unit of work.

    ``verdict(job, class)`` is ``cost(job.workload, class)``, :meth:`UnitCost.of` the job's amount.
    It is asked once per workload and class then, however many jobs there are.
    """

    def cost(self, workload: Workload, device_class: DeviceClass) -> UnitCost | Never:
        """What a unit of the workload costs there, or why it never runs there. Pure."""
        ...


class WholeCost:
    """The estimate of one very job, from a cost model that knows nothing of units of work."""

    __slots__ = ("_estimate", "fit", "load_s", "rate_s")

    def __init__(self, estimate: Estimate) -> None:
        self._estimate = estimate
        self.fit: Fit = estimate.fit
        self.load_s = estimate.time_s
        self.rate_s = 0.0

    def of(self, amount: float) -> Estimate:
        """The estimate; the amount is that of the job in any case."""
        return self._estimate
