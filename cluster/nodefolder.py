"""The folder of a node's attempts: who may use it, and what is thrown away of it, and when.

Boards have small disks. Of an attempt that is over, and that the head has all of, only what tells
how it went is kept, and its checkpoint where its job may go on from that; later that goes too.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from jetsched.cluster.protocol import Key, attempt_name
from jetsched.errors import JetschedError
from jetsched.profiler.attempts import is_running, read_attempt, read_result

LOCK = ".agent.lock"
#: What stays of an attempt that is over: how it went, in a few kilobytes.
KEPT = frozenset(
    {
        "spec.json",
        "order.json",
        "supervisor.json",
        "exit.json",
        "measurement.json",
        "events.jsonl",
        "log.txt",
    }
)
#: Written once the head has all of an attempt: from then on its folder may go.
TOLD = ".told"
CHECKPOINT = "checkpoint"
#: Files and folders that are not whole: whoever wrote them died.
PARTIAL = (".part", ".new", ".tmp")
_MIB = 1024 * 1024

log = logging.getLogger(__name__)


class FolderTaken(JetschedError):
    """Another agent holds the folder: its attempts would be taken for ours."""


def hold(folder: Path, patience_s: float) -> IO[bytes]:
    """Take a folder for this process, as long as what is returned is open.

    An agent before this one may still be dying, hence the patience. Raises :class:`FolderTaken`,
    and OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / LOCK).open("a+b")
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                file.seek(0)
                owner = file.read().decode(errors="replace").strip() or "unknown"
                file.close()
                raise FolderTaken(
                    f"{folder} is used by another agent (process {owner})",
                    hint="end that one, or give this node a folder of its own",
                ) from None
            time.sleep(0.1)
    with contextlib.suppress(OSError):  # a full disk; the lock holds all the same
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
    return file


def left_behind(folder: Path) -> list[Key]:
    """Attempts of an agent before this one that are not over yet."""
    found: list[Key] = []
    for place in _attempts(folder):
        try:
            if is_running(place):
                attempt = read_attempt(place)
                assert attempt is not None
                found.append((attempt.job.id, int(place.name.rpartition("-")[2])))
        except Exception:  # one folder that is not readable must not keep the agent from living
            log.exception("%s cannot be read", place)
    return found


def clean(place: Path) -> None:
    """Throw away what an attempt that is over has left, once the head has all of it.

    Of one that was *done* everything but unfinished pieces stays until it is pruned: a command may
    have made something there. Raises OSError.
    """
    if not place.is_dir():
        return
    (place / TOLD).touch()
    measurement = read_result(place)
    done = measurement is not None and measurement.outcome == "done"
    for entry in _entries(place):
        whole = not entry.name.endswith(PARTIAL)
        if whole and (done or entry.name in KEPT or entry.name in (TOLD, CHECKPOINT)):
            continue
        _remove(entry)
    for entry in _entries(place / CHECKPOINT):
        if entry.name.endswith(PARTIAL):
            _remove(entry)


def drop(folder: Path, job_ids: Iterable[str]) -> None:
    """Remove the checkpoints of jobs that will not run again."""
    for job_id in job_ids:
        prefix = attempt_name((job_id, 1)).rpartition("-")[0]
        for place in folder.glob(f"{prefix}-*"):
            if place.name.rpartition("-")[2].isdigit():
                _remove(place / CHECKPOINT)


@dataclass(frozen=True)
class Pruned:
    """What pruning a node's folder has removed."""

    attempts: int = 0
    mib: float = 0.0


def prune(
    folder: Path,
    *,
    busy: Collection[str],
    keep_s: float,
    keep_mib: float,
    need_mib: float = 0.0,
) -> Pruned:
    """Remove whole folders of attempts that are over: too old ones, then the oldest of too many.

    ``busy`` are names that must stay. Those whose result the head may not have go by age only, and
    so do those with a checkpoint that a job may go on from. With ``need_mib`` at least so much is
    freed, if there is that much.
    """
    now, found = time.time(), []
    for place in _attempts(folder):
        with contextlib.suppress(Exception):  # it went meanwhile, or is not readable
            if place.name not in busy and not is_running(place):
                found.append((now - place.stat().st_mtime, _size(place), place))
    total, removed, freed = sum(size for _, size, _ in found), 0, 0.0
    for age_s, size, place in sorted(found, reverse=True):
        spare = (place / TOLD).exists() and not (place / CHECKPOINT).exists()
        if age_s > keep_s or (spare and (total > keep_mib * _MIB or freed < need_mib)):
            _remove(place)
            total, removed, freed = total - size, removed + 1, freed + size / _MIB
    return Pruned(removed, freed)


def _attempts(folder: Path) -> Iterator[Path]:
    return (place for place in folder.glob("*-*") if (place / "order.json").exists())


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _size(folder: Path) -> int:
    """Bytes of all files below; links are not followed."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found += os.lstat(os.path.join(place, name)).st_size
    return found
