"""What wishes cost: deadlines, energy and fairness against mean completion, over seeds.

    python tools/bench_wishes.py [deadlines|energy|fairness|speed] [--seeds N] [--jobs N]

Synthetic streams on Xavier NX and Orin Nano: lognormal run times, the Orin 1.7 to 3.3 times as fast
(as in the paper), one job in ten fits only the Orin; the NX draws less power, but for longer. Each
line is a mean over seeds; all policies meet the same jobs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random

from jetsched.cluster.simulating import Scenario, SimulationRun, simulate
from jetsched.cluster.truth import CostsAsTruth
from jetsched.records import Device, DeviceClass, Job, Verdict, Workload
from jetsched.scheduler.table import VerdictTable, known_run

NX = DeviceClass("xavier-nx", memory_mib=6150.0)
ORIN = DeviceClass("orin-nano", memory_mib=6900.0)

#: How many times as fast the Orin is, by kind of job; None: it does not fit the NX.
FACTORS = (1.7, 1.7, 2.5, 2.5, 2.5, 3.3, 3.3, 3.3, 3.3, None)
#: Watts while a job runs.
POWER_W = {"xavier-nx": (6.0, 9.0), "orin-nano": (11.0, 15.0)}

USERS = ("ann", "bob", "cleo", "dan")
#: ann submits 70 % of the work, in bursts of many jobs; the others the rest.
SHARES = (0.7, 0.1, 0.1, 0.1)


def stream(
    seed: int,
    *,
    jobs: int = 400,
    load: float = 0.9,
    boards: int = 4,
    slack: tuple[float, float] = (1.5, 10.0),
    deadlines: float = 0.8,
    spread: float = 1.2,
) -> Scenario:
    """Jobs of four users that come at random times, most with a deadline, on so many NX and Orin.

    A deadline is ``slack`` times the run time on the Orin after submission. ``load`` is relative to
    what the fleet does if every device runs every kind of job.
    """
    random = Random(seed)
    verdicts: dict[str, dict[str, Verdict]] = {}
    fastest_s: list[float] = []
    alone_s = 0.0
    for number in range(jobs):
        best_s = min(200.0 * random.lognormvariate(0.0, spread), 12_000.0)
        factor = random.choice(FACTORS)
        times = {"orin-nano": best_s} | ({"xavier-nx": best_s * factor} if factor else {})
        verdicts[str(number)] = {
            model: known_run(time_s, energy_j=time_s * random.uniform(*POWER_W[model]))
            for model, time_s in times.items()
        }
        fastest_s.append(best_s)
        alone_s += 1 / (boards * sum(1 / time_s for time_s in times.values()))
    gap_s, at_s = alone_s / jobs / load, 0.0
    made: list[Job] = []
    burst = 0
    for number, best_s in enumerate(fastest_s):
        burst = burst - 1 if burst else (15 if random.random() < 0.045 else 0)
        user = USERS[0] if burst else random.choices(USERS, SHARES)[0]
        at_s += random.expovariate(1 / gap_s) * (0.1 if burst else 2.0)
        due = random.random() < deadlines
        deadline_s = at_s + best_s * random.uniform(*slack) if due else None
        work = Workload("command", f"work-{number}")
        made.append(Job(str(number), work, submitted_s=at_s, user=user, deadline_s=deadline_s))
    devices = [Device(f"{k.model}-{n}", k) for k in (NX, ORIN) for n in range(1, boards + 1)]
    table = VerdictTable(verdicts)
    return Scenario(made, devices, CostsAsTruth(table), lambda: VerdictTable(verdicts), seed)


def runs(policy: str, worlds: Iterable[Scenario]) -> list[SimulationRun]:
    """The policy in each of the worlds. Raises AssertionError where it broke its contract."""
    found = [simulate(policy, world) for world in worlds]
    for run in found:
        assert not run.scheduler.policy_errors, run.scheduler.policy_errors[0]
    return found


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def slowdowns(run: SimulationRun) -> dict[str, float]:
    """Each user's mean slowdown: completion over run time on the best device."""
    found: dict[str, list[float]] = {}
    for record in run.scheduler.jobs.values():
        best_s = min(
            verdict.time_s
            for kind in (NX, ORIN)
            if not isinstance(verdict := run.scheduler.verdict(record, kind), type(None))
            and hasattr(verdict, "time_s")
        )
        end_s = record.attempts[-1].end_s
        assert end_s is not None
        found.setdefault(record.job.user, []).append((end_s - record.job.submitted_s) / best_s)
    return {user: mean(found[user]) for user in sorted(found)}
