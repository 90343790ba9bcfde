"""Lower bounds: what no schedule of a scenario can beat, whatever policy makes it.

All of them hold for the true run times, of schedules that interrupt and move jobs at will too, and
they stay true under anything that only makes runs longer or rarer: load times, kills, outages,
time limits. In what follows p_ik is the run time of job i on a device of class k, r_i its arrival,
m_k the number of devices, f_ik(t) the part of job i per second that is done on class k at time t.
A job is on one device at a time, so it is done by at most one part per best_i = min_k p_ik seconds.

Makespan. Prices L_k >= 0 with sum_k m_k L_k = 1 make of the fleet one machine that offers one unit
a second: work on class k costs L_k per device and second, all of the fleet costs 1. Job i needs at
least w_i = min_k L_k p_ik of it, and what comes at t or later takes until t + sum(w_i: r_i >= t).
That is the dual of the linear program over jobs and classes (Lawler and Labetoulle 1978),
so with its prices the bound is the program's value; with any others it is still a bound. Besides,
no job ends before r_i + best_i.

Mean completion. The same single machine, on which the mean of the *fractional* completion is least
if it always works on the job of smallest w_i; and a job ends at least best_i / 2 after the mean
time at which it was worked on, because it cannot be worked on faster (for equal devices: Eastman,
Even and Isaacs 1964). Where that is better, prices that change with time: :mod:`.pricing`. A batch
that is run without interruptions has the exact optimum of a min-cost matching of jobs to the last,
second-last... turn of each device (Horn 1973; Bruno, Coffman and Sethi 1974).
"""

from __future__ import annotations

from collections.abc import Collection, Container
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from jetsched.cluster.pricing import priced_mean_s
from jetsched.cluster.simulating import Scenario, SimulationRun
from jetsched.cluster.truetimes import TrueTimes, true_times
from jetsched.scheduler.metrics import Metrics, counted_window

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float64]

#: Bounds are made smaller by this part, so that no rounding makes one larger than what it bounds.
_ROUNDING = 1e-9
#: A matching takes some 30 ms for 300 jobs and grows with the cube.
_MOST_MATCHED = 400
#: The single machine takes two microseconds a job.
_MOST_ON_ONE_MACHINE = 200_000
#: Of the linear program that makes the prices: a tenth of a second. More do not raise the bound.
_MOST_VARIABLES = 16_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What no schedule can beat. None: nothing is known. Compare through :meth:`distance`."""

    #: Jobs that can be done at all, which the bounds are of.
    jobs: int
    makespan_s: float | None
    mean_completion_s: float | None
    #: Of schedules that run every job in one go: no preemption, no restart from a checkpoint.
    whole_mean_completion_s: float | None
    whole_makespan_s: float | None = None

    def of(self, metrics: Metrics) -> tuple[float | None, float | None]:
        """The bounds of makespan and mean completion for a run like this one."""
        if metrics.resumed:
            return self.makespan_s, self.mean_completion_s
        return self.whole_makespan_s, self.whole_mean_completion_s

    def distance(self, metrics: Metrics) -> Distance:
        """How far a run was from the bounds; None where it is not of the same jobs."""
        if metrics.done != self.jobs:
            return Distance(None, None)
        mean_s = metrics.mean_completion_s if metrics.counted == metrics.done else None
        makespan_bound_s, mean_bound_s = self.of(metrics)
        return Distance(_ratio(metrics.makespan_s, makespan_bound_s), _ratio(mean_s, mean_bound_s))


@dataclass(frozen=True, slots=True)
class Distance:
    """What a run took, as a multiple of the bound: 1 is best possible."""

    makespan: float | None
    mean_completion: float | None


def _ratio(value: float | None, bound: float | None) -> float | None:
    return value / bound if value is not None and bound else None


def bounds(scenario: Scenario, only: Container[str] | None = None) -> Bounds:
    """The bounds of a scenario, or of it with no other jobs than those whose ids are given.

    The makespan counts from the first arrival of the scenario. Takes a few seconds for 1,000,000
    jobs.
    """
    return _bounds(true_times(scenario, only))


def bounds_of_run(scenario: Scenario, run: SimulationRun) -> Bounds:
    """The bounds of exactly what a run has done, with all else out of the way.

    The makespan's are of the jobs that it finished; those of the mean of the ones that count in its
    figures, which a warm-up leaves some out of.
    """
    records = run.scheduler.jobs.values()
    done = {record.job.id for record in records if record.state == "done"}
    return bounds_after(scenario, run.warmup, done if len(done) < len(records) else None)


def bounds_after(scenario: Scenario, warmup: float, only: Collection[str] | None = None) -> Bounds:
    """The bounds where the jobs of a warm-up count in no mean, with all else out of the way.

    The makespan's are of all jobs, or of those whose ids are given.
    """
    whole = bounds(scenario, only)
    if not warmup:
        return whole
    from_s, _ = counted_window([job.submitted_s for job in scenario.jobs], warmup)
    asked = [job for job in scenario.jobs if only is None or job.id in only]
    counted = {job.id for job in asked if job.submitted_s >= from_s}
    if len(counted) == len(asked):
        return whole
    any_s, whole_s = _means_s(true_times(scenario, counted))
    return replace(whole, mean_completion_s=any_s, whole_mean_completion_s=whole_s)


def _bounds(times: TrueTimes) -> Bounds:
    makespan_s = whole_makespan_s = makespan_bound_s(times)
    if times.kills is not None:
        whole_makespan_s = makespan_bound_s(times.in_one_go())
    return Bounds(len(times), makespan_s, *_means_s(times), whole_makespan_s)


def _means_s(times: TrueTimes) -> tuple[float | None, float | None]:
    """The mean completion of any schedule; and of one in one go, to which kills matter too."""
    any_s, whole_s = mean_bounds_s(times)
    if times.kills is not None:
        _, whole_s = mean_bounds_s(times.in_one_go())
    return any_s, whole_s


# --------------------------------------------------------------------------------------- makespan


def makespan_bound_s(times: TrueTimes) -> float | None:
    """From the first arrival to the end of the last job; None without jobs."""
    if not len(times):
        return None
    best = float((times.release_s + times.best_s).max())
    cut_s = float(times.release_s.min())
    for _ in range(3):  # prices for all jobs, then for those that the bound is tightest for
        late = times.only(times.release_s >= cut_s)
        bound_s, tightest_s = _priced_makespan_s(times, best_prices(late))
        if bound_s <= best:
            break
        best, cut_s = bound_s, tightest_s
    return (best - times.first_s) * (1 - _ROUNDING)


def _priced_makespan_s(times: TrueTimes, prices: Numbers) -> tuple[float, float]:
    """When all can be done at these prices, and from which arrival on that is so."""
    import numpy as np

    order = np.argsort(times.release_s, kind="stable")[::-1]
    release_s = times.release_s[order]
    until_s = release_s + np.cumsum(priced_work(times, prices)[order])
    at = int(until_s.argmax())
    return float(until_s[at]), float(release_s[at])


def priced_work(times: TrueTimes, prices: Numbers) -> Numbers:
    """Shape (jobs,): the least that each job takes of the whole fleet's time at these prices."""
    import numpy as np

    work: Numbers = np.full(len(times), np.inf)
    for run_s, price in zip(times.run_s.T, prices, strict=True):
        # A class where the job cannot run does not cost nothing when it has no price.
        np.minimum(work, run_s * max(price, 1e-300), out=work)
    return work


def best_prices(times: TrueTimes) -> Numbers:
    """Shape (classes,): prices of a device second at which the makespan bound is (nearly) highest.

    From the dual of a linear program, over some of the jobs where there are many. Scaled so that
    the whole fleet costs 1 a second.
    """
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import coo_matrix

    kinds = times.run_s.shape[1]
    if kinds == 1:
        return 1 / times.devices
    few = times.every(-(-len(times) * kinds // _MOST_VARIABLES))
    job, kind = np.nonzero(np.isfinite(few.run_s))
    cell = np.arange(len(job))
    # Variables: the part of each job that is done on each class, then the makespan.
    each_once = coo_matrix((np.ones(len(cell)), (job, cell)), shape=(len(few), len(cell) + 1))
    rows = np.concatenate([kind, np.arange(kinds)])
    columns = np.concatenate([cell, np.full(kinds, len(cell))])
    values = np.concatenate([few.run_s[job, kind] / few.best_s.sum(), -times.devices])
    within = coo_matrix((values, (rows, columns)), shape=(kinds, len(cell) + 1))
    found = linprog(
        np.concatenate([np.zeros(len(cell)), [1.0]]),
        A_ub=within.tocsr(),
        b_ub=np.zeros(kinds),
        A_eq=each_once.tocsr(),
        b_eq=np.ones(len(few)),
        method="highs",
    )
    prices: Numbers = np.ones(kinds)
    if found.status == 0:
        prices = np.maximum(0.0, -found.ineqlin.marginals)
    whole = float(prices @ times.devices)
    return prices / whole if whole > 0 else np.ones(kinds) / times.devices.sum()


# -------------------------------------------------------------------------------- mean completion


def mean_bounds_s(times: TrueTimes) -> tuple[float | None, float | None]:
    """The mean completion of any schedule, and of one that runs each job in one go."""
    import numpy as np

    if not len(times):
        return None, None
    any_s = [float(np.mean(times.best_s))]
    if len(times) <= _MOST_ON_ONE_MACHINE:
        work_s = priced_work(times, best_prices(times))
        any_s.append(_fractional_mean_s(times, work_s) + float(np.mean(times.best_s)) / 2)
        if times.devices.sum() == 1:
            any_s.append(_shortest_remaining_mean_s(times, times.best_s))
    any_s.append(priced_mean_s(times, whole=False))
    if not times.steady:  # what follows counts on a run's parts being done evenly
        return (max(any_s) * (1 - _ROUNDING),) * 2
    whole_s = [*any_s, priced_mean_s(times, whole=True)]
    if len(times) <= _MOST_MATCHED and np.ptp(times.release_s) == 0:
        whole_s.append(_matched_mean_s(times))
    return max(any_s) * (1 - _ROUNDING), max(whole_s) * (1 - _ROUNDING)


def _fractional_mean_s(times: TrueTimes, work_s: Numbers) -> float:
    """The least mean of what is not done yet of a job, over time, on the single machine."""
    import numpy as np

    if np.ptp(times.release_s) == 0:
        ordered = np.sort(work_s)
        return float(np.mean(np.cumsum(ordered) - ordered / 2))
    return _on_one_machine_s(times, work_s, fractional=True) / len(times)


def _shortest_remaining_mean_s(times: TrueTimes, work_s: Numbers) -> float:
    """The least mean completion on one machine, by shortest remaining time (Schrage 1968)."""
    return _on_one_machine_s(times, work_s, fractional=False) / len(times)


def _on_one_machine_s(times: TrueTimes, work_s: Numbers, *, fractional: bool) -> float:
    """The sum over jobs of the (fractional) time in the system on one machine, with preemption.

    Fractional: always the job of least work, and of each only what is left of it counts. Else:
    always the one with the least left, and each counts until it is done.
    """
    import numpy as np

    order = np.argsort(times.release_s, kind="stable")
    release_s, work = times.release_s[order].tolist(), work_s[order].tolist()
    waiting: list[tuple[float, float, float]] = []  # (key, work, part that is left)
    total_s, parts, now_s = 0.0, 0.0, release_s[0]
    for index in range(len(work) + 1):
        until_s = release_s[index] if index < len(work) else float("inf")
        while waiting and now_s < until_s:
            _, whole, left = waiting[0]
            need_s = whole * left
            if now_s + need_s <= until_s:
                heappop(waiting)
                ran_s, done = need_s, left
            else:
                ran_s = until_s - now_s
                done = ran_s / whole
                key = whole if fractional else need_s - ran_s
                # Its key can only have become smaller: it stays on top.
                waiting[0] = (key, whole, left - done)
            if fractional:
                total_s += ran_s * (parts - done / 2)
                parts -= done
            else:
                total_s += ran_s * len(waiting) if ran_s < need_s else ran_s * (len(waiting) + 1)
            now_s += ran_s
        if index < len(work):
            now_s = max(now_s, until_s)
            heappush(waiting, (work[index], work[index], 1.0))
            parts += 1.0
        if not waiting:
            parts = 0.0
    return total_s


def _matched_mean_s(times: TrueTimes) -> float:
    """The least mean completion of a batch without interruptions: a min-cost matching.

    The job that a device runs k-th last adds its run time to k jobs.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    jobs = len(times)
    costs = []
    for kind, count in enumerate(times.devices.astype(int)):
        turns = min(jobs, -(-jobs // int(count)))
        turn = np.repeat(np.arange(1, turns + 1), count)[:jobs]
        costs.append(times.run_s[:, kind, None] * turn)
    table = np.concatenate(costs, axis=1)
    # What cannot be is made dearer than any matching of what can.
    most = float(table[np.isfinite(table)].max()) * (jobs + 1)
    table = np.where(np.isfinite(table), table, most)
    rows, columns = linear_sum_assignment(table)
    return float(table[rows, columns].sum()) / jobs
