"""Starts Ray's own processes: a head, and nodes. ``ray start --block`` as our child, one session
each. ``ray stop`` is never called: it ends every Ray process of the machine, whoever started it.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from jetsched.cluster.link import DEVICE_LABEL, MODEL_LABEL, agent_resource
from jetsched.cluster.nodeconfig import NODE_VARIABLE
from jetsched.cluster.rayplace import RayPlace
from jetsched.errors import JetschedError
from jetsched.files import make_folder
from jetsched.records import Device

#: The least that Ray takes; nothing big ever goes through it.
OBJECT_STORE_BYTES = 80_000_000
#: Ray on a busy machine takes its time; this is against hanging only.
PATIENCE_S = 120.0
#: How many folders of earlier lives of a Ray process are kept, with their logs.
KEPT_SESSIONS = 2


def start_head(place: RayPlace, *, cpus: int = 0) -> subprocess.Popen[bytes]:
    """Start the head at the place's address; returns at once. :func:`wait_for_head` waits for it.

    With ``cpus`` tasks run on it, so many at a time.
    """
    _ready_file(place).unlink(missing_ok=True)
    _drop_old_sessions(Path(place.temp))
    options = [
        "--head",
        f"--port={place.address.rpartition(':')[2]}",
        "--include-dashboard=false",
        "--no-monitor",  # of the autoscaler, which has nothing to scale
        f"--temp-dir={place.temp}",
        f"--system-config={json.dumps(place.health.for_head())}",
        f"--num-cpus={cpus}",
        "--num-gpus=0",
        "--disable-usage-stats",
    ]
    return _start(place, options, place.environment(), head_log(place))


def is_head_ready(place: RayPlace) -> bool:
    """Whether nodes can join the head that was started last."""
    return _ready_file(place).exists()


def head_log(place: RayPlace) -> Path:
    return Path(place.temp) / "head.log"


def wait_for_head(place: RayPlace, process: subprocess.Popen[bytes]) -> None:
    """Wait until nodes can join. Raises :class:`JetschedError` with the end of its log."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_head_ready(place):
        if process.poll() is not None or time.monotonic() > deadline:
            raise JetschedError(f"Ray's head did not start:{last_lines(head_log(place))}")
        time.sleep(0.05)


def start_node(
    place: RayPlace, device: Device, node_file: Path, temp: Path, log: Path
) -> subprocess.Popen[bytes]:
    """Start the node of a device; returns at once. It has joined when Ray lists it.

    ``node_file`` holds the agent's configuration. ``temp`` is a folder of its own: nodes that start
    at the same time take the same socket in a shared one. A socket's path may have 107 characters.
    """
    _drop_old_sessions(temp)
    options = [
        f"--address={place.address}",
        f"--temp-dir={temp}",
        "--num-cpus=1",
        "--num-gpus=1",  # Ray's own detection sees no GPU of a Jetson
        f"--resources={json.dumps({agent_resource(device.id): 1})}",
        f"--labels={DEVICE_LABEL}={device.id},{MODEL_LABEL}={device.model}",
    ]
    return _start(place, options, {**place.environment(), NODE_VARIABLE: str(node_file)}, log)


def is_free(host: str, port: int) -> bool:
    """Whether somebody could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port of an address of this machine that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
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


def last_lines(log: Path, most: int = 15) -> str:
    """The end of a log, indented below a sentence; "" where there is none."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "".join(f"\n    {line}" for line in lines[-most:])


def _ready_file(place: RayPlace) -> Path:
    return Path(place.temp) / "ray_current_cluster"  # Ray writes it when everything runs


def _drop_old_sessions(temp: Path) -> None:
    """Remove what Ray left of earlier lives: on an SD card it would fill up."""
    found = sorted((p for p in temp.glob("session_2*") if p.is_dir()), key=lambda p: p.name)
    for folder in found[: -KEPT_SESSIONS or None]:
        shutil.rmtree(folder, ignore_errors=True)


def _start(
    place: RayPlace, options: Sequence[str], env: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-c",
        "from jetsched.cluster.raynodes import ray_command; ray_command()",
        "start",
        "--block",
        f"--node-ip-address={place.ip}",
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
