"""Texts of job files before they are sent: everything wrong with each, and what would become of it.

What `jetsched check` and `jetsched plan` say, for several texts at once. Nothing is submitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from jetsched.cluster.desk_jobs import JobDesk
from jetsched.errors import InputError, JetschedError
from jetsched.files import from_json
from jetsched.jobfile import JobSpec, job_of_text
from jetsched.jobmodel import Surroundings
from jetsched.problems import FileProblems, Problem
from jetsched.profiler.models import shape, suggest
from jetsched.records import Decision, Row
from jetsched.yamlfile import decode

#: The most texts that are looked at together, and the most different jobs that are planned.
MOST_DRAFTS, MOST_PLANNED = 100, 20

#: Of a job that was planned: it would start now, it would wait, nothing can ever run it.
Prospect = Literal["starts", "waits", "never"]


@dataclass(frozen=True)
class Draft:
    """A job file that was pasted or dropped: what it is called, and what is in it."""

    file: str
    data: bytes


@dataclass(frozen=True)
class Planned:
    """What would become of a job that was submitted now, alone; as `jetsched plan` tells it."""

    decision: Decision
    #: What would make it fit the boards that it does not fit surely, by device id.
    changes: Mapping[str, Sequence[str]]
    #: What is to be brought to boards first, by device id: ``bytes``, ``transfer_s`` if known.
    files: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    #: The boards of the decision that are emulated.
    emulated: Sequence[str] = ()

    @property
    def chosen(self) -> Row | None:
        return next((row for row in self.decision.rows if row.chosen), None)

    @property
    def prospect(self) -> Prospect:
        if self.chosen is not None:
            return "waits" if self.chosen.verdict == "busy" else "starts"
        rows = self.decision.rows
        return "never" if rows and all(row.verdict == "never" for row in rows) else "waits"


@dataclass(frozen=True)
class Checked:
    """A draft that was looked at: its problems, or its job and the plan for it.

    ``note`` is what `check` remarks on it; ``unplanned`` says why there is no plan.
    """

    file: str
    problems: tuple[Problem, ...] = ()
    spec: JobSpec | None = None
    note: str = ""
    planned: Planned | None = None
    unplanned: str = ""


def look_over(desk: JobDesk, drafts: Sequence[Draft], around: Surroundings) -> list[Checked]:
    """Check all drafts, and plan each job where none of them has a problem.

    Jobs that cost and want the same are planned once. Raises :class:`InputError` for too many.
    """
    if not drafts:
        raise InputError("there is no job file", hint="paste one, or drop some here")
    if len(drafts) > MOST_DRAFTS:
        raise InputError(
            f"{len(drafts):,} job files are more than the {MOST_DRAFTS} of one look",
            hint="from a shell they all go at once: jetsched submit FILE...",
        )
    checked = [_check(draft, around) for draft in drafts]
    if any(one.problems for one in checked):
        return checked  # nothing is submitted if anything is wrong: what for a plan?
    plans: dict[Any, Checked] = {}
    return [_plan(desk, one, plans) for one in checked]


def _check(draft: Draft, around: Surroundings) -> Checked:
    try:
        spec = job_of_text(decode(draft.data, draft.file), draft.file, around)
    except FileProblems as found:
        return Checked(draft.file, found.problems)
    return Checked(draft.file, spec=spec, note=_note(spec.workload.model))


def _note(model: str) -> str:
    """What there is to say of a model that is not known here; "" of one that is."""
    if not model:
        return ""
    try:
        if shape(model) is not None:
            return ""
    except InputError as error:  # it can be counted, or its config mended
        return f"{model}: {error}. {error.hint}"
    close = suggest(model)
    meant = f", or did you mean '{close}'?" if close else ""
    return f"'{model}' is not known here: profile the job file first{meant}"


def _plan(desk: JobDesk, one: Checked, plans: dict[Any, Checked]) -> Checked:
    """With its plan, which jobs that are alike share."""
    spec = one.spec
    assert spec is not None
    key = _key(spec)
    if key not in plans:
        if len(plans) >= MOST_PLANNED:
            text = f"only the first {MOST_PLANNED} different jobs are planned"
            return replace(one, unplanned=text)
        plans[key] = _planned(desk, spec)
    return replace(one, planned=plans[key].planned, unplanned=plans[key].unplanned)


def _key(spec: JobSpec) -> Any:
    """Equal for jobs of which the plans are the same."""
    return (
        spec.workload,
        spec.amount,
        spec.needs,
        spec.priority,
        spec.deadline_s,
        spec.time_limit_s,
        spec.user,
        spec.labels,
        spec.secrets,
        repr(sorted(spec.work.items())),
    )


def _planned(desk: JobDesk, spec: JobSpec) -> Checked:
    try:
        found = dict(desk.plan(spec))
    except JetschedError as error:
        text = f"{error}. {error.hint}" if error.hint else str(error)
        return Checked(spec.file, unplanned=text)
    for name in ("name", "work"):
        del found[name]
    changes, files, emulated = (found.pop(name) for name in ("changes", "files", "emulated"))
    plan = Planned(from_json(Decision, found), changes, files, emulated)
    return Checked(spec.file, planned=plan)
