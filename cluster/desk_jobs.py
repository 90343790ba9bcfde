"""Jobs at the desk: handed in, listed, explained, planned."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from jetsched.cluster.desk_base import ConflictError, Foreseen
from jetsched.cluster.desk_files import FilesDesk
from jetsched.cluster.desk_pages import ALL, Page
from jetsched.cluster.refusing import refuse_hopeless
from jetsched.cluster.suggestions import least_in_words, suggestions
from jetsched.files import to_json
from jetsched.jobfile import JobSpec
from jetsched.profiler.models import find
from jetsched.records import Job, Placement, Reason
from jetsched.scheduler.events import Event, Submitted
from jetsched.scheduler.state import JobRecord

#: How long what is foreseen is kept while nothing changes; boards that are overdue are a change.
KEPT_S = 30.0
#: How many times as long as looking ahead took its result serves, while things do change.
PATIENCE = 10.0
#: A thousand jobs may be submitted at once; nobody reads a thousand reasons.
MOST_REASONS = 50


class JobDesk(FilesDesk):
    """Answers about jobs. Methods may be called from any thread."""

    def submit(
        self,
        specs: Sequence[JobSpec],
        *,
        user: str = "",
        hold: bool = False,
        key: str = "",
        content: str = "",
    ) -> list[dict[str, Any]]:
        """Submit jobs together; returns their rows, as they are after the first decision.

        What came under the same ``key`` before is not submitted again: its jobs are the answer, as
        they are now. Raises :class:`ConflictError` where it was another ``content`` then, and
        :class:`~jetsched.cluster.desk_base.WontFitError` where no device can ever run some of the
        jobs, unless ``hold``; then nothing was submitted.
        """
        job_ids: list[str] = []
        specs = self.registered(specs)

        def before(now_s: float) -> Iterable[Event]:
            known = self._submitted(key, content)
            if known is not None:
                job_ids.extend(known)
                return []
            first = len(self._scheduler.jobs) + 1
            jobs: list[Job] = []
            for number, spec in enumerate(specs, start=first):
                jobs.append(self._job(spec, str(number), now_s, user))
            if not hold:
                refuse_hopeless(self._scheduler, jobs, now_s)
            job_ids.extend(job.id for job in jobs)
            return [Submitted(now_s, tuple(jobs), key, content)]

        return self._cluster.ask(lambda now_s: self._rows(job_ids, now_s), before=before)

    def submitted(self, key: str, content: str) -> list[dict[str, Any]] | None:
        """The jobs that came of an earlier submission with this key; None if there was none.

        Asked before anything is read: what the jobs name may be gone by now.
        """
        if not key or key not in self._scheduler.submissions:  # once there, it stays
            return None

        return self._cluster.ask(
            lambda now_s: self._rows(self._submitted(key, content) or (), now_s)
        )

    def _rows(self, job_ids: Sequence[str], now_s: float) -> list[dict[str, Any]]:
        """The rows of jobs that were submitted together; why they wait is told of the first."""
        return [
            self._row(self._scheduler.jobs[job_id], now_s, {}, with_reason=place < MOST_REASONS)
            for place, job_id in enumerate(job_ids)
        ]

    def _submitted(self, key: str, content: str) -> tuple[str, ...] | None:
        known = self._scheduler.submissions.get(key) if key else None
        if known is None:
            return None
        if known.content != content:
            raise ConflictError(
                f"the key {key!r} came with other jobs before: {', '.join(known.job_ids[:5])}",
                hint="a key stands for one submission; make another one",
            )
        return known.job_ids

    # ------------------------------------------------------------------------------- questions

    def jobs(self, page: Page = ALL) -> list[dict[str, Any]]:
        """A page of jobs. Raises :class:`UnknownJobError` for one to begin behind that is not."""
        return self._cluster.ask(
            lambda now_s: self._rows_of(page.of(self._scheduler, self._record), now_s, PATIENCE)
        )

    def counted(self, page: Page) -> tuple[list[dict[str, Any]], int]:
        """A page of jobs, and how many are wanted on all pages; for those who look every second.

        When jobs will start may be of a few seconds ago.
        """

        def answer(now_s: float) -> tuple[list[dict[str, Any]], int]:
            records, total = page.counted(self._scheduler, self._record)
            return self._rows_of(records, now_s, 5 * PATIENCE), total

        return self._cluster.ask(answer)

    def names(self) -> dict[str, list[str]]:
        """What a filter may name: the ``devices`` that were ever seen, and the ``users``."""

        def answer(now_s: float) -> dict[str, list[str]]:
            users = sorted(filter(None, self._scheduler.usage))
            return {"devices": sorted(self._cluster.boards), "users": users}

        return self._cluster.ask(answer)

    def _rows_of(
        self, records: Sequence[JobRecord], now_s: float, patience: float
    ) -> list[dict[str, Any]]:
        waits = any(record.state == "waiting" for record in records)
        foreseen = self._foresee(now_s, patience) if waits else {}
        return [self._row(record, now_s, foreseen) for record in records]

    def _foresee(self, now_s: float, patience: float = PATIENCE) -> dict[str, Placement]:
        """When and where waiting jobs would start.

        Kept while nothing has changed, and else ``patience`` times as long as it took to look
        ahead: with 10 that takes up a tenth of the loop's time at most, whoever asks how often.
        """
        kept, now = self._foreseen, time.monotonic()
        if kept is not None:
            age_s = now - kept.at
            same = kept.changes == self._feed.changes
            if age_s < (KEPT_S if same else patience * kept.cost_s):
                return kept.placements
        placements = self._scheduler.foresee(now_s)
        cost_s = time.monotonic() - now
        self._foreseen = Foreseen(now, cost_s, self._feed.changes, placements)
        return placements

    def job(self, job_id: str) -> dict[str, Any]:
        """One job with everything that is known of it."""

        def answer(now_s: float) -> dict[str, Any]:
            record = self._record(job_id)
            foreseen = self._foresee(now_s) if record.state == "waiting" else {}
            return {
                **self._row(record, now_s, foreseen),
                "workload": to_json(record.job.workload),
                "work": to_json(record.job.work),
                "needs": to_json(record.job.needs),
                "retry": to_json(record.job.retry),
                "amount": record.job.amount,
            }

        return self._cluster.ask(answer)

    def some(self, job_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of some jobs. Raises :class:`UnknownJobError` for one that is none."""

        def answer(now_s: float) -> list[dict[str, Any]]:
            records = [self._record(job_id) for job_id in job_ids]
            waits = any(record.state == "waiting" for record in records)
            foreseen = self._foresee(now_s, 5 * PATIENCE) if waits else {}
            return [self._row(record, now_s, foreseen) for record in records]

        return self._cluster.ask(answer)

    def spec(self, job_id: str) -> Job:
        """A job as it was handed in; it never changes."""
        return self._cluster.ask(lambda now_s: self._record(job_id).job)

    def why(self, job_id: str) -> dict[str, Any]:
        """The stored decision about a job, and its history."""

        def answer(now_s: float) -> dict[str, Any]:
            record = self._record(job_id)
            decision = to_json(self._scheduler.why(job_id, now_s))
            files = {}
            if record.state in ("waiting", "held"):
                files = self.files_for(record.job, self._scheduler.fleet.devices)
            emulated = [row["device"] for row in decision["rows"] if self._emulated(row["device"])]
            job = self._row(record, now_s, {})
            return {**decision, "job": job, "files": files, "emulated": emulated}

        return self._cluster.ask(answer)

    def changes(self, job_id: str) -> dict[str, Any]:
        """What would make a job fit: ``changes`` of its work by device, ``least`` where none do."""

        def answer(now_s: float) -> dict[str, Any]:
            scheduler, job = self._scheduler, self._record(job_id).job
            devices = list(scheduler.fleet.devices.values())
            found = suggestions(scheduler.costs, job, devices)
            least = "" if found else least_in_words(scheduler.costs, job, devices)
            return {"changes": found, "least": least}

        return self._cluster.ask(answer)

    def plan(self, spec: JobSpec) -> dict[str, Any]:
        """What would become of a job that was submitted now: a decision, and the job's words.

        ``changes`` are what would make it fit the devices that it does not fit surely, ``files``
        what is to be brought to which device first.
        """
        (spec,) = self.registered([spec])

        def answer(now_s: float) -> dict[str, Any]:
            job = self._job(spec, "plan", now_s, "")
            decision = to_json(self._scheduler.plan(job, now_s))
            changes = self._changes(job)
            files = self.files_for(job, self._scheduler.fleet.devices)
            emulated = [row["device"] for row in decision["rows"] if self._emulated(row["device"])]
            words = {"name": job.name, "work": job.workload.label, "emulated": emulated}
            return {**decision, **words, "changes": changes, "files": files}

        return self._cluster.ask(answer)

    # ---------------------------------------------------------------------------------- inside

    def _job(self, spec: JobSpec, job_id: str, now_s: float, user: str) -> Job:
        return spec.to_job(job_id, now_s, user, canonical=canonical_model)

    def _changes(self, job: Job) -> dict[str, list[str]]:
        scheduler = self._scheduler
        return suggestions(scheduler.costs, job, scheduler.fleet.devices.values())

    def _row(
        self,
        record: JobRecord,
        now_s: float,
        foreseen: dict[str, Placement],
        *,
        with_reason: bool = True,
    ) -> dict[str, Any]:
        job, last = record.job, record.attempts[-1] if record.attempts else None
        current = record.current
        watched = self._cluster.watched.get((job.id, current.number)) if current else None
        reason, start_s, finish_s = None, None, None
        if record.state in ("waiting", "held"):
            reason = self._scheduler.reason(job.id, now_s) if with_reason else None
            placement = foreseen.get(job.id)
            if placement is not None:
                start_s, finish_s = placement.start_s, placement.finish_s
        elif current is not None:
            start_s, finish_s = current.start_s, current.start_s + current.estimate.time_s
            if self._scheduler.fleet.sharing is None:  # with the time that its files take
                finish_s = self._scheduler.fleet.finish_s.get(current.device, finish_s)
        transfer = self.transfer_of(record)
        if transfer is not None:
            reason = Reason("FetchingFiles", str(transfer["words"]))
        since_s = job.submitted_s
        if last is not None:
            since_s = last.start_s if last.end_s is None else last.end_s
        return {
            "id": job.id,
            "name": job.name,
            "work": job.workload.label,
            "user": job.user,
            "priority": job.priority,
            "state": record.state,
            "outcome": last.outcome if last is not None else None,
            "text": last.text if last is not None else "",
            "device": current.device if current is not None else None,
            "emulated": self._emulated(last.device) if last is not None else None,
            "reason": to_json(reason),
            "submitted_s": job.submitted_s,
            "since_s": since_s,
            "start_s": start_s,
            "finish_s": finish_s,
            "deadline_s": job.deadline_s,
            "now_s": now_s,
            "stopping": record.stopping,
            "progress": to_json(watched.progress) if watched is not None else None,
            "tries": 1 + job.retry.times,
            "attempts": to_json(record.attempts),
            "artefacts": self.artefacts_of(record),
            "transfer": transfer,
        }

    def _emulated(self, device_id: str) -> bool | None:
        """Whether a board is an emulated one; None where nobody knows any more."""
        kind = self._scheduler.fleet.last_class(device_id)
        return None if kind is None else kind.emulated


def canonical_model(name: str) -> str:
    """The one name of a model that has several, so that they share their measurements."""
    known = find(name)
    return known.name if known is not None else name
