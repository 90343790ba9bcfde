"""`jetsched restore`: a backup put in place, on this machine or another one.

The archive may come from anywhere. It is unpacked beside the data home and checked there, name by
name and byte by byte, before anything is touched; what is in the way is moved aside, not removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from jetsched.cluster.backup import FORMAT, MANIFEST, NAMES, VERSION, Manifest, journal_facts
from jetsched.cluster.state import STATE_FILE, alone, read_state
from jetsched.cluster.store import JOURNAL, journal_entries
from jetsched.cluster.store import VERSION as JOURNAL_VERSION
from jetsched.errors import InputError
from jetsched.files import from_json, make_folder, to_json
from jetsched.files import home as data_home

#: More than this no manifest is long, whatever its archive holds.
_MOST_MANIFEST_BYTES = 64 << 20
#: SQLite's own files beside a journal; they belong to that very journal.
_BESIDE = (f"{JOURNAL}-wal", f"{JOURNAL}-shm")
_LOGS = "logs"  # a running scheduler holds it


@dataclass(frozen=True)
class Restored:
    """What was put in place. ``aside`` is where the old went, None where nothing was in the way."""

    home: Path
    manifest: Manifest
    files: int
    bytes: int
    aside: Path | None

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "home": str(self.home),
            "files": self.files,
            "bytes": self.bytes,
            "aside": None if self.aside is None else str(self.aside),
            "manifest": to_json(self.manifest),
        }


def restore(
    archive: Path,
    *,
    home: Path | None = None,
    force: bool = False,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Restored:
    """Put a backup in place. Raises :class:`InputError`; nothing has changed then.

    Refused where a cluster runs here, where the archive is damaged or not ours, or where something
    is in the way; with ``force`` that is moved into a folder of the home.
    """
    home = (home or data_home()).absolute()
    with _nobody_else(home):
        staging = Path(mkdtemp(prefix=".jetsched-restore-", dir=home.parent))
        try:
            manifest = _unpack(archive, staging, watch)
            _check_journal(staging / JOURNAL, manifest, archive)
            aside = _put_in_place(staging, manifest, home, force=force)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    size = sum(kept.bytes for kept in manifest.files)
    return Restored(home, manifest, len(manifest.files), size, aside)


def read_manifest(archive: Path) -> Manifest:
    """What a backup says of itself. Raises :class:`InputError`."""
    with _opened(archive) as tar:
        return _manifest(archive, tar)


@contextmanager
def _nobody_else(home: Path) -> Iterator[None]:
    """As long as no cluster runs on the home, and none can begin."""
    make_folder(home.parent)
    if not home.exists():
        home.mkdir(mode=0o700)
    hint = "jetsched down, then restore, then jetsched up"
    with alone(home, f"`jetsched up` or `down` is at work in {home}"):
        state = read_state(home)
        if state is not None and any(process.alive for process in state.processes):
            raise InputError(f"a cluster runs on {home}", hint=hint)
        had_logs = (home / _LOGS).exists()
        try:
            with alone(home / _LOGS, f"a scheduler runs on {home}"):
                yield
        finally:
            if not had_logs and not any((home / _LOGS).iterdir()):
                (home / _LOGS).rmdir()


# ----------------------------------------------------------------------------------- unpack, check


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    if not archive.is_file():
        raise InputError(f"there is no file {archive}")
    try:
        with tarfile.open(archive, "r|gz") as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{archive} is damaged, or no backup of jetsched: {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(f"{archive} is damaged, or no backup of jetsched: {error}") from None


def _manifest(archive: Path, tar: tarfile.TarFile) -> Manifest:
    first = tar.next()
    if first is None or first.name != MANIFEST or not first.isreg():
        raise InputError(f"{archive} is no backup of jetsched: it does not begin with a manifest")
    if first.size > _MOST_MANIFEST_BYTES:
        raise InputError(f"{archive}: its manifest is too large")
    file = tar.extractfile(first)
    assert file is not None
    data = json.loads(file.read())
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f"{archive} is no backup of jetsched")
    if data.get("version") != VERSION:
        raise InputError(
            f"{archive} is of version {data.get('version')}, this jetsched knows {VERSION}",
            hint="restore it with the jetsched that wrote it, or a newer one",
        )
    manifest = from_json(Manifest, data)
    if manifest.journal_version > JOURNAL_VERSION:
        raise InputError(
            f"{archive} holds a journal of version {manifest.journal_version}, this jetsched knows"
            f" {JOURNAL_VERSION}",
            hint="upgrade jetsched first",
        )
    names = [kept.path for kept in manifest.files]
    if len(set(names)) != len(names) or JOURNAL not in names:
        raise InputError(f"{archive}: its manifest is not sound")
    for name in names:
        _check_name(archive, name)
    return manifest


def _check_name(archive: Path, name: str) -> None:
    """Only what a backup may hold, and nothing that leads out of the home."""
    parts = PurePosixPath(name).parts
    odd = "\\" in name or "\0" in name or name != "/".join(parts)
    if odd or not parts or name.startswith("/") or ".." in parts or parts[0] not in NAMES:
        raise InputError(f"{archive}: {name!r} is no name of a file in a backup")


def _unpack(archive: Path, staging: Path, watch: Callable[[int, int], None]) -> Manifest:
    """Unpack into an empty folder what the manifest names, and see that it is that."""
    with _opened(archive) as tar:
        manifest = _manifest(archive, tar)
        total, done = sum(kept.bytes for kept in manifest.files), 0
        free = shutil.disk_usage(staging).free
        if total > free:
            raise InputError(
                f"{archive} unpacks to {total:,} bytes, {free:,} are free in {staging}"
            )
        wanted = {kept.path: kept for kept in manifest.files}
        while (member := tar.next()) is not None:
            kept = wanted.pop(member.name, None)
            if kept is None or not member.isreg() or member.size != kept.bytes:
                raise InputError(f"{archive}: {member.name!r} is not as the manifest says")
            file = tar.extractfile(member)
            assert file is not None
            digest = hashlib.sha256()
            path = staging / member.name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as out:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                    out.write(chunk)
                    done += len(chunk)
                    watch(done, total)
                out.flush()
                os.fsync(out.fileno())
            if digest.hexdigest() != kept.sha256:
                raise InputError(
                    f"{archive}: {member.name} is damaged: its checksum is another one"
                )
        if wanted:
            raise InputError(f"{archive} is cut off: {sorted(wanted)[0]} is missing")
    return manifest


def _check_journal(journal: Path, manifest: Manifest, archive: Path) -> None:
    """A whole database with as many entries as were kept, each of which this jetsched reads."""
    try:
        with closing(sqlite3.connect(journal)) as connection:
            (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if sound != "ok":
                raise InputError(f"{archive}: its journal is damaged: {sound}")
            version, entries, _ = journal_facts(connection)
    except sqlite3.DatabaseError as error:
        raise InputError(f"{archive}: its journal is damaged: {error}") from None
    if (version, entries) != (manifest.journal_version, manifest.entries):
        raise InputError(f"{archive}: its journal is not the one that the manifest is of")
    for _ in journal_entries(journal):
        pass


# ------------------------------------------------------------------------------------ put in place


def _put_in_place(staging: Path, manifest: Manifest, home: Path, *, force: bool) -> Path | None:
    tops = list(dict.fromkeys(PurePosixPath(kept.path).parts[0] for kept in manifest.files))
    in_the_way = [name for name in (*tops, *_BESIDE, STATE_FILE) if _is_there(home / name)]
    if in_the_way and not force:
        raise InputError(
            f"{home} has something already: {', '.join(in_the_way)}",
            hint="--force moves it aside, into a folder there; nothing is lost",
        )
    aside = _new_folder(home) if in_the_way else None
    moves = [(home / name, aside / name) for name in in_the_way if aside is not None]
    moves += [(staging / name, home / name) for name in tops]
    _move_all(moves)
    handle = os.open(home, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return aside


def _move_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """All of them, or none where one fails."""
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            if target.is_dir():  # empty, else it would have been in the way
                target.rmdir()
            os.rename(source, target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            os.rename(target, source)
        raise


def _is_there(path: Path) -> bool:
    """An empty folder is nothing."""
    if path.is_dir() and not path.is_symlink():
        return any(path.iterdir())
    return os.path.lexists(path)


def _new_folder(home: Path) -> Path:
    """A folder for what was there, named by the time."""
    stamp = time.strftime("before-restore-%Y%m%d-%H%M%S")
    for number in range(1000):
        folder = home / (f"{stamp}-{number}" if number else stamp)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return folder
    raise InputError(f"{home} has too many folders {stamp}")
