"""A batch of jobs on unlike devices, so that the last one ends early: makespan as a pure function.

The linear program (:mod:`jetsched.policies.classlp`) says how much of what goes where; whole jobs
follow it, longest first on the earliest device of their kind (Graham, *Bounds on multiprocessing
timing anomalies*, SIAM J. Appl. Math. 17, 1969); the few that it splits go where they end first;
then local search (:mod:`jetsched.policies.localsearch`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING

from jetsched.policies.classlp import Relaxed, dual_bound_s, relaxed
from jetsched.policies.localsearch import Search

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from jetsched.policies.classlp import Floats, Numbers

#: Rounds of local search for a batch, where nothing else is asked for: about 0.2 s.
ROUNDS = 1_400
#: So few jobs are planned without the linear program: local search alone finds the best, or nearly.
FEW = 12


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """Where each job of a batch goes.

    ``kind[job]`` and ``slot[job]``: the device is ``clocks[kind][slot]`` of :func:`plan_batch`.
    ``ends_s[kind][slot]``: when that device has done all its jobs. ``bound_s``: no plan's makespan
    is less; ``makespan_s`` is when the last job ends. ``rounds``: how many rounds of local search
    were made.
    """

    kind: Numbers
    slot: Numbers
    ends_s: list[Floats]
    makespan_s: float
    bound_s: float
    rounds: int


def plan_batch(
    times_s: ArrayLike,
    clocks: Sequence[ArrayLike] | None = None,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    out_of_time: Callable[[], bool] = lambda: False,
) -> BatchPlan:
    """Distribute jobs over devices so that the last device ends as early as possible.

    ``times_s[job, kind]``: seconds, inf where the job cannot run. ``clocks[kind]``: when each
    device of the kind is free, in seconds from now; without it there is one free device per kind.
    ``rounds`` bounds the local search (0: none) and makes the result the same each time;
    ``out_of_time`` is asked between rounds and may end it earlier.

    Raises ValueError for a job that can run nowhere, a kind without devices, a time that is not
    above 0 and a clock that is not finite. Needs numpy and scipy.
    """
    import numpy as np

    times = np.asarray(times_s, dtype=float)
    if times.ndim != 2 or not times.shape[1]:
        raise ValueError(f"times_s must have the shape (jobs, kinds), not {times.shape}")
    free = [
        np.asarray(clock, dtype=float)
        for clock in (np.zeros((times.shape[1], 1)) if clocks is None else clocks)
    ]
    _check(times, free)
    if not len(times):
        nothing = np.zeros(0, dtype=np.intp)
        return BatchPlan(nothing, nothing.copy(), free, 0.0, 0.0, 0)
    first_of = np.cumsum([0, *(len(clock) for clock in free)])
    kind = np.repeat(np.arange(len(free)), [len(clock) for clock in free])
    ready_s = np.concatenate(free)
    if len(times) <= FEW:
        on, price, target_s, bound_s = _few(times, free, kind, ready_s)
    else:
        solved = relaxed(times, free)
        on, price = _whole(times, free, first_of, solved), solved.price
        target_s, bound_s = _targets(times, free, solved), solved.bound_s
    # What is busy until after the last job has ended must not pass for the critical device.
    ends_s = ready_s + np.bincount(on, times[np.arange(len(on)), kind[on]], len(kind))
    used = np.bincount(on, minlength=len(kind)) > 0
    near = np.flatnonzero(used | (ready_s < ends_s[used].max()))
    place = np.empty(len(kind), dtype=np.intp)
    place[near] = np.arange(len(near))
    search = Search(times, kind[near], ready_s[near], place[on], price, target_s[near])
    made = 0
    if rounds > 0:
        made = search.improve(rounds, np.random.default_rng(seed), bound_s, out_of_time)
    on = near[search.on]
    ends_s = ready_s.copy()
    ends_s[near] = search.load_s
    of = kind[on]
    each: list[Floats] = np.split(ends_s, first_of[1:-1])
    return BatchPlan(of, on - first_of[of], each, search.makespan_s, bound_s, made)


def _few(
    times: Floats, clocks: Sequence[Floats], kind: Numbers, ready_s: Floats
) -> tuple[Numbers, Floats, Floats, float]:
    """(device of each job, prices, targets, bound): longest first, where each ends first."""
    import numpy as np

    on = np.empty(len(times), dtype=np.intp)
    load_s = ready_s.copy()
    shortest_s = times.min(axis=1)
    for job in np.argsort(-shortest_s, kind="stable"):
        done_s = load_s + times[job, kind]
        on[job] = done_s.argmin()
        load_s[on[job]] = done_s.min()
    last_s = float(load_s[on].max())
    price = np.full(len(clocks), 1 / (ready_s < last_s).sum())
    longest_s = float((times[:, kind] + ready_s).min(axis=1).max())
    bound_s = max(longest_s, dual_bound_s(times, clocks, last_s, price))
    return on, price, np.maximum(ready_s, bound_s), bound_s


def _check(times: Floats, clocks: Sequence[Floats]) -> None:
    import numpy as np

    if len(clocks) != times.shape[1]:
        raise ValueError(f"there are clocks of {len(clocks)} kinds and times on {times.shape[1]}")
    for number, clock in enumerate(clocks):
        if clock.ndim != 1 or not len(clock) or not np.isfinite(clock).all():
            raise ValueError(f"clocks[{number}] must be a finite number for each of its devices")
    if not (times > 0).all():
        job, kind = np.argwhere(~(times > 0))[0]
        raise ValueError(f"times_s[{job}, {kind}] is {times[job, kind]}, not above 0")
    nowhere = ~np.isfinite(times).any(axis=1)
    if nowhere.any():
        raise ValueError(f"job {int(nowhere.argmax())} can run nowhere")


def _targets(times: Floats, clocks: Sequence[Floats], solved: Relaxed) -> Floats:
    """What each device should end at: the level of the plan, or less where it has time to spare."""
    import numpy as np

    targets = []
    for kind, clock in enumerate(clocks):
        level_s = solved.level_s
        if solved.price[kind] <= 0:  # not a bottleneck: leave it as busy as the program has it
            took_s = solved.part[solved.job_class, kind] @ np.where(
                solved.allowed[:, kind], times[:, kind], 0.0
            )
            level_s = min(level_s, (clock.sum() + took_s) / len(clock))
        targets.append(np.maximum(clock, level_s))
    return np.concatenate(targets)


# ------------------------------------------------------------------------------- from parts to jobs


def _whole(times: Floats, clocks: Sequence[Floats], first_of: Numbers, solved: Relaxed) -> Numbers:
    """A device for each whole job: by the program's parts, longest first within a kind."""
    import numpy as np

    kind = _kinds(times, solved)
    _settle(times, clocks, kind)
    on = np.empty(len(times), dtype=np.intp)
    for number, clock in enumerate(clocks):
        heap = [(float(ready_s), int(first_of[number]) + i) for i, ready_s in enumerate(clock)]
        heapify(heap)
        jobs = np.flatnonzero(kind == number)
        took_s = times[jobs, number]
        order = np.argsort(-took_s, kind="stable")
        for job, time_s in zip(jobs[order].tolist(), took_s[order].tolist(), strict=True):
            ends_s, device = heap[0]
            on[job] = device
            heapreplace(heap, (ends_s + time_s, device))
    return on


def _settle(times: Floats, clocks: Sequence[Floats], kind: Numbers) -> None:
    """Give the jobs that are cut in two to the kind that would end first with them."""
    import numpy as np

    split = np.flatnonzero(kind < 0)
    devices = np.array([len(clock) for clock in clocks])
    work_s = np.array([clock.sum() for clock in clocks])
    for number in range(len(clocks)):
        work_s[number] += times[kind == number, number].sum()
    for job in split[np.argsort(-times[split].min(axis=1), kind="stable")]:
        # A single device can be filled to its last second; of many, the one that takes it is late.
        best = int(((work_s + times[job]) / devices).argmin())
        kind[job] = best
        work_s[best] += times[job, best]


def _kinds(times: Floats, solved: Relaxed) -> Numbers:
    """The kind of device for each job; -1 for one that is cut in two by its class's parts."""
    import numpy as np

    most = solved.part.argmax(axis=1)
    whole = solved.part[np.arange(len(most)), most] >= 1 - 1e-6
    kind = np.where(whole, most, -1)[solved.job_class].astype(np.intp)
    order = np.argsort(solved.job_class, kind="stable")
    ends = np.searchsorted(solved.job_class[order], np.arange(len(most) + 1))
    for number in np.flatnonzero(~whole):
        members = order[ends[number] : ends[number + 1]]
        if len(members) > 1:
            _cut(times, members, solved.part[number], kind)
    return kind


def _cut(times: Floats, members: Numbers, part: Floats, kind: Numbers) -> None:
    """Give a class's jobs to its kinds in proportion; the one at each border stays without."""
    import numpy as np

    kinds = np.flatnonzero(part > 1e-9)
    first, last = kinds[0], kinds[-1]
    # Those that are relatively good on the first kind come first; the rest is even by itself.
    ratio = times[members, first] / times[members, last]
    ordered = members[np.argsort(ratio, kind="stable")]
    size_s = times[ordered].min(axis=1)
    share = np.cumsum(size_s) / size_s.sum()
    begin = 0.0
    for number, end in zip(kinds, np.cumsum(part[kinds]), strict=True):
        inside = (share - size_s / size_s.sum() >= begin - 1e-9) & (share <= end + 1e-9)
        kind[ordered[inside]] = number
        begin = end
