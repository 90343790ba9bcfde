"""Starts Ray's own processes: a head, and one node per device, all on the loopback.

``ray start --block`` as our child, one session each. ``ray stop`` is never called: it ends every
Ray process of the machine, whoever started it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetsched.cluster.agent import NODE_VARIABLE
from jetsched.cluster.guard import VARIABLE as POLICY_BUDGET
from jetsched.cluster.link import DEVICE_LABEL, MODEL_LABEL, agent_resource
from jetsched.cluster.processes import MARK
from jetsched.cluster.state import ClusterState
from jetsched.errors import JetschedError
from jetsched.files import make_folder
from jetsched.records import Device

#: The least that Ray takes; nothing big ever goes through it.
OBJECT_STORE_BYTES = 80_000_000
#: Ray on a busy machine takes its time; this is against hanging only.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Health:
    """When Ray gives a node up. Tight values find a dead node sooner, and a swapping one dead.

    A killed raylet is noticed after about ``period_ms x failures``, a hung one after
    ``(period_ms + timeout_ms) x failures``.
    """

    period_ms: int = 1000
    timeout_ms: int = 5000
    failures: int = 4
    keepalive_ms: int = 5000
    keepalive_timeout_ms: int = 10000

    def for_head(self) -> dict[str, int]:
        """Ray's ``--system-config``."""
        return {
            "health_check_initial_delay_ms": self.period_ms,
            "health_check_period_ms": self.period_ms,
            "health_check_timeout_ms": self.timeout_ms,
            "health_check_failure_threshold": self.failures,
            "grpc_keepalive_time_ms": self.keepalive_ms,
            "grpc_keepalive_timeout_ms": self.keepalive_timeout_ms,
            "grpc_client_keepalive_time_ms": self.keepalive_ms,
            "grpc_client_keepalive_timeout_ms": self.keepalive_timeout_ms,
        }

    def for_everybody(self) -> dict[str, str]:
        """Environment of every Ray process: keepalives hold on both sides."""
        return {
            f"RAY_{name}": str(value)
            for name, value in self.for_head().items()
            if "keepalive" in name
        }


DEFAULT_HEALTH = Health()


def ray_environment(state: ClusterState, home: Path, health: Health) -> dict[str, str]:
    """The environment of everything that belongs to a cluster, the scheduler's service included.

    Whatever RAY_ settings the caller had are left out: they were meant for another cluster. Of our
    own only the time budget of policies goes with it, which can change what is decided.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name == POLICY_BUDGET or not name.startswith(("RAY_", "JETSCHED_"))
    }
    return {
        **inherited,
        **health.for_everybody(),
        MARK: state.id,
        "JETSCHED_HOME": str(home),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(state.token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Workers would run with nice 15 and an OOM score of 1000, and so would what they start.
        "RAY_worker_niceness": "0",
        "RAY_worker_oom_score_adjustment": "0",
        # It would kill the small agent instead of its large child; the supervisor has a cap.
        "RAY_memory_monitor_refresh_ms": "0",
    }


def start_head(
    state: ClusterState, env: Mapping[str, str], health: Health, *, cpus: int = 0
) -> subprocess.Popen[bytes]:
    """Start the head; returns at once. :func:`wait_for_head` waits for it.

    With ``cpus`` tasks run on it, so many at a time.
    """
    options = [
        "--head",
        f"--port={state.ray_port}",
        "--include-dashboard=false",
        "--no-monitor",  # of the autoscaler, which has nothing to scale
        f"--temp-dir={state.temp}",
        f"--system-config={json.dumps(health.for_head())}",
        f"--num-cpus={cpus}",
        "--num-gpus=0",
        "--disable-usage-stats",
    ]
    return _start(options, env, Path(state.temp) / "head.log")


def wait_for_head(state: ClusterState, process: subprocess.Popen[bytes]) -> None:
    """Wait until nodes can join. Raises :class:`JetschedError` with the end of its log."""
    ready = Path(state.temp) / "ray_current_cluster"  # written when everything runs
    _wait(ready.exists, process, Path(state.temp) / "head.log", "Ray's head")


def start_node(
    state: ClusterState, env: Mapping[str, str], device: Device, node_file: Path
) -> subprocess.Popen[bytes]:
    """Start the node of a device; returns at once. It has joined when Ray lists it.

    ``node_file`` holds the agent's configuration.
    """
    # A folder of its own: nodes that start at the same time take the same socket in a shared one.
    # The path of a socket may have 107 characters, so it gets a short name.
    temp = Path(state.temp) / str(state.devices.index(device.id))
    options = [
        f"--address={state.ray_address}",
        f"--temp-dir={temp}",
        "--num-cpus=1",
        "--num-gpus=1",  # Ray's own detection sees no GPU of a Jetson
        f"--resources={json.dumps({agent_resource(device.id): 1})}",
        f"--labels={DEVICE_LABEL}={device.id},{MODEL_LABEL}={device.model}",
    ]
    log = Path(state.temp) / f"{device.id}.log"
    return _start(options, {**env, NODE_VARIABLE: str(node_file)}, log)


def check_alive(process: subprocess.Popen[bytes], state: ClusterState, device_id: str) -> None:
    """Raise :class:`JetschedError` with the end of its log if a node's process has ended."""
    if process.poll() is not None:
        raise _failed(Path(state.temp) / f"{device_id}.log", f"the Ray node of {device_id}")


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stay_on_loopback() -> None:
    """Keep Ray from turning 127.0.0.1 into the machine's own address, where it would listen for
    everybody. To be called in each process of ours that starts Ray, or connects to it."""
    from ray._private import services

    services.resolve_ip_for_localhost = lambda host: host


def ray_command() -> None:
    """The command `ray`, staying on the loopback."""
    stay_on_loopback()
    from ray.scripts.scripts import main

    main()  # type: ignore[no-untyped-call]


def _start(options: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-c",
        "from jetsched.cluster.raynodes import ray_command; ray_command()",
        "start",
        "--block",
        "--node-ip-address=127.0.0.1",
        "--min-worker-port=0",  # any free one, instead of 10002 and up
        "--max-worker-port=0",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        "--include-log-monitor=false",
        *options,
    ]
    make_folder(log.parent)
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd="/",  # Python looks for modules there first, and ours may hold an attr.py
            start_new_session=True,
        )


def _wait(done: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if process.poll() is not None or time.monotonic() > deadline:
            raise _failed(log, what)
        time.sleep(0.05)


def _failed(log: Path, what: str) -> JetschedError:
    try:
        lines: Any = log.read_text(errors="replace").splitlines()[-15:]
    except OSError:
        lines = []
    return JetschedError("\n    ".join([f"{what} did not start:", *lines]))
