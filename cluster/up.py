"""`jetsched up` and `down`: a head, boards that are emulated beside it, and nothing afterwards.

Everything is started by us, one session each, detached from the terminal, and carries the
cluster's mark; ``down`` ends exactly that. Ray always wants a token, and listens on the loopback
unless the head was given an address.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, NoReturn

from jetsched import policies
from jetsched.cluster.asked import Asked
from jetsched.cluster.client import Client
from jetsched.cluster.headfile import read_head_file, write_head_file
from jetsched.cluster.headrunner import (
    HOPELESS,
    SERVICE_PATIENCE_S,
    SUPERVISOR_PATIENCE_S,
    end_all,
)
from jetsched.cluster.livepolicy import live_policy
from jetsched.cluster.processes import end, wait_gone
from jetsched.cluster.raynodes import PATIENCE_S, last_lines
from jetsched.cluster.state import (
    VERSION,
    ClusterState,
    alone,
    read_state,
    write_state,
)
from jetsched.errors import InputError, JetschedError, UnreachableError
from jetsched.files import home as data_home
from jetsched.files import make_folder, write_atomically
from jetsched.policies.specs import Spec
from jetsched.profiler.emulation import parse

#: What is in the way of a start more often than that is told to who started it.
TRIES = 3

Say = Callable[[str], None]


@dataclass(frozen=True)
class Up:
    """What ``up`` did: *started* it all, found it *running*, or *revived* what was dead of it."""

    state: ClusterState
    what: Literal["started", "running", "revived"]
    seconds: float

    def differs(self, asked: Asked) -> bool:
        """Whether something else was asked for than there is."""
        has = self.state
        if asked.policy is not None and Spec.of(asked.policy).absolute != has.policy:
            return True
        there = (has.emulate, has.host, has.foreign_ray, has.api_port)
        wanted = (asked.emulate, asked.host, asked.foreign_ray, asked.port)
        differs = any(w and w != t for w, t in zip(wanted, there, strict=True))
        return differs or asked.options(has.options) != has.options


def up(asked: Asked, *, home: Path | None = None, say: Say = lambda text: None) -> Up:
    """Start a head with one node per emulated board; returns when all are ready.

    What is not asked for is as it was, where an earlier head was not taken down. What fails is
    cleaned up. Raises :class:`InputError` for wrong input, :class:`JetschedError` with the log of
    what did not start.
    """
    home, began = (home or data_home()).absolute(), time.monotonic()
    with _alone(home):
        state = read_state(home)
        if state is not None and any(p.alive for p in state.processes):
            running = state.is_alive("runner") and state.is_alive("service")
            runner = None if state.is_alive("runner") else _start_runner(home)
            state = _wait_until_ready(home, state, runner, say)
            return Up(state, "running" if running else "revived", time.monotonic() - began)
        state = _prepare(home, state, asked)
        try:
            say(f"Ray's head, {len(state.devices)} Ray nodes and the scheduler")
            state = _wait_until_ready(home, state, _start_runner(home), say)
        except BaseException:
            _end(home)
            raise
        return Up(state, "started", time.monotonic() - began)


def up_in_foreground(asked: Asked, *, home: Path | None = None) -> NoReturn:
    """Become the head's supervisor, until SIGTERM; for systemd. Adopts what a killed one left.

    Raises as :func:`up` does; what fails later is tried again for ever.
    """
    home = (home or data_home()).absolute()
    with _alone(home):
        state = read_state(home)
        if state is not None and state.is_alive("runner"):
            raise InputError(f"a head runs in {home} already", hint="jetsched down")
        if state is None or not any(p.alive for p in state.processes):
            _prepare(home, state, asked)
    sys.stdout.flush()
    os.execv(sys.executable, _runner_command(home))


def down(*, home: Path | None = None) -> ClusterState | None:
    """End what ``up`` started here, whatever is left of it; returns it, or None for nothing.

    Running attempts are stopped; their jobs are tried again after the next ``up``. The history
    (journal, measurements, logs, the attempts' folders) stays, and what boards know the head by.
    """
    home = (home or data_home()).absolute()
    if not home.exists():
        return None
    with _alone(home):
        return _end(home)


# ----------------------------------------------------------------------------------------- starting


def _prepare(home: Path, old: ClusterState | None, asked: Asked) -> ClusterState:
    """Check what was asked for, and write down the head that is to be."""
    keeps_policy = old is not None and asked.policy is None
    asked = asked.completed(old)
    options = asked.options(old.options if old is not None else None)
    policy = asked.policy or (old.policy if old is not None else policies.DEFAULT)
    boards = parse(asked.emulate) if asked.emulate else []
    live_policy(policy)  # what is wrong with it is said before anything is started
    asked.check_address(home)
    head = read_head_file(home).listening(asked.address, asked.port)
    ray_token = foreign_token() if asked.foreign_ray else head.ray_token
    if old is not None:
        end_all(home, old)
    write_head_file(home, head)
    # Ray puts sockets below it, whose whole path may have 107 characters.
    temp = tempfile.mkdtemp(prefix="js-", dir="/tmp")
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    state = ClusterState(
        id=secrets.token_hex(8),
        version=VERSION,
        # A policy counts that was chosen since then, by `jetsched policies use`.
        started_at=old.started_at if old is not None and keeps_policy else now,
        emulate=asked.emulate,
        policy=Spec.of(policy).absolute,
        temp=temp,
        api_token=secrets.token_urlsafe(32),
        api_port=head.api_port,
        ray_port=head.ray_port,
        devices=tuple(board.id for board in boards),
        host=asked.address,
        foreign_ray=asked.foreign_ray,
        cluster=head.cluster,
        options=options,
    )
    write_atomically(state.token_file, ray_token.encode(), mode=0o600)
    write_state(home, state)
    return state


def foreign_token() -> str:
    """The token of somebody's Ray, as this process was told it. Raises :class:`InputError`."""
    token = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    if not token and path:
        try:
            token = Path(path).read_text().strip()
        except OSError as error:
            raise InputError(f"RAY_AUTH_TOKEN_PATH: {path}: {error.strerror}") from None
    if not token:
        raise InputError(
            "--ray: nothing says what the token of this Ray is",
            hint="set RAY_AUTH_TOKEN_PATH; one that wants no token lets anybody run code: start it"
            " with RAY_AUTH_MODE=token",
        )
    return token


def _runner_command(home: Path) -> list[str]:
    return [sys.executable, "-m", "jetsched.cluster.headrunner", f"--home={home}"]


def _start_runner(home: Path) -> subprocess.Popen[bytes]:
    """Start the supervisor; it survives our terminal."""
    path = make_folder(home / "logs") / "head.log"
    with path.open("ab") as file:
        return subprocess.Popen(
            _runner_command(home),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )


def _wait_until_ready(
    home: Path, begun: ClusterState, runner: subprocess.Popen[bytes] | None, say: Say
) -> ClusterState:
    """Wait until the API answers and every local board's agent is there."""
    said: set[str] = set()
    texts = dict[str, str]()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        state = read_state(home)
        if state is None or (runner is not None and runner.poll() is not None):
            raise JetschedError(f"the head did not start:{last_lines(home / 'logs' / 'head.log')}")
        with contextlib.suppress(UnreachableError), Client.to(state, timeout_s=5) as client:
            texts = {d["id"]: d["text"] for d in client.devices()}
            for device_id in sorted(set(state.devices) - said):
                if texts.get(device_id) == "":
                    say(f"{device_id} is ready")
                    said.add(device_id)
            if said >= set(state.devices) and state.is_alive("runner"):
                return state
        new = state.restarts - begun.restarts
        if new >= TRIES or (new and HOPELESS in state.trouble):
            raise JetschedError(f"it did not start: {state.trouble}")
        if time.monotonic() > deadline:
            left = sorted(set(state.devices) - said)
            why = [f"{device_id}: {texts.get(device_id, '?')}" for device_id in left]
            raise JetschedError(f"not ready in time: {'; '.join(why) or 'the scheduler'}")
        time.sleep(0.1)


# ------------------------------------------------------------------------------------------- ending


def _end(home: Path) -> ClusterState | None:
    """Have the supervisor end everything; what it leaves, and where it is dead, we do it."""
    state = read_state(home)
    if state is None:
        return None
    runners = state.of_role("runner")
    for runner in runners:
        runner.send(signal.SIGTERM)
    wait_gone(runners, SERVICE_PATIENCE_S + 2 * SUPERVISOR_PATIENCE_S)
    end(runners, 0.0)
    left = read_state(home)  # another one may have noted more meanwhile
    if left is not None:
        end_all(home, left)
    return state


def _alone(home: Path) -> contextlib.AbstractContextManager[None]:
    """Keep others from starting or ending a cluster here. Raises InputError where one does."""
    return alone(home, f"another `jetsched up` or `down` is at work in {home}")
