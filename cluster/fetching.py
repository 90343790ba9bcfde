"""From the nodes to the head: what attempts left, and checkpoints of those that run."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jetsched.cluster.bundles import READ_BYTES, FileEntry, below
from jetsched.cluster.filecache import FULL, RESERVE_MIB, NoDiskError
from jetsched.cluster.keptfiles import NONE, Artefacts, Keeping, check_room
from jetsched.cluster.link import AgentGone
from jetsched.cluster.nodefiles import CHUNK_BYTES, PINNED, Checkpoint, Outputs
from jetsched.cluster.protocol import Key
from jetsched.cluster.wire import Wire
from jetsched.errors import InputError
from jetsched.files import make_folder
from jetsched.profiler.runner import OUT

#: How often a file whose checksum is wrong is fetched again at once.
TRIES = 3
#: Then, and while the head's disk is full, it is tried again after so long.
AGAIN_S = 20.0

log = logging.getLogger(__name__)


class WrongSum(Exception):
    """A file came whole, and its checksum is another one."""


@dataclass(frozen=True)
class Sizes:
    """What the head takes, in MiB, and what it leaves free."""

    artefacts_mib: float = 50 * 1024.0  # of one attempt
    checkpoint_mib: float = 8 * 1024.0  # one checkpoint; 0: none at all
    reserve_mib: float = RESERVE_MIB


class Fetching:
    """Tasks that bring files to the head. For one event loop.

    ``forget`` is told when all of an attempt is here.
    """

    def __init__(
        self, wire: Wire, keeping: Keeping, sizes: Sizes, forget: Callable[[str, Key], None]
    ) -> None:
        self._wire, self._keeping, self._sizes, self._forget = wire, keeping, sizes, forget
        self._busy: dict[str, asyncio.Lock] = {}  # one at a time from a device
        self._going: set[Key] = set()
        self._newest: dict[Key, str] = {}
        self._brought: dict[Key, asyncio.Event] = {}
        self._again_s = AGAIN_S

    # --------------------------------------------------------------------------------- artefacts

    async def artefacts(self, device_id: str, key: Key, *, then: bool = True) -> None:
        """Bring all that an attempt left, however often that is interrupted; then forget it, unless
        some of it stays on its node for good."""
        if key in self._going:
            return
        self._going.add(key)
        is_here = True
        try:
            while self._keeping.state(key).state != "complete":
                try:
                    async with self._lock(device_id):
                        is_here = await self._fetch(device_id, key)
                except (NoDiskError, WrongSum, OSError) as error:
                    log.warning("artefacts of %s-%d: %s", *key, error)
                    self._say(device_id, key, "fetching", str(error))
                    await asyncio.sleep(self._again_s)
                    continue
                break
            if then and is_here:
                self._forget(device_id, key)
        except (AgentGone, InputError) as error:
            self._say(device_id, key, "lost", f"{device_id} is gone for good: {error}")
        except Exception as error:
            log.exception("artefacts of %s-%d", *key)
            self._say(device_id, key, "lost", f"{type(error).__name__}: {error}")
        finally:
            self._going.discard(key)

    async def _fetch(self, device_id: str, key: Key) -> bool:
        """Whether the node needs to keep nothing: else what is too much would be nowhere."""
        keeping = self._keeping
        self._say(device_id, key, "fetching", "")
        outputs: Outputs | None = await self._wire.call(device_id, "outputs", key)
        if outputs is None:
            self._say(device_id, key, "lost", f"{device_id} has no files of it any more")
            return True
        count = sum(file.size for file in outputs.files)
        left_out = "; ".join(outputs.left_out[:3])
        text = f"not brought from {device_id}: {left_out}" if left_out else ""
        found = Artefacts("fetching", len(outputs.files), count, text, device_id, key)
        if not outputs.files:
            if left_out:
                keeping.note(replace(found, state="lost"))
            else:
                keeping.remove(key)
            return True
        if count > self._sizes.artefacts_mib * (1 << 20):
            text = (
                f"{count >> 20:,} MiB are more than the {self._sizes.artefacts_mib:,.0f} that the"
                f" head takes of an attempt: they are left on {device_id}"
            )
            keeping.note(replace(found, state="lost", text=text))
            return False
        keeping.note(found)
        for file in outputs.files:
            await self._bring(device_id, key, f"{OUT}/{file.path}", file, keeping.part(key))
        keeping.complete(replace(found, state="complete"), outputs)
        log.info("%d files of %s-%d are here, %d bytes", len(outputs.files), *key, count)
        return True

    def _say(self, device_id: str, key: Key, state: Any, text: str) -> None:
        known = self._keeping.state(key)
        base = known if known is not NONE else Artefacts(key=key, device=device_id)
        try:
            self._keeping.note(replace(base, state=state, text=text))
        except OSError as error:
            log.error("the state of %s-%d cannot be written: %s", *key, error)

    # ------------------------------------------------------------------------------- checkpoints

    async def checkpoint(self, device_id: str, key: Key, name: str) -> None:
        """Bring a checkpoint, and then the newest that was written meanwhile; returns once that is
        here, or cannot be had."""
        if not self._sizes.checkpoint_mib:
            return
        waiting = key in self._newest
        self._newest[key] = name
        if waiting:  # the one before is under way, and this one comes next
            await self._brought[key].wait()
            return
        self._brought[key] = asyncio.Event()
        try:
            while True:
                name = self._newest[key]
                await self._bring_checkpoint(device_id, key, name)
                if self._newest[key] == name:
                    return
        except AgentGone:
            log.info("no checkpoint %s of %s-%d: %s is gone", name, *key, device_id)
        except Exception as error:  # one fewer to go on from; the run is not concerned
            log.warning("checkpoint %s of %s-%d: %r", name, *key, error)
        finally:
            self._newest.pop(key, None)
            self._brought.pop(key).set()

    async def _bring_checkpoint(self, device_id: str, key: Key, name: str) -> None:
        found: Checkpoint | None = await self._wire.call(
            device_id, "pin", key, name, patience_s=120.0
        )
        if found is None:
            return
        try:
            have = self._keeping.checkpoint(key[0], found.submitted_s)
            if have is not None and have.step >= found.step:
                return
            count = sum(file.size for file in found.files)
            if count > self._sizes.checkpoint_mib * (1 << 20):
                log.warning(
                    "checkpoint %s of %s-%d stays on %s: it has %d MiB, the head takes %.0f",
                    found.name, *key, device_id, count >> 20, self._sizes.checkpoint_mib,
                )  # fmt: skip
                return
            part = self._keeping.checkpoint_place(key[0], found.name).with_suffix(".part")
            async with self._lock(device_id):
                for file in found.files:
                    path = f"{PINNED}/{found.name}/{file.path}"
                    await self._bring(device_id, key, path, file, part, patience_s=120.0)
            self._keeping.keep_checkpoint(key[0], found)
        finally:
            await self._wire.call(device_id, "unpin", key, found.name, patience_s=0.0)

    # ---------------------------------------------------------------------------------- one file

    async def _bring(
        self,
        device_id: str,
        key: Key,
        path: str,
        file: FileEntry,
        folder: Path,
        *,
        patience_s: float | None = None,
    ) -> None:
        """Bring one file whole; what is here of it already is not brought again."""
        make_folder(folder)
        target = below(folder, file.path)
        make_folder(target.parent)
        for _ in range(TRIES):
            have = await asyncio.to_thread(_begun, target, file.size)
            size = target.stat().st_size
            with target.open("ab", buffering=0) as out:
                while size < file.size:
                    began = time.monotonic()
                    want = min(CHUNK_BYTES, file.size - size)
                    data: bytes = await self._wire.call(
                        device_id, "read", key, path, size, want, patience_s=patience_s
                    )
                    if not data:
                        break
                    self._wire.learn_rate(device_id, len(data), time.monotonic() - began)
                    check_room(folder, len(data), self._sizes.reserve_mib)
                    _write(out, data, self._sizes.reserve_mib)
                    have.update(data)
                    size += len(data)
            if size == file.size and have.hexdigest() == file.sha256:
                return
            log.warning("%s of %s-%d came with a wrong checksum: again", path, *key)
            target.unlink()
        raise WrongSum(f"{path}: the checksum is wrong, {TRIES} times")

    def _lock(self, device_id: str) -> asyncio.Lock:
        return self._busy.setdefault(device_id, asyncio.Lock())

    async def drop_job(self, job_id: str) -> None:
        """A job will not run again: its checkpoints go, here."""
        await asyncio.to_thread(self._keeping.drop_checkpoints, job_id)


def _begun(path: Path, size: int) -> Any:
    """The checksum so far of a file that was begun; one that is too long begins anew."""
    have = hashlib.sha256()
    try:
        if path.is_symlink() or path.stat().st_size > size:
            path.unlink()
    except FileNotFoundError:
        pass
    path.touch()
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            have.update(data)
    return have


def _write(out: Any, data: bytes, reserve_mib: float) -> None:
    """Write all of it. Raises :class:`NoDiskError` where the disk is full."""
    view = memoryview(data)
    try:
        while view:
            view = view[out.write(view) :]
    except OSError as error:
        if error.errno in FULL:
            check_room(Path(out.name).parent, 1 << 60, reserve_mib)
        raise
