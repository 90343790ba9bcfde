"""What the journal tells of one job: what its attempts measured, and what happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jetsched.cluster.pastjobs import PastBook, PastJob, jobs_of
from jetsched.cluster.store import journal_entries
from jetsched.cluster.telling import Told, tell
from jetsched.records import Job, Measurement
from jetsched.scheduler.events import DeviceLost, DeviceRemoved

#: Nobody reads more; the last ones are kept.
MOST_TOLD = 200


@dataclass(frozen=True)
class JobPast:
    """By attempt what was measured, and in order what happened."""

    measured: Mapping[int, Measurement]
    told: tuple[Told, ...]


def job_past(job: Job, journal: Path) -> JobPast:
    """The past of a job that is known; its submission, with all that came with it, is not read.

    A journal of gigabytes is looked through in seconds: not for the loop's thread.
    """
    book = PastBook()
    past = book.jobs[job.id] = PastJob(job, job.submitted_s)
    told = [Told(job.submitted_s, "Submitted", f"submitted: {job.workload.label}", job.id)]
    if not journal.is_file():
        return JobPast({}, tuple(told))
    for entry in journal_entries(journal, naming=job.id, without=("Submitted", "Learned")):
        concerns = job.id in jobs_of(entry) or isinstance(entry, DeviceLost | DeviceRemoved)
        if concerns and job.id in book.take(entry):
            words = tell(entry, book)
            told += [words] if words is not None else []
    measured = {a.number: a.measurement for a in past.attempts if a.measurement is not None}
    return JobPast(measured, tuple(told[-MOST_TOLD:]))
