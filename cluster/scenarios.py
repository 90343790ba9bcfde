"""Scenarios from files: a trace on a fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from jetsched.cluster.noise import Perturbed
from jetsched.cluster.simulated import Outage
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.traces import Trace
from jetsched.cluster.truth import CostsAsTruth, Truth
from jetsched.errors import InputError
from jetsched.problems import listed
from jetsched.profiler.bundled import bundled_profile
from jetsched.profiler.costs import CostModel
from jetsched.records import Device, Measurement
from jetsched.scheduler.view import Costs


def trace_scenario(
    trace: Trace,
    devices: Sequence[Device],
    *,
    seed: int = 0,
    estimate_error: float = 0.0,
    measurements: Iterable[Measurement] = (),
    outages: Sequence[Outage] = (),
) -> Scenario:
    """A trace on a fleet. What is true is also what is estimated, but for ``estimate_error``.

    A trace that carries run times is the truth itself. Else the cost model is, with these
    measurements and the bundled profile behind it. Raises :class:`InputError` where no device of
    the fleet has a run time in the trace.
    """
    if trace.run_s:
        models = {device.model for device in devices}
        if not models & set(trace.device_models):
            raise InputError(
                f"the trace has run times on {listed(trace.device_models)} only",
                hint=f"the fleet has {listed(sorted(models))}",
            )
        truth: Truth = trace.truth()
        known: Callable[[], Costs] = trace.costs
    else:
        behind = [*measurements, *bundled_profile()]
        truth = CostsAsTruth(CostModel(behind))

        def known() -> Costs:
            return CostModel(behind)

    def estimates() -> Costs:
        return Perturbed(known(), estimate_error, seed) if estimate_error else known()

    return Scenario(trace.jobs, devices, truth, estimates, seed, outages)
