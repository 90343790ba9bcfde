"""How many jobs per second of CPU the scheduling loop handles, by policy (`make bench-loop`).

Beside them stands the bound: the same jobs through a bare heap, first come, first served, with no
scheduler, no policy and no checks. The worlds are made up; figures go to docs/log.md with the
machine they were measured on.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import deque
from collections.abc import Mapping
from heapq import heappop, heappush

from jetsched.cluster.simulated import SimulatedCluster
from jetsched.cluster.truth import CostsAsTruth
from jetsched.policies import BUILT_IN, load
from jetsched.records import Device, DeviceClass, Job, Verdict, Workload
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.journal import NoJournal
from jetsched.scheduler.loop import run
from jetsched.scheduler.table import VerdictTable, known_run

#: So much longer an NX takes than an Orin: it differs by workload, which makes placing hard.
SLOWER = (1.2, 4.0)
WORKLOADS = 30


def make_devices(count: int) -> list[Device]:
    """Half of them NX, half Orin."""
    classes = (DeviceClass("xavier-nx", memory_mib=6150), DeviceClass("orin-nano", memory_mib=6900))
    return [Device(f"{classes[n % 2].model}-{n}", classes[n % 2]) for n in range(count)]


def make_jobs(
    count: int, devices: int, load_factor: float, draw: random.Random
) -> tuple[list[Job], Mapping[str, Mapping[str, Verdict]]]:
    """Jobs that arrive at random, and what each would cost on either device."""
    workloads: list[tuple[Workload, dict[str, Verdict]]] = []
    mean_s = 0.0
    for number in range(WORKLOADS):
        orin_s = draw.uniform(60.0, 3600.0)
        nx_s = orin_s * draw.uniform(*SLOWER)
        mean_s += (orin_s + nx_s) / 2 / WORKLOADS
        costs: dict[str, Verdict] = {"orin-nano": known_run(orin_s), "xavier-nx": known_run(nx_s)}
        workloads.append((Workload("train", f"model-{number}"), costs))
    jobs, verdicts, at_s = [], {}, 0.0
    for number in range(count):
        at_s += draw.expovariate(load_factor * devices / mean_s)
        workload, costs = draw.choice(workloads)
        jobs.append(Job(str(number), workload, submitted_s=at_s))
        verdicts[str(number)] = costs
    return jobs, verdicts


def bare_heap(jobs: list[Job], devices: list[Device], verdicts: Mapping[str, object]) -> None:
    """First come, first served, on whichever device is free: no scheduler can be faster."""
    heap = [(job.submitted_s, 1, number) for number, job in enumerate(jobs)]
    free = deque(range(len(devices)))
    waiting: deque[int] = deque()
    while heap:
        now_s, arrives, number = heappop(heap)
        (waiting if arrives else free).append(number)
        while free and waiting:
            device, job = free.popleft(), jobs[waiting.popleft()]
            cost = verdicts[job.id][devices[device].model]  # type: ignore[index]
            heappush(heap, (now_s + cost.time_s, 0, device))


def simulate(name: str, jobs: list[Job], devices: list[Device], table: VerdictTable) -> None:
    scheduler = Scheduler(load(name), table, journal=NoJournal(), explain=False)
    cluster = SimulatedCluster(devices, jobs, CostsAsTruth(table), seed=0)
    for _ in run(scheduler, cluster):
        pass
    left = [r.job.id for r in scheduler.jobs.values() if r.state != "done"]
    assert not left, f"{name} left {len(left)} jobs undone"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3_000)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--load", type=float, default=0.7, help="offered work per device")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--policies", nargs="*", default=list(BUILT_IN))
    asked = parser.parse_args()

    devices = make_devices(asked.devices)
    draw = random.Random(asked.seed)
    jobs, verdicts = make_jobs(asked.jobs, asked.devices, asked.load, draw)
    print(f"{asked.jobs:,} jobs, {asked.devices:,} devices, load {asked.load}, seed {asked.seed}")

    began = time.process_time()
    bare_heap(jobs, devices, verdicts)
    bound = asked.jobs / (time.process_time() - began)
    print(f"  {'bare heap (the bound)':<24} {bound:>9,.0f} jobs per CPU second")
    for name in asked.policies:
        began = time.process_time()
        simulate(name, jobs, devices, VerdictTable(verdicts))
        rate = asked.jobs / (time.process_time() - began)
        print(f"  {name:<24} {rate:>9,.0f}   {rate / bound:6.1%} of it", flush=True)


if __name__ == "__main__":
    main()
