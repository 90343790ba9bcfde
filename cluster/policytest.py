"""Tests a policy of one's own: the contract, another hash seed, and a benchmark beside others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jetsched import policies
from jetsched.cluster.guard import Guarded, Standing
from jetsched.cluster.simulating import simulate
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import scenario
from jetsched.policies import contract
from jetsched.policies.contract import Finding
from jetsched.policies.contract_rules import RULES, Factory
from jetsched.scheduler.checks import policy_name
from jetsched.scheduler.view import Policy

#: CPU seconds for a decision about a few jobs. A slow machine makes no policy break its contract:
#: it is the thread's own time, and a good one takes milliseconds.
BUDGET_S = 5.0

#: The benchmark: streams of the paper's mix on two kinds of boards, one per seed.
FLEET = "xavier-nx:4,orin-nano:4"
STREAM = WorldOptions(generate=400, load=0.9, fleet=FLEET)
SEEDS = 3
#: All jobs wait at once on 20 boards. First a few: whoever is slow there is not asked for more.
CROWDS = (500, 5000)
CROWDED_FLEET = "xavier-nx:10,orin-nano:10"
SLOW_JOBS_PER_S = 1000.0

_HASH_RULE = "same decisions, whatever the hash seed"
#: In another process: no decision may follow the order of a set of strings.
_DIGEST = (
    "import json, os, sys\n"
    "spec, folder, sys.path[:] = json.loads(sys.argv[1])\n"
    "os.chdir(folder)\n"
    "told = os.dup(1)\n"
    "os.dup2(2, 1)\n"  # what the policy prints is not the answer
    "from jetsched import policies\n"
    "from jetsched.policies.contract import digest\n"
    "os.write(told, digest(lambda seed: policies.load(spec, seed=seed)).encode())\n"
)
#: Against hanging only.
_PATIENCE_S = 300.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Benchmark:
    """A policy's figures: of a stream, means over its seeds; and of a crowd of waiting jobs.

    ``policy_errors`` counts how often the fallback had to decide instead.
    """

    policy: str
    mean_completion_s: float | None
    p95_completion_s: float | None
    jobs_per_cpu_s: float
    policy_errors: int


@dataclass(frozen=True)
class PolicyReport:
    """What came of a test. ``ended_early``: it took too long too often; the rest was left out."""

    policy: str
    rules: int
    worlds: int
    findings: Sequence[Finding]
    benchmarks: Sequence[Benchmark]
    ended_early: bool = False

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind == "error"]


def try_policy(
    spec: str,
    *,
    worlds: int = contract.WORLDS,
    benchmark: bool = True,
    budget_s: float = BUDGET_S,
    progress: Progress = lambda done, total: None,
) -> PolicyReport:
    """Test the policy that a spec names. Raises :class:`InputError` where it cannot be loaded."""
    name = policy_name(policies.load(spec, seed=0))
    beside = [p for p in dict.fromkeys(("earliest_finish", policies.DEFAULT)) if p != name]
    measured = [spec, *beside] if benchmark else []
    asked = contract.steps(worlds)
    total, done = asked + 1 + (SEEDS + 1) * len(measured), 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    standing = Standing(forgets=False)  # else one that hangs now and then takes for ever

    def make(seed: int) -> Policy:
        return Guarded(policies.load(spec, seed=seed), budget_s, standing)

    findings: list[Finding] = []
    for _, found in contract.trials(make, worlds=worlds):
        findings += found
        step()
        if standing.dropped:
            return PolicyReport(name, len(RULES) + 1, worlds, findings, (), True)
    findings += _under_another_hash_seed(spec, make)
    step()
    benchmarks = [_benchmark(each, step) for each in measured]
    return PolicyReport(name, len(RULES) + 1, worlds, findings, benchmarks)


def _under_another_hash_seed(spec: str, make: Factory) -> list[Finding]:
    """Compare with the decisions of another interpreter, which hashes strings otherwise."""
    other_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    try:
        ours = contract.digest(make)
        done = subprocess.run(
            [sys.executable, "-c", _DIGEST, json.dumps([spec, os.getcwd(), [*map(str, sys.path)]])],
            env={**os.environ, "PYTHONHASHSEED": other_seed},
            cwd="/",  # Python looks for modules there first, and ours may hold an attr.py
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return [Finding(_HASH_RULE, 0, f"takes more than {_PATIENCE_S:.0f} s in another process")]
    except Exception as error:  # the policy's own, and told by another rule already
        return [Finding(_HASH_RULE, 0, f"raises {type(error).__name__}: {error}")]
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        return [Finding(_HASH_RULE, 0, f"fails in another process: {last}")]
    if done.stdout.strip() != ours:
        text = f"decides otherwise with PYTHONHASHSEED={other_seed}: is there a set, or hash()?"
        return [Finding(_HASH_RULE, 0, text)]
    return []


def _benchmark(spec: str, step: Callable[[], None]) -> Benchmark:
    means: list[float] = []
    tails: list[float] = []
    errors = 0
    for seed in range(SEEDS):
        run = simulate(spec, scenario(STREAM, seed))
        errors += len(run.scheduler.policy_errors)
        if run.metrics.mean_completion_s is not None:
            means.append(run.metrics.mean_completion_s)
        if run.metrics.p95_completion_s is not None:
            tails.append(run.metrics.p95_completion_s)
        step()
    rate = 0.0
    for count in CROWDS:
        run = simulate(spec, scenario(WorldOptions(generate=count, fleet=CROWDED_FLEET), 0))
        errors += len(run.scheduler.policy_errors)
        rate = run.jobs_per_cpu_s
        if rate < SLOW_JOBS_PER_S:
            break
    step()
    return Benchmark(run.policy, _mean(means), _mean(tails), rate, errors)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if len(values) == SEEDS else None
