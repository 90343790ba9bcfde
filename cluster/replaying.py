"""`jetsched replay`: is what the live scheduler decided what it would decide again, and why not.

Two questions of the same journal. *Exact*: every event at its recorded time; the decisions must be
the same ones. *Free*: the jobs, boards and wishes of the history in the simulator, on its own
clock, with the durations that were measured; decisions, order and makespan are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

from jetsched import __version__, policies
from jetsched.cluster.causes import cause_of
from jetsched.cluster.following import Difference, Followed, Following, Moment, moments
from jetsched.cluster.freerun import FreeRun, free_run
from jetsched.cluster.history import entries_of, moment_s, span_s
from jetsched.cluster.known import Known, Survey
from jetsched.cluster.recorded import Recording
from jetsched.cluster.store import JOURNAL
from jetsched.errors import InputError
from jetsched.files import home, to_json
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costs import CostModel
from jetsched.records import Measurement
from jetsched.scheduler.events import (
    Entry,
    Finished,
    Learned,
    PolicyChanged,
    ServiceStarted,
    Start,
    Submitted,
)

Mode = Literal["both", "exact", "free"]

#: So many differences are kept and told; all are counted.
MOST_TOLD = 20


@dataclass
class ReplayReport:
    """What came of a replay. ``differences`` are the first of ``followed.differences``."""

    journal: Path
    entries: int
    from_s: float
    until_s: float
    followed: Followed | None = None
    differences: list[Difference] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    free: FreeRun | None = None

    @property
    def same(self) -> bool:
        """Whether every decision was the same, at its recorded time."""
        return self.followed is None or not self.followed.differences

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        told = [
            {**to_json(difference), "cause": cause}
            for difference, cause in zip(self.differences, self.causes, strict=True)
        ]
        return {
            "journal": str(self.journal),
            "entries": self.entries,
            "from_s": self.from_s,
            "until_s": self.until_s,
            "same": self.same,
            "exact": None if self.followed is None else self.followed.to_json(),
            "differences": told,
            "free": None if self.free is None else to_json(self.free),
        }


def replay(
    journal: Path | None = None,
    *,
    since: str | None = None,
    last: str | None = None,
    policy: str | None = None,
    mode: Mode = "both",
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> ReplayReport:
    """Replay a journal, or lines that were exported of one; by default this machine's.

    ``since`` is a local date and time; ``last`` a span that ends with the last entry. ``policy``
    decides instead of those that did. The service may be running meanwhile. ``watch`` hears how
    many entries are followed, of how many. Raises :class:`InputError`.
    """
    path = journal or home() / JOURNAL
    if not path.is_file():
        raise InputError(
            f"there is no history: no file {path}",
            hint="it is written by a cluster that ran: jetsched up; or name one with --journal",
        )
    if since is not None and last is not None:
        raise InputError("give one of --since and --last")
    if policy is not None:
        policies.load(policy, seed=0)  # told before anything is read
    survey = Survey()
    for entry in entries_of(path):
        survey.take(entry)
    from_s = -inf
    if since is not None:
        from_s = moment_s(since)
    elif last is not None:
        from_s = survey.last_s - span_s(last, "--last")
    if not survey.entries or survey.last_s < from_s:
        raise InputError(f"{path}: nothing is in it of that time")
    report = ReplayReport(path, survey.entries, max(from_s, survey.first_s), survey.last_s)
    if mode != "free":
        _follow(report, survey, policy, watch)
    if mode != "exact":
        report.free = _simulate(report, survey, policy)
    return report


# ------------------------------------------------------------------------------------------- exact


def _follow(
    report: ReplayReport,
    survey: Survey,
    policy: str | None,
    watch: Callable[[int, int], None],
) -> None:
    from_s = report.from_s

    def found(difference: Difference) -> None:
        if len(report.differences) < MOST_TOLD:
            report.differences.append(difference)

    costs = CostModel()
    known = Known(_calibrations(report.journal), costs, survey)
    first = survey.first_policy or policies.FALLBACK
    following = Following(
        costs, found=found, news=known.news, policy=policy, first_policy=first, from_s=from_s
    )
    silent_until_s = survey.memory_from_s(from_s)
    before: list[Moment] = []
    done = 0

    def silent(all_moments: Iterator[Moment]) -> Iterator[Entry]:
        """Those before the policy's memory begins; the first of the rest is put into `before`."""
        nonlocal done
        for moment in all_moments:
            if moment.event.at_s >= silent_until_s:
                before.append(moment)
                return
            done += 1 + len(moment.decided)
            yield from (moment.event, *moment.decided)

    rest = moments(entries_of(report.journal))
    following.replay(silent(rest))
    for moment in (*before, *rest):
        following.follow(moment)
        done += 1 + len(moment.decided)
        watch(done, survey.entries)
    report.followed = following.result
    versions = {entry.version for entry in survey.began if entry.version} - {__version__}
    report.causes = [
        cause_of(difference, versions=sorted(versions), tells_starts=bool(survey.began))
        for difference in report.differences
    ]


# -------------------------------------------------------------------------------------------- free


def _simulate(report: ReplayReport, survey: Survey, policy: str | None) -> FreeRun | None:
    """The same history in the simulator; None where no job came in that time."""
    recording = Recording()
    learnt: list[Measurement] = []
    origin_s: float | None = None
    began = ServiceStarted(report.from_s, "")
    first_policy = ""
    for entry in entries_of(report.journal):
        recording.take(entry)
        if origin_s is None:
            if isinstance(entry, Learned):
                learnt += entry.measurements
            elif isinstance(entry, Finished) and entry.measurement is not None:
                learnt.append(entry.measurement)
            elif isinstance(entry, ServiceStarted):
                began = entry
            elif isinstance(entry, PolicyChanged):
                began = replace(began, policy=entry.policy)
            elif isinstance(entry, Submitted) and entry.at_s >= report.from_s:
                origin_s = entry.at_s
        elif isinstance(entry, Start) and entry.decision is not None and not first_policy:
            first_policy = entry.decision.policy
    if origin_s is None:
        return None
    calibrations = _calibrations(report.journal)
    costs = CostModel(learnt)
    known = Known(calibrations, costs, survey)
    known.until(origin_s)
    spec = policy or began.policy or first_policy or policies.FALLBACK
    return free_run(
        recording,
        costs,
        spec,
        origin_s=origin_s,
        aging_s=began.aging_s,
        keep_policy=policy is not None,
        known=known,
        calibrations=calibrations,
    )


def _calibrations(journal: Path) -> list[Calibration]:
    """In the order in which they came to the head."""
    return CalibrationStore(journal.parent / CalibrationStore.name).read()
