"""How good predictions are: errors, an honest p90 or not, devices in the right order."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, median


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A row that the fit had not seen, and what was predicted for it. None: nothing was.

    Two rows with the same ``work`` on two devices are a pair; they are compared by ``unit_s``,
    the time of a unit of work, where runs differ in how much they did.
    """

    row: int
    group: str
    device: str
    work: Hashable
    time_s: float
    predicted_s: float | None = None
    predicted_p90_s: float | None = None
    note: str = ""
    peer_time_s: float | None = None
    unit_s: float | None = None
    predicted_unit_s: float | None = None

    @property
    def error(self) -> float | None:
        """The absolute error over the measured time."""
        return None if self.predicted_s is None else abs(self.predicted_s / self.time_s - 1)


@dataclass(frozen=True, slots=True)
class Score:
    """What held-out rows say together. None where there is nothing to say it of."""

    rows: int = 0
    predicted: int = 0  # the rest of this counts these only
    mape_pct: float | None = None  # mean of the absolute percentage errors
    median_ape_pct: float | None = None
    p90_coverage: float | None = None  # share of rows, 0 to 1, that took at most the p90
    #: 95 % interval of that share, as if rows were independent: those of one group are not quite.
    p90_coverage_95: tuple[float, float] | None = None
    pairs: int = 0  # of rows with the same work on two devices, unless they took the same time
    #: Of those; a pair that is predicted equal is half right.
    pairs_ordered_pct: float | None = None
    peer_mape_pct: float | None = None  # of peer_time_s, on the rows that have one


def score(results: Sequence[HeldOut]) -> Score:
    """Mean and median error, p90 coverage and order of device pairs of held-out rows."""
    known = [each for each in results if each.predicted_s is not None]
    peers = [
        abs(each.peer_time_s / each.time_s - 1) for each in results if each.peer_time_s is not None
    ]
    found = Score(
        rows=len(results),
        predicted=len(known),
        peer_mape_pct=100 * fmean(peers) if peers else None,
    )
    if not known:
        return found
    errors = [each.error for each in known if each.error is not None]
    covered = sum(each.time_s <= (each.predicted_p90_s or 0.0) for each in known)
    order = list(_pairs(known))
    return replace(
        found,
        mape_pct=100 * fmean(errors),
        median_ape_pct=100 * median(errors),
        p90_coverage=covered / len(known),
        p90_coverage_95=wilson(covered, len(known)),
        pairs=len(order),
        pairs_ordered_pct=100 * fmean(order) if order else None,
    )


def _pairs(results: Iterable[HeldOut]) -> Iterator[float]:
    """For each pair 1 where the faster device was predicted to be it, 0.5 for a tie, 0."""
    alike: dict[Hashable, list[tuple[str, float, float]]] = {}
    for each in results:
        measured_s = each.time_s if each.unit_s is None else each.unit_s
        predicted_s = each.predicted_s if each.predicted_unit_s is None else each.predicted_unit_s
        if predicted_s is not None:
            alike.setdefault(each.work, []).append((each.device, measured_s, predicted_s))
    for rows in alike.values():
        for (device, time_s, predicted_s), (other, other_s, other_predicted_s) in combinations(
            rows, 2
        ):
            if device == other or time_s == other_s:
                continue
            right = (predicted_s - other_predicted_s) * (time_s - other_s)
            yield 0.5 if predicted_s == other_predicted_s else float(right > 0)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson (1927): it stays within 0 and 1 with few rows."""
    z = 1.959964
    share, weight = hits / of, z * z / of
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * (share * (1 - share) / of + weight / (4 * of)) ** 0.5
    low = 0.0 if not hits else max(0.0, middle - half)
    high = 1.0 if hits == of else min(1.0, middle + half)
    return low, high
