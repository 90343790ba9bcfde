"""Costs that are simply written down, job by job: for traces that carry their run times."""

from __future__ import annotations

from collections.abc import Mapping

from jetsched.records import DeviceClass, Estimate, Fit, Job, Measurement, Never, Verdict, Workload


def known_run(
    time_s: float,
    *,
    load_s: float = 0.0,
    memory_mib: float = 0.0,
    energy_j: float | None = None,
    fit: Fit = "fits",
) -> Estimate:
    """The estimate of a run whose time is known and does not vary."""
    return Estimate(
        time_s=time_s,
        time_p90_s=time_s,
        load_s=load_s,
        peak_memory_mib=memory_mib,
        admitted_mib=memory_mib,
        gpu_util_pct=None,
        energy_j=energy_j,
        source="measured",
        method="table",
        fit=fit,
        measurements=1,
    )


class VerdictTable:
    """A cost model that looks verdicts up: job id -> device model -> verdict.

    What is not in the table can never run there. A memory kill that is learnt holds for every job
    with that workload, on devices of that model with no more memory.
    """

    def __init__(self, verdicts: Mapping[str, Mapping[str, Verdict]]) -> None:
        self._verdicts = verdicts
        self._killed_mib: dict[tuple[Workload, str], float] = {}

    def verdict(self, job: Job, device_class: DeviceClass) -> Verdict:
        """What the table says. Raises nothing: an unknown job can run nowhere."""
        if self._killed_mib:  # hashing a workload takes longer than all the rest
            killed_mib = self._killed_mib.get((job.workload, device_class.model), -1.0)
            if device_class.memory_mib <= killed_mib:
                text = f"{job.workload.label} was killed on {device_class.model}"
                return Never("NeverFits", text)
        verdict = self._verdicts.get(job.id, {}).get(device_class.model)
        if verdict is None:
            return Never("NotProfiled", f"no run time of {job.id} on {device_class.model} is known")
        return verdict

    def learn(self, measurement: Measurement) -> bool:
        """Remember a memory kill; anything else changes nothing."""
        if measurement.outcome != "killed_memory":
            return False
        key = (measurement.workload, measurement.device_class.model)
        has_mib = measurement.device_class.memory_mib
        if has_mib <= self._killed_mib.get(key, -1.0):
            return False
        self._killed_mib[key] = has_mib
        return True
