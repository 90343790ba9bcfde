"""A board that joins as its own process, for tests: the very one that `jetsched join` becomes."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jetsched.cluster.boardsetup import Wish, set_up
from jetsched.cluster.noderunner import FOLDER, STATE_FILE, NodeState, command
from jetsched.files import from_json

#: Against hanging only.
SOON_S = 120.0
_NUMBERS = itertools.count(1)


class BoardProcess:
    """One board in a data home of its own. As a context it ends."""

    def __init__(self, home: Path, url: str, token: str, *, name: str = "", **wish: Any) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.token_file = home / "token"
        self.token_file.write_text(token)
        self.wish = Wish(
            url, self.token_file, home, name=name, **{"emulate": "xavier-nx:0.1"} | wish
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.output = self.home / "output.txt"

    @property
    def text(self) -> str:
        return self.output.read_text()

    @property
    def state(self) -> NodeState:
        path = self.home / FOLDER / STATE_FILE
        return from_json(NodeState, json.loads(path.read_bytes()))

    def start(self, *, protocol: int | None = None) -> BoardProcess:
        """Join; with a ``protocol`` as a board that speaks that one."""
        set_up(self.wish)
        words = command(self.home)
        if protocol is not None:
            code = (
                "import sys; import jetsched.cluster.protocol as p;"
                f" p.PROTOCOL = {protocol}; from jetsched.cluster.noderunner import main;"
                " sys.exit(main(sys.argv[1:]))"
            )
            words = [sys.executable, "-c", code, *words[3:]]
        self.output = self.home / f"output-{next(_NUMBERS)}.txt"
        with self.output.open("ab") as file:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        return self

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(SOON_S)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the supervisor, and wait for its end; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait()

    def until_alive(self) -> NodeState:
        """Wait until it has started a Ray node."""
        end = time.monotonic() + SOON_S
        while True:
            try:
                state = self.state
            except FileNotFoundError:
                state = None
            if state is not None and state.process is not None and state.process.alive:
                return state
            assert time.monotonic() < end, self.text
            time.sleep(0.05)

    def __enter__(self) -> BoardProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
