"""Least squares with no negative factor, for a handful of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: What of the size of a vector counts as nothing.
TINY = 1e-12


def nonnegative(rows: Array, wanted: Array) -> Array:
    """The x >= 0 with the least ``|rows @ x - wanted|``; ``rows`` is (n, columns).

    Lawson and Hanson's active set (Solving Least Squares Problems, 1974, chapter 23): columns come
    in one by one, where the error falls most, and go out when their factor would be negative.
    SciPy has it too, and takes 50 MB of a scheduler that needs nothing else of it.
    """
    import numpy as np

    count = rows.shape[1]
    size = np.linalg.norm(rows, axis=0)
    size[size == 0.0] = 1.0
    rows = rows / size  # columns of seconds and of microseconds are to count alike
    found, used = np.zeros(count), np.zeros(count, dtype=bool)
    least = TINY * float(np.linalg.norm(wanted))
    for _ in range(3 * count):
        gradient = np.where(used, -np.inf, rows.T @ (wanted - rows @ found))
        if used.all() or gradient.max() <= least:
            break
        used[int(gradient.argmax())] = True
        while True:
            best = np.zeros(count)
            best[used] = np.linalg.lstsq(rows[:, used], wanted, rcond=None)[0]
            negative = used & (best <= 0.0)
            if not negative.any():
                break
            # As far towards it as no factor becomes negative; the one that is zero then goes out.
            steps = found[negative] / np.maximum(found[negative] - best[negative], TINY)
            found = found + float(steps.min()) * (best - found)
            used &= found > TINY * max(1.0, float(found.max()))
            found[~used] = 0.0
        found = best
    answer: Array = found / size
    return answer
