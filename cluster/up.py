"""`jetsched up` and `down`: a whole cluster on this machine, and nothing of it afterwards.

Everything is started by us, one session each, detached from the terminal, and carries the
cluster's mark; ``down`` ends exactly that. Ray listens on the loopback only and wants a token.
"""

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from jetsched import policies
from jetsched.cluster.agent import NodeConfig
from jetsched.cluster.client import Client
from jetsched.cluster.livepolicy import live_policy
from jetsched.cluster.processes import OwnProcess, end, family, wait_gone
from jetsched.cluster.raynodes import (
    DEFAULT_HEALTH,
    PATIENCE_S,
    Health,
    check_alive,
    free_port,
    ray_environment,
    start_head,
    start_node,
    wait_for_head,
)
from jetsched.cluster.state import (
    VERSION,
    ClusterState,
    alone,
    read_state,
    state_path,
    write_state,
)
from jetsched.errors import InputError, JetschedError, UnreachableError
from jetsched.files import home as data_home
from jetsched.files import json_bytes, make_folder, to_json, write_atomically
from jetsched.policies.specs import Spec
from jetsched.profiler.emulation import EmulatedBoard, parse
from jetsched.profiler.limits import remove_stale

#: How long the supervisors of running attempts get: SIGTERM, ten seconds, SIGKILL.
SUPERVISOR_PATIENCE_S = 15.0
#: A raylet with a detached actor takes ten seconds to go by itself, and has nothing to save.
RAY_PATIENCE_S = 1.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Up:
    """What ``up`` did: *started* it all, found it *running*, or *revived* the dead scheduler."""

    state: ClusterState
    what: Literal["started", "running", "revived"]
    seconds: float

    def differs(self, emulate: str, policy: str | None) -> bool:
        """Whether other boards or another policy were asked for than there are. "", None: none."""
        other_policy = policy is not None and Spec.of(policy).absolute != self.state.policy
        return other_policy or bool(emulate and emulate != self.state.emulate)


def up(
    emulate: str,
    *,
    policy: str = policies.DEFAULT,
    home: Path | None = None,
    health: Health = DEFAULT_HEALTH,
    lease_s: float = 60.0,
    say: Say = lambda text: None,
) -> Up:
    """Start Ray with one node per emulated board, and the scheduler; returns when all are ready.

    ``emulate`` is e.g. ``"xavier-nx:0.4,orin-nano"``. What fails is cleaned up. Raises
    :class:`InputError` for wrong input, :class:`JetschedError` with the log of what did not start.
    """
    home, began = (home or data_home()).absolute(), time.monotonic()
    with _alone(home):
        state = read_state(home)
        what: Literal["started", "running", "revived"] = "started"
        if state is not None and state.is_alive("head") and state.is_alive("node"):
            what = "running" if state.is_alive("service") else "revived"
            if what == "revived":
                state = _start_service(home, state, health)
                _wait_until_ready(home, state, say)
        else:
            boards = parse(emulate)
            if not boards:
                raise InputError("no boards to emulate", hint="--emulate xavier-nx,orin-nano")
            live_policy(policy)  # what is wrong with it is said before anything is started
            if state is not None:
                _end_all(home, state)
            state = _new_state(emulate, policy, boards)
            state = _start_all(home, state, boards, health, lease_s, say)
        return Up(state, what, time.monotonic() - began)


def down(*, home: Path | None = None) -> ClusterState | None:
    """End what ``up`` started here, whatever is left of it; returns it, or None for nothing.

    Running attempts are stopped; their jobs are tried again after the next ``up``. The history
    (journal, measurements, logs, the attempts' folders) stays.
    """
    home = (home or data_home()).absolute()
    if not home.exists():
        return None
    with _alone(home):
        state = read_state(home)
        if state is not None:
            _end_all(home, state)
        return state


# ----------------------------------------------------------------------------------------- starting


def _new_state(emulate: str, policy: str, boards: Sequence[EmulatedBoard]) -> ClusterState:
    # Ray puts sockets below it, whose whole path may have 107 characters.
    temp = tempfile.mkdtemp(prefix="js-", dir="/tmp")
    return ClusterState(
        id=secrets.token_hex(8),
        version=VERSION,
        started_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        emulate=emulate,
        policy=Spec.of(policy).absolute,
        temp=temp,
        api_token=secrets.token_urlsafe(32),
        devices=tuple(board.id for board in boards),
    )


def _start_all(
    home: Path,
    state: ClusterState,
    boards: Sequence[EmulatedBoard],
    health: Health,
    lease_s: float,
    say: Say,
) -> ClusterState:
    try:
        write_state(home, state)  # first of all, so that `down` finds whatever comes next
        write_atomically(state.token_file, secrets.token_hex(32).encode(), mode=0o600)
        state = replace(state, ray_port=free_port())
        env = ray_environment(state, home, health)
        say("Ray's head")
        head = start_head(state, env, health)
        state = _noted(home, state, head.pid, "head")
        wait_for_head(state, head)
        say(f"{len(boards)} Ray nodes and the scheduler")
        nodes = {}
        for board in boards:
            file = _write_node_file(home, state, board, lease_s)
            nodes[board.id] = start_node(state, env, board.device, file)
            state = _noted(home, state, nodes[board.id].pid, "node", board.id)
        state = _start_service(home, state, health)

        def check() -> None:
            for device_id, process in nodes.items():
                check_alive(process, state, device_id)

        _wait_until_ready(home, state, say, check)
    except BaseException:
        _end_all(home, state)
        raise
    return state


def _write_node_file(home: Path, state: ClusterState, board: EmulatedBoard, lease_s: float) -> Path:
    config = NodeConfig(
        device=board.device,
        folder=str(make_folder(home / "nodes" / board.id)),
        limits=board.limits,
        lease_s=lease_s,
        shared=str(home / "nodes"),
        scale=board.scale,
    )
    path = Path(state.temp) / f"{board.id}.json"
    write_atomically(path, json_bytes(to_json(config)), mode=0o600)
    return path


def _start_service(home: Path, state: ClusterState, health: Health) -> ClusterState:
    """Start the scheduler's process on a port that is ours already; it survives our terminal."""
    log = make_folder(home / "logs") / "service.log"
    with socket.socket() as listener, log.open("ab") as file:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        state = replace(state.without("service"), api_port=listener.getsockname()[1])
        write_state(home, state)  # the service reads it
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jetsched.cluster.service",
                f"--home={home}",
                f"--socket={listener.fileno()}",
            ],
            env=ray_environment(state, home, health),
            pass_fds=(listener.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )
    return _noted(home, state, process.pid, "service")


def _noted(home: Path, state: ClusterState, pid: int, role: str, device: str = "") -> ClusterState:
    process = OwnProcess.of(pid, role, device)
    if process is None:
        raise JetschedError(f"the {role} ended at once")
    state = replace(state, processes=(*state.processes, process))
    write_state(home, state)
    return state


def _wait_until_ready(
    home: Path, state: ClusterState, say: Say, check: Callable[[], None] = lambda: None
) -> None:
    """Wait until the API answers and every board's agent is there."""
    waiting, texts = set(state.devices), dict[str, str]()
    deadline = time.monotonic() + PATIENCE_S
    with Client.to(state, timeout_s=5) as client:
        while waiting:
            check()
            if not state.is_alive("service"):
                raise JetschedError(f"the scheduler did not start: {_last_words(home)}")
            with contextlib.suppress(UnreachableError):  # it is still connecting to Ray
                texts = {d["id"]: d["text"] for d in client.devices()}
                for device_id in sorted(waiting & {i for i, text in texts.items() if not text}):
                    say(f"{device_id} is ready")
                    waiting.remove(device_id)
            if waiting and time.monotonic() > deadline:
                why = [f"{device_id}: {texts.get(device_id, '?')}" for device_id in sorted(waiting)]
                raise JetschedError(f"not ready in time: {'; '.join(why)}")
            if waiting:
                time.sleep(0.1)


def _last_words(home: Path) -> str:
    """The last line of the service's log."""
    lines = (home / "logs" / "service.log").read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


# ------------------------------------------------------------------------------------------- ending


def _end_all(home: Path, state: ClusterState) -> None:
    """The scheduler first, then Ray with the agents; then what the agents left ends by itself."""
    end(state.of_role("service"), 10.0)
    leaders = [*state.of_role("node"), *state.of_role("head")]
    belongings = family(state.id, state.processes)
    sessions = {p.pid for p in leaders}
    end([*leaders, *(p for p in belongings if _session(p) in sessions)], RAY_PATIENCE_S)
    wait_gone(belongings, SUPERVISOR_PATIENCE_S)  # their lifeline is cut: SIGTERM, SIGKILL
    for _ in range(3):  # what was being started while we looked
        left = family(state.id, [*belongings, *state.processes])
        if not left:
            break
        end(left, 0.0)
    for process in state.processes:  # where they are our own children, they are zombies now
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
    remove_stale()
    shutil.rmtree(state.temp, ignore_errors=True)
    state_path(home).unlink(missing_ok=True)


def _session(process: OwnProcess) -> int:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return 0


def _alone(home: Path) -> contextlib.AbstractContextManager[None]:
    """Keep others from starting or ending a cluster here. Raises InputError where one does."""
    return alone(home, f"another `jetsched up` or `down` is at work in {home}")
