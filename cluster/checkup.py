"""The doctor on a node that is at work: what `jetsched doctor` would say there, asked by the head.

A job that runs must not suffer from it: whether torch sees the GPU is not tried then, for that
takes hundreds of megabytes of the memory which both share, and what the job holds counts as free.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jetsched.cluster.nodeconfig import NodeConfig
from jetsched.profiler.doctor import examine
from jetsched.profiler.findings import Cluster, Finding, World, this_world

#: An emulated board runs what the machine has; these findings are about its disk only.
OF_EMULATED = frozenset({"disk", "cache"})
#: Where a process of Ray finds Ray's token.
TOKEN_VARIABLE = "RAY_AUTH_TOKEN_PATH"


@dataclass(frozen=True)
class CheckUp:
    """What the doctor found, fine or not; ``note`` is what could not be looked at, and why."""

    findings: tuple[Finding, ...]
    note: str = ""


def check_up(config: NodeConfig, jobs_mib: float | None, head_python: str = "") -> CheckUp:
    """Examine this node; blocks for some seconds.

    ``jobs_mib`` is what its jobs hold, None while none runs; ``head_python`` the version that Ray
    wants here as well.
    """
    world = this_world(
        config.python,
        Path(config.home or config.folder),
        cluster_of(os.environ, head_python),
        Path(config.root),
        ask_gpu=jobs_mib is None,
    )
    if config.device.device_class.emulated:
        note = "emulated: only its disk is its own"
        return CheckUp(only(examine(world), OF_EMULATED), note)
    if jobs_mib is None:
        return CheckUp(tuple(examine(world)))
    note = "a job runs: whether torch sees the GPU was not tried"
    return CheckUp(tuple(examine(_without_jobs(world, jobs_mib))), note)


def only(findings: Collection[Finding], checks: Collection[str]) -> tuple[Finding, ...]:
    """Those findings that are of these checks."""
    return tuple(finding for finding in findings if finding.check in checks)


def cluster_of(environ: Mapping[str, str], head_python: str) -> Cluster | None:
    """The cluster that this process is part of; None where it is none of Ray's."""
    path = environ.get(TOKEN_VARIABLE, "")
    return Cluster(Path(path), head_python) if path else None


def _without_jobs(world: World, jobs_mib: float) -> World:
    """The board as it would be if no job of ours ran on it."""
    free_mib = world.identity.memory_available_mib
    if free_mib is None:
        return world
    identity = replace(world.identity, memory_available_mib=free_mib + jobs_mib)
    return replace(world, identity=identity)
