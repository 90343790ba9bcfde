"""What `submit` says of jobs that no device can ever run: all of them at once, and what would help.

Jobs that need the same are judged once and told of once: a thousand may be submitted together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jetsched.cluster.desk_base import WontFitError
from jetsched.cluster.suggestions import in_one_line, least_in_words, suggestions
from jetsched.records import Decision, Job, Needs, Workload
from jetsched.scheduler.core import Scheduler

#: So many different jobs are named, and so many names of jobs that are alike; the rest is counted.
MOST_TOLD, MOST_NAMES = 20, 3


@dataclass(frozen=True)
class _Hopeless:
    """Jobs that no device can ever run, for the same reasons."""

    job: Job
    decision: Decision | None  # None: it may run after all
    names: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        rows = self.decision.rows if self.decision else ()
        return "; ".join(f"{row.device}: {row.reason}" for row in rows)

    @property
    def called(self) -> str:
        shown = ", ".join(self.names[:MOST_NAMES])
        more = len(self.names) - MOST_NAMES
        return f"{shown} and {more:,} more like it" if more > 0 else shown


def refuse_hopeless(scheduler: Scheduler, jobs: Sequence[Job], now_s: float) -> None:
    """Raises :class:`WontFitError` that names all jobs that no device can ever run.

    Its decision is that of the first of them.
    """
    found: dict[tuple[Workload, Needs], _Hopeless] = {}
    for job in jobs:
        key = job.workload, job.needs
        if key not in found:
            found[key] = _Hopeless(job, _no_way(scheduler, job, now_s))
        found[key].names.append(job.name or job.workload.label)
    lost = [each for each in found.values() if each.decision is not None]
    if not lost:
        return
    assert lost[0].decision is not None
    if len(lost) == 1:
        text = f"no device can ever run {lost[0].called}: {lost[0].words}"
        raise WontFitError(text, lost[0].decision, _help(scheduler, lost[0].job))
    count = sum(len(each.names) for each in lost)
    lines = [f"no device can ever run {count:,} of these {len(jobs):,} jobs:"]
    lines += [f"  {each.called}: {each.words}" for each in lost[:MOST_TOLD]]
    if len(lost) > MOST_TOLD:
        lines.append(f"  and {sum(len(each.names) for each in lost[MOST_TOLD:]):,} more")
    changes = [(each, _help(scheduler, each.job)) for each in lost[:MOST_TOLD]]
    told = "\n  ".join(f"{each.called}: {change}" for each, change in changes if change)
    raise WontFitError("\n".join(lines), lost[0].decision, told)


def _no_way(scheduler: Scheduler, job: Job, now_s: float) -> Decision | None:
    """Why no device can ever run it; None while there is hope."""
    groups = scheduler.groups
    if groups.hopeless(groups.of(job)) is None:
        return None
    decision = scheduler.plan(job, now_s)
    rows = decision.rows
    return decision if rows and all(row.verdict == "never" for row in rows) else None


def _help(scheduler: Scheduler, job: Job) -> str:
    devices = list(scheduler.fleet.devices.values())
    found = suggestions(scheduler.costs, job, devices)
    return in_one_line(found) if found else least_in_words(scheduler.costs, job, devices)
