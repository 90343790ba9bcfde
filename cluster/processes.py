"""Processes that we started: found again for certain, and ended without touching any other.

A pid alone names a process only until it is recycled; pid, start time and boot name it for good.
Everything that belongs to one cluster carries the mark ``JETSCHED_CLUSTER=<id>`` in its
environment, which children inherit; what has overwritten its own environment (Ray's workers do, to
rename themselves) is found as a child or session mate of something that is known.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jetsched.profiler.procfs import boot_id, start_ticks, stat_fields

#: The variable that marks the processes of a cluster.
MARK = "JETSCHED_CLUSTER"


@dataclass(frozen=True)
class OwnProcess:
    """A process that we started. ``ticks`` is its start in clock ticks since boot."""

    role: str  # "runner", "head", "node" or "service"; "" for what they started
    pid: int
    ticks: int
    boot: str
    device: str = ""

    @classmethod
    def of(cls, pid: int, role: str = "", device: str = "") -> OwnProcess | None:
        """The process that has this pid now; None if there is none."""
        ticks = start_ticks(pid)
        return None if ticks is None else cls(role, pid, ticks, boot_id(), device)

    @property
    def alive(self) -> bool:
        return self.boot == boot_id() and start_ticks(self.pid) == self.ticks

    def send(self, number: int) -> None:
        """Signal it, if it is still the same process."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def family(mark: str, known: Iterable[OwnProcess]) -> list[OwnProcess]:
    """Every living process of a cluster: marked, known, in their sessions, or descended from them.

    Never the calling process or one of its ancestors.
    """
    table = {pid: fields for pid in _pids() if (fields := stat_fields(pid)) and fields[0] != "Z"}
    roots = {p.pid for p in known if p.alive} | {pid for pid in table if _is_marked(pid, mark)}
    sessions = {int(table[pid][3]) for pid in roots if pid in table and _leads(pid, table)}
    found = roots | {pid for pid, fields in table.items() if int(fields[3]) in sessions}
    children: dict[int, list[int]] = {}
    for pid, fields in table.items():
        children.setdefault(int(fields[1]), []).append(pid)
    todo = list(found)
    while todo:
        below = [pid for pid in children.get(todo.pop(), []) if pid not in found]
        found.update(below)
        todo += below
    found -= _own_line(table)
    return [p for pid in sorted(found) if (p := OwnProcess.of(pid)) is not None]


def programs(leader: OwnProcess) -> tuple[set[str], set[str]]:
    """The names of the programs of a session that live, and of dead ones that nobody took note of.

    Of each the first fifteen letters.
    """
    alive: set[str] = set()
    dead: set[str] = set()
    for pid in _pids():
        fields = stat_fields(pid)
        if fields and int(fields[3]) == leader.pid:
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
                (dead if fields[0] == "Z" else alive).add(name)
    return alive, dead


def end(processes: Iterable[OwnProcess], grace_s: float) -> None:
    """SIGTERM, after ``grace_s`` SIGKILL; returns when all are gone (or stuck in the kernel)."""
    processes = list(processes)
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        for process in processes:
            process.send(number)
        if wait_gone(processes, patience_s):
            return


def mates(process: OwnProcess) -> list[OwnProcess]:
    """Who is in the session that a process leads, or led; itself left out.

    What has a session of its own, as the supervisors of attempts have, is none. No pid is given
    anew as long as a session has its number: unless another process has it now, the session is it.
    """
    if process.boot != boot_id() or start_ticks(process.pid) not in (None, process.ticks):
        return []
    own = _own_line({pid: fields for pid in _pids() if (fields := stat_fields(pid))})
    found = (p for pid in _pids() if pid not in own and (p := OwnProcess.of(pid)) is not None)
    return [p for p in found if p.pid != process.pid and _session(p) == process.pid]


def end_cluster(
    mark: str, leaders: Iterable[OwnProcess], grace_s: float, patience_s: float
) -> None:
    """End everything that carries a mark; returns when nothing of it lives.

    The leaders with their sessions get SIGTERM, and SIGKILL after ``grace_s``. What they held on a
    lifeline has ``patience_s`` to end by itself; then what is left is killed.
    """
    leaders = list(leaders)
    belongings = family(mark, leaders)
    sessions = {p.pid for p in leaders}
    end([*leaders, *(p for p in belongings if _session(p) in sessions)], grace_s)
    wait_gone(belongings, patience_s)
    for _ in range(3):  # what was being started while we looked
        left = family(mark, [*belongings, *leaders])
        if not left:
            break
        end(left, 0.0)


def reap(processes: Iterable[OwnProcess]) -> None:
    """Take note of the end of those that were our own children; else they stay as zombies."""
    for process in processes:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


def _session(process: OwnProcess) -> int:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return 0


def wait_gone(processes: Iterable[OwnProcess], patience_s: float) -> bool:
    """Wait until none of them lives any more; False if some still do after ``patience_s``."""
    deadline = time.monotonic() + patience_s
    left = list(processes)
    while left := [p for p in left if p.alive]:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _is_marked(pid: int, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone, or somebody else's
        return False


def _leads(pid: int, table: dict[int, list[str]]) -> bool:
    """Whether a process leads its session: then the whole session is ours."""
    return int(table[pid][3]) == pid


def _own_line(table: dict[int, list[str]]) -> set[int]:
    line, pid = set(), os.getpid()
    while pid and pid not in line:
        line.add(pid)
        pid = int(table[pid][1]) if pid in table else 0
    return line
