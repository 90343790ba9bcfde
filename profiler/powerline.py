"""A board's power is a line, ``idle + a x utilisation``: fitted to points, shrunk to a prior.

Neither term is ever negative, so power grows with utilisation and stays between what the line says
of an idle board and of a busy one. On 859 medians of an AGX Orin under five inference frameworks
(kevinhe5/IISWC2026-Artifact-Paper-177 @ 1db7395) the line is a few per cent off for a framework
and a model that it has not seen; docs/log.md has the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

#: How far a measured power is off the line, relative; and how many points that guess is worth.
NOISE, NOISE_WEIGHT = 0.1, 3.0
#: How far idle power and the dynamic part are off the data sheet's, relative. Assumed.
IDLE_OFF, BUSY_OFF = 0.3, 0.3
#: A busy GPU's share of what the sheet leaves above idle: the budget is for everything at once, the
#: accelerators and all cores included. Assumed for all boards; AGX Orin's points say 0.8.
SHEET_SHARE = 0.85
#: Idle power as a share of full power, where only points are known. Assumed.
IDLE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Point:
    """Mean GPU utilisation and power over a stretch of steady work."""

    util_pct: float
    power_w: float


@dataclass(frozen=True, slots=True)
class Term:
    """One of the line's two terms before anything was measured: watts, and how sure that is."""

    watts: float
    sigma_w: float


@dataclass(frozen=True, slots=True)
class Prior:
    """A line that is believed until points say otherwise: idle, and what a busy GPU adds."""

    idle: Term
    busy: Term


@dataclass(frozen=True, slots=True)
class PowerLine:
    """``power_w(u) = idle_w + busy_w * u``; variances in square watts."""

    idle_w: float
    busy_w: float
    noise: float  # relative: of a single power about the line
    idle_var: float
    busy_var: float
    covariance: float
    points: int = 0

    def power_w(self, util_pct: float) -> float:
        """Watts at a mean utilisation, which is taken as between 0 and 100."""
        return self.idle_w + self.busy_w * _share(util_pct)

    def sigma(self, util_pct: float) -> float:
        """The spread of log power there: the line's own, and that of single runs about it."""
        share, power_w = _share(util_pct), self.power_w(util_pct)
        line = self.idle_var + 2 * share * self.covariance + share**2 * self.busy_var
        return float((max(line, 0.0) / power_w**2 + self.noise**2) ** 0.5) if power_w else 0.0


def sheet_prior(idle_w: float, max_w: float, full_w: float | None = None) -> Prior | None:
    """What a data sheet says in its power mode; None where it has no power figures.

    ``full_w``: what others measured with a busy GPU, which counts up to the mode's budget.
    """
    if not 0 < idle_w < max_w:
        return None
    busy_w = SHEET_SHARE * (max_w - idle_w)
    if full_w is not None:
        busy_w = min(full_w, max_w) - idle_w
    return Prior(Term(idle_w, IDLE_OFF * idle_w), Term(busy_w, BUSY_OFF * busy_w))


def points_prior(points: Sequence[Point]) -> Prior:
    """For a board without power figures: full power such that the points lie about the line."""
    full_w = sorted(
        p.power_w / (IDLE_SHARE + (1 - IDLE_SHARE) * _share(p.util_pct)) for p in points
    )
    top_w = sum(full_w) / len(full_w)
    idle_w, busy_w = IDLE_SHARE * top_w, (1 - IDLE_SHARE) * top_w
    return Prior(Term(idle_w, idle_w), Term(busy_w, busy_w))


def as_prior(line: PowerLine, more: float = 1.0) -> Prior:
    """A line as what is believed of another one, ``more`` times less surely."""
    return Prior(
        Term(line.idle_w, max(more * line.idle_var**0.5, 1e-6)),
        Term(line.busy_w, max(more * line.busy_var**0.5, 1e-6)),
    )


def fit_line(points: Iterable[Point], prior: Prior) -> PowerLine:
    """The line by least squares over relative errors, the prior's two terms weighed in.

    Two passes: the points' spread about the first line says how much they weigh in the second.
    """
    # Sorted, because a sum of floats depends on their order, and nothing here may.
    known = sorted(
        (point for point in points if point.power_w > 0), key=lambda p: (p.util_pct, p.power_w)
    )
    line = _solve(known, prior, NOISE)
    if not known:
        return line
    off = [log(p.power_w / max(line.power_w(p.util_pct), p.power_w / 100)) for p in known]
    above = [each for each in off if each > 0]
    # What lies above the line is what a p90 must cover; it may lie further off than what is below.
    return _solve(known, prior, max(_noise(off), _noise(above)))


def _noise(off: Sequence[float]) -> float:
    squares = sum(each**2 for each in off)
    return float(((NOISE_WEIGHT * NOISE**2 + squares) / (NOISE_WEIGHT + len(off))) ** 0.5)


def _solve(points: Sequence[Point], prior: Prior, noise: float) -> PowerLine:
    """Non-negative weighted least squares of two unknowns, by its normal equations."""
    a11, a12, a22 = prior.idle.sigma_w**-2, 0.0, prior.busy.sigma_w**-2
    b1, b2 = a11 * prior.idle.watts, a22 * prior.busy.watts
    for point in points:
        share, weight = _share(point.util_pct), (noise * point.power_w) ** -2
        a11, a12, a22 = a11 + weight, a12 + weight * share, a22 + weight * share**2
        b1, b2 = b1 + weight * point.power_w, b2 + weight * share * point.power_w
    determinant = a11 * a22 - a12**2
    idle_w, busy_w = (b1 * a22 - b2 * a12) / determinant, (b2 * a11 - b1 * a12) / determinant
    if idle_w < 0:
        idle_w, busy_w = 0.0, b2 / a22
    elif busy_w < 0:
        idle_w, busy_w = b1 / a11, 0.0
    return PowerLine(
        idle_w,
        busy_w,
        noise,
        idle_var=a22 / determinant,
        busy_var=a11 / determinant,
        covariance=-a12 / determinant,
        points=len(points),
    )


def _share(util_pct: float) -> float:
    return min(max(util_pct, 0.0), 100.0) / 100
