"""Other ways to predict times, on the same held-out groups.

``make bench-costs ARGS=--alternatives`` prints the table that the choice was made by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cost_tables import family

from jetsched.profiler.costrows import CostRow
from jetsched.profiler.evaluate import evaluate_groups
from jetsched.profiler.timefit import Predicted, TimeFit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Times = Callable[[Sequence[CostRow], Sequence[CostRow]], "Array"]


def _terms(rows: Sequence[CostRow]) -> Array:
    """(rows, 3): seconds for operations, bytes and launches (or a constant) by the data sheet."""
    import numpy as np

    return np.array(
        [
            [
                (row.flops or 0.0) / (row.peak_gflops * 1e9) if row.peak_gflops else 0.0,
                (row.bytes or 0.0) / (row.bandwidth_gb_s * 1e9) if row.bandwidth_gb_s else 0.0,
                1e-5 * row.launches if row.launches else 1e-3,
            ]
            for row in rows
        ]
    )


def _times(rows: Sequence[CostRow]) -> Array:
    import numpy as np

    return np.array([row.time_s for row in rows])


def one_efficiency(others: Sequence[CostRow], rows: Sequence[CostRow]) -> Array:
    """The larger side of the roofline, over one efficiency for all."""
    import numpy as np

    share = np.median(_times(others) / _terms(others)[:, :2].max(axis=1))
    found: Array = _terms(rows)[:, :2].max(axis=1) * share
    return found


def device_efficiency(others: Sequence[CostRow], rows: Sequence[CostRow]) -> Array:
    """The same, over an efficiency for each device, where it has rows."""
    return _per_device(one_efficiency, others, rows)


def additive(others: Sequence[CostRow], rows: Sequence[CostRow]) -> Array:
    """Non-negative least squares over the three terms, weighted by 1 / time; one for all rows."""
    from scipy.optimize import nnls

    factors, _ = nnls(_terms(others) / _times(others)[:, None], _times(others) / _times(others))
    found: Array = (_terms(rows) @ factors).clip(1e-12)
    return found


def device_additive(others: Sequence[CostRow], rows: Sequence[CostRow]) -> Array:
    """The same for each device, where it has at least three rows."""
    return _per_device(additive, others, rows)


def _per_device(times: Times, others: Sequence[CostRow], rows: Sequence[CostRow]) -> Array:
    import numpy as np

    found = []
    for row in rows:
        mine = [other for other in others if other.device == row.device]
        found.append(float(times(mine if len(mine) >= 3 else others, [row])[0]))
    return np.array(found)


def _features(rows: Sequence[CostRow], known: Sequence[CostRow]) -> Array:
    """What a tree is given: the sheet, what was counted, batch, length, kind, precision."""
    import numpy as np

    kinds = sorted({row.kind for row in known})
    precisions = sorted({row.precision for row in known})
    return np.array(
        [
            [
                *(row.peak_gflops or 0.0, row.bandwidth_gb_s or 0.0, row.memory_gb or 0.0),
                *(row.flops or 0.0, row.bytes or 0.0, row.launches or 0.0),
                *(row.batch or 0.0, row.seq_len or 0.0),
                *(float(row.kind == kind) for kind in kinds),
                *(float(row.precision == precision) for precision in precisions),
            ]
            for row in rows
        ]
    )


def forest(others: Sequence[CostRow], rows: Sequence[CostRow]) -> Array:
    """A random forest from raw features to log time: it cannot exceed what it has seen."""
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(n_estimators=200, random_state=0)
    model.fit(_features(others, others), np.log(_times(others)))
    found: Array = np.exp(model.predict(_features(rows, others)))
    return found


def forest_on_residual(others: Sequence[CostRow], rows: Sequence[CostRow]) -> Array:
    """A random forest on the log of what the additive form leaves over."""
    from sklearn.ensemble import RandomForestRegressor

    return _on_residual(RandomForestRegressor(n_estimators=200, random_state=0), others, rows)


def boosting_on_residual(others: Sequence[CostRow], rows: Sequence[CostRow]) -> Array:
    """Histogram gradient boosting on the same."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=100, learning_rate=0.1, min_samples_leaf=3, random_state=0
    )
    return _on_residual(model, others, rows)


def _on_residual(model: object, others: Sequence[CostRow], rows: Sequence[CostRow]) -> Array:
    import numpy as np

    left = np.log(_times(others) / additive(others, others))
    model.fit(_features(others, others), left)  # type: ignore[attr-defined]
    found: Array = additive(others, rows) * np.exp(
        model.predict(_features(rows, others))  # type: ignore[attr-defined]
    )
    return found


ALTERNATIVES: dict[str, Times] = {
    "one efficiency": one_efficiency,
    "efficiency per device": device_efficiency,
    "additive, one for all": additive,
    "additive per device": device_additive,
    "random forest, raw features": forest,
    "random forest on the log residual": forest_on_residual,
    "HistGradientBoosting on the log residual": boosting_on_residual,
}


def _as_method(
    times: Times,
) -> Callable[[Sequence[CostRow], Sequence[CostRow]], list[Predicted]]:
    return lambda others, rows: [Predicted(float(t), float(t)) for t in times(others, rows)]


def _ours(others: Sequence[CostRow], rows: Sequence[CostRow]) -> list[Predicted]:
    return TimeFit.fit(others).predict(rows)


def print_alternatives(gpus: Sequence[CostRow], decodes: Sequence[CostRow]) -> None:
    """MAPE of each way, per cent, and pairs of GPUs in the right order with a family held out."""
    methods = {name: _as_method(times) for name, times in ALTERNATIVES.items()}
    methods["TimeFit (what estimates use)"] = _ours
    tests = (
        (gpus, "workload", lambda row: row.workload),
        (gpus, "family", lambda row: family(row.device)),
        (decodes, "workload", lambda row: row.workload),
        (decodes, "device", lambda row: row.device),
    )
    print("MAPE in per cent, a group held out      7 GPUs:                     Jetson decode:")
    print(f"  {'':<42}{'workload':>9}{'family':>8}{'ordered':>9}{'workload':>12}{'device':>8}")
    for name, method in methods.items():
        scores = []
        for rows, column, group_of in tests:
            groups: dict[str, list[CostRow]] = {}
            for row in rows:
                groups.setdefault(group_of(row), []).append(row)
            scores.append(evaluate_groups(groups, column, method).overall)
        a, b, c, d = (f"{each.mape_pct or 0.0:.1f}" for each in scores)
        order = f"{scores[1].pairs_ordered_pct or 0.0:.1f}"
        print(f"  {name:<42}{a:>9}{b:>8}{order:>9}{c:>12}{d:>8}", flush=True)
