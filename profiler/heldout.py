"""How good the cost model is on what it has not seen: each workload predicted without its own runs.

The model that predicts is :class:`~jetsched.profiler.costs.CostModel` itself, made anew from what
was measured of all other workloads, so that this is how a job of a new kind would have fared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from jetsched.profiler import scoring
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costs import CostModel
from jetsched.profiler.evidence import cost_key
from jetsched.profiler.scoring import HeldOut, Score
from jetsched.profiler.seen import is_timed
from jetsched.records import DeviceClass, Measurement, Method, Never, Source, Workload

#: Of more workloads than the first number several are held out at once: a model is made for each
#: group. Where much was measured and a fit takes long, there are fewer groups; at least the second.
GROUPS, FEWEST = 24, 6
#: So many pairs of workload and device are fitted to in all, roughly.
_PAIRS = 6_000


@dataclass(frozen=True, slots=True)
class Guess:
    """A measured time and its prediction; seconds for a unit of work. None: said to never run."""

    workload: Workload  # a cost key
    device_class: DeviceClass
    measured_s: float
    predicted_s: float | None
    predicted_p90_s: float | None = None
    source: Source | None = None
    method: Method | None = None

    @property
    def held_out(self) -> HeldOut:
        """The same as a row of any evaluation; rows, groups and pairs of devices apart."""
        where, work = self.device_class.label, self.workload
        times = self.measured_s, self.predicted_s, self.predicted_p90_s
        return HeldOut(0, work.label, where, work, *times)


def held_out(
    measurements: Sequence[Measurement],
    calibrations: Iterable[Calibration] = (),
    said: Callable[[int, int], object] = lambda done, total: None,
) -> list[Guess]:
    """A guess for each measured time, in order of the workloads; ``said`` hears how far it is.

    Workloads that differ in the data set only are one. Runs whose memory went to swap say nothing
    about time, and are left out.
    """
    calibrations = list(calibrations)
    timed: dict[Workload, list[Measurement]] = {}
    for m in measurements:
        if is_timed(m):
            timed.setdefault(cost_key(m.workload), []).append(m)
    pairs = sum(len({m.device_class for m in runs}) for runs in timed.values())
    number = min(len(timed), GROUPS, max(FEWEST, _PAIRS // max(pairs, 1)))
    groups = [list(timed)[start::number] for start in range(number)]
    found: list[Guess] = []
    for done, group in enumerate(groups):
        said(done, len(groups))
        hidden = frozenset(group)
        others = [m for m in measurements if cost_key(m.workload) not in hidden]
        costs = CostModel(others, calibrations)
        found += [_guess(workload, m, costs) for workload in group for m in timed[workload]]
    return found


def score(guesses: Iterable[Guess]) -> Score:
    """Errors of the guesses, and how often the measured time was at most the p90."""
    return scoring.score([guess.held_out for guess in guesses])


def _guess(workload: Workload, m: Measurement, costs: CostModel) -> Guess:
    measured_s = m.rate_s or 0.0
    cost = costs.cost(workload, m.device_class)
    if isinstance(cost, Never):
        return Guess(workload, m.device_class, measured_s, None, source=cost.source)
    return Guess(
        workload,
        m.device_class,
        measured_s,
        cost.rate_s,
        cost.rate_s * cost.p90,
        cost.source,
        cost.method,
    )
