"""Least squares with no negative factor finds what SciPy's finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from jetsched.profiler.leastsquares import nonnegative


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 40), columns=st.integers(1, 5))
def test_no_factor_is_negative_and_no_error_smaller(seed: int, count: int, columns: int) -> None:
    """Also with columns of very different size, alike, or more of them than rows."""
    random = np.random.default_rng(seed)
    rows = random.random((count, columns)) * 10 ** random.uniform(-6, 3, columns)
    if seed % 5 == 0 and columns > 1:
        rows[:, 1] = rows[:, 0] * (1 + 1e-3 * random.random(count))
    wanted = random.normal(1, 1, count) if seed % 2 else rows @ random.random(columns)
    found = nonnegative(rows, wanted)
    assert (found >= 0).all()
    _, least = nnls(rows, wanted)
    assert np.linalg.norm(rows @ found - wanted) <= least + 1e-6 * np.linalg.norm(wanted)


def test_a_column_of_zeros_and_nothing_wanted_give_zero() -> None:
    """Nothing is divided by nothing."""
    assert nonnegative(np.zeros((3, 2)), np.ones(3)).tolist() == [0.0, 0.0]
    assert nonnegative(np.ones((3, 2)), np.zeros(3)).tolist() == [0.0, 0.0]
