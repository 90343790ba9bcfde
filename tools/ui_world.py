"""A head for measurements of the dashboard: real Ray, the real service, and computed boards."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import psutil
from live_bars import until
from many_boards import AT_ONCE, job_values
from ui_service import BOARDS_VARIABLE

from jetsched.cluster.client import Client
from jetsched.cluster.headrunner import end_all
from jetsched.cluster.processes import OwnProcess, end
from jetsched.cluster.raynodes import free_port, start_head, wait_for_head
from jetsched.cluster.state import VERSION, ClusterState, write_state
from jetsched.errors import UnreachableError
from jetsched.files import make_folder, write_atomically

TOOLS = Path(__file__).parent
SERVICE = TOOLS / "ui_service.py"


@dataclass
class World:
    """A running head. ``service`` is the scheduler's process."""

    home: Path
    state: ClusterState
    client: Client
    service: psutil.Process

    def cpu_share(self, seconds: float) -> float:
        """What share of a core the service takes over the next seconds."""
        before, began = _cpu_s(self.service), time.monotonic()
        time.sleep(seconds)
        return (_cpu_s(self.service) - before) / (time.monotonic() - began)

    def memory_mb(self) -> tuple[float, float]:
        """Resident, and proportional memory of the service, in MB."""
        info = self.service.memory_full_info()
        return info.rss / 1e6, info.pss / 1e6

    def fill(self, jobs: int) -> float:
        """Hand in so many jobs; returns how long it took."""
        began, values = time.monotonic(), list(job_values(jobs))
        for first in range(0, jobs, AT_ONCE):
            self.client.submit_specs(values[first : first + AT_ONCE], hold=True)
        return time.monotonic() - began


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def ui_world(boards: int) -> Iterator[World]:
    """A head with so many boards, on the loopback; all is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="jetsched-bench-") as folder:
        home, temp = Path(folder), tempfile.mkdtemp(prefix="jsb-", dir="/tmp")
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        state = ClusterState(
            id=secrets.token_hex(8),
            version=VERSION,
            started_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            emulate="",
            policy="earliest_finish",
            temp=temp,
            api_token=secrets.token_urlsafe(32),
            api_port=listener.getsockname()[1],
            ray_port=free_port(),
            ray_life=secrets.token_hex(8),
            cluster="bench",
        )
        write_atomically(state.token_file, secrets.token_hex(32).encode(), mode=0o600)
        write_state(home, state)
        os.environ[BOARDS_VARIABLE] = str(boards)
        try:
            yield from _running(home, state, listener, boards)
        finally:
            end_all(home, state)
            listener.close()
            shutil.rmtree(temp, ignore_errors=True)


def _running(
    home: Path, state: ClusterState, listener: socket.socket, boards: int
) -> Iterator[World]:
    place = state.place(home)
    paths = [str(TOOLS), str(TOOLS.parent / "tests"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    head = start_head(place, cpus=2)
    wait_for_head(place, head)
    with (make_folder(home / "logs") / "service.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, str(SERVICE), f"--home={home}", f"--socket={listener.fileno()}"],
            env={"MALLOC_ARENA_MAX": "2", **place.environment()},  # as the head's runner does
            pass_fds=(listener.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with Client.to(state) as client:
            until(lambda: _ready(client, started, home) >= 0.9 * boards, 0.5)
            yield World(home, state, client, psutil.Process(started.pid))
    finally:
        ours = [OwnProcess.of(started.pid, "service"), OwnProcess.of(head.pid, "head")]
        end([process for process in ours if process is not None], 10.0)


def _ready(client: Client, service: subprocess.Popen[bytes], home: Path) -> int:
    """How many boards take jobs. Raises RuntimeError where the service has ended."""
    try:
        return sum(row["state"] in ("ready", "busy") for row in client.devices())
    except UnreachableError:
        if service.poll() is None:
            return 0
        raise RuntimeError((home / "logs/service.log").read_text()[-2000:]) from None
