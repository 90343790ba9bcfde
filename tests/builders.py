"""Small worlds for tests: a job, two boards, a cost model that is a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jetsched.records import (
    Device,
    DeviceClass,
    Estimate,
    Job,
    Measurement,
    Never,
    Verdict,
    Workload,
)

NX = DeviceClass("xavier-nx", "15W_6CORE", "jetpack-5", 6150.0)
ORIN = DeviceClass("orin-nano", "25W", "jetpack-6", 6900.0)


def nx(number: int = 1, *, labels: tuple[str, ...] = ()) -> Device:
    return Device(f"nx-{number}", NX, labels)


def orin(number: int = 1, *, labels: tuple[str, ...] = ()) -> Device:
    return Device(f"orin-{number}", ORIN, labels)


def a_workload(model: str = "distilgpt2", **changes: Any) -> Workload:
    base = Workload("train", model, dataset="squad", batch_size=8, seq_len=384, head="qa")
    return replace(base, **changes)


def a_job(id: str = "1", model: str = "distilgpt2", **changes: Any) -> Job:
    return replace(Job(id, a_workload(model)), **changes)


def an_estimate(time_s: float = 100.0, **changes: Any) -> Estimate:
    base = Estimate(
        time_s=time_s,
        time_p90_s=1.2 * time_s,
        load_s=0.0,
        peak_memory_mib=2000.0,
        admitted_mib=2700.0,
        gpu_util_pct=90.0,
        energy_j=10.0 * time_s,
        source="measured",
        method="table",
        measurements=1,
    )
    return replace(base, **changes)


def a_kill(job: Job, device: Device) -> Measurement:
    """The measurement of a run that the kernel's memory killer ended."""
    return Measurement(
        job.workload, device.device_class, "killed_memory", peak_memory_mib=7000.0, job_id=job.id
    )


@dataclass
class TableCosts:
    """A cost model that is a table: seconds by (model of the job, model of the device).

    What is not in the table never runs there. A kill that is learnt makes its pair *never*.
    """

    times_s: Mapping[tuple[str, str], float]
    tight: set[tuple[str, str]] = field(default_factory=set)
    killed: set[tuple[str, str]] = field(default_factory=set)
    asked: int = 0

    def verdict(self, job: Job, device_class: DeviceClass) -> Verdict:
        self.asked += 1
        key = (job.workload.model, device_class.model)
        if key in self.killed:
            return Never("NeverFits", f"{key[0]} was killed on {key[1]}")
        if key not in self.times_s:
            return Never("NotProfiled", f"nothing is known about {key[0]} on {key[1]}")
        time_s = self.times_s[key] * job.amount
        return an_estimate(time_s, fit="tight" if key in self.tight else "fits")

    def learn(self, measurement: Measurement) -> bool:
        key = (measurement.workload.model, measurement.device_class.model)
        if measurement.outcome != "killed_memory" or key in self.killed:
            return False
        self.killed.add(key)
        return True


def paper_costs() -> TableCosts:
    """Made-up round seconds: the Orin is the faster one, gpt2 only fits the Orin."""
    return TableCosts(
        {
            ("tiny-gpt2", "xavier-nx"): 100.0,
            ("tiny-gpt2", "orin-nano"): 60.0,
            ("distilgpt2", "xavier-nx"): 250.0,
            ("distilgpt2", "orin-nano"): 100.0,
            ("gpt2", "orin-nano"): 200.0,
        }
    )


def a_row(**changes: Any) -> dict[str, Any]:
    """A job as the API lists it: it runs on nx-1, for three seconds so far."""
    attempt = {
        "number": 1,
        "device": "nx-1",
        "start_s": 997.0,
        "end_s": None,
        "estimate": {"time_s": 10.0},
        "outcome": None,
        "text": "",
    }
    row: dict[str, Any] = {
        "id": "1",
        "name": "tiny",
        "work": "train tiny-gpt2 b8x128 fp32",
        "priority": 50,
        "state": "running",
        "outcome": None,
        "device": "nx-1",
        "reason": None,
        "since_s": 997.0,
        "start_s": 997.0,
        "finish_s": 1007.0,
        "now_s": 1000.4,
        "stopping": False,
        "progress": {"phase": "running", "done": 8.0, "amount": 32.0},
        "tries": 3,
        "attempts": [attempt],
    }
    return {**row, **changes}
