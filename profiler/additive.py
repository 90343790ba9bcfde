"""Fits the additive roofline: how many times its assumed rates each term of a time really takes.

``time = sum over k of factor_k x term_k``, where a term is what operations, bytes or launches would
take at the rates that are assumed for a device. Factors are never negative, so that a time grows
with what is asked for and extrapolates. The error that is minimised is the relative one. Source of
the form: the roofline (Williams et al. 2009) with its terms added instead of the largest taken,
because a model is many kernels of all kinds one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetsched.profiler.leastsquares import nonnegative

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


#: A term is held as if it were at least this part of the time: of several values tried, the least
#: error on models twenty times smaller than those fitted to; no other result moved (docs/log.md).
HOLD = 0.2
#: A time that is off by more than FAR times the median error of log time, and by LEAST_FAR, counts
#: as off by just that, found in at most so many rounds: one that is wrong by a factor of ten must
#: not move the others.
FAR, LEAST_FAR, ROUNDS = 4.0, 0.7, 10


def fit_factors(terms: Array, times: Array, prior: Array | None, strength: float) -> Array:
    """Factors of the terms, shrunk towards ``prior`` (factors too; None: towards nothing asked).

    ``terms`` is (rows, terms), ``times`` (rows,), both in seconds, times positive. A ``strength``
    of s weighs as much against the rows as s of them do, spread over the terms by their part in
    the time. A factor that is believed is held to it by :data:`HOLD` even where its term hardly
    contributes: else small terms would take up what large ones leave over.
    """
    import numpy as np

    believed = _believed(times, np.maximum(terms.sum(axis=1), 1e-12))
    # What a term contributes to a row's time at factor 1: the scale on which a factor is "off by".
    shares = (terms / believed[:, None]).mean(axis=0)
    scale = np.maximum(shares, 1e-9 if prior is None else HOLD)
    centre = np.zeros(terms.shape[1]) if prior is None else prior
    pull = np.sqrt(strength) * np.diag(scale)
    for _ in range(ROUNDS):
        rows = np.vstack([terms / believed[:, None], pull])
        found = nonnegative(rows, np.concatenate([np.ones(len(times)), pull @ centre]))
        before, believed = believed, _believed(times, np.maximum(terms @ found, 1e-12))
        if np.allclose(before, believed, rtol=0.01):
            break
    return np.asarray(found, dtype=float)


def _believed(times: Array, predicted: Array) -> Array:
    """Times, those that are far off moved to the edge of what is believed."""
    import numpy as np

    off = np.log(times / predicted)
    middle = np.median(off)
    most = max(FAR * 1.4826 * float(np.median(np.abs(off - middle))), LEAST_FAR)
    found: Array = predicted * np.exp(np.clip(off, middle - most, middle + most))
    return found
