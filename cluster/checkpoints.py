"""Checkpoints of earlier attempts: found, to go on from, and removed when nobody needs them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from jetsched.cluster.protocol import Order, attempt_name
from jetsched.errors import InputError
from jetsched.profiler.attempts import read_attempt
from jetsched.records import Job


def latest_checkpoint(order: Order, nodes: list[Path]) -> Path | None:
    """The folder with the farthest checkpoint, of the job's attempts before this one; or None.

    It is the folder around it: an attempt that is still dying may replace the one by a newer one.

    ``nodes`` are the folders of nodes that can be read here, at least this node's own. Attempts of
    another job that once had the same number are told apart by the job that is noted with them.
    """
    found = [
        step
        for number in range(1, order.attempt)
        for folder in _attempts((order.job.id, number), nodes)
        if _is_of(folder, order.job)
        for step in (folder / "checkpoint").glob("step-*[0-9]")  # a half-written one ends in .part
    ]
    if not found:
        return None
    return max(found, key=lambda step: int(step.name.rpartition("-")[2])).parent


def drop_checkpoints(job: Job, attempts: int, nodes: list[Path]) -> None:
    """Remove the checkpoints of a job that will not run again."""
    for number in range(1, attempts + 1):
        for folder in _attempts((job.id, number), nodes):
            if _is_of(folder, job):
                shutil.rmtree(folder / "checkpoint", ignore_errors=True)


def _attempts(key: tuple[str, int], nodes: list[Path]) -> Iterator[Path]:
    return (node / attempt_name(key) for node in nodes if (node / attempt_name(key)).is_dir())


def _is_of(folder: Path, job: Job) -> bool:
    try:
        attempt = read_attempt(folder)
    except InputError:
        return False
    return attempt is not None and attempt.job == job
