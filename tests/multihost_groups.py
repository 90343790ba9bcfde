"""Memory cgroups of hosts, so that what jobs are capped with lies in one place and can go.

They are the one thing of a site that the kernel does not remove with it: their names say who made
them, and :func:`sweep` removes those of makers that are gone.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from jetsched.profiler.procfs import start_ticks

PREFIX = "jetsched-host-"


class HostGroup:
    """A cgroup for all processes of a host; does nothing where none can be made."""

    def __init__(self, name: str) -> None:
        pid = os.getpid()
        self.folder: Path | None = None
        for parent in _parents():
            folder = parent / f"{PREFIX}{pid}-{start_ticks(pid)}-{name}"
            with contextlib.suppress(OSError):
                folder.mkdir()
                self.folder = folder
                break

    def add(self, pid: int) -> None:
        """Put a process into it; all that it starts will be in it."""
        if self.folder is None:
            return
        inner = self.folder / "all"  # version 2 wants processes in leaves only
        inner.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            (self.folder / "cgroup.subtree_control").write_text("+memory")
        (inner / "cgroup.procs").write_text(str(pid))

    def left(self) -> list[str]:
        """Cgroups that were made in it and are still there."""
        if self.folder is None:
            return []
        found = [p for p in self.folder.rglob("*") if p.is_dir()]
        return sorted(str(p.relative_to(self.folder)) for p in found if p.name != "all")

    def remove(self) -> None:
        if self.folder is not None:
            _remove(self.folder)


def sweep() -> None:
    """Remove the cgroups of makers that are gone."""
    for parent in _parents():
        for folder in parent.glob(PREFIX + "*"):
            words = folder.name[len(PREFIX) :].split("-")
            if len(words) == 3 and str(start_ticks(int(words[0]))) != words[1]:
                _remove(folder)


def _remove(folder: Path) -> None:
    below = sorted((p for p in folder.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts))
    for place in (*below, folder):
        with contextlib.suppress(OSError):
            place.rmdir()


def _parents() -> list[Path]:
    """Our own memory cgroup, of version 1 or 2, and the one above it."""
    found: list[Path] = []
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options = line.split(" ")[:4]
        for _, controllers, path in own:
            is_v1 = kind == "cgroup" and "memory" in options.split(",")
            if is_v1 and "memory" in controllers.split(","):
                found.append(Path(point) / path.lstrip("/"))
            elif kind == "cgroup2" and controllers == "":
                folder = Path(point) / path.lstrip("/")
                if "memory" in (folder / "cgroup.controllers").read_text().split():
                    found += [folder, folder.parent] if folder != Path(point) else [folder]
    return [folder for folder in found if os.access(folder, os.W_OK)]
