"""The agent on a node: runs attempts and tells the head about them. One Ray actor per node.

All methods are coroutines: Ray can cancel only those, and one that waits does not block the rest.
What it must not forget is on the disk, in one folder per attempt: after a restart the agent reads
there how the attempts ended whose supervisor noticed that it was gone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jetsched.cluster.checkpoints import drop_checkpoints, latest_checkpoint
from jetsched.cluster.checkup import CheckUp, check_up
from jetsched.cluster.exchange import Answers, Wishes, carry_out
from jetsched.cluster.nodeconfig import NODE_VARIABLE as NODE_VARIABLE
from jetsched.cluster.nodeconfig import NodeConfig as NodeConfig
from jetsched.cluster.nodefiles import NodeFiles, has_outputs
from jetsched.cluster.nodefolder import Pruned, clean, drop, hold, left_behind, prune
from jetsched.cluster.nodewatch import NodeWatch
from jetsched.cluster.protocol import (
    NULL_COMMAND,
    PROTOCOL,
    Info,
    Key,
    Order,
    Reading,
    Report,
    Stored,
    attempt_name,
)
from jetsched.profiler.attempts import is_running, read_result
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.limits import cap_kind, remove_stale
from jetsched.profiler.runner import Run, RunOrder
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Device, Job, Measurement, Outcome

#: The most that one answer carries of a log, and of each file of measurements.
LOG_CHUNK_BYTES = 256 * 1024
STORE_CHUNK_BYTES = 512 * 1024
#: Reasons for not having started something are kept for so many attempts, to be told again.
REASONS = 100
#: How long an agent waits for one before it to be gone.
PREDECESSOR_S = 15.0
#: How often old folders are looked through.
PRUNE_S = 6 * 3600.0
PRUNE_FULL_S = 60.0  # while its disk is full

log = logging.getLogger(__name__)


class Agent:
    """Starts, watches and stops attempts on one node."""

    def __init__(
        self, config: NodeConfig | None = None, *, patience_s: float = PREDECESSOR_S
    ) -> None:
        """Raises FolderTaken (cluster/nodefolder.py) where another agent is at work."""
        self._config = config if config is not None else NodeConfig.from_environment()
        self._folder = Path(self._config.folder)
        self._held = hold(self._folder, patience_s)
        self._files = NodeFiles(self._folder, self._config.cache_mib)
        self._watch = NodeWatch(self._config, self._files.cache.shortage)
        self._runs: dict[Key, Run] = {}
        self._nulls: dict[Key, Measurement] = {}  # what there was nothing to run of
        self._refused: dict[Key, str] = {}  # why something was not started
        self._heard = time.monotonic()
        self._chores: asyncio.Task[None] | None = None
        self._doctors = asyncio.Lock()
        self._inherited = left_behind(self._folder)
        remove_stale()

    def close(self) -> None:
        """Let another agent have the folder. What runs is stopped as if this one had died."""
        for run in self._runs.values():
            run.release()
        self._held.close()

    async def info(self) -> Info:
        """Who this is, and which attempts live here, also those of an agent before this one."""
        self._hear()
        config = self._config
        return Info(
            PROTOCOL,
            self._watch.device(),
            tuple(self._living()),
            config.scale,
            config.limits.slowdown,
            cap_kind() if config.limits.memory_mib is not None else "none",
            self._watch.identity(),
            self._watch.closings(),
            tuple(self._over()),
        )

    async def reading(self) -> Reading:
        """How the node is now; costs a millisecond or two."""
        self._hear()
        held = [mib for run in self._runs.values() if (mib := run.poll().memory_mib) is not None]
        return self._watch.reading(sum(held))

    async def stored(self, read: tuple[int, int]) -> Stored:
        """What was measured on this node without the head; ``read``: how much of it the head has.

        Raises OSError where it cannot be read.
        """
        self._hear()
        if not self._config.home:
            return Stored()
        measured = MeasurementStore(Path(self._config.home) / MeasurementStore.name)
        calibrated = CalibrationStore(Path(self._config.home) / CalibrationStore.name)
        measurements, first = measured.read_on(read[0], STORE_CHUNK_BYTES)
        calibrations, second = calibrated.read_on(read[1], STORE_CHUNK_BYTES)
        for bad in (*measured.bad, *calibrated.bad):
            log.warning("%s", bad)
        return Stored(
            tuple(measurements), tuple(calibrations), (first, second), (first, second) != read
        )

    async def doctor(self, head_python: str = "") -> CheckUp:
        """What `jetsched doctor` says here; takes some seconds, in which others are answered."""
        self._hear()
        async with self._doctors:  # torch twice at a time is too much for a small board
            held = [
                self._runs[key].poll().memory_mib for key in self._living() if key in self._runs
            ]
            held_mib = sum(mib or 0.0 for mib in held) if self._living() else None
            return await asyncio.to_thread(check_up, self._config, held_mib, head_python)

    async def start(self, order: Order) -> None:
        """Start an attempt, and return once its supervisor lives. Twice is the same as once.

        What could not be started for the node's sake (its disk is full, say) is *unknown* at the
        next question, with the reason.
        """
        self._hear()
        key, job = order.key, order.job
        if key in self._runs or key in self._nulls:
            return
        if job.workload.kind == "command" and job.workload.command.strip() == NULL_COMMAND:
            self._nulls[key] = _of_nothing(job, self._watch.device())
            return
        self._refused.pop(key, None)
        try:
            self._runs[key] = self._start(order)
        except (OSError, subprocess.SubprocessError) as error:
            log.exception("%s-%d could not be started", *key)
            text = f"it could not be started: {type(error).__name__}: {error}"
            self._watch.unwritable(text)
            self._refused[key] = text
            while len(self._refused) > REASONS:
                del self._refused[next(iter(self._refused))]

    async def poll(self, offsets: Mapping[Key, int | None]) -> dict[Key, Report]:
        """How the attempts are doing that the head asks about, and all others that live here.

        ``offsets`` says how many bytes of its log the head has of each; None: it wants none.
        """
        self._hear()
        keys = [*offsets, *(key for key in self._living() if key not in offsets)]
        return {key: self._report(key, offsets.get(key)) for key in keys}

    async def exchange(self, wishes: Wishes) -> Answers:
        """Do all that the head wishes, and tell it all that it wants to know."""
        return await carry_out(self, wishes)

    async def stop(self, key: Key, outcome: Outcome, grace_s: float | None = None) -> None:
        """Ask an attempt to end with this outcome; returns at once. None: with the node's grace."""
        self._hear()
        if key in self._runs:
            grace_s = self._config.grace_s if grace_s is None else grace_s
            self._runs[key].stop(outcome, grace_s)

    async def forget(self, key: Key) -> None:
        """The head has all of an attempt: what tells how it went is kept, and its checkpoint where
        its job may go on from that.

        Raises OSError where its folder cannot be cleaned.
        """
        self._hear()
        self._refused.pop(key, None)
        if self._nulls.pop(key, None) is not None or self._is_alive(key):
            return
        run = self._runs.pop(key, None)
        result = run.result() if run is not None else None
        if run is not None and result is not None and result.outcome == "done":
            await asyncio.to_thread(drop_checkpoints, run.order.job, key[1], self._nodes())
        await asyncio.to_thread(self._files.forgot, key)
        await asyncio.to_thread(clean, self._attempt(key))

    async def files(self, name: str, *args: Any) -> Any:
        """Call a method of :class:`~jetsched.cluster.nodefiles.NodeFiles`.

        It may read gigabytes; others are answered meanwhile.
        """
        self._hear()
        return await asyncio.to_thread(self._files.call, name, *args)

    async def drop(self, job_ids: tuple[str, ...]) -> None:
        """These jobs will not run again: their checkpoints on this node go."""
        self._hear()
        await asyncio.to_thread(drop, self._folder, job_ids)

    async def prune(self, keep_s: float, keep_mib: float) -> Pruned:
        """Remove folders of attempts that are over and older, or all together bigger, than this."""
        self._hear()
        return await self._prune(keep_s, keep_mib)

    # ------------------------------------------------------------------------------------ inside

    def _hear(self) -> None:
        """The head has spoken: it is not cut off from us."""
        self._heard = time.monotonic()
        if self._chores is None or self._chores.done():
            self._chores = asyncio.create_task(self._do_chores())

    def _start(self, order: Order) -> Run:
        folder = self._attempt(order.key)
        if folder.exists():  # of a history that was thrown away: numbers are never used again
            shutil.rmtree(folder)
        job, config = order.job, self._config
        limits = replace(config.limits, stall_s=config.limits.stall_s or config.stall_s or None)
        if job.time_limit_s is not None:
            limits = replace(
                limits, time_s=min(job.time_limit_s, limits.time_s or job.time_limit_s)
            )
        return Run.start(
            RunOrder(
                job=job,
                device=self._watch.device(),
                folder=folder,
                python=config.python,
                limits=limits,
                resume_from=latest_checkpoint(order, self._nodes()),
                grace_s=config.grace_s,
                identity=self._watch.identity(),
                root=Path(config.root),
                files=order.files,
                secrets=order.secrets,
            )
        )

    def _report(self, key: Key, offset: int | None) -> Report:
        try:
            return self._read(key, offset)
        except Exception as error:  # a job can write into its folder; the board must go on
            log.exception("attempt %s-%d cannot be read", *key)
            run = self._runs.pop(key, None)
            if run is not None:
                run.stop("lost")
            self._inherited = [k for k in self._inherited if k != key]
            return Report("unknown", text=f"its folder cannot be read: {error}")

    def _read(self, key: Key, offset: int | None) -> Report:
        folder, run = self._attempt(key), self._runs.get(key)
        if key in self._nulls:
            return Report("ended", measurement=self._nulls[key])
        if run is None and (key in self._refused or not (folder / "order.json").exists()):
            return Report("unknown", text=self._refused.get(key, ""))
        progress = run.poll() if run is not None else None
        result = run.result() if run is not None else read_result(folder)
        # After the result: only then is what stands in the log all of it.
        chunk, more = _read_log(folder / "log.txt", offset)
        if result is not None and not more:
            outputs = has_outputs(folder)
            return Report("ended", progress, chunk, more, result, outputs=outputs)
        if progress is None or progress.phase == "ended":
            return Report("ending", progress, chunk, more)
        return Report(progress.phase, progress, chunk, more)

    def _living(self) -> list[Key]:
        """Attempts that have not ended: our own, and those that an agent before us left."""
        self._inherited = [key for key in self._inherited if self._is_alive(key)]
        ours = [key for key in self._runs if self._is_alive(key)]
        return [*ours, *self._inherited]

    def _over(self) -> list[Key]:
        """Attempts of this agent's life that have ended, and that the head has not all of yet."""
        ended = [key for key in self._runs if not self._is_alive(key)]
        return [*ended, *self._nulls]

    def _is_alive(self, key: Key) -> bool:
        run = self._runs.get(key)
        try:
            return run.result() is None if run is not None else is_running(self._attempt(key))
        except Exception:  # what is wrong with it is told by the next report
            return True

    def _attempt(self, key: Key) -> Path:
        return self._folder / attempt_name(key)

    def _nodes(self) -> list[Path]:
        """The folders of nodes whose checkpoints can be read here."""
        shared = self._config.shared
        return list(Path(shared).iterdir()) if shared else [self._folder]

    async def _do_chores(self) -> None:
        """Stop everything when the head has been silent for too long: it may be cut off from us,
        and by then it has started the jobs elsewhere. And keep the disk from filling up."""
        config, pruned = self._config, -PRUNE_S
        while True:
            if time.monotonic() - self._heard > config.lease_s:
                for key, run in self._runs.items():
                    if self._is_alive(key):
                        log.warning("no word from the head for %.0f s: stopping", config.lease_s)
                        run.stop("lost", config.grace_s)
            pause_s = PRUNE_FULL_S if self._watch.missing_mib else PRUNE_S
            if time.monotonic() - pruned > pause_s:
                pruned = time.monotonic()
                try:
                    await self._prune(config.keep_s, config.keep_mib, self._watch.missing_mib)
                except Exception:
                    log.exception("%s cannot be pruned", self._folder)
            await asyncio.sleep(config.lease_s / 4)

    async def _prune(self, keep_s: float, keep_mib: float, need_mib: float = 0.0) -> Pruned:
        busy = {attempt_name(key) for key in (*self._runs, *self._inherited)}
        pruned = await asyncio.to_thread(
            prune, self._folder, busy=busy, keep_s=keep_s, keep_mib=keep_mib, need_mib=need_mib
        )
        if pruned.attempts:
            log.info("%d old attempts removed, %.0f MiB", pruned.attempts, pruned.mib)
        return pruned


def _of_nothing(job: Job, device: Device) -> Measurement:
    """The measurement of a job with nothing to do. It tells no rate, and so nothing is learnt."""
    return Measurement(
        workload=job.workload,
        device_class=device.device_class,
        outcome="done",
        amount=job.amount,
        time_s=0.0,
        load_s=0.0,
        work_s=0.0,
        device=device.id,
        job_id=job.id,
        at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        emulated=device.device_class.emulated,
    )


def _read_log(path: Path, offset: int | None) -> tuple[bytes, bool]:
    """The next bytes of a log, and whether there are more; nothing where nobody asked."""
    if offset is None:
        return b"", False
    try:
        with path.open("rb") as file:
            file.seek(offset)
            chunk = file.read(LOG_CHUNK_BYTES)
            return chunk, file.tell() < os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return b"", False
