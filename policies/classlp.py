"""The linear program of a batch: which part of each kind of job goes to which kind of device.

    minimise C   subject to   sum_j x_ij = 1,   sum_i p_ij x_ij <= sum over devices of (C - ready)

It is the relaxation of Lenstra, Shmoys and Tardos (*Approximation algorithms for scheduling
unrelated parallel machines*, Mathematical Programming 46, 1990) with devices of a kind taken
together. Jobs whose run times stand in the same proportion on all kinds are one column each, so
that 100,000 jobs make a program of some hundred rows; a program per job takes minutes there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import bool_, float64, intp
    from numpy.typing import NDArray

    Floats = NDArray[float64]
    Numbers = NDArray[intp]

#: A program of at most so many jobs x kinds has a row per job; a larger one has a row per class.
WHOLE = 20_000
#: No more classes of jobs than this. Proportions are rounded coarser until they are that few.
MOST_CLASSES = 2_000
COARSEST = 0.05
#: Where there are no classes, prices come from about so many jobs, and are set right so often.
SAMPLE = 1_000
STEPS = 40
#: How often the longest run that is allowed is set anew (see :func:`relaxed`).
TRIES = 6


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A fractional plan: what the linear program says.

    ``job_class`` has the class of each job, ``part[class, kind]`` what part of a class goes where,
    ``price[kind]`` what a second on a device of the kind is worth at the optimum (their sum over
    all devices is 1), ``level_s`` the makespan of the fractional plan, and ``bound_s`` what no
    plan at all can be below. ``allowed[job, kind]``: the run is not longer than the plan.
    """

    job_class: Numbers
    part: Floats
    price: Floats
    level_s: float
    bound_s: float
    allowed: NDArray[bool_]


def relaxed(times_s: Floats, clocks: Sequence[Floats]) -> Relaxed:
    """Solve the program for ``times_s[job, kind]`` (inf: cannot run) and each kind's device clocks.

    ``clocks[kind]`` says when each of its devices is free. A run that alone takes longer than the
    makespan is not allowed: the least makespan for which that holds is searched, as in the paper.
    Every job must be able to run somewhere. Needs scipy.
    """
    import numpy as np

    first_s = np.array([clock.min() for clock in clocks])
    ends_s = times_s + first_s
    longest_s = float(ends_s.min(axis=1).max())
    anywhere = np.isfinite(times_s)
    found = _solve(times_s, clocks, anywhere)
    bound_s = max(dual_bound_s(times_s, clocks, found[0], found[3]), longest_s)
    limit_s = bound_s
    for _ in range(TRIES):
        allowed = anywhere & (ends_s <= limit_s * (1 + 1e-9))
        if (allowed == anywhere).all():
            break
        found = _solve(times_s, clocks, allowed)
        if found[0] <= limit_s * (1 + 1e-6):
            break
        limit_s = (limit_s + found[0]) / 2
    level_s, job_class, part, price = found
    return Relaxed(job_class, part, price, level_s, bound_s, allowed)


def _solve(
    times_s: Floats, clocks: Sequence[Floats], allowed: NDArray[bool_]
) -> tuple[float, Numbers, Floats, Floats]:
    """(makespan, class of each job, parts, prices) of the fractional plan."""
    import numpy as np

    job_class: Numbers | None = np.arange(len(times_s))
    if times_s.size > WHOLE:
        job_class = classes(np.where(allowed, times_s, np.inf))
    if job_class is None:
        return _by_sample(times_s, clocks, allowed)
    number = int(job_class.max()) + 1
    work_s = np.zeros((number, len(clocks)))
    np.add.at(work_s, job_class, np.where(allowed, times_s, 0.0))
    open_to = np.zeros((number, len(clocks)), bool)
    open_to[job_class] = allowed  # the same for all jobs of a class
    level_s, part, price, _ = _without_late(work_s, open_to, clocks)
    return level_s, job_class, part, price


def _by_sample(
    times_s: Floats, clocks: Sequence[Floats], allowed: NDArray[bool_]
) -> tuple[float, Numbers, Floats, Floats]:
    """The same where jobs have no classes: prices from a sample, then evened out over all jobs.

    At the right prices each job goes where it is cheapest. Those of the program for each n-th job
    by size are nearly right; then the price of what is too full rises, step by step.
    """
    import numpy as np

    open_s = np.where(allowed, times_s, np.inf)
    shortest_s = open_s.min(axis=1)
    nth = -(-len(times_s) // SAMPLE)
    sample = np.argsort(shortest_s, kind="stable")[nth // 2 :: nth]
    grown = float(shortest_s.sum() / shortest_s[sample].sum())
    work_s = np.where(allowed, times_s, 0.0)[sample] * grown
    _, _, price, counted = _without_late(work_s, allowed[sample], clocks)
    unused = np.array([not len(clock) for clock in counted])  # but not by all jobs, perhaps
    counted = [few if len(few) else clock for few, clock in zip(counted, clocks, strict=True)]
    price = np.where(unused, price.max(), price) if price.any() else np.ones(len(clocks))
    devices = np.array([len(clock) for clock in counted])
    busy_s = np.array([clock.sum() for clock in counted])
    price = np.maximum(price, 1e-6 * price.max())
    jobs = np.arange(len(times_s))
    best: tuple[float, Numbers, Floats] | None = None
    for step in range(STEPS):
        kind = (open_s * price).argmin(axis=1)
        took_s = np.bincount(kind, open_s[jobs, kind], len(devices))
        ends_s = (busy_s + took_s) / devices
        level_s = float(ends_s[took_s > 0].max())
        if best is None or level_s < best[0]:
            best = (level_s, kind, price / (price @ devices))
        even_s = max(float(ends_s @ devices / devices.sum()), 1e-300)
        price = price * np.clip(ends_s / even_s, 0.1, 10.0) ** (0.3 * 0.95**step)
    assert best is not None
    level_s, kind, price = best
    part = np.zeros(times_s.shape)
    part[jobs, kind] = 1.0
    return level_s, jobs, part, price


def _without_late(
    work_s: Floats, open_to: NDArray[bool_], clocks: Sequence[Floats]
) -> tuple[float, Floats, Floats, list[Floats]]:
    """The program without the devices that are busy beyond the makespan; and the clocks left.

    A kind of which even the first device is free too late gets no work, and is left out next.
    """
    import numpy as np

    counted = [np.sort(clock) for clock in clocks]
    open_to = open_to.copy()
    while True:
        level_s, part, price = _program(work_s, open_to, counted)
        fewer = [clock[clock <= max([level_s, *clock[:1]])] for clock in counted]
        for kind, clock in enumerate(fewer):
            idle = not (part[:, kind] * work_s[:, kind]).any()
            if len(clock) and idle and clock[0] >= level_s * (1 - 1e-9):
                fewer[kind] = clock[:0]
                open_to[:, kind] = False
        if all(len(few) == len(clock) for few, clock in zip(fewer, counted, strict=True)):
            return level_s, part, price, counted
        counted = fewer


def dual_bound_s(times_s: Floats, clocks: Sequence[Floats], level_s: float, price: Floats) -> float:
    """What no plan can be below, by the prices: exact in the dual, also where classes are coarse.

    Any prices give a bound: a job costs at least its cheapest place, and the seconds of all
    devices from when they are free to the makespan must pay for all jobs.
    """
    import numpy as np

    late = np.array([clock.min() >= level_s for clock in clocks])
    price = np.where(late, price.max(), price)  # the program had no use for them, nor a price
    with np.errstate(invalid="ignore"):
        cost = np.where(np.isfinite(times_s), times_s * price, np.inf)
    cheapest = float(cost.min(axis=1).sum())
    ready_s = np.concatenate(clocks)
    weight = np.repeat(price, [len(clock) for clock in clocks])
    order = np.argsort(ready_s, kind="stable")
    ready_s, weight = ready_s[order], weight[order]
    worth, busy = np.cumsum(weight), np.cumsum(weight * ready_s)
    # With the first so many devices, the makespan at which their seconds pay for all jobs.
    with np.errstate(divide="ignore", invalid="ignore"):
        ends_s = np.where(worth > 0, (cheapest + busy) / worth, np.inf)
    return float(ends_s.min()) if cheapest > 0 else 0.0


def _program(
    work_s: Floats, open_to: NDArray[bool_], clocks: Sequence[Floats]
) -> tuple[float, Floats, Floats]:
    """Solve it for ``work_s[class, kind]``; (makespan, parts, prices of one device)."""
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix

    number, kinds = work_s.shape
    devices = np.array([len(clock) for clock in clocks], float)
    busy_s = np.array([clock.sum() for clock in clocks])
    scale = max(1e-300, float(np.where(open_to, work_s, np.inf).min(axis=1).sum()), busy_s.sum())
    scale /= max(1.0, devices.sum())
    row, kind = np.nonzero(open_to)
    column, makespan = np.arange(len(row)), len(row)
    each = csr_matrix((np.ones(len(row)), (row, column)), shape=(number, makespan + 1))
    load = csr_matrix(
        (
            np.r_[work_s[row, kind] / scale, -devices],
            (np.r_[kind, np.arange(kinds)], np.r_[column, np.full(kinds, makespan)]),
        ),
        shape=(kinds, makespan + 1),
    )
    cost = np.zeros(makespan + 1)
    cost[makespan] = 1.0
    solved = linprog(
        cost,
        A_ub=load,
        b_ub=-busy_s / scale,
        A_eq=each,
        b_eq=np.ones(number),
        method="highs-ds",
    )
    if solved.x is None:
        raise ArithmeticError(f"the linear program of the batch has no solution: {solved.message}")
    part = np.zeros((number, kinds))
    part[row, kind] = np.clip(solved.x[:makespan], 0.0, 1.0)
    return float(solved.x[makespan]) * scale, part, np.maximum(0.0, -solved.ineqlin.marginals)


def classes(times_s: Floats) -> Numbers | None:
    """The class of each job, 0, 1, 2...: run times in (nearly) the same proportion on all kinds.

    None where these are too many, though proportions are rounded to 5 %.
    """
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.log(times_s / times_s.min(axis=1, keepdims=True))
    step = 1e-6
    while step <= COARSEST:
        cell = np.where(np.isfinite(shape), np.round(shape / step), -1.0).astype(np.int64)
        key = np.zeros(len(times_s), np.uint64)
        for column in cell.T:  # many columns in one number; jobs that collide share a class
            key = key * np.uint64(0x9E3779B97F4A7C15) + column.astype(np.uint64)
            key ^= key >> np.uint64(29)
        distinct, job_class = np.unique(key, return_inverse=True)
        if len(distinct) <= MOST_CLASSES:
            return job_class
        step *= 10 if step < 1e-3 else 2
    return None
