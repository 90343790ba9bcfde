"""A board's supervisor: joins the head, and keeps a Ray node with the agent alive. Foreground.

Whatever ends is started again, after a pause that grows. The head is asked every few seconds: when
its Ray is another one, the node joins that; when it speaks another protocol, the node waits for an
upgrade. Killed itself, it leaves the node running; the next one goes on with it. No wall clock.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from jetsched.cluster.asking import Answer, Head, LaterError
from jetsched.cluster.fence import step_down
from jetsched.cluster.health import Health
from jetsched.cluster.nodeconfig import NodeConfig
from jetsched.cluster.processes import OwnProcess, end_cluster, reap
from jetsched.cluster.raynodes import last_lines, start_node
from jetsched.cluster.rayplace import RayPlace, RayTls
from jetsched.cluster.restarting import RAY_PATIENCE_S, RAY_PROGRAMS, Kept, Pauses
from jetsched.cluster.state import alone
from jetsched.errors import InputError, JetschedError, UnreachableError
from jetsched.files import from_json, json_bytes, make_folder, to_json, write_atomically

#: In the data home of a board: how it was set up, and what of it runs.
FOLDER, SETUP_FILE, STATE_FILE = "node", "setup.json", "state.json"
#: How often the node is looked at, and the head asked.
LOOK_S, ASK_S = 0.2, 3.0
#: A node that lives, and that the head has not seen for so long while it answers us, has hung.
UNSEEN_S = 90.0
#: How long the supervisors of running attempts get: SIGTERM, ten seconds, SIGKILL.
SUPERVISOR_PATIENCE_S = 15.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeSetup:
    """How a board joins. ``config`` is its agent's, with the device's name still to be told."""

    url: str
    token_file: str
    key: str  # by which the head knows it again
    short: str  # what a name begins with that the head makes
    config: NodeConfig
    name: str = ""
    ca: str = ""  # PEM file that the head's certificate is checked with; "": the system's
    ray_tls: RayTls = field(default_factory=RayTls)


@dataclass(frozen=True)
class NodeState:
    """What runs on this board for the cluster, so that the next runner finds it."""

    mark: str
    temp: str
    cluster: str = ""
    device: str = ""
    ray_life: str = ""
    process: OwnProcess | None = None


class NodeRunner:
    """Keeps one Ray node alive. For the thread that calls :meth:`run`."""

    def __init__(self, home: Path, setup: NodeSetup) -> None:
        self._home = home
        self._setup = setup
        self._head = Head(setup.url, Path(setup.token_file), setup.ca)
        self._state = self._inherit()
        self._node = Kept("node", self._state.process, vital=RAY_PROGRAMS)
        self._pauses = Pauses()
        self._since = 0.0  # answers from before do not count
        self._told = ""
        self._seen = 0.0  # when the head last had our node, or it was started
        # No threading.Event: set by a handler in the very thread that waits, it locks for ever.
        self._stop = False

    def stop(self) -> None:
        """Have :meth:`run` end everything. Safe in a signal handler."""
        self._stop = True

    def run(self) -> None:
        """Join, and stay until :meth:`stop`; then end exactly what was started.

        Raises :class:`InputError` where the head refuses us, :class:`UnreachableError` where it
        does not answer and we have never joined it.
        """
        joined = False
        try:
            self._join_first()
            joined = True
            self._head.ask_every(ASK_S, self._wish)
            while not self._stop:
                self._look(time.monotonic())
                time.sleep(LOOK_S)
        finally:
            if joined:
                log.info("leaving")
            self._head.close()
            self._end()

    # ---------------------------------------------------------------------------------- one look

    def _join_first(self) -> None:
        """The first answer; what is wrong with the words of a person is told at once."""
        while not self._stop:
            try:
                answer = self._head.ask(self._wish())
            except LaterError as error:
                log.warning("%s; it is asked again in %.0f s", error, error.wait_s)
                self._wait(error.wait_s)
                continue
            except UnreachableError as error:
                if not self._state.cluster:
                    raise
                log.warning("%s; it is asked again", error)  # after a power cut we may be the first
                return
            self._check_tls(answer)
            self._take(answer)
            return

    def _wait(self, wait_s: float) -> None:
        """Until then, or :meth:`stop`."""
        until = time.monotonic() + wait_s
        while not self._stop and time.monotonic() < until:
            time.sleep(LOOK_S)

    def _look(self, now: float) -> None:
        if self._node.has_ended():
            self._pauses.ended(now)
            log.warning("the Ray node ended:%s", last_lines(self._log))
            self._since = now
            self._head.ask_soon()
            self._note()
        latest = self._head.latest
        if latest is None or latest.at < self._since:
            return
        if isinstance(latest.answer, InputError):
            self._say(f"{latest.answer} - {latest.answer.hint}")
            if self._node.alive:
                self._node.end(RAY_PATIENCE_S)
                self._note()
            return
        if isinstance(latest.answer, JetschedError):
            self._say(str(latest.answer))
            return
        self._take(latest.answer)
        if latest.answer.state != "offline":
            self._seen = latest.at
        elif self._node.alive and latest.at - self._seen > UNSEEN_S:
            log.warning("the head has not seen the Ray node for %.0f s: it is ended", UNSEEN_S)
            self._node.end(RAY_PATIENCE_S)
            self._pauses.ended(now)
            self._note()
        if not self._node.alive and self._pauses.is_over(now):
            self._start(latest.answer, now)

    def _take(self, answer: Answer) -> None:
        """The head's answer: what does not belong to its Ray of today is ended."""
        mine = (self._state.cluster, self._state.device, self._state.ray_life)
        theirs = (answer.cluster, answer.device, answer.ray_life)
        if mine != theirs:
            if self._node.alive:
                log.info("the head has another Ray")
                self._node.end(RAY_PATIENCE_S)
            self._state = replace(
                self._state,
                cluster=answer.cluster,
                device=answer.device,
                ray_life=answer.ray_life,
            )
            self._note()
        if self._node.alive:
            self._say(f"{answer.device} is {answer.state.upper()} {answer.text}".rstrip())

    def _start(self, answer: Answer, now: float) -> None:
        self._pauses.started(now)
        self._seen = now
        config = self._setup.config
        device = replace(config.device, id=answer.device)
        config = replace(
            config,
            device=device,
            folder=str(make_folder(self._home / "nodes" / answer.device)),
            lease_s=answer.lease_s,
        )
        temp = Path(self._state.temp)
        place = RayPlace(
            mark=self._state.mark,
            home=str(self._home),
            address=answer.ray_address,
            ip=own_address(answer.ray_address),
            temp=str(temp),
            health=from_json(Health, dict(answer.health)),
            tls=self._setup.ray_tls if answer.ray_tls else RayTls(),
        )
        file = temp / "node.json"
        try:
            self._check_tls(answer)
            make_folder(temp)
            write_atomically(place.token_file, answer.ray_token.encode(), mode=0o600)
            write_atomically(file, json_bytes(to_json(config)), mode=0o600)
            self._node.start(lambda: start_node(place, device, file, temp / "r", self._log))
        except (OSError, InputError) as error:  # a full disk, most likely
            self._pauses.ended(now)
            self._say(f"the Ray node cannot be started: {error}")
            return
        log.info("%s joins Ray at %s", answer.device, answer.ray_address)
        self._note()

    def _check_tls(self, answer: Answer) -> None:
        if answer.ray_tls and not self._setup.ray_tls.cert:
            raise InputError(
                "the head's Ray is encrypted", hint="jetsched join ... --ray-tls FOLDER"
            )

    # --------------------------------------------------------------------------- begin and end

    def _inherit(self) -> NodeState:
        """What a runner before us left: it goes on, or where it is dead, is cleared away."""
        path = self._home / FOLDER / STATE_FILE
        try:
            state = from_json(NodeState, json.loads(path.read_bytes()))
        except (FileNotFoundError, ValueError, KeyError, TypeError, InputError):
            state = None
        if state is not None and state.process is not None and state.process.alive:
            return state
        if state is not None:
            end_cluster(state.mark, [], 0.0, SUPERVISOR_PATIENCE_S)
            shutil.rmtree(state.temp, ignore_errors=True)
        # Ray puts sockets below it, whose whole path may have 107 characters.
        temp = tempfile.mkdtemp(prefix="jsn-", dir="/tmp")
        return NodeState(secrets.token_hex(8), temp, state.cluster if state is not None else "")

    def _end(self) -> None:
        leaders = [self._node.process] if self._node.process is not None else []
        end_cluster(self._state.mark, leaders, RAY_PATIENCE_S, SUPERVISOR_PATIENCE_S)
        reap(leaders)
        shutil.rmtree(self._state.temp, ignore_errors=True)
        self._state = replace(self._state, process=None)
        self._write()

    def _note(self) -> None:
        self._state = replace(self._state, process=self._node.process)
        self._write()

    def _write(self) -> None:
        path = self._home / FOLDER / STATE_FILE
        try:
            write_atomically(path, json_bytes(to_json(self._state)), mode=0o600)
        except OSError as error:  # a full disk: keep what runs alive
            log.error("%s cannot be written: %s", path, error)

    # ------------------------------------------------------------------------------------ words

    @property
    def _log(self) -> Path:
        return self._home / FOLDER / "ray.log"

    def _say(self, text: str) -> None:
        """Log what has changed, once."""
        if text != self._told:
            self._told = text
            log.info("%s", text)

    def _wish(self) -> dict[str, object]:
        device = self._setup.config.device
        return {
            "key": self._setup.key,
            "model": device.model,
            "short": self._setup.short,
            "name": self._setup.name,
        }


def own_address(ray_address: str) -> str:
    """This machine's address as the head sees it: the one that packets to the head carry."""
    host = ray_address.rpartition(":")[0].strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # sends nothing
        return str(probe.getsockname()[0])


def read_setup(home: Path) -> NodeSetup:
    """How this board was set up. Raises :class:`InputError`."""
    path = home / FOLDER / SETUP_FILE
    try:
        return from_json(NodeSetup, json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}", hint="jetsched join URL --token-file FILE") from None


def write_setup(home: Path, setup: NodeSetup) -> None:
    write_atomically(home / FOLDER / SETUP_FILE, json_bytes(to_json(setup)), mode=0o600)


def command(home: Path) -> list[str]:
    """What runs the supervisor of the board that was set up in a data home."""
    return [sys.executable, "-m", "jetsched.cluster.noderunner", f"--home={home}"]


def main(argv: list[str] | None = None) -> int:
    """Keep the board in its cluster until SIGTERM, Ctrl-C or the terminal's end."""
    parser = argparse.ArgumentParser(prog="jetsched.cluster.noderunner")
    parser.add_argument("--home", type=Path, required=True)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    os.umask(0o077)
    os.environ["JETSCHED_HOME"] = str(options.home)
    step_down()
    try:
        with alone(options.home / FOLDER, f"a board runs in {options.home} already"):
            runner = NodeRunner(options.home, read_setup(options.home))
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, lambda *_: runner.stop())
            runner.run()
    except JetschedError as error:
        print(f"✗ {error}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
