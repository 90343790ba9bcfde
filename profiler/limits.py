"""What a workload may use, and how the kernel is made to hold it to that.

A memory cap comes from the best thing this machine allows: a cgroup of version 2, of version 1,
else ``RLIMIT_AS``, else nothing. Which one it was is part of every measurement.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from jetsched.profiler.procfs import number_after, start_ticks

CapKind = Literal["cgroup-v2", "cgroup-v1", "rlimit-as", "none"]

#: Cgroups of ours are called PREFIX + pid namespace - pid of the maker - its start - a counter.
PREFIX = "jetsched-"
#: What a killed supervisor left lies for so long before it is removed.
STALE_S = 120.0
#: RLIMIT_AS counts addresses, not memory: torch 2.13 on a CPU maps about this much more than it
#: holds (measured: 424 MiB after the import, 607 MiB in training).
UNTOUCHED_MIB = 512
_MIB = 1024 * 1024
_SERIAL = itertools.count()


@dataclass(frozen=True)
class Limits:
    """Hard limits of one attempt. None, 1.0 and empty mean: none."""

    memory_mib: float | None = None
    time_s: float | None = None  # of the whole attempt, loading included
    slowdown: float = 1.0  # 2.0: it rests as long as it runs
    cpus: tuple[int, ...] = ()  # the CPUs it may use
    threads: int | None = None  # of OpenMP and BLAS
    #: The hottest zone's. None: what the board's own kernel says; 0: none.
    temperature_c: float | None = None
    stall_s: float | None = None  # how long training and inference may show no sign of life


@dataclass(frozen=True)
class Cap:
    """The memory cap of one attempt, ready for the supervisor to put a process under it.

    ``group`` is a cgroup's folder (also where there is no cap: it counts kills), ``counters`` the
    files in it that tell afterwards what happened.
    """

    kind: CapKind
    memory_mib: float | None
    group: str | None = None
    counters: tuple[str, ...] = ()

    @property
    def address_space(self) -> int | None:
        """RLIMIT_AS in bytes, where that is the cap."""
        if self.kind != "rlimit-as" or self.memory_mib is None:
            return None
        return int((self.memory_mib + UNTOUCHED_MIB) * _MIB)


@dataclass(frozen=True)
class MemoryCounters:
    """What a memory cgroup counted over one attempt. None: not counted on this kernel."""

    oom_kills: int | None = None  # processes that the kernel killed in it
    refusals: int | None = None  # how often it was at its limit
    max_usage_mib: float | None = None  # page cache included
    page_cache_mib: float | None = None  # what of it was left as page cache at the end


def make_cap(memory_mib: float | None, *, root: Path = Path("/"), cgroups: bool = True) -> Cap:
    """The best cap that can be had here; ``Cap.kind`` says which.

    ``root`` is where ``proc`` and the cgroup mounts are looked for; ``cgroups=False`` leaves them
    out. The supervisor removes the cgroup at the end of the attempt.
    """
    for version, parent in _parents(root) if cgroups else ():
        group = parent / _new_name()
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                if version == 2:
                    return _cap_v2(group, memory_mib)
                return _cap_v1(group, memory_mib)
            except OSError:
                group.rmdir()
    return Cap("none" if memory_mib is None else "rlimit-as", memory_mib)


@lru_cache(maxsize=1)
def cap_kind() -> CapKind:
    """What a memory cap is made of on this machine; found out by making one."""
    cap = make_cap(64.0)
    if cap.group is not None:
        with contextlib.suppress(OSError):
            os.rmdir(cap.group)
    return cap.kind


def remove_stale(root: Path = Path("/")) -> list[str]:
    """Remove what attempts left whose supervisor was killed, and their starter too.

    Those are empty cgroups, and folders for temporary files, of ours and whose maker is gone;
    returns them. Nothing of another maker is ever touched.
    """
    removed = _stale_temporaries()
    for _, parent in _parents(root):
        for group in parent.glob(PREFIX + "*"):
            if not _is_stale(group.name):
                continue
            with contextlib.suppress(OSError):  # not empty: a workload still runs in it
                group.rmdir()
                removed.append(str(group))
    return removed


def make_temporary() -> str:
    """A new folder for the temporary files of one attempt; the supervisor removes it at its end.

    It lies where the machine wants such files: sockets go there, whose paths must be short.
    Raises OSError.
    """
    return tempfile.mkdtemp(prefix=_new_name() + "-")


def read_counters(kind: CapKind, files: Mapping[str, str]) -> MemoryCounters:
    """What the counter files of a cgroup said. ``files``: name -> contents."""

    def value(file: str, key: str = "") -> int | None:
        return number_after(key, files.get(file, ""))

    def mib(count: int | None) -> float | None:
        return None if count is None else count / _MIB

    if "memory.events" in files:
        return MemoryCounters(
            oom_kills=value("memory.events", "oom_kill "),
            refusals=value("memory.events", "max "),
            max_usage_mib=mib(value("memory.peak")),
            page_cache_mib=mib(value("memory.stat", "file ")),
        )
    refusals = [value("memory.failcnt"), value("memory.memsw.failcnt")]
    return MemoryCounters(
        oom_kills=value("memory.oom_control", "oom_kill "),
        refusals=max((count for count in refusals if count is not None), default=None),
        max_usage_mib=mib(value("memory.max_usage_in_bytes")),
        page_cache_mib=mib(value("memory.stat", "total_cache ")),
    )


def to_order(cap: Cap) -> dict[str, Any]:
    """The part of the supervisor's order that is about memory."""
    return {
        "kind": cap.kind,
        "memory_mib": cap.memory_mib,
        "group": cap.group,
        "counters": list(cap.counters),
        "address_space": cap.address_space,
    }


def _cap_v2(group: Path, memory_mib: float | None) -> Cap:
    if not (group / "memory.max").exists():
        raise FileNotFoundError(f"{group}: the memory controller is not delegated")
    if memory_mib is not None:
        (group / "memory.max").write_text(str(int(memory_mib * _MIB)))
        # Without this a workload would swap instead of ending, and its time would not be a time.
        _write_if_there(group / "memory.swap.max", "0")
        _write_if_there(group / "memory.oom.group", "1")
    counters = ("memory.events", "memory.peak", "memory.stat")
    kind: CapKind = "none" if memory_mib is None else "cgroup-v2"
    return Cap(kind, memory_mib, str(group), counters)


def _cap_v1(group: Path, memory_mib: float | None) -> Cap:
    if not (group / "memory.limit_in_bytes").exists():
        raise FileNotFoundError(f"{group}: not a memory cgroup")
    if memory_mib is not None:
        limit = str(int(memory_mib * _MIB))
        (group / "memory.limit_in_bytes").write_text(limit)
        _write_if_there(group / "memory.memsw.limit_in_bytes", limit)
        _write_if_there(group / "memory.swappiness", "0")
    counters = (
        "memory.oom_control",
        "memory.failcnt",
        "memory.memsw.failcnt",
        "memory.max_usage_in_bytes",
        "memory.stat",
    )
    kind: CapKind = "none" if memory_mib is None else "cgroup-v1"
    return Cap(kind, memory_mib, str(group), counters)


def _write_if_there(path: Path, text: str) -> None:
    if path.exists():
        with contextlib.suppress(OSError):
            path.write_text(text)


def _parents(root: Path) -> Iterator[tuple[int, Path]]:
    """Where a cgroup of ours might go, best first: below our own one, else below one above it.

    Version 2 refuses controllers below a cgroup that holds processes, so there the ones above are
    the rule and our own the exception (a root cgroup, or a service that moved itself down).
    """
    own = _own_groups(root)
    for version, point in _mounts(root):
        path = own.get(version)
        if path is None:
            continue
        folder = root / point.lstrip("/") / path.lstrip("/")
        top = root / point.lstrip("/")
        while True:
            if os.access(folder, os.W_OK):
                yield version, folder
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent


def _own_groups(root: Path) -> dict[int, str]:
    """Our own cgroup in the hierarchy of version 2 and in version 1's memory hierarchy."""
    found = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found[2] = path
        elif "memory" in controllers.split(","):
            found[1] = path
    return found


def _mounts(root: Path) -> list[tuple[int, str]]:
    """Mount points of cgroup hierarchies that can hold memory, version 2 first."""
    found = []
    for line in _lines(root / "proc/self/mounts"):
        _, point, kind, options = line.split(" ")[:4]
        if kind == "cgroup2":
            found.append((2, point))
        elif kind == "cgroup" and "memory" in options.split(","):
            found.append((1, point))
    return sorted(found, reverse=True)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _stale_temporaries() -> list[str]:
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        name = folder.name.rpartition("-")[0]
        with contextlib.suppress(OSError):
            if not _is_stale(name) or folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            # Its supervisor may live for some seconds yet, and the workload end well.
            if _age_s(folder) > STALE_S:
                shutil.rmtree(folder)
                removed.append(str(folder))
    return removed


def _age_s(path: Path) -> float:
    """How long ago it was changed, whichever way the clock was set since."""
    return abs(time.time() - path.stat().st_mtime)


def _new_name() -> str:
    pid = os.getpid()
    return f"{PREFIX}{_pid_namespace()}-{pid}-{start_ticks(pid)}-{next(_SERIAL)}"


def _is_stale(name: str) -> bool:
    parts = name[len(PREFIX) :].split("-")
    if len(parts) != 4 or not all(part.isdigit() for part in parts):
        return False
    return parts[0] == _pid_namespace() and start_ticks(int(parts[1])) != int(parts[2])


def _pid_namespace() -> str:
    """Pids mean something only within it; "0" where it cannot be told."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    return "0"
