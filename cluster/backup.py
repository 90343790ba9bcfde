"""`jetsched backup`: the head's history and knowledge in one file, made while everything runs.

A gzipped tar. Its first member, ``manifest.json``, names every other one with its size and SHA-256.
The journal is copied by SQLite's own backup, so it is of one instant; of files that only grow, the
whole lines that are there. Nothing that opens a door is in it unless asked for.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

from jetsched import __version__
from jetsched.cluster.headfile import HEAD_FILE
from jetsched.cluster.store import JOURNAL
from jetsched.cluster.tokens import TOKENS_FILE
from jetsched.errors import InputError
from jetsched.files import home as data_home
from jetsched.files import json_bytes, to_json
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.store import MeasurementStore

FORMAT = "jetsched-backup"
#: Grows when an older jetsched could not restore what is written.
VERSION = 1
MANIFEST = "manifest.json"

#: Which board has which name; joining.py writes it. Its keys prove nothing without a token.
BOARDS_FILE = "boards.json"
#: Files that only grow, by lines.
_LINES = (MeasurementStore.name, CalibrationStore.name)
#: Model and data files, bundles of jobs: jobs that wait cannot run without them.
FILES = ("files",)
#: What jobs left behind.
ARTEFACTS = ("artefacts", "checkpoints", "logs")
SECRETS = "secrets"
#: Of head.json: who has it can run code on every board.
_SECRET_KEYS = ("ray_token",)
#: All that a backup may hold.
NAMES = (JOURNAL, *_LINES, HEAD_FILE, BOARDS_FILE, TOKENS_FILE, SECRETS, *FILES, *ARTEFACTS)


@dataclass(frozen=True)
class Kept:
    """A file of a backup."""

    path: str  # in the data home, with slashes
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself."""

    format: str
    version: int
    jetsched: str
    made_at: str  # ISO 8601, UTC
    journal_version: int
    entries: int
    last_s: float | None  # of the journal's last entry
    secrets: bool  # tokens, secrets of jobs and Ray's token are in it
    artefacts: bool
    files: tuple[Kept, ...] = ()


@dataclass(frozen=True)
class BackedUp:
    """What was written."""

    path: Path
    bytes: int
    manifest: Manifest

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        return {"path": str(self.path), "bytes": self.bytes, **to_json(self.manifest)}


@dataclass
class _Source:
    """A file to be put in: so many of its bytes, under a name in the archive."""

    name: str
    path: Path
    size: int
    digest: str = ""


@dataclass
class _Staging:
    """What has to be copied before it can be put in."""

    folder: Path
    sources: list[_Source] = field(default_factory=list)

    def add(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.write_bytes(data)
        self.sources.append(_Source(name, path, len(data)))


def backup(
    path: Path,
    *,
    home: Path | None = None,
    artefacts: bool = False,
    secrets: bool = False,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> BackedUp:
    """Write a backup of the data home to a file that does not exist yet.

    ``artefacts`` adds what jobs left behind: artefacts, checkpoints, logs. ``secrets`` adds the
    hashes of tokens, the secrets of jobs and Ray's own token. ``watch`` hears bytes done, of how
    many. Raises :class:`InputError` where there is nothing to keep, or the file cannot be.
    """
    home = (home or data_home()).absolute()
    path = path.absolute()
    journal = home / JOURNAL
    if not journal.is_file():
        raise InputError(f"there is nothing to keep: no file {journal}")
    if path.exists():
        raise InputError(f"{path} exists already", hint="name a new file, e.g. with the date")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}")
    if path.parent == home or home in path.parents:
        raise InputError(f"{path} is in the data home itself", hint="name a file elsewhere")
    staging = _Staging(Path(mkdtemp(prefix=".jetsched-backup-", dir=path.parent)))
    draft = staging.folder / "archive"
    try:
        manifest = _collect(home, staging, artefacts=artefacts, secrets=secrets)
        _write(draft, manifest, staging.sources, watch)
        os.link(draft, path)  # which replaces nothing, where another one was quicker
        size = draft.stat().st_size
    except FileExistsError:
        raise InputError(f"{path} exists already", hint="name a new file") from None
    finally:
        shutil.rmtree(staging.folder, ignore_errors=True)
    return BackedUp(path, size, manifest)


def _collect(home: Path, staging: _Staging, *, artefacts: bool, secrets: bool) -> Manifest:
    version, entries, last_s = _copy_journal(home / JOURNAL, staging.folder / JOURNAL)
    size = (staging.folder / JOURNAL).stat().st_size
    staging.sources.append(_Source(JOURNAL, staging.folder / JOURNAL, size))
    for name in _LINES:
        if (home / name).is_file():
            data = (home / name).read_bytes()
            staging.add(name, data[: data.rfind(b"\n") + 1])
    if (home / HEAD_FILE).is_file():
        staging.add(HEAD_FILE, _head(home / HEAD_FILE, secrets=secrets))
    if (home / BOARDS_FILE).is_file():
        staging.add(BOARDS_FILE, (home / BOARDS_FILE).read_bytes())
    if secrets:
        if (home / TOKENS_FILE).is_file():
            staging.add(TOKENS_FILE, (home / TOKENS_FILE).read_bytes())
        staging.sources += _below(home, SECRETS)
    for folder in (*FILES, *(ARTEFACTS if artefacts else ())):
        staging.sources += _below(home, folder)
    for source in staging.sources:
        source.digest = _digest(source)
    return Manifest(
        FORMAT,
        VERSION,
        __version__,
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        version,
        entries,
        last_s,
        secrets,
        artefacts,
        tuple(Kept(s.name, s.size, s.digest) for s in staging.sources),
    )


def _copy_journal(journal: Path, copy: Path) -> tuple[int, int, float | None]:
    """A copy of one instant in one file; its version, number of entries and last moment."""
    url = f"file:{quote(str(journal))}?mode=rw"  # a reader of a WAL writes its index
    try:
        with (
            closing(sqlite3.connect(url, uri=True)) as source,
            closing(sqlite3.connect(copy, isolation_level=None)) as target,
        ):
            source.backup(target)  # all pages under one read lock: writers go on meanwhile
            target.execute("PRAGMA journal_mode=DELETE")
            return journal_facts(target)
    except sqlite3.DatabaseError as error:
        raise InputError(f"{journal} is no journal of jetsched: {error}") from None


def journal_facts(connection: sqlite3.Connection) -> tuple[int, int, float | None]:
    """(version, number of entries, time of the last one) of a journal."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    count, last_s = connection.execute("SELECT count(*), max(at_s) FROM entries").fetchone()
    return version, count, last_s


def _head(path: Path, *, secrets: bool) -> bytes:
    """The head's lasting part; without its secrets it makes new ones when it starts."""
    data = path.read_bytes()
    if secrets:
        return data
    try:
        head = json.loads(data)
        kept = {key: value for key, value in head.items() if key not in _SECRET_KEYS}
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is not readable: {error}") from None
    return json_bytes(kept)


def _below(home: Path, folder: str) -> Iterator[_Source]:
    """Every plain file below a folder of the home, but no drafts and nothing behind links."""
    for place, folders, names in os.walk(home / folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            draft = name.startswith(".") or name.endswith((".part", ".tmp"))
            if draft or path.is_symlink() or not path.is_file():
                continue
            yield _Source(path.relative_to(home).as_posix(), path, path.stat().st_size)


def _digest(source: _Source) -> str:
    digest = hashlib.sha256()
    with source.path.open("rb") as file:
        for chunk in _chunks(file, source.size):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: io.BufferedReader, size: int) -> Iterator[bytes]:
    while size > 0 and (chunk := file.read(min(size, 1 << 20))):
        size -= len(chunk)
        yield chunk


class _Hashing(io.RawIOBase):
    """A file that is read once more, to see that it is still what the manifest says."""

    def __init__(self, source: _Source, heard: Callable[[int], None]) -> None:
        self._file = source.path.open("rb")
        self._heard = heard
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        self._heard(len(data))
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


def _write(
    draft: Path, manifest: Manifest, sources: list[_Source], watch: Callable[[int, int], None]
) -> None:
    total, done = sum(source.size for source in sources), 0

    def heard(count: int) -> None:
        nonlocal done
        done += count
        watch(done, total)

    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=3) as tar:
            said = json_bytes(to_json(manifest))
            tar.addfile(_member(MANIFEST, len(said)), io.BytesIO(said))
            for source in sources:
                with _Hashing(source, heard) as reader:
                    try:
                        tar.addfile(_member(source.name, source.size), reader)
                    except OSError as error:
                        if error.errno is not None:
                            raise
                        raise _changed(source) from None  # it became shorter
                    if reader.digest.hexdigest() != source.digest:
                        raise _changed(source)
        file.flush()
        os.fsync(file.fileno())


def _changed(source: _Source) -> InputError:
    return InputError(
        f"{source.path} changed while it was kept", hint="nothing was written; try it again"
    )


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info
