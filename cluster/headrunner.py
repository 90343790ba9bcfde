"""The head's supervisor: keeps Ray's head, the scheduler and the local nodes alive.

What ends is started again, after a pause that grows. When Ray's head had to be started again, all
that was in it is gone: then the scheduler and the nodes follow. Killed itself, it leaves them
running; the next one finds them in the state file and goes on. It ends all of them at SIGTERM.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from jetsched.cluster.fence import step_down
from jetsched.cluster.nodeconfig import NodeConfig
from jetsched.cluster.processes import OwnProcess, end, end_cluster, reap
from jetsched.cluster.raynodes import (
    PATIENCE_S,
    head_log,
    is_head_ready,
    last_lines,
    start_head,
    start_node,
)
from jetsched.cluster.restarting import (
    RAY_GONE_CODE,
    RAY_PATIENCE_S,
    RAY_PROGRAMS,
    Kept,
    Pauses,
    Starter,
)
from jetsched.cluster.state import ClusterState, alone, read_state, state_path, write_state
from jetsched.cluster.watchdog import Watchdog
from jetsched.errors import InputError, JetschedError
from jetsched.files import json_bytes, make_folder, to_json, write_atomically
from jetsched.profiler.emulation import EmulatedBoard, parse
from jetsched.profiler.limits import remove_stale

#: How often everything is looked at.
LOOK_S = 0.1
#: How long the supervisors of running attempts get: SIGTERM, ten seconds, SIGKILL.
SUPERVISOR_PATIENCE_S = 15.0
#: How long the scheduler gets to end by itself: at the end, and when another Ray is there.
SERVICE_PATIENCE_S, SERVICE_HASTE_S = 10.0, 3.0
#: What a trouble says where somebody has to do something, and starting again does not help.
HOPELESS = f"(exit code {InputError.exit_code})"
#: How often in a row the scheduler must find Ray silent before Ray's head is ended.
SILENCES = 2
#: The scheduler's log is put aside when it is larger.
LOG_BYTES = 20 * 2**20

log = logging.getLogger(__name__)


class HeadRunner:
    """Keeps what the state file describes alive, and the state file true."""

    def __init__(self, home: Path, state: ClusterState) -> None:
        self._home = home
        self._state = state
        self._place = state.place(home)
        self._head = Kept("head", _first(state, "head"), vital=RAY_PROGRAMS)
        self._service = Kept("service", _first(state, "service"))
        self._boards = {board.id: board for board in parse(state.emulate)} if state.emulate else {}
        self._nodes = {
            id: Kept("node", _first(state, "node", id), device=id, vital=RAY_PROGRAMS)
            for id in self._boards
        }
        self._pauses = {part.name: Pauses() for part in self._parts}
        self._listener: socket.socket | None = None
        self._head_since = time.monotonic()
        # One that lived before us is ready, or it was never used.
        self._ready = bool(
            self._head.alive and state.ray_life and is_head_ready(self._place)
        ) or bool(state.foreign_ray and state.ray_life)
        # No threading.Event: set by a handler in the very thread that waits, it locks for ever.
        self._stop = self._renew = False
        self._watchdog = Watchdog(state.host, state.api_port, tls=bool(state.options.tls_cert))
        self._silences = 0  # how often in a row the scheduler ended because Ray was silent

    @property
    def _parts(self) -> list[Kept]:
        return [self._head, self._service, *self._nodes.values()]

    def stop(self) -> None:
        """Have :meth:`run` end everything. Safe in a signal handler."""
        self._stop = True

    def renew_service(self) -> None:
        """Have the scheduler started anew; what runs goes on. Safe in a signal handler."""
        self._renew = True

    def run(self) -> None:
        """Keep everything alive until :meth:`stop`, then end it."""
        self._note()
        while not self._stop:
            now = time.monotonic()
            if self._renew:
                self._renew = False
                self._service.end(SERVICE_PATIENCE_S)
            if self._look_at_ray(now):
                for id in self._nodes:
                    self._look_at_node(id, now)
                self._look_at_service(now)
            time.sleep(LOOK_S)
            if not state_path(self._home).exists():
                log.error("%s is gone: nobody could end us", state_path(self._home))
                break
        log.info("stopping")
        end_all(self._home, self._state)

    # ------------------------------------------------------------------------------------- parts

    def _look_at_ray(self, now: float) -> bool:
        """Whether there is a Ray that the others can use."""
        if self._state.foreign_ray:
            if not self._ready:
                self._begin_life()
            return True
        if self._head.has_ended():
            self._ready = False
            self._trouble(self._head, now, f"Ray's head ended:{last_lines(head_log(self._place))}")
        if self._head.process is None:
            self._ready = False
        if not self._head.alive and self._pauses["head"].is_over(now):
            self._start(self._head, now, lambda: start_head(self._place))
            self._head_since = now
        if self._head.alive and not self._ready:
            if is_head_ready(self._place):
                self._begin_life()
            elif now - self._head_since > PATIENCE_S:
                self._head.end(RAY_PATIENCE_S)
                self._trouble(self._head, now, f"Ray's head was not ready in {PATIENCE_S:.0f} s")
        return self._ready

    def _begin_life(self) -> None:
        """There is another Ray: whoever was connected to the old one starts anew."""
        self._ready = True
        self._state = replace(self._state, ray_life=secrets.token_hex(8), ray_since_s=time.time())
        self._service.end(SERVICE_HASTE_S)
        for node in self._nodes.values():
            node.end(RAY_PATIENCE_S)
        self._note()

    def _look_at_node(self, id: str, now: float) -> None:
        node, board = self._nodes[id], self._boards[id]
        folder = Path(self._state.temp)
        journal = folder / f"{id}.log"
        if node.has_ended():
            self._trouble(node, now, f"the Ray node of {id} ended:{last_lines(journal)}")
        if not node.alive and self._pauses[id].is_over(now):
            file = self._write_node_file(board)
            temp = folder / str(self._state.devices.index(id))
            self._start(
                node, now, lambda: start_node(self._place, board.device, file, temp, journal)
            )

    def _look_at_service(self, now: float) -> None:
        if self._service.alive and self._watchdog.is_hung(now):
            log.warning("the scheduler does not answer any more: it is ended")
            self._service.end(SERVICE_HASTE_S)
            self._trouble(self._service, now, "the scheduler did not answer any more")
        if self._service.has_ended():
            code = self._service.code
            self._trouble(self._service, now, f"{last_words(self._home)} (exit code {code})")
            # Once it may have been too busy; Ray that is silent for the next one too has hung.
            self._silences = self._silences + 1 if code == RAY_GONE_CODE else 0
            if self._silences >= SILENCES and self._head.alive:
                log.warning("Ray's head does not answer: it is started again")
                self._silences = 0
                self._head.end(RAY_PATIENCE_S)
        if not self._service.alive and self._pauses["service"].is_over(now):
            self._start(self._service, now, self._start_service)
            self._watchdog.begin()

    # ------------------------------------------------------------------------------------ starts

    def _start(self, part: Kept, now: float, starter: Starter) -> None:
        self._pauses[part.name].started(now)
        try:
            part.start(starter)
        except (OSError, JetschedError) as error:
            self._trouble(part, now, str(error))
            return
        log.info("%s was started (%s)", part.name, part.process and part.process.pid)
        self._note()

    def _write_node_file(self, board: EmulatedBoard) -> Path:
        config = NodeConfig(
            device=board.device,
            folder=str(make_folder(self._home / "nodes" / board.id)),
            limits=board.limits,
            lease_s=self._state.options.lease_s,
            shared=str(self._home / "nodes"),
            scale=board.scale,
        )
        path = Path(self._state.temp) / f"{board.id}.json"
        write_atomically(path, json_bytes(to_json(config)), mode=0o600)
        return path

    def _start_service(self) -> subprocess.Popen[bytes]:
        """The scheduler's process on a socket that we keep: who asks while it is away waits."""
        if self._listener is None:
            family = socket.AF_INET6 if ":" in self._state.host else socket.AF_INET
            address = (self._state.host, self._state.api_port)
            self._listener = socket.create_server(address, family=family, backlog=128)
        path = make_folder(self._home / "logs") / "service.log"
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as file:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "jetsched.cluster.service",
                    f"--home={self._home}",
                    f"--socket={self._listener.fileno()}",
                ],
                # Ray has many threads; where each allocates for itself, memory falls to pieces.
                env={"MALLOC_ARENA_MAX": "2", **self._place.environment()},
                pass_fds=(self._listener.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )

    # ------------------------------------------------------------------------------------- notes

    def _trouble(self, part: Kept, now: float, text: str) -> None:
        self._pauses[part.name].ended(now)
        log.warning("%s: %s", part.name, text)
        self._state = replace(self._state, restarts=self._state.restarts + 1, trouble=text)
        self._note()

    def _note(self) -> None:
        """Write down what lives, so that `down`, and the next runner, find it."""
        ours = OwnProcess.of(os.getpid(), "runner")
        processes = [ours, *(part.process for part in self._parts)]
        self._state = replace(self._state, processes=tuple(p for p in processes if p is not None))
        try:
            write_state(self._home, self._state)
        except OSError as error:  # a full disk: keep what runs alive
            log.error("%s cannot be written: %s", state_path(self._home), error)


def end_all(home: Path, state: ClusterState) -> None:
    """End what belongs to a cluster on this machine, whatever is left of it, but not the caller.

    The scheduler first, then Ray with the agents; then what the agents left ends by itself.
    """
    end(state.of_role("service"), SERVICE_PATIENCE_S)
    leaders = [*state.of_role("node"), *state.of_role("head")]
    end_cluster(state.id, leaders, RAY_PATIENCE_S, SUPERVISOR_PATIENCE_S)
    reap(state.processes)
    remove_stale()
    shutil.rmtree(state.temp, ignore_errors=True)
    state_path(home).unlink(missing_ok=True)


def last_words(home: Path) -> str:
    """The last line of the scheduler's log."""
    try:
        text = (home / "logs" / "service.log").read_text(errors="replace")
    except OSError:
        return "it said nothing"
    return next((line for line in reversed(text.split("\n")) if line.strip()), "it said nothing")


def _first(state: ClusterState, role: str, device: str = "") -> OwnProcess | None:
    """A process of the state that lives."""
    return next((p for p in state.of_role(role) if p.device == device and p.alive), None)


def main(argv: list[str] | None = None) -> int:
    """Keep the cluster of the state file alive until SIGTERM; SIGUSR1 renews the scheduler."""
    parser = argparse.ArgumentParser(prog="jetsched.cluster.headrunner")
    parser.add_argument("--home", type=Path, required=True)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    os.umask(0o077)
    os.environ["JETSCHED_HOME"] = str(options.home)
    step_down()
    try:
        with alone(options.home / "nodes", f"another head runs in {options.home}"):
            state = read_state(options.home)
            if state is None:
                raise InputError(f"no cluster was started in {options.home}")
            runner = HeadRunner(options.home, state)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, lambda *_: runner.stop())
            signal.signal(signal.SIGUSR1, lambda *_: runner.renew_service())
            runner.run()
    except JetschedError as error:
        log.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
