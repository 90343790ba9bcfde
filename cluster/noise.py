"""Estimates that are wrong on purpose: how much does a policy suffer from it?"""

from __future__ import annotations

from math import exp

from jetsched.records import DeviceClass, Estimate, Job, Measurement, Never, Verdict
from jetsched.scheduler.draws import normal
from jetsched.scheduler.view import Costs


class Perturbed:
    """A cost model whose times are off by a factor exp(N(0, sigma)) per job and device model.

    Loading and energy are off by the same factor, memory is not. The factor is drawn once, from the
    seed, so that it is the same one whenever it is asked for. What is learnt goes to the model
    underneath: it corrects that model, not the error that is put on top.
    """

    def __init__(self, costs: Costs, sigma: float, seed: int) -> None:
        self._costs = costs
        self._sigma = sigma
        self._seed = seed

    def verdict(self, job: Job, device_class: DeviceClass) -> Verdict:
        verdict = self._costs.verdict(job, device_class)
        if isinstance(verdict, Never) or not self._sigma:
            return verdict
        draw = normal("estimate error", self._seed, job.id, device_class.model)
        factor = exp(self._sigma * draw)
        energy_j = verdict.energy_j
        return Estimate(
            verdict.time_s * factor,
            verdict.time_p90_s * factor,
            verdict.load_s * factor,
            verdict.peak_memory_mib,
            verdict.admitted_mib,
            verdict.gpu_util_pct,
            None if energy_j is None else energy_j * factor,
            verdict.source,
            verdict.method,
            verdict.fit,
            verdict.measurements,
            verdict.emulated,
            verdict.runtime_mib,
            verdict.note,
        )

    def learn(self, measurement: Measurement) -> bool:
        return self._costs.learn(measurement)
