"""What the additive roofline leaves over, learnt from rows that are alike: a Gaussian process.

The logarithm of measured over predicted time is taken as a sum of effects, each shared by the rows
that are alike in something: the same device, the same workload, the same precision, the same mix of
operations, bytes and launches. How large each effect is, relative to the others, is assumed; their
common scale and the noise are the most probable ones for the rows at hand. A row that shares less
with what was measured has a wider prediction: that is where the p90 comes from.

Chosen over trees and other kernels by leaving workloads and devices out: docs/log.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: Sigma of log time of what rows share by name, by the names that they must have in common, and by
#: their features. Chosen on the tables of docs/log.md: halving or doubling one moves the errors
#: there by half a per cent.
EFFECTS: Mapping[tuple[str, ...], float] = {
    ("board",): 0.10,
    ("device",): 0.07,
    ("workload",): 0.02,
    ("stack",): 0.08,
    ("device", "stack"): 0.05,
}
FEATURES = 0.15
#: Candidates for the scale of all effects and for the noise; the prior is log-normal around the
#: middle with a factor of e^0.5.
SCALES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
NOISES = (0.03, 0.045, 0.06, 0.09, 0.13, 0.2)
_PRIOR_NOISE, _PRIOR_WIDTH = 0.06, 0.5
#: Beyond so many rows some of them are drawn: the time grows with the third power.
MOST_ROWS = 600
#: And so many suffice to find the scale and the noise.
TUNING_ROWS = 300
#: A residual is believed up to FAR times the median of its group's, LEAST_FAR of log time at least.
FAR, LEAST_FAR = 4.0, 0.7


@dataclass(frozen=True)
class Likeness:
    """What rows may share: names by kind (equal or not), and features (rows, n), near or far.

    A kind has a name for each row, or a single one for all.
    """

    names: Mapping[str, Sequence[str]]
    features: Array

    @cached_property
    def codes(self) -> Mapping[str, tuple[Mapping[str, int], NDArray[np.intp]]]:
        """Of each kind: a number for each name, and the numbers of the rows."""
        import numpy as np

        found = {}
        for kind, values in self.names.items():
            numbered = {name: number for number, name in enumerate(dict.fromkeys(values))}
            found[kind] = numbered, np.array([numbered[name] for name in values])
        return found

    def take(self, rows: Sequence[int]) -> Likeness:
        names = {
            kind: values if len(values) == 1 else [values[i] for i in rows]
            for kind, values in self.names.items()
        }
        return Likeness(names, self.features[list(rows)])


def tamed(residuals: Array, groups: Sequence[Hashable]) -> tuple[Array, Array]:
    """(residuals, how far each was beyond belief): a row that is far off the others of its group.

    A group is a device with a framework and precision. The row is moved to the edge of what is
    believed, and what it was beyond that counts as its own noise: a time that is wrong by a factor
    of ten must not speak for its neighbours.
    """
    import numpy as np

    centres = np.zeros(len(residuals))
    numbered = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    codes = np.array([numbered[group] for group in groups])
    for code in numbered.values():
        centres[codes == code] = np.median(residuals[codes == code])
    off = residuals - centres
    most = max(FAR * 1.4826 * float(np.median(np.abs(off))), LEAST_FAR)
    inside = np.clip(off, -most, most)
    return centres + inside, np.abs(off - inside)


class Nearness(NamedTuple):
    """How near rows are to fitted ones by their features, 0 to 1, and what only depends on it."""

    near: Array  # (rows, fitted rows)
    turned: Array  # the same times the inverse of what fitted rows share


class Residual:
    """Fitted to log residuals; predicts their mean and spread for other rows."""

    def __init__(self, alike: Likeness, residuals: Array) -> None:
        import numpy as np

        chosen = drawn(len(residuals), MOST_ROWS)
        self._alike = alike.take(chosen)
        names = self._alike.names
        values, beyond = tamed(
            residuals[chosen], list(zip(names["device"], names["stack"], strict=True))
        )
        tuning = drawn(len(chosen), TUNING_ROWS)
        few = self._alike.take(tuning)
        self._scale, self.noise = _most_probable(covariance(few, few), values[tuning])
        matrix = self._scale**2 * covariance(self._alike, self._alike)
        matrix[np.diag_indices(len(values))] += self.noise**2 + beyond**2
        self._inverse = np.linalg.inv(matrix)
        self._weights = self._inverse @ values

    def nearness(self, features: Array) -> Nearness:
        """How near each row's features are to those fitted to."""
        near = _nearness(features, self._alike.features)
        return Nearness(near, near @ self._inverse)

    def predict(self, alike: Likeness, near: Nearness | None = None) -> tuple[Array, Array]:
        """(mean, sigma) of the log residual, noise included, for each row.

        ``near``: their :meth:`nearness`, where it is at hand. It saves most of the work for many
        rows that have all their names in common.
        """
        import numpy as np

        named = _by_names(alike, self._alike)
        if near is None:
            near_by = _nearness(alike.features, self._alike.features)
            shared = self._scale**2 * (FEATURES**2 * near_by + named)
            turned = shared @ self._inverse
        else:
            shared = self._scale**2 * (FEATURES**2 * near.near + named)
            turned = self._scale**2 * (FEATURES**2 * near.turned + named @ self._inverse)
        prior = FEATURES**2 + sum(sigma**2 for sigma in EFFECTS.values())
        left = self._scale**2 * prior - (turned * shared).sum(axis=1)
        return shared @ self._weights, np.sqrt(np.maximum(left, 0.0) + self.noise**2)


def covariance(a: Likeness, b: Likeness) -> Array:
    """How much each row of ``a`` shares with each of ``b``; (rows, rows), in log time squared."""
    total: Array = FEATURES**2 * _nearness(a.features, b.features) + _by_names(a, b)
    return total


def _by_names(a: Likeness, b: Likeness) -> Array:
    """What they share by their names: (rows, rows), or (1, rows) where ``a`` has single names."""
    import numpy as np

    same: dict[str, Array] = {}
    for kind, values in a.names.items():
        numbered, theirs = b.codes[kind]
        ours = np.array([numbered.get(name, -1) for name in values])
        same[kind] = (ours[:, None] == theirs[None, :]).astype(float)
    total: Array = np.zeros((1, len(b.features)))
    for kinds, sigma in EFFECTS.items():
        shared: Array = np.full((1, 1), sigma**2)
        for kind in kinds:
            shared = shared * same[kind]
        total = total + shared
    return total


def _nearness(a: Array, b: Array) -> Array:
    import numpy as np

    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :]
    found: Array = np.exp(np.minimum(a @ b.T - squares / 2, 0.0))
    return found


def _most_probable(shared: Array, residuals: Array) -> tuple[float, float]:
    """The scale and the noise under which the residuals are most probable, by the prior too."""
    import numpy as np

    # One decomposition serves all candidates: scale^2 x shared + noise^2 has the same vectors.
    values, vectors = np.linalg.eigh(shared)
    values, turned = np.maximum(values, 0.0), (vectors.T @ residuals) ** 2

    def log_probability(scale: float, noise: float) -> float:
        spread = scale**2 * values + noise**2
        off = np.log(scale) ** 2 + np.log(noise / _PRIOR_NOISE) ** 2
        fit = (turned / spread).sum() + np.log(spread).sum()
        return float(-0.5 * (fit + off / _PRIOR_WIDTH**2))

    return max(product(SCALES, NOISES), key=lambda pair: log_probability(*pair))


def drawn(rows: int, most: int) -> list[int]:
    """So many rows in order, the same ones each time; all where there are no more.

    At random, because tables have periods: every other row of ours is a prefill.
    """
    import numpy as np

    if rows <= most:
        return list(range(rows))
    return sorted(np.random.default_rng(0).permutation(rows)[:most].tolist())
