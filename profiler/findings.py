"""What `jetsched doctor` looks at, and what it says: the material of doctor.py's checks."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jetsched.profiler.identity import Identity, ask_python, identify
from jetsched.profiler.sensors import Missing, Source, candidates

Level = Literal["ok", "warn", "fail"]
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: *ok*; *warn*: works, but less than it could; *fail*: does not."""

    check: str
    level: Level
    text: str
    fix: str = ""  # what to do, as a command where there is one; empty when it is ok


@dataclass(frozen=True)
class Disk:
    """The file system below a folder. ``medium`` is its device, e.g. ``mmcblk1``; "" unknown."""

    total_mib: float
    free_mib: float
    writable: bool = True
    medium: str = ""


@dataclass(frozen=True)
class Cluster:
    """A cluster that this machine is told to belong to. ``python`` is the head's; "" unknown."""

    token_file: Path
    python: str = ""


@dataclass(frozen=True)
class World:
    """A machine as the checks see it; tests make one up.

    ``root`` is where /proc and /etc are looked for, ``cache`` is the hub's folder, ``data`` ours.
    ``cuda`` is whether the workload's torch sees a GPU (None: not asked), ``disk`` tells about the
    nearest folder that exists.
    """

    identity: Identity
    cache: Path
    data: Path
    root: Path = Path("/")
    agent_python: str = platform.python_version()
    cuda: bool | None = None
    disk: Callable[[Path], Disk | None] = lambda path: None
    sensors: tuple[Source | Missing, ...] = ()
    cluster: Cluster | None = None


def this_world(
    python: str,
    data: Path,
    cluster: Cluster | None = None,
    root: Path = Path("/"),
    *,
    ask_gpu: bool = True,
) -> World:
    """This machine; importing torch in ``python`` takes some seconds where there is a GPU.

    Without ``ask_gpu`` torch is not imported: that takes memory which a job may need.
    """
    identity = identify(root, python)
    asks = ask_gpu and identity.kind != "cpu" and identity.software.cuda
    return World(
        identity=identity,
        cache=cache_folder(os.environ),
        data=data,
        root=root,
        cuda=sees_cuda(python) if asks else None,
        disk=lambda path: disk_of(path, root),
        sensors=tuple(candidates(root)),
        cluster=cluster,
    )


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where the hub's libraries keep models (huggingface_hub's own rule, in short)."""
    if environ.get("HF_HOME"):
        return Path(environ["HF_HOME"]).expanduser()
    base = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface"


def sees_cuda(python: str) -> bool | None:
    """Whether the torch of this interpreter sees a GPU; None when it cannot even be asked."""
    question = "import torch; print(torch.cuda.is_available())"
    try:
        return ask_python(python, question, timeout_s=120).strip() == "True"
    except (OSError, subprocess.SubprocessError):
        return None


def disk_of(path: Path, root: Path = Path("/")) -> Disk | None:
    """The file system of a folder, or of the nearest one above it that is there."""
    there = nearest(path)
    try:
        usage = shutil.disk_usage(there)
    except OSError:
        return None
    return Disk(
        usage.total / _MIB,
        usage.free / _MIB,
        os.access(there, os.W_OK),
        _medium(there, root),
    )


def nearest(path: Path) -> Path:
    """The folder itself, or the first above it that exists."""
    path = path.absolute()
    return next((p for p in (path, *path.parents) if p.exists()), Path("/"))


def _medium(path: Path, root: Path) -> str:
    """The block device that the longest mount point above the path has, e.g. ``nvme0n1p1``."""
    found, length = "", -1
    try:
        lines = (root / "proc/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        device, point, *_ = [*line.split(), "", ""]
        if path.is_relative_to(point or "/nowhere") and len(point) >= length:
            found, length = device, len(point)
    return found.rpartition("/")[2] if found.startswith("/dev/") else ""
