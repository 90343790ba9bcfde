"""The outer fence: under systemd, the groups of jobs lie inside the unit's own, and end with it.

Version 2 of cgroups gives no controllers below a group that holds processes. A supervisor that
stays in its unit's group would so have the jobs' groups beside the unit, where its end is not
theirs, or as a plain user none at all. One that steps down into a leaf leaves room for them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)

#: The group of the supervisor itself, Ray and the agent, below the unit's.
LEAF = "jetsched"


def step_down(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> Path | None:
    """Move this process into a leaf of its unit's group; returns the leaf, None where that is not
    to be had: no systemd, version 1 (which needs no leaf), or a group that is not ours to divide
    (``Delegate=yes`` makes it ours).
    """
    if "INVOCATION_ID" not in environ:
        return None
    unit = _own_group(root)
    if unit is None or not unit.name.endswith(".service") or not os.access(unit, os.W_OK):
        return None
    leaf = unit / LEAF
    try:
        leaf.mkdir(exist_ok=True)
        for pid in (unit / "cgroup.procs").read_text().split() or [str(os.getpid())]:
            (leaf / "cgroup.procs").write_text(pid)
        (unit / "cgroup.subtree_control").write_text("+memory")
    except OSError as error:
        log.warning("%s is not divided, jobs are outside of it: %s", unit, error)
        return None
    return leaf


def _own_group(root: Path) -> Path | None:
    """Our group's folder in the hierarchy of version 2."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mounts").read_text().splitlines()
    except OSError:
        return None
    path = next((line[3:] for line in groups if line.startswith("0::")), None)
    fields = (line.split() for line in mounts)
    point = next((field[1] for field in fields if field[2] == "cgroup2"), None)
    if path is None or point is None:
        return None
    return root / point.lstrip("/") / path.lstrip("/")
