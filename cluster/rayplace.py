"""What the processes of one Ray on one machine have in common: settings, never a call to Ray."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jetsched.cluster.health import DEFAULT_HEALTH, Health
from jetsched.cluster.processes import MARK

#: Of our own settings only these go with a cluster's processes: they can change what is decided,
#: and when an attempt that shows no sign of life is given up.
KEPT = ("JETSCHED_POLICY_BUDGET", "JETSCHED_STALL_S")


@dataclass(frozen=True)
class RayTls:
    """Certificate, key and authority (PEM files) of Ray's own connections; "": not encrypted."""

    cert: str = ""
    key: str = ""
    ca: str = ""

    @property
    def environment(self) -> dict[str, str]:
        if not self.cert:
            return {}
        return {
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": self.cert,
            "RAY_TLS_SERVER_KEY": self.key,
            "RAY_TLS_CA_CERT": self.ca,
        }


@dataclass(frozen=True)
class RayPlace:
    """A machine's part of a Ray cluster.

    ``mark`` is what its processes carry; ``address`` is the head's, ``ip`` this machine's as others
    reach it; ``temp`` is Ray's folder here: sockets lie below it, so its path must be short.
    """

    mark: str
    home: str
    address: str
    ip: str
    temp: str
    health: Health = DEFAULT_HEALTH
    tls: RayTls = field(default_factory=RayTls)

    @property
    def token_file(self) -> Path:
        """Where Ray's own token is: whoever has it can run code in the cluster."""
        return Path(self.temp) / "token"

    def environment(self, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The environment of everything that belongs to it, the scheduler's service included.

        Whatever RAY_ settings the caller had are left out: they were meant for another cluster.
        """
        kept = {
            name: value
            for name, value in inherited.items()
            if name in KEPT or not name.startswith(("RAY_", "JETSCHED_"))
        }
        return {
            **kept,
            **self.health.for_everybody(),
            **self.tls.environment,
            MARK: self.mark,
            "JETSCHED_HOME": self.home,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Workers would run with nice 15 and an OOM score of 1000, and so would what they start.
            "RAY_worker_niceness": "0",
            "RAY_worker_oom_score_adjustment": "0",
            # It would kill the small agent instead of its large child; the supervisor has a cap.
            "RAY_memory_monitor_refresh_ms": "0",
        }
