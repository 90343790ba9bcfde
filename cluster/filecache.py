"""Models and data as a node keeps what the head has sent, and the head what it was handed.

One copy serves all jobs.

``blobs/<sha256>`` are the contents, ``bundles/<digest>/`` folders of hard links to them under their
own names, with the list in ``bundles/<digest>.json``, whose time is that of the last use. A blob
that is on its way is ``<sha256>.part`` and goes on where it was cut. What a running attempt uses is
never removed; of the rest, what was used longest ago goes first.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from jetsched.cluster.bundles import Bundle, digest_of
from jetsched.errors import InputError, JetschedError
from jetsched.files import from_json, json_bytes, to_json, write_atomically

_MIB = 1 << 20
#: What a node may hold, and what is left free on the disk for logs, checkpoints and the system.
CACHE_MIB = 20 * 1024.0
RESERVE_MIB = 512.0
#: How long a bundle that was asked for is held for the attempt that is about to start.
PIN_S = 600.0
#: How long a node says that there was no room, if nothing shows that there is: then it is tried.
SHORT_S = 300.0
#: The folder, in a cache, of the bundles' folders.
BUNDLES_FOLDER = "bundles"
FULL = (errno.ENOSPC, errno.EDQUOT)


class NoDiskError(JetschedError):
    """There is no room for something on the disk of a node, or of the head."""


class DamagedError(JetschedError):
    """What came to a node is not what was sent, again and again."""


@dataclass(frozen=True)
class Wanted:
    """Where a bundle is, once all of it is there; else how many bytes there are of which blob."""

    path: str = ""
    have: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Here:
    """Where the head keeps the blobs, for nodes that share its file system: they link to them.

    ``proof`` is a file there, ``nonce`` what it holds: another machine may have the same path.
    """

    folder: str
    proof: str
    nonce: str

    def is_here(self) -> bool:
        try:
            return Path(self.proof).read_text(encoding="utf-8") == self.nonce
        except (OSError, ValueError):
            return False


@dataclass(frozen=True)
class Cached:
    """A bundle in the cache; ``used_s`` is when it was last used, by the node's clock."""

    digest: str
    name: str
    bytes: int
    used_s: float
    in_use: bool = False


class FileCache:
    """The bundles in one folder, which is created when it is needed.

    ``users`` tells which digests are in use. Methods may be called from several threads.
    """

    def __init__(
        self,
        folder: Path,
        users: Callable[[], Iterable[str]] = tuple,
        *,
        most_mib: float = inf,
        reserve_mib: float = RESERVE_MIB,
    ) -> None:
        self._folder, self._users = folder.absolute(), users
        self._most, self._reserve = most_mib * _MIB, reserve_mib * _MIB
        self._lock = threading.Lock()
        self._pins: dict[str, float] = {}  # digest -> until when, monotonic
        self._incoming: dict[str, Bundle] = {}
        self._short: tuple[str, int, float] | None = None  # what was told, bytes, when (monotonic)

    # ------------------------------------------------------------------------------- taking in

    def begin(self, bundle: Bundle, here: Here | None = None) -> Wanted:
        """What of a bundle is to be sent. It is held from now on for :data:`PIN_S`.

        Raises :class:`NoDiskError` where there is no room, :class:`InputError` for a bad list.
        """
        bundle.check()
        digest = bundle.digest
        with self._lock:
            self._pins[digest] = time.monotonic() + PIN_S
            if self._is_complete(bundle):
                os.utime(self._list_of(digest))
                return Wanted(str(self._place(digest)))
            self._blobs.mkdir(parents=True, exist_ok=True)
            self.places.mkdir(exist_ok=True)
            self._incoming[digest] = bundle
            if here is not None and here.is_here():
                self._link_from(Path(here.folder), bundle)
            have = self._have(bundle)
            need = sum(bundle.blobs[sha] - done for sha, done in have.items())
            self._make_room(need, bundle.name)
            return Wanted("", have) if have else self._finish(bundle)

    def write(self, sha256: str, offset: int, data: bytes) -> int:
        """Append to a blob that was asked for; returns how much of it is there.

        Bytes for another offset are left out. Raises :class:`NoDiskError`.
        """
        coming = {d: b.blobs[sha256] for d, b in list(self._incoming.items()) if sha256 in b.blobs}
        if not coming:
            raise InputError(f"nobody has said that {sha256[:12]} is to come")
        if offset + len(data) > max(coming.values()):  # room was made for no more
            raise InputError(f"{sha256[:12]} is to have {max(coming.values()):,} bytes, no more")
        for digest in coming:
            self._pins[digest] = time.monotonic() + PIN_S
        path = self._part(sha256)
        try:
            with path.open("ab") as file:
                size = file.tell()
                if size == offset:
                    file.write(data)
                    size += len(data)
            return size
        except OSError as error:
            if error.errno in FULL:
                raise NoDiskError(f"the disk is full: {path.parent}") from None
            raise

    def commit(self, bundle: Bundle) -> Wanted:
        """Check what has come, and put the bundle together.

        Blobs whose checksum is wrong are thrown away and are wanted again.
        """
        with self._lock:
            for file in bundle.files:
                part = self._part(file.sha256)
                if not part.exists() or part.stat().st_size < file.size:
                    continue
                if digest_of(part) == file.sha256:
                    part.chmod(0o444)
                    os.replace(part, self.blob(file.sha256))
                else:
                    part.unlink()
            have = self._have(bundle)
            return Wanted("", have) if have else self._finish(bundle)

    def _link_from(self, shelf: Path, bundle: Bundle) -> None:
        """Take blobs from a folder on this machine that were checked when they came there."""
        for file in bundle.files:
            blob, source = self.blob(file.sha256), shelf / file.sha256
            with suppress(OSError):  # another file system: it is sent then
                if not blob.exists() and source.stat().st_size == file.size:
                    os.link(source, blob)

    def _have(self, bundle: Bundle) -> dict[str, int]:
        """Blobs that are not whole, and how much there is of each."""
        found = {}
        for file in bundle.files:
            if not self._is_whole(file.sha256, file.size):
                part = self._part(file.sha256)
                found[file.sha256] = part.stat().st_size if part.exists() else 0
                if found[file.sha256] > file.size:
                    part.unlink()
                    found[file.sha256] = 0
                if file.size == 0:
                    self.blob(file.sha256).touch()
                    del found[file.sha256]
        return found

    def _finish(self, bundle: Bundle) -> Wanted:
        digest = bundle.digest
        place, draft = self._place(digest), self._place(digest).with_suffix(".new")
        for stale in (draft, place):
            shutil.rmtree(stale, ignore_errors=True)
        for file in bundle.files:
            path = draft / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.blob(file.sha256), path)
        os.rename(draft, place)
        write_atomically(self._list_of(digest), json_bytes(to_json(bundle)))
        self._incoming.pop(digest, None)
        return Wanted(str(place))

    # ---------------------------------------------------------------------------------- holding

    def rows(self) -> list[Cached]:
        """What is there, the most lately used first."""
        with self._lock:
            used = self._in_use()
            found = [
                Cached(digest, bundle.name, bundle.bytes, at_s, digest in used)
                for digest, bundle, at_s in self._lists()
            ]
        return sorted(found, key=lambda row: -row.used_s)

    def prune(
        self, *, older_s: float | None = None, keep_bytes: int | None = None, dry_run: bool = False
    ) -> list[Cached]:
        """Remove what was not used for so long, and what is longest unused beyond ``keep_bytes``.

        Returns what was removed, or would be.
        """
        rows = [row for row in self.rows() if not row.in_use]
        now_s, kept, gone = time.time(), sum(row.bytes for row in rows), []
        for row in reversed(rows):
            too_old = older_s is not None and now_s - row.used_s > older_s
            if too_old or (keep_bytes is not None and kept > keep_bytes):
                kept -= row.bytes
                gone.append(row)
        if not dry_run:
            with self._lock:
                for row in gone:
                    self._remove(row.digest)
                self._sweep()
        return gone

    def drop(self, digests: frozenset[str]) -> None:
        """Remove these bundles, but for those in use."""
        with self._lock:
            for digest in digests - self._in_use(pins=False):
                self._pins.pop(digest, None)
                self._remove(digest)
            self._sweep()

    def _make_room(self, need: int, name: str) -> None:
        """Remove what was used longest ago until ``need`` bytes fit."""
        if self._fits(need):
            return
        self._sweep()
        used = self._in_use()
        for digest, _, _ in sorted(self._lists(), key=lambda item: item[2]):
            if self._fits(need):
                return
            if digest not in used:
                self._remove(digest)
                self._sweep()
        if self._fits(need):
            return
        free = shutil.disk_usage(self._folder).free
        text = (
            f"{need / _MIB:,.0f} MiB of {name} do not fit: {free / _MIB:,.0f} MiB are free,"
            f" {self._reserve / _MIB:,.0f} of them to be left so, and the cache, of which"
            f" {self._held() / _MIB:,.0f} MiB are in use, may hold {self._most / _MIB:,.0f} MiB"
        )
        self._short = text, need, time.monotonic()
        raise NoDiskError(text, hint="jetsched cache ls")

    def shortage(self) -> str:
        """Why there was no room for something, as long as there is none; "" where there is."""
        if self._short is None:
            return ""
        text, need, since = self._short
        with self._lock:
            used, spare = self._in_use(), 0
            for digest, bundle, _ in self._lists():
                spare += 0 if digest in used else bundle.bytes
            free = shutil.disk_usage(self._folder).free
            fits = self._held() - spare + need <= self._most
            fits = fits and need + self._reserve <= free + spare
        if fits or time.monotonic() - since > SHORT_S:
            self._short = None
            return ""
        return text

    def _fits(self, need: int) -> bool:
        if need == 0:
            return True
        free = shutil.disk_usage(self._folder).free
        return self._held() + need <= self._most and need + self._reserve <= free

    def _held(self) -> int:
        return sum(path.stat().st_size for path in self._blobs.iterdir())

    def _in_use(self, *, pins: bool = True) -> set[str]:
        """Digests that running attempts name, and those that one is about to."""
        now = time.monotonic()
        for digest in [digest for digest, until in self._pins.items() if until <= now]:
            del self._pins[digest]
            self._incoming.pop(digest, None)  # whoever sent it has given up
        return {*self._users(), *(self._pins if pins else ())}

    def _lists(self) -> Iterator[tuple[str, Bundle, float]]:
        for path in list(self.places.glob("*.json")):
            try:
                bundle = from_json(Bundle, json.loads(path.read_bytes()))
            except (ValueError, InputError):  # it was damaged: as if it were not there
                path.unlink()
                continue
            yield path.stem, bundle, path.stat().st_mtime

    def _remove(self, digest: str) -> None:
        self._list_of(digest).unlink(missing_ok=True)
        shutil.rmtree(self._place(digest), ignore_errors=True)

    def _sweep(self) -> None:
        """Remove blobs that no bundle names any more, and folders without a list."""
        bundles = [*self._incoming.values(), *(bundle for _, bundle, _ in self._lists())]
        named = {file.sha256 for bundle in bundles for file in bundle.files}
        known = {bundle.digest for bundle in bundles}
        if self._blobs.is_dir():
            for path in self._blobs.iterdir():
                if path.name.partition(".")[0] not in named:
                    path.unlink()
        for place in self.places.glob("*"):
            if place.is_dir() and place.name not in known:
                shutil.rmtree(place, ignore_errors=True)

    # ------------------------------------------------------------------------------------ places

    @property
    def places(self) -> Path:
        """Where the folders of the bundles are, named by their digests."""
        return self._folder / BUNDLES_FOLDER

    def blob(self, sha256: str) -> Path:
        """Where the contents with this checksum are, if they are here."""
        return self._blobs / sha256

    def find(self, digest: str) -> Bundle | None:
        """The bundle of this digest, if it is here and whole."""
        with self._lock:
            try:
                bundle = from_json(Bundle, json.loads(self._list_of(digest).read_bytes()))
            except (OSError, ValueError, InputError):
                return None
            return bundle if self._is_complete(bundle) else None

    @property
    def _blobs(self) -> Path:
        return self._folder / "blobs"

    def _part(self, sha256: str) -> Path:
        return self._blobs / f"{sha256}.part"

    def _place(self, digest: str) -> Path:
        return self.places / digest

    def _list_of(self, digest: str) -> Path:
        return self.places / f"{digest}.json"

    def _is_whole(self, sha256: str, size: int) -> bool:
        try:
            return self.blob(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def _is_complete(self, bundle: Bundle) -> bool:
        """Whether the folder is there with all files, each as large as it should be."""
        place = self._place(bundle.digest)
        if not self._list_of(bundle.digest).exists():
            return False
        try:
            return all((place / f.path).stat().st_size == f.size for f in bundle.files)
        except FileNotFoundError:
            return False
