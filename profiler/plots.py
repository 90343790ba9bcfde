"""Pictures of what was measured: time and GPU use per benchmark, and what fits on which board."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from jetsched.profiler.costs import CostModel
from jetsched.profiler.known import Fits, fits_of
from jetsched.profiler.labels import software_of
from jetsched.records import DeviceClass, Measurement, Workload
from jetsched.units import format_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colour, sign and word: none of them is the only carrier.
_LOOKS: Mapping[Fits, tuple[str, str, str]] = {
    "fits": ("#7FBF7B", "✓", "fits"),
    "tight": ("#F5C04E", "~", "tight"),
    "never": ("#D9655B", "✗", "never"),
    "unknown": ("#D8D8D8", "?", "unknown"),
}
COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo")


def fit_map(
    measurements: Sequence[Measurement],
) -> dict[tuple[Workload, DeviceClass], Fits]:
    """Whether each measured workload fits each measured board; one that was not tried is estimated.

    *never* is a memory kill, or more than the board has; *unknown* where nothing can be said.
    """
    costs = CostModel(measurements)
    workloads = dict.fromkeys(m.workload for m in measurements)
    boards = _boards(measurements)
    return {(w, board): fits_of(costs.cost(w, board)) for w in workloads for board in boards}


def draw(measurements: Sequence[Measurement], path: Path) -> None:
    """Write the picture, as what its name ends in. Raises OSError where it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    workloads = list(dict.fromkeys(m.workload for m in measurements))
    boards = _boards(measurements)
    height = 2.6 + 0.36 * len(workloads) * max(1.0, 0.55 * len(boards))
    figure = Figure(figsize=(13, height), dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    times, gpus, fits = figure.subplots(1, 3, sharey=True, width_ratios=(4, 3, 3))
    _bars(times, measurements, workloads, boards, "seconds per unit of work", _rate_s)
    _bars(gpus, measurements, workloads, boards, "GPU use, %", lambda m: m.gpu_util_pct)
    draw_fits(fits, fit_map(measurements), workloads, boards)
    times.set_yticks(range(len(workloads)), [w.label for w in workloads])
    times.invert_yaxis()
    fits.set_title("fits", fontsize=10)
    emulated = " (emulated boards)" if any(b.emulated for b in boards) else ""
    figure.suptitle(f"What was measured{emulated}", weight="bold", x=0.01, ha="left")
    figure.savefig(path)


def _boards(measurements: Iterable[Measurement]) -> list[DeviceClass]:
    """The kinds of boards, one each of those that differ in memory only: the last one measured."""
    last = {(m.device_class.label, m.device_class.software): m.device_class for m in measurements}
    return list(last.values())


def _rate_s(measurement: Measurement) -> float | None:
    return measurement.rate_s


def _bars(
    axis: Axes,
    measurements: Sequence[Measurement],
    workloads: Sequence[Workload],
    boards: Sequence[DeviceClass],
    title: str,
    value_of: object,
) -> None:
    """A group of bars per workload, one for each board; medians of what was done."""
    assert callable(value_of)
    thick = 0.8 / len(boards)
    for number, board in enumerate(boards):
        places, values = [], []
        for row, workload in enumerate(workloads):
            known = [
                value
                for m in measurements
                if m.workload == workload and m.device_class.label == board.label
                if m.outcome == "done" and (value := value_of(m)) is not None
            ]
            if known:
                places.append(row - 0.4 + thick * (number + 0.5))
                values.append(median(known))
        axis.barh(
            places,
            values,
            thick * 0.92,
            color=COLOURS[number % len(COLOURS)],
            hatch=_HATCHES[number % len(_HATCHES)],
            edgecolor="white",
            label=board.label,
        )
        for place, value in zip(places, values, strict=True):
            shown = format_duration(value) if title.startswith("seconds") else f"{value:.0f}"
            axis.annotate(
                shown, (value, place), (3, 0), textcoords="offset points", va="center", fontsize=7.5
            )
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.18)
    if title.startswith("seconds") and axis.patches:
        axis.set_xscale("log")
        axis.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.06))
    elif not axis.patches:
        axis.set_xlim(0, 100)
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", color="#777777")


def draw_fits(
    axis: Axes,
    found: Mapping[tuple[Workload, DeviceClass], Fits],
    workloads: Sequence[Workload],
    boards: Sequence[DeviceClass],
    words: Mapping[tuple[Workload, DeviceClass], str] | None = None,
) -> None:
    """A field for each workload (a row) and board: its colour, sign and word say the same.

    ``words``: other words than those, for fields that have one.
    """
    for row, workload in enumerate(workloads):
        for column, board in enumerate(boards):
            colour, sign, word = _LOOKS[found[workload, board]]
            axis.barh(row, 0.94, 0.86, left=column - 0.47, color=colour)
            word = (words or {}).get((workload, board), word)
            axis.text(column, row, f"{sign} {word}", ha="center", va="center", fontsize=8.5)
    axis.set_xticks(range(len(boards)), _names(boards), fontsize=8)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.margins(x=0.01, y=0.01)


def _names(boards: Sequence[DeviceClass]) -> list[str]:
    """Line by line: model, power mode, memory, and software where that tells them apart."""
    names = []
    for board, software in zip(boards, software_of(boards), strict=True):
        memory = f"{board.memory_mib / 1024:.1f} GiB" if board.memory_mib else ""
        mode = "emulated" if board.emulated else board.power_mode
        names.append("\n".join(line for line in (board.model, mode, memory, software) if line))
    return names
