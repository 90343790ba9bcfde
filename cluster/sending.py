"""From the head to the nodes: the models and data that jobs need, and their checkpoints."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from jetsched.cluster.bundles import Bundle, digest_of
from jetsched.cluster.filecache import DamagedError, Wanted
from jetsched.cluster.keptfiles import Keeping, bundle_of_checkpoint
from jetsched.cluster.nodefiles import CHUNK_BYTES
from jetsched.cluster.protocol import Key, Order
from jetsched.cluster.shelf import BUNDLES, HubModel, Shelf, hub_model, named
from jetsched.cluster.wire import Transfer, Wire
from jetsched.errors import InputError
from jetsched.records import Job

#: How long a node may be silent while files go to it; then its board is given up.
PATIENCE_S = 20.0
#: How often a bundle is sent again whose checksum is wrong.
TRIES = 3
#: Before an agent that lost the list of what is to come is told again.
AGAIN_S = 0.2

log = logging.getLogger(__name__)

#: Where the contents with a checksum are on the head.
Source = Callable[[str], Path]


class Sending:
    """Tasks that bring files to nodes. For one event loop."""

    def __init__(self, wire: Wire, shelf: Shelf, keeping: Keeping, *, link_here: bool) -> None:
        self._wire, self._shelf, self._keeping = wire, shelf, keeping
        self._link_here = link_here
        self._busy: dict[str, asyncio.Lock] = {}
        self.transfers: dict[Key, Transfer] = {}
        #: Digests of the bundles that a device is known to hold.
        self.present: dict[str, set[str]] = {}
        #: Devices that have got something since somebody looked: other files may have gone for it.
        self.changed: set[str] = set()

    def needs_nothing(self, order: Order) -> bool:
        """Whether an order can go as it is; costs a look at a folder or two."""
        job = order.job
        if job.workload.kind == "command":
            return True
        if job.work.get(BUNDLES) or named(job.workload.model, job.work):
            return False
        if order.attempt > 1 and self._keeping.checkpoint(job.id, job.submitted_s) is not None:
            return False
        return hub_model(job) is None

    async def prepare(self, device_id: str, order: Order) -> Order:
        """Bring everything that an order needs; returns it with the node's own paths.

        Raises :class:`AgentGone`, :class:`NoDiskError` for the node's disk, :class:`DamagedError`
        where it keeps other bytes than were sent, :class:`InputError` for files that are not here
        any more.
        """
        job, files = order.job, dict(order.files)
        try:
            async with self._busy.setdefault(device_id, asyncio.Lock()):
                for field, bundle in (await self._bundles(job)).items():
                    place = await self._send(device_id, order.key, bundle, self._shelf.cache.blob)
                    inside = "" if field == "model_path" else bundle.files[0].path
                    files[field] = str(Path(place) / inside)
                model = hub_model(job)
                if model is not None and not await self._has(device_id, model):
                    bundle = await asyncio.to_thread(self._shelf.take_hub, model)
                    files["model_path"] = await self._send(
                        device_id, order.key, bundle, self._shelf.cache.blob
                    )
                if order.attempt > 1:
                    files.update(await self._checkpoint(device_id, order))
        finally:
            self.transfers.pop(order.key, None)
        return replace(order, files=files)

    async def prefetch(self, device_id: str, bundle: Bundle) -> str:
        """Bring a bundle that is on the shelf to a node, before a job needs it; returns where."""
        key = (f"prefetch {bundle.digest[:12]} {device_id}", 0)
        try:
            async with self._busy.setdefault(device_id, asyncio.Lock()):
                return await self._send(device_id, key, bundle, self._shelf.cache.blob)
        finally:
            self.transfers.pop(key, None)

    async def _bundles(self, job: Job) -> dict[str, Bundle]:
        """What the job names, by the child's name for it: as it was submitted, else as it is."""
        digests: Mapping[str, str] = job.work.get(BUNDLES) or {}
        found: dict[str, Bundle] = {}
        for thing in named(job.workload.model, job.work):
            digest = digests.get(thing.field)
            kept = self._shelf.cache.find(digest) if digest else None
            if kept is None:
                kept = await asyncio.to_thread(self._shelf.take, thing)
                if digest and kept.digest != digest:
                    raise InputError(
                        f"{thing.source} was changed since the job was submitted, and what it was"
                        " then is not kept any more",
                        hint="submit it again",
                    )
            found[thing.field] = kept
        return found

    async def _has(self, device_id: str, model: HubModel) -> bool:
        has: bool = await self._wire.call(
            device_id, "has_hub_model", model.hub_id, model.commit, patience_s=PATIENCE_S
        )
        return has

    async def _checkpoint(self, device_id: str, order: Order) -> dict[str, str]:
        """Bring the job's checkpoint, unless the node has one that is as far."""
        job = order.job
        found = self._keeping.checkpoint(job.id, job.submitted_s)
        if found is None:
            return {}
        there: int = await self._wire.call(
            device_id,
            "newest_checkpoint",
            job.id,
            job.submitted_s,
            order.attempt,
            patience_s=PATIENCE_S,
        )
        if there >= found.step:
            return {}
        place = self._keeping.checkpoint_place(job.id, found.name)
        paths = {file.sha256: place / file.path for file in found.files}
        bundle = bundle_of_checkpoint(job.id, found)
        where = await self._send(device_id, order.key, bundle, lambda sha: paths[sha])
        log.info("job %s goes on from %s on %s", job.id, found.name, device_id)
        return {"resume_from": where}

    # -------------------------------------------------------------------------------- one bundle

    async def _send(self, device_id: str, key: Key, bundle: Bundle, source: Source) -> str:
        """Bring a bundle to a node; returns the folder there."""
        here = self._shelf.here if self._link_here else None
        for _ in range(TRIES):
            wanted: Wanted = await self._wire.call(
                device_id, "begin", bundle, here, patience_s=PATIENCE_S
            )
            if not wanted.path:
                done = bundle.bytes - sum(bundle.blobs[s] - n for s, n in wanted.have.items())
                self.transfers[key] = Transfer(
                    done, bundle.bytes, self._wire.rates.get(device_id), bundle.name
                )
                for sha256, offset in wanted.have.items():
                    await self._send_blob(device_id, key, bundle, sha256, offset, source(sha256))
                wanted = await self._wire.call(device_id, "commit", bundle, patience_s=PATIENCE_S)
            if wanted.path:
                present = self.present.setdefault(device_id, set())
                if bundle.digest not in present:
                    present.add(bundle.digest)
                    self.changed.add(device_id)
                return wanted.path
            for sha256 in wanted.have:
                await self._check_source(bundle, sha256, source(sha256))
        raise DamagedError(
            f"{bundle.name} came to {device_id} with wrong checksums, {TRIES} times",
            hint="its disk or memory may be broken",
        )

    async def _send_blob(
        self, device_id: str, key: Key, bundle: Bundle, sha256: str, offset: int, path: Path
    ) -> None:
        size = bundle.blobs[sha256]
        try:
            file = path.open("rb")
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        with file:
            while offset < size:
                file.seek(offset)
                data = file.read(min(CHUNK_BYTES, size - offset))
                if not data:
                    raise InputError(f"{path} is shorter than it was: {bundle.name} was changed")
                began = time.monotonic()
                try:
                    now = await self._wire.call(
                        device_id, "write", sha256, offset, data, patience_s=PATIENCE_S
                    )
                except InputError:  # another agent, which knows nothing of it
                    await asyncio.sleep(AGAIN_S)
                    wanted = await self._wire.call(device_id, "begin", bundle, None)
                    now = wanted.have.get(sha256, size)
                else:
                    self._wire.learn_rate(device_id, len(data), time.monotonic() - began)
                transfer = self.transfers.get(key)
                if transfer is not None:
                    self.transfers[key] = replace(
                        transfer,
                        done_bytes=transfer.done_bytes + now - offset,
                        rate_bytes_s=self._wire.rates.get(device_id),
                    )
                offset = now

    async def _check_source(self, bundle: Bundle, sha256: str, path: Path) -> None:
        """Whether it is the head's own copy that is wrong: a linked file was changed in place."""
        if await asyncio.to_thread(digest_of, path) != sha256:
            path.unlink(missing_ok=True)
            raise InputError(
                f"{bundle.name} was changed since the job was submitted", hint="submit it again"
            )
