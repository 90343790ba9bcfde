"""A live history in the simulator, on the simulator's own clock, and how far the two agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import mean, median

from jetsched import policies
from jetsched.cluster.elsewhere import Elsewhere
from jetsched.cluster.following import Step
from jetsched.cluster.known import Known
from jetsched.cluster.livepolicy import live_policy
from jetsched.cluster.recorded import Ran, RecordedCluster, Recording
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costs import CostModel
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import PolicyChanged, ServiceStarted, Start
from jetsched.scheduler.journal import NoJournal
from jetsched.scheduler.view import Policy


@dataclass(frozen=True)
class Parting:
    """Where live and simulated starts are first in another order. ``number`` is from 1.

    The times count from the first submission; ``apart_s`` is how far the two starts of the live
    one's job are from each other, None where the simulation never starts it so.
    """

    number: int
    live: Step | None
    live_at_s: float | None
    simulated: Step | None
    simulated_at_s: float | None
    apart_s: float | None


@dataclass(frozen=True)
class FreeRun:
    """Live and simulated, over the jobs that ended in both. Seconds from the first submission."""

    origin_s: float
    jobs: int
    starts: int
    same_starts: bool
    parting: Parting | None
    live_makespan_s: float
    simulated_makespan_s: float
    live_mean_s: float
    simulated_mean_s: float
    #: Of an attempt: what passed on the head beyond what its board has measured. Median.
    overhead_s: float
    #: Jobs that came before and are left out; attempts that lived on while their board was away.
    left_out: int = 0
    reattached: int = 0
    policy: str = ""

    @property
    def off(self) -> float:
        """By what part the simulated makespan is above the live one."""
        if not self.live_makespan_s:
            return 0.0
        return self.simulated_makespan_s / self.live_makespan_s - 1

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        from jetsched.files import to_json

        return {**to_json(self), "off": self.off}


def free_run(
    recording: Recording,
    costs: CostModel,
    policy: str,
    *,
    origin_s: float,
    aging_s: float = 0.0,
    keep_policy: bool = False,
    known: Known | None = None,
    calibrations: Iterable[Calibration] = (),
) -> FreeRun:
    """Simulate what was recorded from ``origin_s`` on.

    ``costs`` knows what was known then, and learns as the live one did, by ``known`` too.
    ``keep_policy``: it decides all the time, whatever the history says. Each attempt takes what its
    board has measured, and the median of what passed on the head beyond that.
    """
    truth = Elsewhere(recording, calibrations)
    overhead_s = _overhead_s(recording.ran.values())
    cluster = RecordedCluster(recording, truth, origin_s=origin_s, overhead_s=overhead_s)
    fallback = policies.load(policies.FALLBACK)
    scheduler = Scheduler(
        _loaded(policy) or fallback,
        costs,
        fallback=fallback,
        journal=NoJournal(),
        explain=False,
        aging_s=aging_s,
    )
    starts: list[tuple[float, Step]] = []
    for event in cluster.events():
        if isinstance(event, ServiceStarted):
            scheduler.age_by(event.aging_s)
        if isinstance(event, PolicyChanged | ServiceStarted) and not keep_policy:
            scheduler.policy = _loaded(event.policy) or scheduler.policy
        if known is not None and (news := known.news(event)) is not None:
            scheduler.apply(news)
        for action in scheduler.handle(event):
            if isinstance(action, Start):
                starts.append((action.at_s, Step.of(action)))
            cluster.perform(action)
    simulated_ends = {
        id: end_s
        for id, record in scheduler.jobs.items()
        if record.attempts and (end_s := record.attempts[-1].end_s) is not None
    }
    return _compared(recording, starts, simulated_ends, origin_s, policy)


def _loaded(spec: str) -> Policy | None:
    """A policy of the history, which began anew then; None where it cannot be loaded any more."""
    try:
        return live_policy(spec)
    except (Exception, SystemExit):  # somebody else's code, which may be anything
        return None


def _compared(
    recording: Recording,
    simulated: Sequence[tuple[float, Step]],
    simulated_ends: Mapping[str, float],
    origin_s: float,
    policy: str,
) -> FreeRun:
    jobs = {id: job for id, job in recording.jobs.items() if job.submitted_s >= origin_s}
    ran = {key: ran for key, ran in recording.ran.items() if key[0] in jobs}
    live_ends: dict[str, float] = {}
    for (job_id, _), one in ran.items():  # in the order of attempts
        live_ends[job_id] = one.end_s
    ended = {
        id: (live_ends[id], end_s)
        for id, end_s in simulated_ends.items()
        if live_ends.get(id, inf) < inf
    }
    live = [(one.start_s, Step("start", key[0], one.device.id, key[1])) for key, one in ran.items()]
    parting = _parting(live, simulated, origin_s)
    waited = {id: job.submitted_s for id, job in jobs.items()}
    return FreeRun(
        origin_s,
        len(ended),
        len(live),
        parting is None,
        parting,
        max((had for had, _ in ended.values()), default=origin_s) - origin_s,
        max((has for _, has in ended.values()), default=origin_s) - origin_s,
        mean(had - waited[id] for id, (had, _) in ended.items()) if ended else 0.0,
        mean(has - waited[id] for id, (_, has) in ended.items()) if ended else 0.0,
        _overhead_s(ran.values()),
        left_out=len(recording.jobs) - len(jobs),
        reattached=recording.reattached,
        policy=policy,
    )


def _parting(
    live: Sequence[tuple[float, Step]], simulated: Sequence[tuple[float, Step]], origin_s: float
) -> Parting | None:
    """The first place where the starts are not the same.

    Starts of the same instant are decided together; live and simulated list them alike.
    """
    for number in range(max(len(live), len(simulated))):
        had = live[number] if number < len(live) else None
        has = simulated[number] if number < len(simulated) else None
        if had is not None and has is not None and had[1] == has[1]:
            continue
        apart_s = None
        if had is not None:
            again = next((at_s for at_s, step in simulated if step == had[1]), None)
            apart_s = None if again is None else abs(again - had[0])
        return Parting(
            number + 1,
            None if had is None else had[1],
            None if had is None else had[0] - origin_s,
            None if has is None else has[1],
            None if has is None else has[0] - origin_s,
            apart_s,
        )
    return None


def _overhead_s(ran: Iterable[Ran]) -> float:
    over = [
        one.seen_s - one.measured_s
        for one in ran
        if one.own_end and one.measurement is not None and one.measurement.time_s is not None
    ]
    return max(0.0, median(over)) if over else 0.0
