"""What the verbs of `jetsched policies` print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jetsched.cluster.policytest import CROWDS, FLEET, SEEDS, STREAM, PolicyReport
from jetsched.cluster.switching import Switch
from jetsched.policies import PolicyDetails, PolicyInfo
from jetsched.policies.contract import Finding
from jetsched.tables import Column, console, next_steps, print_table
from jetsched.units import format_duration, number

#: So many worlds of a broken rule are shown; --json has all of them.
_SHOWN = 3


def print_policies(found: Sequence[PolicyInfo]) -> None:
    """`ls`: a line per policy."""
    columns = [
        Column("POLICY"),
        Column("FOR", drop=2),
        Column("WHAT IT DOES", most=90, least=40),
        Column("FROM", drop=1),
    ]
    rows = [[p.name + (" *" if p.default else ""), p.kind, p.summary, p.source] for p in found]
    print_table(columns, rows)
    console().print(
        "  * the default. A policy of your own is a FILE.py: jetsched policies new NAME"
    )
    next_steps("jetsched policies show NAME", "jetsched compare --policies all")


def print_details(policy: PolicyDetails) -> None:
    """`show`: the docstring, and the options."""
    out = console()
    out.print(f"{policy.name} ({policy.kind})" if policy.kind else policy.name, style="bold")
    for line in policy.text.splitlines() or ["It says nothing about itself."]:
        out.print(f"  {line}".rstrip(), markup=False)
    out.print()
    out.print(f"  where      {policy.where}", markup=False)
    promise = "nothing waits for ever while others keep coming" if policy.ages else "none"
    out.print(f"  promise    {promise}")
    for option in policy.options:
        default = "must be given" if option.required else f"default {option.default}"
        out.print(f"  option     {option.name}: {option.type or 'any'}, {default}", markup=False)
    words = ",".join(f"{o.name}={o.default}" for o in policy.options if not o.required)
    name = policy.where if ".py" in policy.where else policy.name
    spec = f"{name}:{words}" if words else name
    next_steps(f"jetsched simulate --generate 100 --load 0.9 --policy {spec}")


def print_written(files: Sequence[Path]) -> None:
    """`new`: what was written, and what to do with it."""
    for file in files:
        console().print(f"Written: {file}", markup=False)
    steps = [f"jetsched policies test {files[0]}"]
    if len(files) > 1:
        steps.append(f"pytest {files[1]}")
    next_steps(*steps, f"jetsched compare --generate 100 --policies all,{files[0]}")


def print_report(report: PolicyReport, spec: str) -> None:
    """`test`: what is broken, in which world and on which line, and the benchmark."""
    out = console()
    broken = len({finding.rule for finding in report.errors})
    if broken:
        out.print(f"✗ {report.policy} breaks {broken} of {report.rules} rules of the contract.")
    else:
        out.print(f"✓ {report.policy} keeps the {report.rules} rules of the contract.")
    print_findings(report.findings)
    if report.ended_early:
        out.print("  It took too long too often: the rest was left out.")
    if report.benchmarks:
        print_benchmarks(report)
    if broken:
        next_steps(f"mend it, then: jetsched policies test {spec}")
    else:
        next_steps(f"jetsched compare --policies all,{spec}", f"jetsched policies use {spec}")


def print_findings(findings: Sequence[Finding]) -> None:
    """Rule by rule, the first worlds in which it was broken."""
    out = console()
    for rule in dict.fromkeys(finding.rule for finding in findings):
        of_rule = [finding for finding in findings if finding.rule == rule]
        sign, word = ("✗", "") if of_rule[0].kind == "error" else ("~", " (not promised)")
        out.print(f"  {sign} {rule}{word}", markup=False)
        for finding in of_rule[:_SHOWN]:
            where = f"{finding.where}: " if finding.where else ""
            out.print(f"      world {finding.world}: {where}{finding.text}", markup=False)
        if len(of_rule) > _SHOWN:
            out.print(f"      and {len(of_rule) - _SHOWN} times more")


def print_benchmarks(report: PolicyReport) -> None:
    """The policy beside others: how soon jobs are done, and what a decision costs."""
    columns = [
        Column("POLICY"),
        Column("MEAN DONE", right=True),
        Column("P95", right=True),
        Column("JOBS/CPU S", right=True),
        Column("MISTAKES", right=True, drop=1),
    ]
    rows = [
        [
            each.policy,
            format_duration(each.mean_completion_s),
            format_duration(each.p95_completion_s),
            number(each.jobs_per_cpu_s),
            str(each.policy_errors),
        ]
        for each in report.benchmarks
    ]
    console().print()
    print_table(columns, rows)
    world = f"{STREAM.generate} jobs of the paper's mix at load {STREAM.load:g} on {FLEET}"
    console().print(
        f"  {world}, {SEEDS} seeds; JOBS/CPU S: {CROWDS[-1]:,} that wait for 20 boards."
    )


def print_switched(change: Switch) -> None:
    """`use`: which policy decides now, or why it does not."""
    out = console()
    if not change.done:
        out.print(f"✗ {change.policy} was not taken: the scheduler goes on with {change.before}.")
        print_findings(change.report.findings)
        next_steps(f"jetsched policies test {change.spec}")
        return
    print_findings(change.report.findings)
    out.print(f"✓ {change.policy} decides from now on, {change.before} no more.")
    out.print("  What runs goes on. After `jetsched down` it is the policy of `jetsched up` again.")
    next_steps("jetsched queue", f"jetsched policies use {change.before}")
