"""What wishes cost: deadlines, energy and fairness against mean completion, over seeds.

    python tools/bench_wishes.py [deadlines|energy|fairness|speed] [--seeds N] [--jobs N]

Synthetic streams on Xavier NX and Orin Nano: lognormal run times, the Orin 1.7 to 3.3 times as fast
(as in the paper), one job in ten fits only the Orin; the NX draws less power, but for longer. Each
line is a mean over seeds; all policies meet the same jobs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from random import Random

from jetsched import policies
from jetsched.cluster.simulating import Scenario, SimulationRun, simulate
from jetsched.cluster.truth import CostsAsTruth
from jetsched.records import Device, DeviceClass, Estimate, Job, Verdict, Workload
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
    short: float = 1.0,
) -> Scenario:
    """Jobs of four users that come at random times, most with a deadline, on so many NX and Orin.

    A deadline is ``slack`` times the run time on the Orin after submission. ``load`` is relative to
    what the fleet does if every device runs every kind of job. ann's jobs are ``short`` times as
    long as those of the others.
    """
    random = Random(seed)
    verdicts: dict[str, dict[str, Verdict]] = {}
    users: list[tuple[str, bool]] = []  # with whether the job belongs to a burst
    burst = 0
    for _ in range(jobs):
        burst = burst - 1 if burst else (15 if random.random() < 0.045 else 0)
        users.append((USERS[0] if burst else random.choices(USERS, SHARES)[0], burst > 0))
    fastest_s: list[float] = []
    alone_s = 0.0
    for number, (user, _) in enumerate(users):
        best_s = min(200.0 * random.lognormvariate(0.0, spread), 12_000.0)
        best_s *= short if user == USERS[0] else 1.0
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
    for number, (best_s, (user, in_burst)) in enumerate(zip(fastest_s, users, strict=True)):
        at_s += random.expovariate(1 / gap_s) * (0.1 if in_burst else 2.0)
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


def mean_s(runs_: Sequence[SimulationRun]) -> float:
    """Mean completion."""
    return sum(run.metrics.mean_completion_s or 0.0 for run in runs_) / len(runs_)


def p99_s(runs_: Sequence[SimulationRun]) -> float:
    return sum(run.metrics.p99_completion_s or 0.0 for run in runs_) / len(runs_)


def missed(runs_: Sequence[SimulationRun]) -> int:
    """Deadlines, in all runs together."""
    return sum(run.metrics.missed_deadlines for run in runs_)


def energy_j(runs_: Sequence[SimulationRun]) -> float:
    return sum(run.metrics.energy_j or 0.0 for run in runs_)


def user_completions_s(runs_: Sequence[SimulationRun]) -> dict[str, float]:
    """Each user's mean completion."""
    found: dict[str, list[float]] = {user: [] for user in USERS}
    for run in runs_:
        for record in run.scheduler.jobs.values():
            end_s = record.attempts[-1].end_s
            assert end_s is not None
            found[record.job.user].append(end_s - record.job.submitted_s)
    return {user: sum(values) / len(values) for user, values in found.items() if values}


def jobs_per_cpu_s(runs_: Sequence[SimulationRun]) -> float:
    return sum(run.metrics.jobs for run in runs_) / sum(run.loop_cpu_s for run in runs_)


def least_energy_j(worlds: Iterable[Scenario]) -> float:
    """If every job ran where it takes the least, however long that lasted."""
    total_j = 0.0
    for world in worlds:
        costs = world.estimates()
        for job in world.jobs:
            verdicts = (costs.verdict(job, kind) for kind in (NX, ORIN))
            total_j += min(v.energy_j or 0.0 for v in verdicts if isinstance(v, Estimate))
    return total_j


def deadlines(seeds: int, jobs: int) -> None:
    """Missed deadlines, and what that costs in mean completion."""
    row = "{:16}{:>24}{:>10}{:>10}{:>10}"
    print(row.format("", "policy", "missed %", "mean s", "p99 s"))
    for name, load, slack in (
        ("load 0.7", 0.7, (1.5, 10.0)),
        ("load 0.9", 0.9, (1.5, 10.0)),
        ("load 1.1", 1.1, (1.5, 10.0)),
        ("load 1.4", 1.4, (1.5, 10.0)),
        ("1.2, easy ones", 1.2, (5.0, 40.0)),
    ):
        worlds = [stream(seed, jobs=jobs, load=load, slack=slack) for seed in range(seeds)]
        due = sum(job.deadline_s is not None for world in worlds for job in world.jobs)
        for policy in known(
            "earliest_finish", "shortest_first", "comparative_advantage", "auto",
            "earliest_deadline",
        ):  # fmt: skip
            found = runs(policy, worlds)
            figures = (100 * missed(found) / due, mean_s(found), p99_s(found))
            print(
                row.format(name, policy, f"{figures[0]:.1f}", *(f"{f:,.0f}" for f in figures[1:]))
            )


def energy(seeds: int, jobs: int) -> None:
    """Joules above the least possible, and what saving them costs in time."""
    row = "{:10}{:>30}{:>12}{:>10}{:>10}"
    print(row.format("", "policy", "above least", "mean s", "p99 s"))
    for load in (0.3, 0.7, 0.9, 1.1):
        worlds = [stream(seed, jobs=jobs, load=load) for seed in range(seeds)]
        least_j = least_energy_j(worlds)
        for policy in (
            "fifo_fastest", "earliest_finish", "lowest_energy", "lowest_energy:max_delay=5",
            "energy_delay", "energy_delay:exponent=2",
        ):  # fmt: skip
            found = runs(policy, worlds)
            above = f"{100 * (energy_j(found) / least_j - 1):.1f} %"
            times = (f"{mean_s(found):,.0f}", f"{p99_s(found):,.0f}")
            print(row.format(f"load {load}", policy, above, *times))


def fairness(seeds: int, jobs: int) -> None:
    """What fairness costs in mean completion, and what the users have of it."""
    row = "{:28}{:>24}{:>9}{:>9}" + "{:>8}" * len(USERS)
    print(row.format("", "policy", "mean s", "p99 s", *USERS) + "   (mean completions, s)")
    for load in (0.7, 0.9, 1.1):
        for short, what in ((1.0, ""), (0.25, ", ann's jobs short")):
            worlds = [stream(seed, jobs=jobs, load=load, short=short) for seed in range(seeds)]
            for policy in known(
                "earliest_finish", "shortest_first", "comparative_advantage", "auto", "fair_share"
            ):
                found = runs(policy, worlds)
                each = (f"{value:,.0f}" for value in user_completions_s(found).values())
                times = (f"{mean_s(found):,.0f}", f"{p99_s(found):,.0f}")
                print(row.format(f"load {load}{what}", policy, *times, *each))


def speed(seeds: int, jobs: int) -> None:
    """Jobs per CPU second when so many wait at once for 100 devices of two kinds."""
    for share in (0.0, 0.8):
        slack = (1.5 * jobs / 400, 10.0 * jobs / 400)
        world = stream(0, jobs=jobs, load=1e6, boards=50, deadlines=share, slack=slack)
        for policy in (
            "first_fit", "best_fit", "fifo_fastest", "shortest_first", "earliest_deadline",
            "lowest_energy", "energy_delay", "fair_share",
        ):  # fmt: skip
            rate = jobs_per_cpu_s(runs(policy, [world]))
            print(f"{100 * share:.0f} % deadlines  {policy:20}{rate:>10,.0f} jobs per CPU s")


def known(*names: str) -> list[str]:
    return [name for name in names if name in policies.BUILT_IN]


TABLES = {"deadlines": deadlines, "energy": energy, "fairness": fairness, "speed": speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("table", nargs="?", choices=[*TABLES, "all"], default="all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=400)
    options = parser.parse_args()
    for name, table in TABLES.items():
        if options.table in (name, "all"):
            print(f"\n{name}: {(table.__doc__ or '').strip()}")
            table(options.seeds, options.jobs)


if __name__ == "__main__":
    main()
