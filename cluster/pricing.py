"""The bound on mean completion that prices of device time give, where prices change with time.

Let a second on a device of class k cost b_k(t) at time t. A schedule pays at most

    sum_k m_k * integral of b_k,

the price of the whole fleet's time; so the sum over jobs of any cost that a schedule causes is at
least the sum over jobs of (cost + what the job pays), each made as small as it can be for this job
alone, less that price. Which is weak duality: it holds for all b_k >= 0, good ones or not.

The cost of a job must be no more than its completion time C - r, and add up over the parts of its
work. M is the mean time at which its parts are done, and T what it takes in all: sums over its
parts, on classes k at times t, of t and of p_k.

* Run in one go: C - r = M - r + T / 2 exactly, and M - r >= T / 2. So for any h in [0, 1]

      C - r >= h * (M - r) + (1 - h / 2) * T.

* In any way: C - r >= T, since a job is on one device at a time, and C - M >= best / 2, since its
  work is nowhere done faster than evenly over its last ``best`` seconds. So for any h in [0, 1]

      C - r >= h * (M - r + best / 2) + (1 - h) * T.

So a part that is done on class k at time t costs ``wait * (t - r) + work * p_k + floor * best`` and
pays p_k b_k(t). Prices here are linear between knots: the least is at a knot, or at r.

The prices come from the dual of a linear program over stretches of time (Dyer and Wolsey 1990) and
some of the jobs, the value from all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetsched.cluster.truetimes import TrueTimes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float64]

#: Variables of the linear program: a tenth of a second. More of them hardly raise the bound.
_MOST_VARIABLES = 16_000
#: Stretches of time with a price of their own.
_STRETCHES = 40
#: Weights of waiting that are tried. The larger the fleet, the less is waited.
_WEIGHTS = (1.0, 0.4, 0.15, 0.05)
#: The best weight is chosen on so many jobs, evenly taken out of all.
_SAMPLE = 10_000
_CHUNK = 16_384
#: With more classes of devices the program is too large for what it tells.
_MOST_CLASSES = 40
_NEXT_TO_NOTHING = 1e-300


@dataclass(frozen=True)
class _Cost:
    """What a part of a job costs, per part: see above."""

    wait: float
    work: float
    floor: float


def priced_mean_s(times: TrueTimes, *, whole: bool) -> float:
    """A bound on the mean completion, of schedules that run each job in one go, or of any."""
    if times.run_s.shape[1] > _MOST_CLASSES:
        return float(times.best_s.mean())
    times = times.by_release()
    costs = [_Cost(h, 1 - h / 2, 0.0) if whole else _Cost(h, 1 - h, h / 2) for h in _WEIGHTS]
    stretches = _Stretches(times)
    found = [(cost, stretches.prices(cost)) for cost in costs]
    if len(times) > _SAMPLE:
        few = times.every(-(-len(times) // _SAMPLE))
        share = len(few) / len(times)
        found = [max(found, key=lambda each: _value_s(few, each[0], each[1], share))]
    return max(_value_s(times, cost, prices) for cost, prices in found)


@dataclass(frozen=True)
class _Prices:
    """Prices of a device second: shape (classes, knots), linear between the knots."""

    knots_s: Numbers
    per_s: Numbers

    def of_all(self, devices: Numbers) -> float:
        """What all of the fleet's time costs."""
        import numpy as np

        steps_s = np.diff(self.knots_s)
        return float(devices @ ((self.per_s[:, 1:] + self.per_s[:, :-1]) @ steps_s)) / 2


def _value_s(times: TrueTimes, cost: _Cost, prices: _Prices, share: float = 1.0) -> float:
    """The bound on the mean; with a ``share``, an estimate of it from so large a part of the jobs.

    The jobs are in the order in which they come.
    """
    total = 0.0
    for start in range(0, len(times), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        run_s = times.run_s[chunk]
        least = _least(times.release_s[chunk], run_s, cost, prices)
        total += float((least + cost.floor * run_s.min(axis=1)).sum())
    return (total - share * prices.of_all(times.devices)) / len(times)


def _least(release_s: Numbers, run_s: Numbers, cost: _Cost, prices: _Prices) -> Numbers:
    """Shape (jobs,): the least that each job costs and pays, wherever and whenever it is done."""
    import numpy as np

    least: Numbers = np.full(len(release_s), np.inf)
    for per_s, own_s in zip(prices.per_s, run_s.T, strict=True):
        # Where a job cannot run, 0 times its time is not nothing.
        pays = np.maximum(np.interp(release_s, prices.knots_s, per_s), _NEXT_TO_NOTHING) * own_s
        first = int(np.searchsorted(prices.knots_s, release_s[0]))
        for knot_s, price in zip(prices.knots_s[first:], per_s[first:], strict=True):
            came = int(np.searchsorted(release_s, knot_s, side="right"))
            later = own_s[:came] * max(price, _NEXT_TO_NOTHING) + cost.wait * (
                knot_s - release_s[:came]
            )
            np.minimum(pays[:came], later, out=pays[:came])
        np.minimum(least, pays + max(cost.work, _NEXT_TO_NOTHING) * own_s, out=least)
    return least


class _Stretches:
    """Stretches of time, and some of the jobs, each of which stands for as many others."""

    def __init__(self, times: TrueTimes) -> None:
        import numpy as np

        self._edges_s, tail = _edges(times)
        arriving = len(self._edges_s) - 1 - tail
        kinds = times.run_s.shape[1]
        most = max(20, int(_MOST_VARIABLES / (kinds * (tail + arriving / 2))))
        self._stands_for = -(-len(times) // most)
        few = times.every(self._stands_for)
        self._release_s, self._run_s = few.release_s, few.run_s
        self._devices = few.devices * len(few) / len(times)
        self._came = np.searchsorted(self._edges_s[1:-1], few.release_s, side="right")

    def prices(self, cost: _Cost) -> _Prices:
        """The prices of the time-indexed linear program's dual."""
        import numpy as np
        from scipy.optimize import linprog
        from scipy.sparse import coo_matrix

        edges_s = self._edges_s
        jobs, kinds = self._run_s.shape
        many = len(edges_s) - 1
        middles_s = (edges_s[1:] + edges_s[:-1]) / 2
        job, kind, at = np.nonzero(
            np.isfinite(self._run_s)[:, :, None] & (np.arange(many) >= self._came[:, None, None])
        )
        ran_s = self._run_s[job, kind]
        waited_s = np.maximum(0.0, middles_s[at] - self._release_s[job])
        cell = np.arange(len(job))
        unit_s = float(np.median(ran_s))
        shape = (kinds * many, len(cell))
        within = coo_matrix((ran_s / unit_s, (kind * many + at, cell)), shape=shape)
        each_once = coo_matrix((np.ones(len(cell)), (job, cell)), shape=(jobs, len(cell)))
        found = linprog(
            (cost.wait * waited_s + cost.work * ran_s) / unit_s,
            A_ub=within.tocsr(),
            b_ub=np.outer(self._devices, np.diff(edges_s)).reshape(-1) / unit_s,
            A_eq=each_once.tocsr(),
            b_eq=np.ones(jobs),
            method="highs-ipm",
        )
        per_s = np.zeros((kinds, many))
        if found.status == 0:
            per_s = np.maximum(0.0, -found.ineqlin.marginals).reshape(kinds, many)
        ends = [per_s[:, :1], per_s, np.zeros((kinds, 1))]
        knots_s = np.concatenate([edges_s[:1], middles_s, edges_s[-1:]])
        return _Prices(knots_s, np.concatenate(ends, axis=1))


def _edges(times: TrueTimes) -> tuple[Numbers, int]:
    """Where stretches begin and end, and how many of them come after the last arrival."""
    import numpy as np

    first_s, last_s = float(times.release_s[0]), float(times.release_s[-1])
    # Enough for all jobs to be done after the last has come, on whatever they can run.
    slow_s = float(np.where(np.isinf(times.run_s), 0.0, times.run_s).max(axis=1).sum())
    rest_s = 2 * slow_s / float(times.devices.sum()) + float(times.best_s.max())
    if last_s == first_s:
        return first_s + rest_s * np.linspace(0.0, 1.0, _STRETCHES + 1) ** 1.5, _STRETCHES
    tail = _STRETCHES // 3
    ends_s = last_s + rest_s * np.linspace(0.0, 1.0, tail + 1)[1:] ** 2
    return np.concatenate([np.linspace(first_s, last_s, _STRETCHES - tail + 1), ends_s]), tail
