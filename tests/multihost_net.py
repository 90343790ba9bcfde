"""Namespaces of other processes: entered by a command, or by one thread that makes connections."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLONE_FS, CLONE_NEWNS, CLONE_NEWNET = 0x200, 0x20000, 0x40000000


def entering(pid: int, kinds: str) -> list[str]:
    """The beginning of a command in namespaces of a process: "n" its network, "m" its mounts..."""
    return ["nsenter", "-t", str(pid), *(f"-{kind}" for kind in kinds), "--"]


def inside(pid: int, kinds: str, *command: str, check: bool = True) -> str:
    """Run a short command there; returns what it printed."""
    done = subprocess.run(
        [*entering(pid, kinds), *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if check and done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def pid_namespace(pid: int) -> str | None:
    """The PID namespace that a process is in; None where it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def members(namespace: str) -> list[int]:
    """The processes of a PID namespace, as they are numbered outside. Zombies are left out."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and pid_namespace(int(name)) == namespace and not _is_zombie(int(name)):
            found.append(int(name))
    return sorted(found)


def first_of(namespace: str) -> int:
    """The first process of a PID namespace, as it is numbered outside."""
    for pid in members(namespace):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("NSpid:") and line.split()[-1] == "1":
                    return pid
    raise OSError(f"nothing lives in {namespace}")


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Elsewhere:
    """A thread of ours that lives in the network and the mounts of another process.

    What it opens and connects is of there, and can be used here.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._there = ThreadPoolExecutor(1, initializer=self._enter)

    def do(self, work: Callable[[], T]) -> T:
        """Have the thread do it; returns or raises what it did."""
        return self._there.submit(work).result()

    def _enter(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        kinds = (("net", CLONE_NEWNET), ("mnt", CLONE_NEWNS))
        handles = [(os.open(f"/proc/{self._pid}/ns/{name}", os.O_RDONLY), f) for name, f in kinds]
        library.unshare(CLONE_FS)  # else its mounts would be those of all our threads
        for handle, flag in handles:
            if library.setns(handle, flag) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            os.close(handle)

    def close(self) -> None:
        self._there.shutdown(wait=False)


class Console:
    """A port here, on the loopback, that leads to an address in another network."""

    def __init__(self, there: Elsewhere, target: tuple[str, int]) -> None:
        self._there, self._target = there, target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _connect(self) -> socket.socket:
        return socket.create_connection(self._target, timeout=5)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = self._there.do(self._connect)
        except (OSError, RuntimeError):
            near.close()
            return
        far.settimeout(None)
        threading.Thread(target=_pump, args=(near, far), daemon=True).start()
        _pump(far, near)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until one side ends, then end both."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (sink, source):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def tools_missing(names: Sequence[str]) -> list[str]:
    from shutil import which

    return [name for name in names if which(name) is None]
