"""What the verbs of `jetsched policies` print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jetsched.policies import PolicyDetails, PolicyInfo
from jetsched.tables import Column, console, next_steps, print_table


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
