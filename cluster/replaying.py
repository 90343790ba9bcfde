"""`jetsched replay`: is what the live scheduler decided what it would decide again, and why not.

Two questions of the same journal. *Exact*: every event at its recorded time; the decisions must be
the same ones. *Free*: the jobs, boards and wishes of the history in the simulator, on its own
clock, with the durations that were measured; decisions, order and makespan are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any, Literal

from jetsched import __version__, policies
from jetsched.cluster.causes import cause_of
from jetsched.cluster.following import Difference, Followed, Following, Moment, moments
from jetsched.cluster.freerun import FreeRun, free_run
from jetsched.cluster.history import entries_of, moment_s, span_s
from jetsched.cluster.recorded import Recording
from jetsched.cluster.store import JOURNAL
from jetsched.errors import InputError
from jetsched.files import home, to_json
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costs import CostModel
from jetsched.records import DeviceClass, Measurement
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
class Survey:
    """What has to be known of a journal before it is followed."""

    entries: int = 0
    first_s: float = inf
    last_s: float = -inf
    first_policy: str = ""
    began: list[ServiceStarted] = field(default_factory=list)
    chosen: list[PolicyChanged] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        """Take in the next entry."""
        self.entries += 1
        self.first_s, self.last_s = min(self.first_s, entry.at_s), max(self.last_s, entry.at_s)
        match entry:
            case ServiceStarted():
                self.began.append(entry)
            case PolicyChanged():
                self.chosen.append(entry)
            case Start() if not self.first_policy and entry.decision is not None:
                self.first_policy = entry.decision.policy

    def memory_from_s(self, from_s: float) -> float:
        """When the policy that decided at a time began, and with it whatever it remembers."""
        times_s = [entry.at_s for entry in self.began] + [entry.at_s for entry in self.chosen]
        return max((at_s for at_s in times_s if at_s <= from_s), default=-inf)


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
        report.free = _simulate(report, policy)
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
    known = Known(report.journal.parent, costs, survey)
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


class Known:
    """What the live scheduler knew of boards' constants, and since when.

    They are no part of the journal: it says only that there were new ones. Those that were found
    when a scheduler began are told by its start; before the first journal that tells of starts, by
    the time at which they were measured.
    """

    def __init__(self, folder: Path, costs: CostModel, survey: Survey) -> None:
        self._costs = costs
        self._tells_starts = bool(survey.began)
        found = CalibrationStore(folder / CalibrationStore.name).read()
        self._to_come = sorted(found, key=_measured_s)
        if not self._tells_starts:
            self._take(lambda c: _measured_s(c) <= survey.first_s)

    def news(self, entry: Entry) -> Learned | None:
        """Tell the cost model what was known by then; an event where verdicts may have changed."""
        if isinstance(entry, Learned) and entry.calibrated:
            self._take(lambda c: c.device_class in entry.calibrated and _by(c, entry.at_s))
            return None  # the entry says so itself
        if isinstance(entry, ServiceStarted):
            moved = self._take(lambda c: _by(c, entry.at_s))
            if moved:
                return Learned(entry.at_s, (), tuple(moved))
        return None

    def _take(self, wanted: Callable[[Calibration], bool]) -> list[DeviceClass]:
        taken = [calibration for calibration in self._to_come if wanted(calibration)]
        self._to_come = [c for c in self._to_come if not any(c is other for other in taken)]
        return [c.device_class for c in taken if self._costs.calibrate(c)]


def _measured_s(calibration: Calibration) -> float:
    try:
        return datetime.fromisoformat(calibration.at.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return -inf


def _by(calibration: Calibration, at_s: float) -> bool:
    """Whether it was measured by then; the file has whole seconds."""
    return _measured_s(calibration) <= at_s


# -------------------------------------------------------------------------------------------- free


def _simulate(report: ReplayReport, policy: str | None) -> FreeRun | None:
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
    calibrations = CalibrationStore(report.journal.parent / CalibrationStore.name).read()
    costs = CostModel(learnt, [c for c in calibrations if _by(c, origin_s)])
    spec = policy or began.policy or first_policy or policies.FALLBACK
    return free_run(
        recording,
        costs,
        spec,
        origin_s=origin_s,
        aging_s=began.aging_s,
        keep_policy=policy is not None,
        calibrations=calibrations,
    )
