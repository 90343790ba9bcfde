"""What the head may do with files on a node: read what attempts left, send what they need.

One object per agent; its methods block (they read and write, and compute checksums), so the agent
calls them in a thread: ``await asyncio.to_thread(files.call, name, *args)``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetsched.cluster.bundles import FileEntry, below, digest_of
from jetsched.cluster.filecache import CACHE_MIB, Cached, FileCache
from jetsched.cluster.nodefolder import TOLD
from jetsched.cluster.protocol import Key, attempt_name
from jetsched.errors import InputError
from jetsched.files import from_json, json_bytes, to_json, write_atomically
from jetsched.profiler import hub_cache
from jetsched.profiler.attempts import is_running, read_attempt, read_object
from jetsched.profiler.runner import OUT
from jetsched.records import Job

#: The most bytes that one answer carries.
CHUNK_BYTES = 1 << 20
#: An attempt may leave so many files; those beyond are not brought to the head.
MOST_OUTPUTS = 10_000
#: Names in a child's spec that may lead into the cache.
PATHS = ("model_path", "dataset_path", "prompts_path", "resume_from")
#: Checkpoints that are being read: hard links, which stay when training writes the next one.
PINNED = "pinned"

_STEP = re.compile(r"step-(\d{1,12})", re.ASCII)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held:
    """An attempt that ended, whose results the head may not have. ``outputs``: there are some.

    ``submitted_s`` tells its job from one of a history that was thrown away.
    """

    key: Key
    outputs: bool
    checkpoint: str = ""  # the name of the newest
    submitted_s: float = 0.0


@dataclass(frozen=True)
class Outputs:
    """What an attempt left; ``left_out`` names what cannot be brought, with the reason."""

    files: tuple[FileEntry, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is held for reading; ``keep`` is how many of its job are to be kept.

    ``submitted_s`` tells the job from one of a history that was thrown away.
    """

    name: str
    files: tuple[FileEntry, ...]
    keep: int = 1
    submitted_s: float = 0.0

    @property
    def step(self) -> int:
        return step_of(self.name)


def step_of(name: str) -> int:
    """The step in the name of a checkpoint; -1 for what is none."""
    match = _STEP.fullmatch(name)
    return int(match[1]) if match else -1


class NodeFiles:
    """The files of one node: ``folder`` has one folder per attempt, and the cache."""

    OFFERED = (
        "outputs",
        "read",
        "pin",
        "unpin",
        "newest_checkpoint",
        "held",
        "prune_attempts",
        "has_hub_model",
        "prune_cache",
    )
    OFFERED_BY_CACHE = ("begin", "write", "commit", "rows", "drop")

    def __init__(self, folder: Path, cache_mib: float = CACHE_MIB) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # two may ask for checksums of the same files
        self.cache = FileCache(folder / "cache", self._used, most_mib=cache_mib)

    def call(self, name: str, *args: Any) -> Any:
        """One of the offered methods, by name. Raises :class:`InputError` for any other."""
        if name in self.OFFERED:
            return getattr(self, name)(*args)
        if name in self.OFFERED_BY_CACHE:
            return getattr(self.cache, name)(*args)
        raise InputError(f"a node does not know {name!r}")

    # ------------------------------------------------------------------- what attempts have left

    def outputs(self, key: Key) -> Outputs | None:
        """What an attempt that ended left in ``out/``; None where the node knows nothing of it.

        The checksums are computed once and kept beside.
        """
        place = self._attempt(key)
        if not (place / "order.json").exists() or (place / TOLD).exists():
            return None
        with self._lock:
            kept = place / "outputs.json"
            with suppress(OSError, ValueError, InputError):
                return from_json(Outputs, json.loads(kept.read_bytes()))
            found = _outputs(place / OUT)
            with suppress(OSError):  # a full disk: then they are computed again
                write_atomically(kept, json_bytes(to_json(found)))
            return found

    def read(self, key: Key, path: str, offset: int, size: int = CHUNK_BYTES) -> bytes:
        """Some bytes of a file below ``out/`` or ``pinned/``; empty at its end.

        Raises :class:`InputError` for a path that leads elsewhere, OSError where it is gone.
        """
        place = self._attempt(key)
        top, _, rest = path.partition("/")
        if top not in (OUT, PINNED):
            raise InputError(f"{path!r} is not below {OUT} or {PINNED}")
        handle = os.open(below(place / top, rest), os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            file.seek(offset)
            return file.read(min(size, CHUNK_BYTES))

    def held(self) -> list[Held]:
        """Attempts that ended and left something, and that the head has not said to forget."""
        found = []
        for place in self._places():
            if (place / TOLD).exists() or is_running(place):
                continue
            outputs, newest = has_outputs(place), newest_of(place)
            if outputs or newest:
                key, job = _key_of(place), _job_of(place)
                if key is not None and job is not None:
                    found.append(Held(key, outputs, newest, job.submitted_s))
        return found

    def forgot(self, key: Key) -> None:
        """The head has it all: what it has is removed here. Called by the agent."""
        place = self._attempt(key)
        if (place / "order.json").exists():
            with suppress(OSError):
                (place / TOLD).touch()
        for name in (OUT, PINNED):
            shutil.rmtree(place / name, ignore_errors=True)

    # ------------------------------------------------------------------------------ checkpoints

    def pin(self, key: Key, name: str = "") -> Checkpoint | None:
        """Hold a checkpoint for reading, the newest where none is named; None where it is gone.

        Training goes on meanwhile, and removes it for the next one.
        """
        place = self._attempt(key)
        name = name or newest_of(place)
        if step_of(name) < 0:
            return None
        source, target = place / "checkpoint" / name, place / PINNED / name
        try:
            for path in sorted(source.iterdir()):
                target.mkdir(parents=True, exist_ok=True)
                if path.is_file() and not path.is_symlink() and not (target / path.name).exists():
                    os.link(path, target / path.name)
        except FileNotFoundError:  # it was replaced by a newer one
            pass
        if not (target / "state.pt").exists():
            shutil.rmtree(target, ignore_errors=True)
            return None
        files = tuple(
            FileEntry(path.name, path.stat().st_size, digest_of(path))
            for path in sorted(target.iterdir())
        )
        attempt = read_attempt(place)
        if attempt is None:
            return None
        job = attempt.job
        return Checkpoint(name, files, int(job.work.get("checkpoint_keep", 1)), job.submitted_s)

    def unpin(self, key: Key, name: str) -> None:
        """Nobody reads this checkpoint any more."""
        if step_of(name) >= 0:
            shutil.rmtree(self._attempt(key) / PINNED / name, ignore_errors=True)

    def newest_checkpoint(self, job_id: str, submitted_s: float, before: int) -> int:
        """The step of the farthest checkpoint that is here, of a job's attempts before one; or -1.

        ``submitted_s`` as in :class:`Checkpoint`.
        """
        steps = [-1]
        for number in range(1, before):
            place = self._attempt((job_id, number))
            with suppress(InputError):
                attempt = read_attempt(place)
                if attempt is not None and attempt.job.submitted_s == submitted_s:
                    steps.append(step_of(newest_of(place)))
        return max(steps)

    # ------------------------------------------------------------------------------------- else

    def has_hub_model(self, hub_id: str, commit: str) -> bool:
        """Whether the node's own cache of the hub has this model, whole: with safe weights."""
        snapshot = hub_cache.snapshot(hub_id, commit)
        return snapshot is not None and any(Path(snapshot).glob("*.safetensors"))

    def prune_cache(
        self, older_s: float | None, keep_bytes: int | None, dry_run: bool
    ) -> list[Cached]:
        """See :meth:`FileCache.prune`."""
        return self.cache.prune(older_s=older_s, keep_bytes=keep_bytes, dry_run=dry_run)

    def prune_attempts(
        self, older_s: float, keep: Collection[str] = (), dry_run: bool = False
    ) -> list[tuple[str, int]]:
        """Remove folders of attempts that ended so long ago, but those of the jobs to ``keep``.

        What the head has not fetched yet stays. Returns their names and bytes.
        """
        held = {attempt_name(held.key) for held in self.held() if held.outputs}
        gone = []
        for place in list(self._places()):
            key = _key_of(place)
            if key is None or key[0] in keep or place.name in held or is_running(place):
                continue
            if time.time() - place.stat().st_mtime > older_s:
                gone.append((place.name, size_of(place)))
                if not dry_run:
                    shutil.rmtree(place, ignore_errors=True)
        return gone

    def _used(self) -> Iterator[str]:
        """What running attempts use of the cache."""
        base = self.cache.places
        for place in self._places():
            with suppress(InputError, OSError):
                if is_running(place):
                    spec = read_object(place / "spec.json")
                    paths = [Path(spec[name]) for name in PATHS if spec.get(name)]
                    yield from (p.relative_to(base).parts[0] for p in paths if base in p.parents)

    def _places(self) -> Iterator[Path]:
        return (p.parent for p in self._folder.glob("*-*/order.json"))

    def _attempt(self, key: Key) -> Path:
        return self._folder / attempt_name(key)


def has_outputs(place: Path) -> bool:
    """Whether an attempt left anything in its ``out/``."""
    with suppress(OSError), os.scandir(place / OUT) as found:
        return any(True for _ in found)
    return False


def newest_of(place: Path) -> str:
    """The name of the farthest checkpoint in an attempt's folder; "" where there is none."""
    names = [path.name for path in (place / "checkpoint").glob("step-*")]
    return max((name for name in names if step_of(name) >= 0), key=step_of, default="")


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; links are not followed."""
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(top, name)).st_size
    return total


def _outputs(out: Path) -> Outputs:
    """Regular files only: a link may lead anywhere, and would be read with the agent's rights."""
    files: list[FileEntry] = []
    left_out: list[str] = []
    for top, folders, names in os.walk(out):
        folders.sort()
        for name in sorted([*names, *(n for n in folders if os.path.islink(os.path.join(top, n)))]):
            path = Path(top) / name
            text = path.relative_to(out).as_posix()
            if path.is_symlink() or not path.is_file():
                left_out.append(f"{text}: no regular file")
                continue
            if len(files) >= MOST_OUTPUTS:
                left_out.append(f"{text}: more than {MOST_OUTPUTS:,} files")
                break
            try:
                below(out, text)
            except InputError as error:
                left_out.append(str(error))
                continue
            files.append(FileEntry(text, path.stat().st_size, digest_of(path)))
    files.sort(key=lambda file: file.path)
    return Outputs(tuple(files), tuple(left_out[:100]))


def _key_of(place: Path) -> Key | None:
    job, number = _job_of(place), place.name.rpartition("-")[2]
    return (job.id, int(number)) if job is not None and number.isdigit() else None


def _job_of(place: Path) -> Job | None:
    try:
        attempt = read_attempt(place)
    except InputError:
        log.warning("%s cannot be read", place)
        return None
    return attempt.job if attempt is not None else None
