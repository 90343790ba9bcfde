"""What the Gaussian process leaves over, once there is enough data: boosted trees, if they help.

Trees find what no smooth effect describes (a batch from which on other kernels are taken), but only
between rows that were seen, and only where there are hundreds. So they are asked to prove
themselves on workloads that were held out from them, and are never asked about a device or a
framework that was not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: From so many rows on trees are tried; more than the second teach them little more.
ENOUGH_ROWS, MOST_ROWS = 600, 1500
#: They must leave at most this part of the squared error.
WORTH = 0.9
FOLDS = 3


class Boosted:
    """Trees that correct log times; made by :meth:`fit`. ``left`` is the part of the error left."""

    def __init__(self, model: Any, left: float) -> None:
        self._model = model
        self.left = left

    @classmethod
    def fit(cls, features: Array, residuals: Array, workloads: Sequence[str]) -> Boosted | None:
        """None where there are too few rows, or trees do not help on workloads held out."""
        import numpy as np

        if len(residuals) < ENOUGH_ROWS:
            return None
        from sklearn.model_selection import GroupKFold, KFold

        if len(set(workloads)) >= FOLDS:
            folds = GroupKFold(FOLDS).split(features, groups=workloads)
        else:
            folds = KFold(FOLDS, shuffle=True, random_state=0).split(features)
        after = np.zeros(len(residuals))
        # Trees this small take many times as long on several threads where others use the cores.
        with _pools().limit(limits=1):
            for rest, held in folds:
                trees = _trees().fit(features[rest], residuals[rest])
                after[held] = residuals[held] - trees.predict(features[held])
            left = float((after**2).sum() / max((residuals**2).sum(), 1e-12))
            if left > WORTH:
                return None
            return cls(_trees().fit(features, residuals), left)

    def predict(self, features: Array) -> Array:
        """What to add to the log of each row's time."""
        with _pools().limit(limits=1):
            found: Array = self._model.predict(features)
        return found


@lru_cache(maxsize=1)
def _pools() -> Any:
    """This process's pools of threads; to look for them takes longer than to predict a row."""
    import sklearn.ensemble  # noqa: F401  # which starts what there is to find
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _trees() -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=100, min_samples_leaf=10, early_stopping=False, random_state=0
    )
