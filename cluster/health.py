"""How soon Ray gives a node up: presets, and single values for who knows the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

from jetsched.errors import InputError


@dataclass(frozen=True)
class Health:
    """When Ray gives a node up. Tight values find a dead node sooner, and a swapping one dead.

    A killed raylet is noticed after about ``period_ms x failures``, a hung one after
    ``(period_ms + timeout_ms) x failures``. A node that cannot reach the head leaves after
    ``reconnect_s``; its own raylet is looked at every ``self_check_ms``.
    """

    period_ms: int = 1000
    timeout_ms: int = 5000
    failures: int = 4
    keepalive_ms: int = 5000
    keepalive_timeout_ms: int = 10000
    self_check_ms: int = 5000
    reconnect_s: int = 60

    def for_head(self) -> dict[str, int]:
        """Ray's ``--system-config``, which the head tells every node."""
        return {
            "health_check_initial_delay_ms": self.period_ms,
            "health_check_period_ms": self.period_ms,
            "health_check_timeout_ms": self.timeout_ms,
            "health_check_failure_threshold": self.failures,
            **self._keepalives(),
            "raylet_liveness_self_check_interval_ms": self.self_check_ms,
            "gcs_rpc_server_reconnect_timeout_s": self.reconnect_s,
        }

    def for_everybody(self) -> dict[str, str]:
        """Environment of every Ray process: keepalives hold on both sides."""
        return {f"RAY_{name}": str(value) for name, value in self._keepalives().items()}

    def _keepalives(self) -> dict[str, int]:
        return {
            "grpc_keepalive_time_ms": self.keepalive_ms,
            "grpc_keepalive_timeout_ms": self.keepalive_timeout_ms,
            "grpc_client_keepalive_time_ms": self.keepalive_ms,
            "grpc_client_keepalive_timeout_ms": self.keepalive_timeout_ms,
        }


DEFAULT_HEALTH = Health()
#: *tight*: a quiet wired network; *slow*: boards that swap, or a radio link.
PRESETS: Mapping[str, Health] = MappingProxyType(
    {
        "tight": Health(1000, 2000, 3, 2000, 4000, 5000, 15),
        "default": DEFAULT_HEALTH,
        "slow": Health(3000, 15000, 5, 20000, 20000, 10000, 120),
    }
)


def parse_health(text: str) -> Health:
    """From ``tight``, ``slow:failures=8`` or ``period_ms=500,timeout_ms=1000``.

    What is not named has the value of the preset, or the default. Raises :class:`InputError`.
    """
    name, colon, rest = text.strip().partition(":")
    if not colon and "=" in name:
        name, rest = "default", name
    hint = f"--health {'|'.join(PRESETS)}, or e.g. tight:failures=5"
    if name not in PRESETS:
        raise InputError(f"--health {text}: there is no {name!r}", hint=hint)
    known = {field.name for field in fields(Health)}
    changes: dict[str, int] = {}
    for word in filter(None, (word.strip() for word in rest.split(","))):
        key, _, value = (part.strip() for part in word.partition("="))
        if key not in known:
            raise InputError(
                f"--health {text}: there is no {key!r}",
                hint=f"there is: {', '.join(sorted(known))}",
            )
        if not value.isdecimal() or not 1 <= int(value) <= 3_600_000:
            raise InputError(f"--health {text}: {key} is a whole number above 0", hint=hint)
        changes[key] = int(value)
    return replace(PRESETS[name], **changes)
