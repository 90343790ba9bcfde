"""The agent on a node: runs attempts and tells the head about them. One Ray actor per node.

All methods are coroutines: Ray can cancel only those, and one that waits does not block the rest.
What it must not forget is on the disk, in one folder per attempt: after a restart the agent reads
there how the attempts ended whose supervisor noticed that it was gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jetsched.cluster.checkpoints import drop_checkpoints, latest_checkpoint
from jetsched.cluster.exchange import Answers, Wishes, carry_out
from jetsched.cluster.protocol import (
    PROTOCOL,
    Info,
    Key,
    Order,
    Reading,
    Report,
    Stored,
    attempt_name,
)
from jetsched.files import from_json
from jetsched.profiler.attempts import is_running, read_attempt, read_result
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.limits import Limits, cap_kind, remove_stale
from jetsched.profiler.runner import Run, RunOrder
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Device, Outcome

#: Names the file with the :class:`NodeConfig` of the node that a process belongs to.
NODE_VARIABLE = "JETSCHED_NODE"
#: The most that one answer carries of a log, and of each file of measurements.
LOG_CHUNK_BYTES = 256 * 1024
STORE_CHUNK_BYTES = 512 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeConfig:
    """A node as it was set up: which device it is, and how it runs what it is given."""

    device: Device
    folder: str  # where attempts live, one folder each
    limits: Limits = field(
        default_factory=Limits
    )  # of every attempt; a job's own time limit comes on top
    python: str = sys.executable  # runs the workload
    lease_s: float = 60.0  # not having heard from the head for so long, it stops what runs
    scale: float = 1.0
    #: Where the folders of all nodes are, if nodes share a file system: then a job goes on from its
    #: checkpoint on any of them, else only where it was.
    shared: str = ""
    #: The node's own data home, where `jetsched profile` keeps what it measures; "" where that is
    #: the head's, which looks there itself.
    home: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_environment(cls) -> NodeConfig:
        """The configuration of the node that this process runs on."""
        return from_json(cls, json.loads(Path(os.environ[NODE_VARIABLE]).read_bytes()))


class Agent:
    """Starts, watches and stops attempts on one node."""

    def __init__(self, config: NodeConfig | None = None) -> None:
        self._config = config if config is not None else NodeConfig.from_environment()
        self._folder = Path(self._config.folder)
        self._runs: dict[Key, Run] = {}
        self._heard = time.monotonic()
        self._lease: asyncio.Task[None] | None = None
        self._inherited = _left_behind(self._folder)
        remove_stale()

    async def info(self) -> Info:
        """Who this is, and which attempts live here, also those of an agent before this one."""
        self._heard = time.monotonic()
        return Info(
            PROTOCOL,
            self._config.device,
            tuple(self._living()),
            self._config.scale,
            self._config.limits.slowdown,
            cap_kind() if self._config.limits.memory_mib is not None else "none",
            self._config.identity,
        )

    async def reading(self) -> Reading:
        """How the node is now; cheap."""
        self._heard = time.monotonic()
        return Reading(time.time(), device=self._config.device)

    async def stored(self, read: tuple[int, int]) -> Stored:
        """What was measured on this node without the head; ``read``: how much of it the head has.

        Raises OSError where it cannot be read.
        """
        self._heard = time.monotonic()
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

    async def start(self, order: Order) -> None:
        """Start an attempt, and return once its supervisor lives. Twice is the same as once.

        Raises OSError where its folder cannot be written.
        """
        self._heard = time.monotonic()
        if order.key in self._runs:
            return
        folder = self._attempt(order.key)
        if folder.exists():  # of a history that was thrown away: numbers are never used again
            shutil.rmtree(folder)
        job, config = order.job, self._config
        limits = config.limits
        if job.time_limit_s is not None:
            limits = replace(
                limits, time_s=min(job.time_limit_s, limits.time_s or job.time_limit_s)
            )
        self._runs[order.key] = Run.start(
            RunOrder(
                job=job,
                device=config.device,
                folder=folder,
                python=config.python,
                limits=limits,
                resume_from=latest_checkpoint(order, self._nodes()),
                identity=config.identity,
            )
        )
        if self._lease is None:
            self._lease = asyncio.create_task(self._watch_lease())

    async def poll(self, offsets: Mapping[Key, int | None]) -> dict[Key, Report]:
        """How the attempts are doing that the head asks about, and all others that live here.

        ``offsets`` says how many bytes of its log the head has of each; None: it wants none.
        """
        self._heard = time.monotonic()
        keys = [*offsets, *(key for key in self._living() if key not in offsets)]
        return {key: self._report(key, offsets.get(key)) for key in keys}

    async def exchange(self, wishes: Wishes) -> Answers:
        """Do all that the head wishes, and tell it all that it wants to know."""
        return await carry_out(self, wishes)

    async def stop(self, key: Key, outcome: Outcome, grace_s: float = 10.0) -> None:
        """Ask an attempt to end with this outcome; returns at once."""
        self._heard = time.monotonic()
        if key in self._runs:
            self._runs[key].stop(outcome, grace_s)

    async def forget(self, key: Key) -> None:
        """The head has the result of an attempt: only its folder is kept."""
        self._heard = time.monotonic()
        run = self._runs.pop(key, None)
        result = run.result() if run is not None else None
        if run is not None and result is not None and result.outcome in ("done", "cancelled"):
            drop_checkpoints(run.order.job, key[1], self._nodes())

    # ------------------------------------------------------------------------------------ inside

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
        if run is None and not (folder / "order.json").exists():
            return Report("unknown")
        progress = run.poll() if run is not None else None
        result = run.result() if run is not None else read_result(folder)
        # After the result: only then is what stands in the log all of it.
        chunk, more = _read_log(folder / "log.txt", offset)
        if result is not None and not more:
            return Report("ended", progress, chunk, more, result)
        if progress is None or progress.phase == "ended":
            return Report("ending", progress, chunk, more)
        return Report(progress.phase, progress, chunk, more)

    def _living(self) -> list[Key]:
        """Attempts that have not ended: our own, and those that an agent before us left."""
        self._inherited = [key for key in self._inherited if self._is_alive(key)]
        ours = [key for key in self._runs if self._is_alive(key)]
        return [*ours, *self._inherited]

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

    async def _watch_lease(self) -> None:
        """Stop everything when the head has been silent for too long: it may be cut off from us,
        and by then it has started the jobs elsewhere."""
        lease_s = self._config.lease_s
        while True:
            await asyncio.sleep(lease_s / 4)
            if time.monotonic() - self._heard > lease_s:
                for key, run in self._runs.items():
                    if self._is_alive(key):
                        log.warning("no word from the head for %.0f s: stopping", lease_s)
                        run.stop("lost")


def _left_behind(folder: Path) -> list[Key]:
    """Attempts of an agent before this one that are not over yet."""
    found: list[Key] = []
    for place in folder.glob("*-*"):
        try:
            if (place / "order.json").exists() and is_running(place):
                attempt = read_attempt(place)
                assert attempt is not None
                found.append((attempt.job.id, int(place.name.rpartition("-")[2])))
        except Exception:  # one folder that is not readable must not keep the agent from living
            log.exception("%s cannot be read", place)
    return found


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
