"""A node as it was set up, in a file that its agent reads when it starts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jetsched.cluster.filecache import CACHE_MIB
from jetsched.files import from_json
from jetsched.profiler.limits import Limits
from jetsched.records import Device

#: Names the file with the :class:`NodeConfig` of the node that a process belongs to.
NODE_VARIABLE = "JETSCHED_NODE"
#: Another :attr:`NodeConfig.stall_s`, for a trial: seconds, 0 for none.
STALL_VARIABLE = "JETSCHED_STALL_S"
DAY_S = 86400.0


@dataclass(frozen=True)
class NodeConfig:
    """Which device a node is, and how it runs what it is given."""

    device: Device
    folder: str  # where attempts live, one folder each
    limits: Limits = field(default_factory=Limits)  # of every attempt; a job's own come on top
    python: str = sys.executable  # runs the workload
    lease_s: float = 60.0  # not having heard from the head for so long, it stops what runs
    scale: float = 1.0
    #: Where the folders of all nodes are, if nodes share a file system: then a job goes on from its
    #: checkpoint on any of them, else only where it was.
    shared: str = ""
    #: The node's own data home, where `jetsched profile` keeps what it measures; "" where that is
    #: the head's, which looks there itself.
    home: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    #: Where /proc, /sys and the power mode are looked for. An emulated board has no sensors in "/".
    root: str = "/"
    stall_s: float = 600.0  # training or inference that shows no sign of life for so long is lost
    grace_s: float = 10.0  # from SIGTERM to SIGKILL: what a checkpoint may take
    disk_min_mib: float = 500.0  # with less room on the disk the node takes no new job
    power_mode: str = ""  # the one it is to be in; "": its profile goes with whichever it is in
    #: Folders of attempts that are over: they go when they are older, or all together bigger.
    keep_s: float = 30 * DAY_S
    keep_mib: float = 4096.0
    cache_mib: float = CACHE_MIB  # of models and data that the head has sent

    @classmethod
    def from_environment(cls) -> NodeConfig:
        """The configuration of the node that this process runs on."""
        config: NodeConfig = from_json(
            cls, json.loads(Path(os.environ[NODE_VARIABLE]).read_bytes())
        )
        stall_s = os.environ.get(STALL_VARIABLE, "").strip()
        return replace(config, stall_s=float(stall_s)) if stall_s else config
