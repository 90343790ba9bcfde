"""What the kernel tells of processes, memory and disks.

Part of the supervisor too: standard library only, Python >= 3.8.
"""

from __future__ import annotations

import os


def descendants(root: int) -> list[int]:
    """Every process below ``root``, nearest first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        fields = stat_fields(int(name))
        if fields and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(0), [])
        found += below
        todo += below
    return found


def stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat from its third field (the state) on; empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def start_ticks(pid: int) -> int | None:
    """When a process started, in ticks since boot: with its pid a name that is never reused."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else None


def boot_id() -> str:
    return read("/proc/sys/kernel/random/boot_id").strip()


def oom_kills_since_boot() -> int:
    """How many processes the kernel has killed for memory; 0 where it does not count (< 4.13)."""
    return number_after("oom_kill ", read("/proc/vmstat")) or 0


def available_mib() -> float | None:
    kib = number_after("MemAvailable:", read("/proc/meminfo"))
    return None if kib is None else kib / 1024


def free_mib(folder: str) -> float | None:
    """Room on a folder's disk for whoever is not root; None where it cannot be told."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize / 2**20


def size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def number_after(key: str, text: str) -> int | None:
    """The whole number behind ``key`` at the start of a line; None when there is none."""
    for line in text.splitlines():
        if line.startswith(key):
            words = line[len(key) :].split()
            if words and words[0].isdigit():
                return int(words[0])
    return None


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
