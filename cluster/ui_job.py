"""The page of a job, which is also the drawer: why it is where it is, its past, log and files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from jetsched import words
from jetsched.cluster.desk_base import UnknownJobError
from jetsched.cluster.jobpast import JobPast, job_past
from jetsched.cluster.shelf import BUNDLES
from jetsched.cluster.store import JOURNAL
from jetsched.cluster.ui_base import Ui
from jetsched.cluster.ui_joblog import shown_log, whole_log
from jetsched.cluster.ui_queue import actions_of, row_of
from jetsched.errors import InputError, JetschedError
from jetsched.records import FINAL_STATES, Job, Measurement

Json = Mapping[str, Any]
Number = Annotated[int | None, Query(ge=1, le=1 << 31)]

#: Of more files the page names so many; `jetsched fetch` brings all.
MOST_FILES = 200


def add_job_page(ui: Ui) -> None:
    """Put the page into the application, and its live view."""
    ui.live.add("job", lambda params: JobView(ui, params.get("id", "")))

    @ui.router.get("/jobs/{job_id}")
    def job(request: Request, job_id: str, attempt: Number = None) -> HTMLResponse:
        try:
            found = ui.desk.job(job_id)
            log = shown_log(ui.desk, found, attempt)
            shown = ui.live.shown("job", {"id": job_id})
        except InputError as error:
            known = not isinstance(error, UnknownJobError)
            status = 400 if known else 404
            return ui.page(request, "job_missing.html", status_code=status, problem=error)
        attempts = [a["number"] for a in found["attempts"]]
        return ui.page(request, "job.html", job=found, shown=shown, log=log, attempts=attempts)

    @ui.router.get("/jobs/{job_id}/log.txt")
    def log_file(job_id: str, attempt: Number = None) -> StreamingResponse:
        return whole_log(ui.desk, job_id, attempt)


class JobView:
    """The parts of a job's page that change. Raises :class:`UnknownJobError`."""

    def __init__(self, ui: Ui, job_id: str) -> None:
        self._ui = ui
        self._spec = ui.desk.spec(job_id)
        self._past: tuple[Any, JobPast] | None = None
        self._files: tuple[Any, dict[str, Any]] | None = None
        self._helps: tuple[Any, list[str]] | None = None

    def look(self) -> dict[str, dict[str, Any]]:
        why = self._ui.desk.why(self._spec.id)
        job = {**self._ui.desk.job(self._spec.id), "work": self._spec.workload.label}
        past = self._past_of(job)
        return {
            "job-now": {
                "job-head": {**head_of(job), **said_of(self._spec), "helps": self._helps_of(job)}
            },
            "job-whys": {"job-why": why_of(why)},
            "job-tries": {"job-attempts": attempts_of(job, past.measured)},
            "job-past": {"job-history": [(told.at_s, told.text) for told in past.told]},
            "job-left": {"job-files": self._files_of(job)},
        }

    def draw(self, part_id: str, data: Any) -> str:
        macro = part_id.removeprefix("job-")
        return self._ui.render("job_parts.html", macro, data)

    def _past_of(self, job: Json) -> JobPast:
        """From the journal, which is only read again when something has become of the job."""
        attempts = tuple((a["number"], a["outcome"]) for a in job["attempts"])
        code = job["reason"]["code"] if job["state"] == "held" else ""
        key = job["state"], code, job["stopping"], attempts
        if self._past is None or self._past[0] != key:
            self._past = key, job_past(self._spec, self._ui.home / JOURNAL)
        return self._past[1]

    def _helps_of(self, job: Json) -> list[str]:
        """What would let a job run that the scheduler holds; thought of once for each reason."""
        reason = job["reason"]
        if job["state"] != "held" or reason is None or reason["code"] == "Held":
            return []
        if self._helps is None or self._helps[0] != reason:
            self._helps = reason, helps_of(reason, self._ui.desk.changes(self._spec.id))
        return self._helps[1]

    def _files_of(self, job: Json) -> dict[str, Any]:
        """What it left; the list of files is only looked up again when the sum of it differs."""
        key = job["artefacts"], len(job["attempts"])
        if self._files is None or self._files[0] != key:
            try:
                found = self._ui.desk.artefacts(self._spec.id)
            except JetschedError as error:
                found = {"state": "none", "attempt": 0, "bytes": 0, "text": str(error), "files": []}
            shown = {**found, "count": len(found["files"]), "files": found["files"][:MOST_FILES]}
            self._files = key, {"id": self._spec.id, **shown}
        return self._files[1]


def head_of(job: Json) -> dict[str, Any]:
    """What stands above all: what it is, how far it is, and what can be done with it."""
    done = job["progress"]
    known = done and done["amount"] > 1 and done["phase"] == "running"
    names = ("work", "submitted_s", "deadline_s", "needs", "tries", "stopping")
    return {
        **row_of(job),
        **{name: job[name] for name in names},
        "ended": job["state"] in FINAL_STATES,
        "percent": round(100 * done["done"] / done["amount"]) if known else None,
        "was_on": was_on(job),
        "actions": actions_of(job),
    }


def was_on(job: Json) -> str:
    """The board of the last attempt of a job that waits for another one."""
    waits = job["state"] in ("waiting", "held") and job["attempts"]
    return str(job["attempts"][-1]["device"]) if waits else ""


def helps_of(reason: Json, found: Json) -> list[str]:
    """What would let it run; ``found`` has the changes of its work that make it fit a board."""
    lines = [
        f"Submitted with {' or '.join(ways)} it fits {device}."
        for device, ways in found["changes"].items()
    ]
    if not lines and found["least"]:
        lines.append(f"{found['least'][0].upper()}{found['least'][1:]}.")
    if reason["code"] == "NotProfiled":
        lines.append("A measurement of it: jetsched profile --suite FILE.yaml on such a board.")
    return [*lines, "As it is it starts by itself once a board joins that it fits."]


def said_of(spec: Job) -> dict[str, Any]:
    """What its job file says beside that; whatever it does not say is left out."""
    return {
        "labels": [f"{name}={value}" for name, value in spec.labels],
        "time_limit_s": spec.time_limit_s,
        "retry": f"{spec.retry.times} times on {', '.join(spec.retry.on)}",
        "file": [(n, v) for n, v in spec.work.items() if v not in (None, "") and n != BUNDLES],
    }


def why_of(found: Json) -> dict[str, Any]:
    """The very table of `jetsched why`: its cells, and the lines above and below it."""
    why = words.why_of(found)
    cells = words.decision_rows(why.decision)
    rows = [
        {
            "device": row.device,
            "verdict": row.verdict,
            "chosen": row.chosen,
            "source": row.source,
            "emulated": row.device in found["emulated"],
            "cells": cells_of_row,
        }
        for row, cells_of_row in zip(why.decision.rows, cells, strict=True)
    ]
    return {"above": why.above, "rows": rows, "below": [line.strip() for line in why.below]}


def attempts_of(job: Json, measured: Mapping[int, Measurement]) -> dict[str, Any]:
    """What each attempt took beside what it was estimated to take."""
    rows = []
    for attempt in job["attempts"]:
        seen, guess = measured.get(attempt["number"]), attempt["estimate"]
        took_s = seen.time_s if seen is not None else None
        rows.append(
            {
                "number": attempt["number"],
                "device": attempt["device"],
                "start_s": attempt["start_s"],
                "end_s": attempt["end_s"],
                "outcome": attempt["outcome"],
                "text": attempt["text"],
                "took_s": took_s,
                "estimate": guess,
                "emulated": guess["emulated"] or bool(seen and seen.emulated),
                "off": difference(seen, guess),
                "peak_mib": seen and seen.peak_memory_mib,
                "live_mib": seen and seen.live_memory_mib,
                "energy_j": seen and seen.energy_j,
                "evidence": list(seen.evidence) if seen is not None else [],
            }
        )
    return {"id": job["id"], "tries": job["tries"], "rows": rows}


def difference(seen: Measurement | None, guess: Json) -> str:
    """By how much a run took longer than estimated, without loading where both are known.

    Nothing is said of a run that did not come to its end: the estimate is of all of it. Nor of a
    command that nobody has measured: its time was that of other work.
    """
    if seen is None or seen.time_s is None:
        return ""
    if seen.workload.kind == "command" and guess["source"] != "measured":
        return ""
    done = seen.outcome == "done"
    if seen.load_s is None or not guess["load_s"]:
        return words.off_words(seen.time_s, guess["time_s"], whole=done)
    took_s, guess_s = seen.time_s - seen.load_s, guess["time_s"] - guess["load_s"]
    off = words.off_words(took_s, guess_s, whole=done)
    return f"{off}, without loading" if off else ""
