"""What the head and a node's agent say to each other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jetsched.profiler.calibration import Calibration
from jetsched.profiler.runner import Progress
from jetsched.records import Code, Device, Job, Measurement

#: Grows when an older agent would misunderstand the head or the other way round.
PROTOCOL = 3

#: One attempt: the job's id and the number of the attempt, from 1.
Key = tuple[str, int]

#: The most characters of a job's id in the name of a folder.
LONGEST = 150

#: Why a node takes no new job, as the node itself knows it: a reason code and a sentence.
Closing = tuple[Code, str]

#: The shell's null command: an agent completes such a job without starting anything.
NULL_COMMAND = ":"


@dataclass(frozen=True)
class Reading:
    """A node at one moment. None: not known, as all sensors of an emulated board.

    ``jobs_mib`` is what its attempts hold, ``disk_free_mib`` what is free where they live.
    ``throttled`` says that the board is held back now. ``closings`` and ``device`` are those of
    :class:`Info`, as they are now. ``at_s`` is the node's own clock, in seconds since the Unix
    epoch, which may be wrong: for a person only.
    """

    at_s: float
    memory_total_mib: float | None = None
    memory_free_mib: float | None = None
    jobs_mib: float | None = None
    gpu_util_pct: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    power_mode: str | None = None
    disk_free_mib: float | None = None
    throttled: bool | None = None
    closings: tuple[Closing, ...] = ()
    device: Device | None = None

    @property
    def others_mib(self) -> float | None:
        """What is held by others than its attempts: the system, a desktop, somebody's program."""
        total, free, jobs = self.memory_total_mib, self.memory_free_mib, self.jobs_mib
        if total is None or free is None or jobs is None:
            return None
        return max(0.0, total - free - jobs)


@dataclass(frozen=True)
class Info:
    """Who an agent is. ``attempts`` are those that are alive on the node now."""

    protocol: int
    device: Device
    attempts: tuple[Key, ...] = ()
    scale: float = 1.0  # of an emulated board's memory
    slowdown: float = 1.0
    cap: str = ""  # what its memory cap is made of, e.g. "cgroup-v2"
    identity: Mapping[str, Any] = field(default_factory=dict)
    closings: tuple[Closing, ...] = ()  # while there are any, it is to get no new job
    #: Attempts that have ended and were not forgotten yet: their results can be asked for.
    ended: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Stored:
    """What was measured on a node without the head, by `jetsched profile` there.

    ``read`` says how far the node's two files were read, to be told at the next question; ``more``
    that there is more to be had at once.
    """

    measurements: tuple[Measurement, ...] = ()
    calibrations: tuple[Calibration, ...] = ()
    read: tuple[int, int] = (0, 0)
    more: bool = False


@dataclass(frozen=True)
class Order:
    """What an agent is to start.

    ``files`` says where on its node things lie that the job names by where they lie on the head:
    see :attr:`jetsched.profiler.runner.RunOrder.files`. ``secrets`` are the values that the job has
    names of, by variable: no text may show them, no file hold them.
    """

    job: Job
    attempt: int
    files: Mapping[str, str] = field(default_factory=dict, hash=False)
    secrets: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)

    @property
    def key(self) -> Key:
        return self.job.id, self.attempt


@dataclass(frozen=True)
class Report:
    """How one attempt is doing.

    *unknown*: the node has never heard of it, could not start it, or knows nothing of it any more,
    which ``text`` explains where it can: the attempt is lost. *ending*: nobody supervises it any
    more, but something of it is left; ask again. *ended* comes with the measurement, and only once
    the head has the whole log. ``log`` are the bytes after the offset that the head asked for;
    ``more`` says that there are more of them now. ``outputs``: it left something to be kept.
    """

    phase: Literal["unknown", "starting", "running", "ending", "ended"]
    progress: Progress | None = None
    log: bytes = b""
    more: bool = False
    measurement: Measurement | None = None
    text: str = ""
    outputs: bool = False


def attempt_name(key: Key) -> str:
    """What folders and logs of an attempt are called, whatever stands in the job's id."""
    name = re.sub(r"[^0-9A-Za-z_.]", "_", key[0])
    if len(name) > LONGEST:  # a file system takes 255 bytes, and others add to it
        name = f"{name[:LONGEST]}.{hashlib.sha256(key[0].encode()).hexdigest()[:16]}"
    return f"{name}-{int(key[1])}"
