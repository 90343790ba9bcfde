"""The bars of scale: jobs per CPU second, memory, growth, overload (for bench_policies.py)."""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from policy_bars import NX, ORIN, PLANNERS, Asked, Row, left_out

from jetsched import policies
from jetsched.cluster.simulating import simulate
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import scenario

#: Jobs of one turn of the peer: about a second.
_PEER_JOBS = 100_000
_PEER_SERVERS = 16
_LOAD = 0.9


def simpy_jobs_per_cpu_s(jobs: int = _PEER_JOBS) -> float | None:
    """What SimPy reaches on M/M/16 at this load, without any policy; None if it is not there."""
    try:
        import simpy  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    draw = random.Random(0)
    env: Any = simpy.Environment()
    servers = simpy.Resource(env, capacity=_PEER_SERVERS)

    def job() -> Iterator[Any]:
        with servers.request() as turn:
            yield turn
            yield env.timeout(draw.expovariate(1.0))

    def arrivals() -> Iterator[Any]:
        for _ in range(jobs):
            yield env.timeout(draw.expovariate(_LOAD * _PEER_SERVERS))
            env.process(job())

    env.process(arrivals())
    began = time.process_time()
    env.run()
    return jobs / (time.process_time() - began)


def scale(asked: Asked) -> Iterator[Row]:
    """A stream on 10,000 devices under the default policy, with SimPy before and after it."""
    jobs = 1_000_000 if asked.full else 100_000
    test = f"{jobs:,} jobs, load {_LOAD}, 10,000 devices, {policies.DEFAULT}"
    peers = [simpy_jobs_per_cpu_s(), simpy_jobs_per_cpu_s()]
    world = _stream(jobs, 10_000, seed=0)
    run = simulate(policies.DEFAULT, world)
    peak_gb = _peak_gb()
    peers.append(simpy_jobs_per_cpu_s())
    rate = run.jobs_per_cpu_s
    known = [peer for peer in peers if peer is not None]
    if not known:
        yield left_out(test, "there is no SimPy: pip install simpy")
    else:
        peer = median(known)
        text = f"{rate / peer:.2f} x SimPy ({rate:,.0f} jobs per CPU s)"
        yield Row(
            test,
            text,
            ">= 0.5 x SimPy",
            f"SimPy M/M/16 without a policy {peer:,.0f}; Gavel 13-429; Sia 0.55",
            rate >= 0.5 * peer,
        )
    if run.metrics.unfinished:
        yield Row("  jobs left undone", f"{run.metrics.unfinished:,}", "0", "", False)
    yield Row("  peak memory", f"{peak_gb:.2f} GB", "< 2 GB", "", peak_gb < 2)


def growth(asked: Asked) -> Iterator[Row]:
    """The cost per job as there are more jobs, and more devices: each the median of some seeds."""
    policy = policies.DEFAULT
    counts = (1_000, 10_000, 100_000, 1_000_000) if asked.full else (1_000, 10_000, 100_000)
    _cost_us(1_000, 100, 0)  # what is imported and read is not counted
    by_jobs = [median(_costs_us(count, 100)) for count in counts]
    yield _growth(f"1,000 to {counts[-1]:,} jobs on 100 devices, {policy}", by_jobs)
    jobs = 100_000 if asked.full else 30_000
    sizes = (10, 100, 1_000, 10_000)
    by_devices = [median(_costs_us(jobs, size)) for size in sizes]
    yield _growth(f"10 to 10,000 devices, {jobs:,} jobs, {policy}", by_devices)


def _growth(test: str, costs_us: list[float]) -> Row:
    most = max(costs_us[1:]) / costs_us[0]
    steps = ", ".join(f"{cost:.1f}" for cost in costs_us)
    return Row(
        f"CPU per job, {test}", f"grows {most:.2f} x", "<= 2 x", f"{steps} us per job", most <= 2
    )


def _costs_us(jobs: int, devices: int) -> list[float]:
    """Microseconds of CPU per job: more turns where one is short."""
    turns = max(1, min(7, 60_000 // jobs))
    return [_cost_us(jobs, devices, seed) for seed in range(turns)]


def _cost_us(jobs: int, devices: int, seed: int) -> float:
    run = simulate(policies.DEFAULT, _stream(jobs, devices, seed))
    return 1e6 * run.loop_cpu_s / jobs


def overload(asked: Asked, policy: str, jobs: int | None = None) -> Iterator[Row]:
    """All jobs wait from the start, on 100 devices."""
    jobs = jobs or (100_000 if asked.full else 20_000)
    world = scenario(WorldOptions(generate=jobs, fleet=_fleet(100)), 0)
    run = simulate(policy, world)
    rate = run.jobs_per_cpu_s
    yield Row(
        f"{jobs:,} jobs wait, 100 devices, {policy}",
        f"{rate:,.0f} jobs per CPU s",
        ">= 5,000",
        "naive prototype 50" if policy == policies.DEFAULT else "",
        rate >= 5_000 and not run.metrics.unfinished,
    )


def greedy() -> list[str]:
    return [name for name in policies.BUILT_IN if name not in PLANNERS]


def _stream(jobs: int, devices: int, seed: int) -> Any:
    return scenario(WorldOptions(generate=jobs, load=_LOAD, fleet=_fleet(devices)), seed)


def _fleet(devices: int) -> str:
    return f"{ORIN}:{devices // 2},{NX}:{devices // 2}"


def _peak_gb() -> float:
    """The most memory that this process has held; what it says, not what ru_maxrss inherited."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
