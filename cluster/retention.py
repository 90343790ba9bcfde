"""What old jobs have left on the head, and which of it may go: logs, artefacts, checkpoints.

The journal stays: what happened can always be told. What belongs to a job that may run again is
never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jetsched.cluster.keptfiles import Keeping
from jetsched.cluster.nodefiles import size_of
from jetsched.cluster.protocol import Key, attempt_name
from jetsched.records import FINAL_STATES
from jetsched.scheduler.state import JobRecord

What = Literal["log", "artefacts", "checkpoints"]


@dataclass(frozen=True)
class Old:
    """Something that an ended job has left; ``attempt`` 0: it is the job's. ``age_s``: since its
    end."""

    what: What
    job_id: str
    attempt: int
    bytes: int
    age_s: float
    path: Path

    @property
    def key(self) -> Key:
        return self.job_id, self.attempt


def left_by(
    records: Iterable[JobRecord], now_s: float, log_path: Path, keeping: Keeping
) -> list[Old]:
    """Everything that may go, the oldest first. ``log_path`` is the folder of the logs."""
    found: list[Old] = []
    for record in records:
        if record.state not in FINAL_STATES or not record.attempts:
            continue
        job_id = record.job.id
        ended_s = max(attempt.end_s or attempt.start_s for attempt in record.attempts)
        places: list[tuple[What, int, Path]] = [("checkpoints", 0, keeping.checkpoints(job_id))]
        for attempt in record.attempts:
            key = (job_id, attempt.number)
            places.append(("log", attempt.number, log_path / f"{attempt_name(key)}.log"))
            if keeping.state(key).state != "fetching":
                places.append(("artefacts", attempt.number, keeping.out(key).parent))
        for what, number, path in places:
            if path.exists():
                size = path.stat().st_size if path.is_file() else size_of(path)
                found.append(Old(what, job_id, number, size, now_s - ended_s, path))
    return sorted(found, key=lambda old: -old.age_s)


def to_go(found: Sequence[Old], *, older_s: float | None, most_bytes: int | None) -> list[Old]:
    """What is older than that, and then the oldest until the rest is no larger than that."""
    gone = [old for old in found if older_s is not None and old.age_s > older_s]
    if most_bytes is not None:
        chosen = set(gone)
        left = sum(old.bytes for old in found if old not in chosen)
        for old in found:
            if left <= most_bytes:
                break
            if old not in chosen:
                gone.append(old)
                left -= old.bytes
    return gone


def remove(old: Old, keeping: Keeping) -> None:
    """Throw it away."""
    if old.what == "artefacts":
        keeping.remove(old.key)
    elif old.what == "checkpoints":
        keeping.drop_checkpoints(old.job_id)
    else:
        with suppress(FileNotFoundError):
            old.path.unlink()
