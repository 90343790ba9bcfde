"""Brings files to the boards before their jobs start, and what these leave to the head.

It works in a thread of its own, and nothing that the loop calls here blocks. What it has not
finished when it dies is found again: the nodes keep what the head has not told them to forget.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from jetsched.cluster.bundles import SHORT, Bundle
from jetsched.cluster.fetching import Fetching, Sizes
from jetsched.cluster.filecache import Cached
from jetsched.cluster.keptfiles import NONE, Artefacts, Keeping
from jetsched.cluster.link import AgentGone, Link
from jetsched.cluster.nodefiles import Held
from jetsched.cluster.protocol import Key, Order, Report
from jetsched.cluster.sending import PATIENCE_S, Sending
from jetsched.cluster.shelf import BUNDLES, Shelf
from jetsched.cluster.wire import Transfer, Wire
from jetsched.records import Outcome

log = logging.getLogger(__name__)
T = TypeVar("T")

FilesHeard = Callable[[str, Sequence[str], float | None], None]


@dataclass(frozen=True)
class CourierOptions:
    """``link_here``: nodes on the head's own file system get links instead of copies."""

    sizes: Sizes = field(default_factory=Sizes)
    link_here: bool = True


class Courier:
    """For the loop's thread, where nothing else is said.

    ``forget(device_id, key)`` is called from the courier's thread when all of an attempt is here.
    ``is_over`` tells of an attempt whether the scheduler knows how it ended: only then may its node
    forget it. ``is_open`` tells of a job whether it may run again: only then is its checkpoint
    of use. ``is_ours`` tells of an attempt, whose job was submitted then, whether it is of this
    history: after a restore another job may have the same id.
    """

    def __init__(
        self,
        link: Link,
        home: Path,
        forget: Callable[[str, Key], None],
        *,
        shelf: Shelf | None = None,
        is_over: Callable[[Key], bool] = lambda key: True,
        is_open: Callable[[str], bool] = lambda job_id: True,
        is_ours: Callable[[Key, float], bool] = lambda key, submitted_s: True,
        options: CourierOptions = CourierOptions(),
    ) -> None:
        self._is_over, self._is_open, self._is_ours = is_over, is_open, is_ours
        self.shelf = shelf or Shelf(home)
        self.keeping = Keeping(home)
        #: Hears of the bundles that a device has now, by the first digits of their digests, and of
        #: its link in MiB/s, None where that is not known. Called from the courier's thread.
        self.on_files: FilesHeard = lambda device_id, names, mib_s: None
        self._forget = forget
        self._last: dict[str, Future[None]] = {}  # of ended attempts, by job, on their way here
        self._bytes: dict[str, int] = {}  # of bundles, by digest
        self._wire = Wire(link)
        self._sending = Sending(self._wire, self.shelf, self.keeping, link_here=options.link_here)
        self._fetching = Fetching(self._wire, self.keeping, options.sizes, forget)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="courier", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End at once. What is under way goes on with the next courier."""
        if self._loop.is_closed():
            return

        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=5.0) if tasks else None

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)
        self._loop.close()

    # ------------------------------------------------------------------------------- to the nodes

    def prepare(self, device_id: str, order: Order) -> Future[Order]:
        """Bring what the order needs; done at once where no file is concerned.

        The future has the order with the node's paths. It raises :class:`AgentGone`,
        :class:`NoDiskError` where the node's disk is full, :class:`InputError` where the files are
        not here any more. Cancelling it ends the transfer; what has come is kept there.
        """
        if self.keeping.state(order.key) is not NONE:  # of a history that was thrown away
            self._loop.call_soon_threadsafe(self.keeping.remove, order.key)
        last = self._last.get(order.job.id)
        if last is None and self._sending.needs_nothing(order):
            done: Future[Order] = Future()
            done.set_result(order)
            return done
        return self._run(self._then_look(device_id, self._prepare(device_id, order, last)))

    def transfer(self, key: Key) -> Transfer | None:
        """How far the files of an attempt are that is being prepared. From any thread."""
        return self._sending.transfers.get(key)

    def prefetch(self, device_id: str, bundle: Bundle) -> Future[str]:
        """Bring a bundle of the shelf to a node. From any thread."""
        return self._run(self._then_look(device_id, self._sending.prefetch(device_id, bundle)))

    def missing(self, work: Mapping[str, Any], device_id: str) -> Missing:
        """What a device is not known to have of the files of a job with this ``work``. From any
        thread."""
        present = self._sending.present.get(device_id, set())
        count = 0
        for digest in (work.get(BUNDLES) or {}).values():
            if digest in present:
                continue
            if digest not in self._bytes:
                bundle = self.shelf.cache.find(digest)
                self._bytes[digest] = bundle.bytes if bundle is not None else 0
            count += self._bytes[digest]
        return Missing(count, self._wire.rates.get(device_id))

    # ----------------------------------------------------------------------------- from the nodes

    def ended(self, device_id: str, key: Key, outcome: Outcome, report: Report) -> bool:
        """An attempt ended, and the journal has it; true if its node must not forget it yet.

        Then ``forget`` is called when everything is here.
        """
        name, last = report.progress.checkpoint if report.progress is not None else "", None
        if outcome == "done":
            if self.keeping.checkpoints(key[0]).exists():  # of most jobs there are none
                self._run(self._fetching.drop_job(key[0]))
        elif name:  # a person may have it tried again, also after *cancelled*
            last = self._run(self._fetching.checkpoint(device_id, key, name))
            self._last[key[0]] = last
            last.add_done_callback(lambda done: self._brought(key[0], done))
        outputs = report.outputs and self.keeping.state(key).state != "complete"
        if last is None and not outputs:
            return False
        self._run(self._let_go(device_id, key, last, outputs))
        return True

    def _brought(self, job_id: str, last: Future[None]) -> None:
        """The last checkpoint of an attempt is here, or cannot be had."""
        if self._last.get(job_id) is last:
            self._last.pop(job_id, None)

    async def _let_go(
        self, device_id: str, key: Key, last: Future[None] | None, outputs: bool
    ) -> None:
        """Have all of an attempt that is still to come, and then its node forget it."""
        if last is not None:
            await asyncio.wait([asyncio.wrap_future(last)])
        if outputs:
            await self._fetching.artefacts(device_id, key)
        else:
            self._forget(device_id, key)

    async def _prepare(self, device_id: str, order: Order, last: Future[None] | None) -> Order:
        """Bring what the order needs, once the checkpoint that it goes on from is here."""
        if last is not None:
            await asyncio.wait([asyncio.wrap_future(last)])
        return await self._sending.prepare(device_id, order)

    def checkpointed(self, device_id: str, key: Key, name: str) -> None:
        """A running attempt has written a checkpoint of this name."""
        self._run(self._fetching.checkpoint(device_id, key, name))

    def seen(self, device_id: str) -> None:
        """A board is there (again): what its node still holds is fetched."""
        self._wire.removed.discard(device_id)
        self._run(self._ask_what_is_held(device_id))

    def removed(self, device_id: str) -> None:
        """A device will not come back: what was being fetched from there is lost."""
        self._wire.removed.add(device_id)

        def give_up() -> None:
            for found in self.keeping.states():
                if found.state == "fetching" and found.device == device_id:
                    text = f"{device_id} was removed before they were on the head"
                    self.keeping.note(replace(found, state="lost", text=text))

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(give_up)

    def artefacts(self, key: Key) -> Artefacts:
        """What an attempt left, as far as it is known. From any thread."""
        return self.keeping.state(key)

    # ------------------------------------------------------------------------------------ caches

    def cached(self, device_id: str) -> Future[list[Cached]]:
        """What a node's cache holds. From any thread."""
        return self._run(self._cached(device_id))

    def prune_cache(
        self, device_id: str, *, older_s: float | None, keep_bytes: int | None, dry_run: bool
    ) -> Future[list[Cached]]:
        """Remove what a node holds and nobody uses: :meth:`FileCache.prune`. From any thread."""
        self._sending.present.pop(device_id, None)
        self._sending.changed.add(device_id)
        pruning = self._wire.call(
            device_id, "prune_cache", older_s, keep_bytes, dry_run, patience_s=PATIENCE_S
        )
        return self._run(self._then_look(device_id, pruning))

    def call(self, device_id: str, name: str, *args: Any) -> Future[Any]:
        """A call of the node's files; tried for :data:`PATIENCE_S`. From any thread."""
        return self._run(self._wire.call(device_id, name, *args, patience_s=PATIENCE_S))

    async def _cached(self, device_id: str) -> list[Cached]:
        rows: list[Cached] = await self._wire.call(device_id, "rows", patience_s=2.0)
        self._sending.present[device_id] = {row.digest for row in rows}
        rate = self._wire.rates.get(device_id)
        names = sorted(row.digest[:SHORT] for row in rows)
        self.on_files(device_id, names, rate / (1 << 20) if rate is not None else None)
        return rows

    async def _then_look(self, device_id: str, work: Coroutine[Any, Any, T]) -> T:
        """Do something that may change what a node has, and then ask it, for whoever hears."""
        try:
            return await work
        finally:
            if device_id in self._sending.changed:
                self._sending.changed.discard(device_id)
                self._loop.create_task(self._look(device_id))

    async def _look(self, device_id: str) -> None:
        with suppress(AgentGone):  # it is asked when it is seen again
            await self._cached(device_id)

    async def _ask_what_is_held(self, device_id: str) -> None:
        try:
            await self._cached(device_id)
            held: list[Held] = await self._wire.call(device_id, "held", patience_s=PATIENCE_S)
        except AgentGone:
            return  # it is seen again
        for item in held:
            if not self._is_ours(item.key, item.submitted_s):
                continue  # it goes when the node is pruned
            over = self._is_over(item.key)
            if item.outputs:
                self._loop.create_task(self._fetching.artefacts(device_id, item.key, then=over))
            elif item.checkpoint and self._is_open(item.key[0]):
                self._loop.create_task(
                    self._fetching.checkpoint(device_id, item.key, item.checkpoint)
                )

    def _run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._loop.is_closed():
            work.close()
            gone: Future[T] = Future()
            gone.set_exception(AgentGone("the courier has ended"))
            return gone
        return asyncio.run_coroutine_threadsafe(work, self._loop)


@dataclass(frozen=True)
class Missing:
    """Files that a device is not known to have. ``rate_bytes_s``: its link's, where measured."""

    bytes: int
    rate_bytes_s: float | None = None

    @property
    def transfer_s(self) -> float | None:
        """How long they take; None where there are some and the link's rate is not known."""
        if not self.bytes:
            return 0.0
        return self.bytes / self.rate_bytes_s if self.rate_bytes_s else None
