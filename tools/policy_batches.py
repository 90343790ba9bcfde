"""The bars of batches, where everything is there at once: makespans beside their bounds."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean

from policy_bars import NX, ORIN, Asked, Row, a_fleet, all_done, has, left_out, missing

from jetsched.cluster.bounds import makespan_bound_s
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.truetimes import true_times
from jetsched.cluster.truth import CostsAsTruth, TrueRun
from jetsched.records import (
    Device,
    DeviceClass,
    Estimate,
    Fit,
    Job,
    Measurement,
    Never,
    Verdict,
    Workload,
)
from jetsched.scheduler.costs import UnitCost
from jetsched.scheduler.table import VerdictTable, known_run

_OTHERS = ("min_min", "sufferage", "max_min", "earliest_finish")
_WORKLOADS = 30


def braun(asked: Asked) -> Iterator[Row]:
    """The instances of Braun et al. (512 jobs, 16 unlike machines) that are there."""
    folder = asked.data / "etc"
    if not (folder / "best_known.csv").is_file():
        yield left_out("Braun's instances", f"no {folder / 'best_known.csv'}")
        return
    yield from missing("Braun's instances", "makespan")
    with (folder / "best_known.csv").open(newline="") as file:
        known = list(csv.DictReader(file))
    for name in [name for name in ("makespan", *_OTHERS) if has(name)]:
        ratios, seconds = [], []
        for row in known:
            run = all_done(name, _instance(folder / row["instance"]))
            ratios.append((run.metrics.makespan_s or 0.0) / float(row["best_known_makespan"]))
            seconds.append(run.loop_cpu_s)
        barred = name == "makespan"
        yield Row(
            f"Braun, {len(known)} instances, {name}: mean / worst of the best known",
            f"{fmean(ratios):.4f} / {max(ratios):.4f}",
            "<= 1.008 / 1.02" if barred else "",
            "LP + local search 1.007 / 1.015; min-min 1.137" if barred else "",
            fmean(ratios) <= 1.008 and max(ratios) <= 1.02 if barred else None,
        )
        if barred:
            most = max(seconds)
            yield Row("  CPU of the longest", f"{most:.2f} s", "<= 1 s", "", most <= 1)


def _instance(file: Path) -> Scenario:
    words = file.read_text().split()
    jobs, machines = int(words[0]), int(words[1])
    numbers = iter(map(float, words[3:]))
    verdicts: dict[str, dict[str, Verdict]] = {
        str(job): {f"m{machine}": known_run(next(numbers)) for machine in range(machines)}
        for job in range(jobs)
    }
    fleet = a_fleet(**{f"m{machine}": 1 for machine in range(machines)})
    return _table_world([Job(name, Workload("command", "")) for name in verdicts], fleet, verdicts)


def typed(asked: Asked) -> Iterator[Row]:
    """100,000 jobs of 30 workloads on 10,000 devices of two models."""
    test = "typed batch, 100,000 jobs, 10,000 devices"
    yield from missing(test, "makespan")
    world = _typed_world(100_000, 5_000, random.Random(0))
    bound_s = makespan_bound_s(true_times(world)) or 0.0
    for name in [name for name in ("makespan", "earliest_finish") if has(name)]:
        run = all_done(name, world)
        ratio = (run.metrics.makespan_s or 0.0) / bound_s
        barred = name == "makespan"
        yield Row(
            f"{test}, {name}",
            f"{ratio:.4f} of the bound",
            "<= 1.02" if barred else "",
            "class LP 1.003 (two types), longest-first MCT 1.03" if barred else "",
            ratio <= 1.02 if barred else None,
        )
        if barred:
            yield Row(
                "  CPU of the whole loop",
                f"{run.loop_cpu_s:.2f} s",
                "< 3 s",
                "",
                run.loop_cpu_s < 3,
            )


class _Paced:
    """What a unit of a workload takes on a model of device."""

    fit: Fit = "fits"
    load_s = 0.0

    def __init__(self, rate_s: float) -> None:
        self.rate_s = rate_s

    def of(self, amount: float) -> Estimate:
        return known_run(self.rate_s * amount)


class _Paces:
    """Costs by the unit of work, and the truth as well: nothing of a job is known but its type."""

    def __init__(self, paces: Mapping[tuple[str, str], float]) -> None:
        self._paced = {pair: _Paced(rate_s) for pair, rate_s in paces.items()}

    def cost(self, workload: Workload, device_class: DeviceClass) -> UnitCost | Never:
        return self._paced[workload.model, device_class.model]

    def verdict(self, job: Job, device_class: DeviceClass) -> Verdict:
        return self._paced[job.workload.model, device_class.model].of(job.amount)

    def learn(self, measurement: Measurement) -> bool:
        return False

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun:
        rate_s = self._paced[job.workload.model, device_class.model].rate_s
        return TrueRun(rate_s * job.amount, 0.0, 0.0)


def _typed_world(count: int, each: int, draw: random.Random) -> Scenario:
    """Each workload has its own pace on either model; each job its own amount of it."""
    workloads = [Workload("train", f"model-{number}") for number in range(_WORKLOADS)]
    paces: dict[tuple[str, str], float] = {}
    for workload in workloads:
        pace_s = draw.uniform(0.5, 1.5)
        paces[workload.model, ORIN] = pace_s
        paces[workload.model, NX] = pace_s * draw.uniform(1.2, 4.0)
    jobs = [
        Job(str(number), draw.choice(workloads), amount=draw.uniform(300.0, 3_000.0))
        for number in range(count)
    ]
    costs = _Paces(paces)
    return Scenario(jobs, a_fleet(**{ORIN: each, NX: each}), costs, lambda: costs)


def _table_world(
    jobs: list[Job], fleet: list[Device], verdicts: dict[str, dict[str, Verdict]]
) -> Scenario:
    truth = CostsAsTruth(VerdictTable(verdicts))
    return Scenario(jobs, fleet, truth, lambda: VerdictTable(verdicts))
