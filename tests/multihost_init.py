"""The first process of a host, or of the site that all hosts stand in: run by tests/multihost.py.

Standard library only. It has what systemd would do there: file systems, units that are started
again when they end, and collecting whatever was orphaned. It ends when its standard input does,
and the kernel then ends everything else in its PID namespace.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

#: As `RestartSec=` of a unit.
RESTART_S = 1.0
#: Of a host's /tmp and /dev/shm.
SCRATCH_MIB = 512


def main(argv: list[str]) -> int:
    """``site ADDRESS/BITS`` or ``host NAME KEPT...``; commands come as JSON, one a line."""
    if argv[1] == "site":
        make_site(argv[2])
    else:
        make_host(argv[2], argv[3:])
    print(os.readlink("/proc/self/ns/pid"), flush=True)
    Units().serve()
    return 0


def make_site(address: str) -> None:
    """A bridge with an address of its own, and a place for the hosts' disks."""
    call("mount", "-t", "tmpfs", "-o", "mode=755,size=1m", "site", "/mnt")
    call("ip", "link", "set", "lo", "up")
    call("ip", "link", "add", "bridge", "type", "bridge")
    call("ip", "address", "add", address, "dev", "bridge")
    call("ip", "link", "set", "bridge", "up")


def make_host(name: str, kept: list[str]) -> None:
    """Its own disk as /mnt, /tmp and /dev/shm as after a boot; ``kept`` is still found in them."""
    call("hostname", name)
    call("ip", "link", "set", "lo", "up")
    held = {path: f"/mnt/{name}/.kept{number}" for number, path in enumerate(kept)}
    for path, place in held.items():
        os.makedirs(place, exist_ok=True)
        call("mount", "--rbind", path, place)
    call("mount", "--rbind", f"/mnt/{name}", "/mnt")
    for place in ("/tmp", "/dev/shm"):
        call("mount", "-t", "tmpfs", "-o", f"mode=1777,size={SCRATCH_MIB}m", name, place)
    for path, place in held.items():
        os.makedirs(path, exist_ok=True)
        call("mount", "--rbind", "/mnt/" + os.path.basename(place), path)


def call(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


class Units:
    """Long-running programs, each started again some time after it ended until it is stopped."""

    def __init__(self) -> None:
        self.units: dict[str, dict[str, Any]] = {}
        self.running: dict[int, str] = {}
        self.due: dict[str, float] = {}  # when a unit is to be started

    def serve(self) -> None:
        """Take commands until there can be no more of them."""
        wake, wake_end = os.pipe()
        for end in (wake, wake_end):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        received = b""
        import select

        while True:
            now = time.monotonic()
            for name in [name for name, at in self.due.items() if at <= now]:
                del self.due[name]
                self.start(name)
            pause = min((at - now for at in self.due.values()), default=None)
            ready, _, _ = select.select([0, wake], [], [], pause)
            with suppress(BlockingIOError):
                while os.read(wake, 4096):
                    pass
            self.reap()
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, received = (received + data).split(b"\n")
                for line in lines:
                    self.obey(json.loads(line))

    def obey(self, command: dict[str, Any]) -> None:
        name = command["unit"]
        if "argv" in command:
            self.units[name] = command
            self.due[name] = 0.0
        else:  # it is not started again
            self.units.pop(name, None)
            self.due.pop(name, None)
            for pid, running in self.running.items():
                if running == name:
                    os.kill(pid, command["signal"])

    def start(self, name: str) -> None:
        unit = self.units[name]
        pid = os.fork()
        if pid:
            self.running[pid] = name
            return
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            log = os.open(unit["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.closerange(3, 256)
            os.chdir("/")
            os.execvpe(unit["argv"][0], unit["argv"], unit["env"])
        except BaseException as error:
            os.write(2, f"init: cannot start {unit['argv']}: {error}\n".encode())
        os._exit(127)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self.running.pop(pid, None)
            if name in self.units:
                self.due[name] = time.monotonic() + RESTART_S
                with suppress(OSError), open(self.units[name]["log"], "a") as file:
                    file.write(f"init: {name} ended ({status:#x}), it is started again\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
