"""Where questions and wishes meet the scheduler: what the API can do, without HTTP.

Everything that touches the scheduler runs on the loop's thread (:meth:`RayCluster.ask`), so an
answer is of one instant, and a wish is journalled and decided on before its answer is given.
Answers are JSON values; the rows of `plan` and `why` are :class:`jetsched.records.Row`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jetsched.cluster.boards import Board
from jetsched.cluster.live import RayCluster
from jetsched.cluster.livepolicy import live_policy
from jetsched.cluster.suggestions import in_one_line, suggestions
from jetsched.errors import InputError, NeverFitsError
from jetsched.files import to_json
from jetsched.jobfile import JobSpec
from jetsched.policies.specs import Spec
from jetsched.profiler.drift import DriftWatch
from jetsched.profiler.models import find
from jetsched.records import FINAL_STATES, Decision, Job, Placement
from jetsched.scheduler.checks import policy_name
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import CancelAsked, Event, PolicyChanged, Submitted
from jetsched.scheduler.state import JobRecord

#: The most that one answer carries of a log.
LOG_CHUNK_BYTES = 256 * 1024


class UnknownJobError(InputError):
    """There is no job with this id."""


class ConflictError(InputError):
    """What is asked for contradicts what was asked for before."""


class WontFitError(NeverFitsError):
    """No device can ever run the job; ``decision`` says for each one why."""

    def __init__(self, message: str, decision: Decision, change: str = "") -> None:
        anyway = "to queue it anyway, until a device fits: --hold"
        super().__init__(message, hint=f"{change}; {anyway}" if change else anyway)
        self.decision = decision


class Desk:
    """Answers for one scheduler on one cluster. Methods may be called from any thread."""

    def __init__(self, scheduler: Scheduler, cluster: RayCluster, drift: DriftWatch) -> None:
        self._scheduler = scheduler
        self._cluster = cluster
        self._drift = drift

    # ---------------------------------------------------------------------------------- wishes

    def submit(
        self, specs: Sequence[JobSpec], *, user: str = "", hold: bool = False
    ) -> list[dict[str, Any]]:
        """Submit jobs together; returns their rows, as they are after the first decision.

        Raises :class:`WontFitError` where no device can ever run one, unless ``hold``; then nothing
        was submitted.
        """
        jobs: list[Job] = []

        def before(now_s: float) -> Iterable[Event]:
            first = len(self._scheduler.jobs) + 1
            for number, spec in enumerate(specs, start=first):
                jobs.append(self._job(spec, str(number), now_s, user))
                if not hold:
                    self._refuse_hopeless(jobs[-1], now_s)
            return [Submitted(now_s, tuple(jobs))]

        def answer(now_s: float) -> list[dict[str, Any]]:
            return [self._row(self._scheduler.jobs[job.id], now_s, {}) for job in jobs]

        return self._cluster.ask(answer, before=before)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Stop a job, wherever it is. Raises :class:`InputError` for one that has ended."""

        def before(now_s: float) -> Iterable[Event]:
            record = self._record(job_id)
            if record.state in FINAL_STATES:
                raise InputError(f"job {job_id} has ended already: {record.state}")
            return [CancelAsked(now_s, job_id)]

        return self._cluster.ask(
            lambda now_s: self._row(self._record(job_id), now_s, {}), before=before
        )

    def use_policy(self, spec: str) -> dict[str, Any]:
        """Have another policy decide, from now on and about everything that waits.

        The journal knows it by its spec, for the scheduler that is started next on this cluster.
        Raises :class:`InputError` for one that cannot be loaded; the old one goes on then.
        """
        chosen, spec = live_policy(spec), Spec.of(spec).absolute
        old = policy_name(self._scheduler.policy)

        def before(now_s: float) -> Iterable[Event]:
            self._scheduler.policy = chosen
            return [PolicyChanged(now_s, spec)]

        return self._cluster.ask(
            lambda now_s: {"policy": policy_name(chosen), "before": old}, before=before
        )

    # ------------------------------------------------------------------------------- questions

    def jobs(self, *, open_only: bool = False) -> list[dict[str, Any]]:
        """All jobs, or those that have not ended, in the order of submission."""

        def answer(now_s: float) -> list[dict[str, Any]]:
            foreseen = self._scheduler.foresee(now_s)
            return [
                self._row(record, now_s, foreseen)
                for record in self._scheduler.jobs.values()
                if not (open_only and record.state in FINAL_STATES)
            ]

        return self._cluster.ask(answer)

    def job(self, job_id: str) -> dict[str, Any]:
        """One job with everything that is known of it."""

        def answer(now_s: float) -> dict[str, Any]:
            record = self._record(job_id)
            foreseen = self._scheduler.foresee(now_s) if record.state == "waiting" else {}
            return {
                **self._row(record, now_s, foreseen),
                "workload": to_json(record.job.workload),
                "work": to_json(record.job.work),
                "needs": to_json(record.job.needs),
                "retry": to_json(record.job.retry),
                "amount": record.job.amount,
            }

        return self._cluster.ask(answer)

    def why(self, job_id: str) -> dict[str, Any]:
        """The stored decision about a job, and its history."""

        def answer(now_s: float) -> dict[str, Any]:
            record = self._record(job_id)
            decision = to_json(self._scheduler.why(job_id, now_s))
            return {**decision, "job": self._row(record, now_s, {})}

        return self._cluster.ask(answer)

    def plan(self, spec: JobSpec) -> dict[str, Any]:
        """What would become of a job that was submitted now: a decision, and the job's words.

        ``changes`` are what would make it fit the devices that it does not fit surely.
        """

        def answer(now_s: float) -> dict[str, Any]:
            job = self._job(spec, "plan", now_s, "")
            decision = to_json(self._scheduler.plan(job, now_s))
            changes = self._changes(job)
            return {**decision, "name": job.name, "work": job.workload.label, "changes": changes}

        return self._cluster.ask(answer)

    def devices(self) -> list[dict[str, Any]]:
        """Every board that this cluster has seen."""
        return self._cluster.ask(
            lambda now_s: [self._board(b) for _, b in sorted(self._cluster.boards.items())]
        )

    def device_names(self) -> list[str] | None:
        """What ``needs.device`` may name; None while there is no board at all."""

        def answer(now_s: float) -> list[str] | None:
            names: set[str] = set()
            for board in self._cluster.boards.values():
                if board.device is not None:
                    names |= {board.device.model, board.id, *board.device.labels}
            return sorted(names) or None

        return self._cluster.ask(answer)

    def health(self) -> dict[str, Any]:
        """A few numbers that show that the loop turns."""

        def answer(now_s: float) -> dict[str, Any]:
            scheduler = self._scheduler
            return {
                "policy": policy_name(scheduler.policy),
                "policy_errors": scheduler.policy_errors[-10:],
                "devices": len(scheduler.fleet.devices),
                "waiting": len(scheduler.queue),
                "held": len(scheduler.held),
                "jobs": len(scheduler.jobs),
                "at_s": now_s,
            }

        return self._cluster.ask(answer)

    def log(self, job_id: str, attempt: int | None = None, offset: int = 0) -> dict[str, Any]:
        """The next part of the log of an attempt, the last one if none is named.

        ``offset`` counts bytes; the answer has the next one. ``ended``: there will be no more of
        this attempt; ``final``: nor is there, or will there be, a later attempt.
        """

        def answer(now_s: float) -> tuple[int, bool, bool]:
            record = self._record(job_id)
            attempts, final = record.attempts, record.state in FINAL_STATES
            number = len(attempts) if attempt is None else attempt
            if attempt is not None and not 1 <= attempt <= len(attempts):
                raise InputError(f"job {job_id} has no attempt {attempt}, it has {len(attempts)}")
            ended = attempts[number - 1].outcome is not None if attempts else final
            return number, ended, final and number == len(attempts)

        number, ended, final = self._cluster.ask(answer)
        data = b""
        path = self._cluster.log_path((job_id, number))
        if path.exists():
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(LOG_CHUNK_BYTES)
        text, used = _decode(data, whole=ended and len(data) < LOG_CHUNK_BYTES)
        return {
            "job_id": job_id,
            "attempt": number,
            "text": text,
            "offset": offset + used,
            "ended": ended and not data,
            "final": final and not data,
        }

    # ---------------------------------------------------------------------------------- inside

    def _record(self, job_id: str) -> JobRecord:
        record = self._scheduler.jobs.get(job_id)
        if record is None:
            raise UnknownJobError(f"there is no job {job_id!r}", hint="see: jetsched queue --all")
        return record

    def _job(self, spec: JobSpec, job_id: str, now_s: float, user: str) -> Job:
        return spec.to_job(job_id, now_s, user, canonical=canonical_model)

    def _refuse_hopeless(self, job: Job, now_s: float) -> None:
        decision = self._scheduler.plan(job, now_s)
        if decision.rows and all(row.verdict == "never" for row in decision.rows):
            reasons = "; ".join(f"{row.device}: {row.reason}" for row in decision.rows)
            name = job.name or job.workload.label
            change = in_one_line(self._changes(job))
            raise WontFitError(f"no device can ever run {name}: {reasons}", decision, change)

    def _changes(self, job: Job) -> dict[str, list[str]]:
        scheduler = self._scheduler
        return suggestions(scheduler.costs, job, scheduler.fleet.devices.values())

    def _row(
        self, record: JobRecord, now_s: float, foreseen: dict[str, Placement]
    ) -> dict[str, Any]:
        job, last = record.job, record.attempts[-1] if record.attempts else None
        current = record.current
        watched = self._cluster.watched.get((job.id, current.number)) if current else None
        reason, start_s, finish_s = None, None, None
        if record.state in ("waiting", "held"):
            reason = self._scheduler.why(job.id, now_s).reason
            placement = foreseen.get(job.id)
            if placement is not None:
                start_s, finish_s = placement.start_s, placement.finish_s
        elif current is not None:
            start_s, finish_s = current.start_s, current.start_s + current.estimate.time_s
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
        }

    def _board(self, board: Board) -> dict[str, Any]:
        fleet, device = self._scheduler.fleet, board.device
        job_id = fleet.job_on.get(board.id)
        state = "busy" if job_id is not None else "ready"
        progress = next(
            (w.progress for w in self._cluster.watched.values() if w.device_id == board.id), None
        )
        return {
            "id": board.id,
            "state": state if board.ready else "offline",
            "text": board.text,
            "model": device.model if device is not None else None,
            "device_class": to_json(device.device_class) if device is not None else None,
            "labels": list(device.labels) if device is not None else [],
            "emulated": device.device_class.emulated if device is not None else None,
            "scale": board.info.scale if board.info is not None else None,
            "cap": board.info.cap if board.info is not None else None,
            "slowdown": board.info.slowdown if board.info is not None else None,
            "has_mib": device.device_class.memory_mib if device is not None else None,
            "memory_mib": progress.memory_mib if progress is not None else None,
            "gpu_util_pct": progress.gpu_util_pct if progress is not None else None,
            "drift": to_json(
                self._drift.drift(board.id, device.device_class if device is not None else None)
            ),
            "job_id": job_id,
            "job_name": self._scheduler.jobs[job_id].job.name if job_id is not None else None,
            "finish_s": fleet.finish_s.get(board.id),
        }


def canonical_model(name: str) -> str:
    """The one name of a model that has several, so that they share their measurements."""
    known = find(name)
    return known.name if known is not None else name


def _decode(data: bytes, *, whole: bool) -> tuple[str, int]:
    """Text, and how many bytes it is; a character that is cut off at the end is left for later."""
    if not whole:
        for cut in range(1, min(4, len(data)) + 1):
            byte = data[-cut]
            if byte >= 0xC0:  # begins a character of several bytes
                width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                if width > cut:
                    data = data[:-cut]
                break
            if byte < 0x80:
                break
    return data.decode("utf-8", "replace"), len(data)
