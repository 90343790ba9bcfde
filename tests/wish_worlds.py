"""Tiny worlds in which the right answer of a policy can be worked out by hand."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from builders import a_job, an_estimate, nx, orin, paper_costs

from jetsched import policies
from jetsched.records import Device, Job
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import DeviceJoined, Finished, Start, Submitted
from jetsched.scheduler.table import VerdictTable
from jetsched.scheduler.view import Costs, Policy


def a_scheduler(policy: str | Policy, costs: Costs | None = None, *devices: Device) -> Scheduler:
    chosen = policies.load(policy) if isinstance(policy, str) else policy
    scheduler = Scheduler(chosen, costs or paper_costs())
    for device in devices or (nx(), orin()):
        scheduler.handle(DeviceJoined(0, device))
    return scheduler


def starts(scheduler: Scheduler, at_s: float, *jobs: Job) -> dict[str, str]:
    """Where the jobs went that started because of these: job id -> device id."""
    return _started(scheduler.handle(Submitted(at_s, jobs)))


def finish(scheduler: Scheduler, at_s: float, job_id: str) -> dict[str, str]:
    attempt = scheduler.jobs[job_id].attempts[-1].number
    return _started(scheduler.handle(Finished(at_s, job_id, attempt, "done")))


def _started(actions: Sequence[object]) -> dict[str, str]:
    return {a.placement.job.id: a.placement.device.id for a in actions if isinstance(a, Start)}


def one_kind(*times_s: float) -> VerdictTable:
    """Jobs 1, 2, 3... that run so long on an Orin, and nowhere else."""
    rows = {str(n): {"orin-nano": an_estimate(t)} for n, t in enumerate(times_s, start=1)}
    return VerdictTable(rows)


def two_kinds(*times_s: tuple[float, float]) -> VerdictTable:
    """Jobs 1, 2, 3... that run so long on an Orin and on an NX."""
    return VerdictTable(
        {
            str(n): {"orin-nano": an_estimate(fast), "xavier-nx": an_estimate(slow)}
            for n, (fast, slow) in enumerate(times_s, start=1)
        }
    )


def remark(scheduler: Scheduler, job_id: str) -> str:
    return scheduler.jobs[job_id].remark


def joules(*runs: tuple[float, float, float, float]) -> VerdictTable:
    """Jobs 1, 2, 3...: seconds and joules on an Orin, then on an NX."""
    return VerdictTable(
        {
            str(n): {
                "orin-nano": an_estimate(fast_s, energy_j=fast_j),
                "xavier-nx": an_estimate(slow_s, energy_j=slow_j),
            }
            for n, (fast_s, fast_j, slow_s, slow_j) in enumerate(runs, start=1)
        }
    )


def of_user(user: str, *ids: int, **changes: Any) -> list[Job]:
    return [a_job(str(n), user=user, **changes) for n in ids]


@contextmanager
def the_bench() -> Iterator[ModuleType]:
    """tools/bench_wishes.py, which is a program and not part of the package."""
    path = Path(__file__).resolve().parent.parent / "tools/bench_wishes.py"
    spec = importlib.util.spec_from_file_location("bench_wishes", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]
