"""Models and data that jobs name, as they were when they were submitted: ``files/`` on the head.

Small files are copied there; large ones are linked, so that weights are not there twice. What was
changed in place since is noticed when it is sent: its checksum is wrong.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jetsched.cluster.bundles import (
    SHORT,
    Bundle,
    bundle_of,
    digest_of,
    needed_of_model,
    refuse_pickles,
)
from jetsched.cluster.filecache import FileCache, Here
from jetsched.cluster.keptfiles import check_room
from jetsched.errors import InputError
from jetsched.files import make_folder, write_atomically
from jetsched.jobfile import JobSpec
from jetsched.profiler import hub_cache
from jetsched.profiler.models import find, spec_fields
from jetsched.records import Job
from jetsched.scheduler.heldfiles import FILES_MIB

FILES = "files"
#: The key in a job's work section: spec field -> digest of a bundle.
BUNDLES = "files"
#: Larger files are linked where that is possible.
COPY_BYTES = 64 << 20
#: How many files' checksums are remembered.
MOST_KNOWN = 100_000


@dataclass(frozen=True)
class Named:
    """Something on this machine that a job names; ``field`` is what the child calls it."""

    field: Literal["model_path", "dataset_path", "prompts_path"]
    source: Path


@dataclass(frozen=True)
class HubModel:
    """A model in this machine's cache of the hub; ``snapshot`` is its folder."""

    hub_id: str
    commit: str
    snapshot: Path


class Shelf:
    """The head's bundles. ``users`` tells which digests open jobs name. For any thread."""

    def __init__(self, home: Path, users: Callable[[], Iterable[str]] = tuple) -> None:
        self._folder = home / FILES
        self.cache = FileCache(self._folder, users)
        self._known: dict[tuple[int, ...], str] = {}  # of (device, inode, size, time of change)
        self._here: Here | None = None
        self._putting = threading.Lock()  # two would write the same drafts

    def registered(self, spec: JobSpec) -> JobSpec:
        """The same job with the digests and sizes of all files that it names, which are here then.

        Reads all of them, at the first time. Raises :class:`InputError` for what must not travel or
        cannot be read, and :class:`NoDiskError` where there is no room.
        """
        found = {n.field: self.take(n) for n in named(spec.workload.model, spec.work)}
        if not found:
            return spec
        digests = {field: bundle.digest for field, bundle in found.items()}
        sizes = {b.digest[:SHORT]: b.bytes / (1 << 20) for b in found.values()}
        return replace(spec, work={**spec.work, BUNDLES: digests, FILES_MIB: sizes})

    def take(self, named: Named) -> Bundle:
        """Make a bundle of something, and keep it. Raises as :meth:`registered`."""
        source = named.source
        try:
            if source.is_relative_to(self.cache.places):  # it was handed in from another machine
                digest = source.relative_to(self.cache.places).parts[0]
                if (kept := self.cache.find(digest)) is not None:
                    return kept
            is_model = named.field == "model_path"
            if is_model:
                refuse_pickles(source, (p.name for p in source.iterdir()))
            bundle = bundle_of(
                source,
                digest=self._digest,
                wanted=needed_of_model if is_model else lambda path: True,
            )
            self._put(source, bundle)
        except OSError as error:
            where = error.filename or source
            raise InputError(f"{where} cannot be read: {error.strerror or error}") from None
        return bundle

    def take_hub(self, model: HubModel) -> Bundle:
        """The files of a hub's model that are needed to run it."""
        bundle = bundle_of(
            model.snapshot,
            model.hub_id,
            digest=self._digest,
            wanted=needed_of_model,
            within=Path(hub_cache.folder()),
        )
        self._put(model.snapshot, bundle)
        return bundle

    @property
    def here(self) -> Here:
        """For nodes on this machine."""
        if self._here is None or not Path(self._here.proof).exists():
            proof = make_folder(self._folder) / ".here"
            nonce = secrets.token_hex(16)
            write_atomically(proof, nonce.encode(), mode=0o600)
            self._here = Here(str(self._folder / "blobs"), str(proof), nonce)
        return self._here

    def _put(self, source: Path, bundle: Bundle) -> None:
        with self._putting:
            self._put_alone(source, bundle)

    def _put_alone(self, source: Path, bundle: Bundle) -> None:
        make_folder(self._folder)
        wanted = self.cache.begin(bundle)
        paths = {file.sha256: file.path for file in bundle.files}
        for sha256 in wanted.have:
            path = source / paths[sha256] if source.is_dir() else source
            size = path.stat().st_size
            draft = self._folder / "blobs" / f"{sha256}.part"
            draft.unlink(missing_ok=True)
            if size > COPY_BYTES:
                with suppress(OSError):  # another file system, or somebody else's file
                    os.link(path.resolve(), self.cache.blob(sha256))
                    continue
            check_room(self._folder, size)
            shutil.copyfile(path, draft)
        if wanted.have and not self.cache.commit(bundle).path:
            raise InputError(f"{source} was changed while it was read", hint="try again")

    def _digest(self, path: Path) -> str:
        status = path.stat()
        mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if mark not in self._known:
            real = path.resolve().name  # the hub's cache names large files by their checksums
            named = len(real) == 64 and path.is_symlink() and real.isalnum()
            found = real if named else digest_of(path)
            if len(self._known) > MOST_KNOWN:
                self._known.clear()
            self._known[mark] = found
        return self._known[mark]


def named(model: str, work: Any) -> list[Named]:
    """What a job names of this machine's files: a model's folder, a data set, prompts."""
    found = []
    if model and find(model) is None and os.path.isabs(model):
        found.append(Named("model_path", Path(model)))
    for field in ("dataset_path", "prompts_path"):
        if work.get(field):
            found.append(Named(field, Path(work[field])))
    return found


def hub_model(job: Job) -> HubModel | None:
    """The hub's model of a job that trains or infers, if this machine's cache has it."""
    workload = job.workload
    if workload.kind == "command" or not workload.model or os.path.isabs(workload.model):
        return None
    hub_id = spec_fields(workload.model)["hub_id"]
    folder = hub_cache.snapshot(hub_id) if hub_id else None
    if folder is None or hub_id is None:
        return None
    path = Path(folder)
    has_weights = any(path.glob("*.safetensors"))
    if not has_weights and (
        find(workload.model) is not None or not (path / "config.json").exists()
    ):
        return None  # random weights, of a shape that every node knows
    return HubModel(hub_id, path.name, path)
