"""The picture of the cost model: predicted against measured times, and what fits where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jetsched.profiler.heldout import Guess, score
from jetsched.profiler.known import Knowledge
from jetsched.profiler.labels import device_labels, workload_labels
from jetsched.profiler.plots import COLOURS, draw_fits
from jetsched.records import DeviceClass
from jetsched.units import format_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Told apart without colour.
_MARKERS = "osD^vP*X<>"
#: The band beside the diagonal; what PowerTrain reaches on Jetsons.
BAND = 0.15
#: Of more marks than this the whiskers would be all that is seen.
_WHISKERS = 400
#: Ticks of a time axis, in seconds; those between are for axes of less than three decades.
_TICKS_S = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36000.0)
_BETWEEN_S = (2e-3, 5e-3, 0.02, 0.05, 0.2, 0.5, 2.0, 5.0, 20.0, 120.0, 300.0, 1800.0, 7200.0)


def draw(guesses: Sequence[Guess], found: Knowledge, path: Path) -> None:
    """Write the picture, as what its name ends in. Raises OSError where it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, rows = len(found.devices), len(found.workloads)
    width, height = 7.6 + 2.6 + 1.25 * max(columns, 2), max(6.2, 1.6 + 0.27 * rows)
    figure = Figure(figsize=(width, height), dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(7, 1.25 * max(columns, 2)))
    labels = device_labels(list(dict.fromkeys([*found.devices, *_places(guesses)])))
    _draw_guesses(left, guesses, labels)
    _draw_map(right, found)
    emulated = any(device.emulated for device in labels)
    figure.suptitle(
        "What the cost model knows" + (" (emulated boards are hollow marks)" if emulated else ""),
        weight="bold",
        x=0.01,
        ha="left",
    )
    figure.savefig(path)


def _places(guesses: Sequence[Guess]) -> list[DeviceClass]:
    return list(dict.fromkeys(guess.device_class for guess in guesses))


def _draw_guesses(axis: Axes, guesses: Sequence[Guess], labels: Mapping[DeviceClass, str]) -> None:
    """A mark for each measurement, in log-log; a whisker up to the predicted p90."""
    timed = [guess for guess in guesses if guess.predicted_s is not None]
    values = [guess.measured_s for guess in guesses]
    values += [guess.predicted_s for guess in timed if guess.predicted_s is not None]
    low, high = min(values) / 1.6, max(values) * 1.6
    axis.plot([low, high], [low, high], color="#444444", linewidth=1, label="as measured")
    axis.fill_between(
        [low, high],
        [low * (1 - BAND), high * (1 - BAND)],
        [low * (1 + BAND), high * (1 + BAND)],
        color="#444444",
        alpha=0.13,
        linewidth=0,
        label=f"within {BAND:.0%}",
    )
    names = list(dict.fromkeys(labels[guess.device_class] for guess in timed))
    for number, name in enumerate(names):
        chosen = [guess for guess in timed if labels[guess.device_class] == name]
        _draw_marks(axis, chosen, name, number, whiskers=len(timed) <= _WHISKERS)
    axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    ticks = _TICKS_S + (_BETWEEN_S if high / low < 1000 else ())
    for each in (axis.xaxis, axis.yaxis):
        each.set_ticks([tick for tick in ticks if low <= tick <= high])
        each.set_major_formatter(lambda value, _: _tick(value))
        each.set_minor_formatter("")
    axis.set_xlabel("measured, per sample, prompt or run, without loading")
    axis.set_ylabel("predicted without that workload's own runs; whisker: to its p90")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(True, which="major", color="#EEEEEE")
    axis.set_axisbelow(True)
    axis.legend(fontsize=8, frameon=False, loc="upper left")
    axis.set_title(_summary(guesses), fontsize=10, loc="left")
    axis.set_anchor("N")  # the map beside it may be much taller


def _draw_marks(
    axis: Axes, guesses: Sequence[Guess], name: str, number: int, *, whiskers: bool
) -> None:
    colour = COLOURS[number % len(COLOURS)]
    measured = [guess.measured_s for guess in guesses]
    predicted = [guess.predicted_s or 0.0 for guess in guesses]
    up = [(guess.predicted_p90_s or 0.0) - (guess.predicted_s or 0.0) for guess in guesses]
    axis.errorbar(
        measured,
        predicted,
        yerr=([0.0] * len(up), up) if whiskers else None,
        fmt=_MARKERS[number % len(_MARKERS)],
        markersize=6 if whiskers else 3,
        markeredgecolor=colour,
        markerfacecolor="none" if guesses[0].device_class.emulated else colour,
        ecolor=colour,
        elinewidth=0.7,
        alpha=0.85,
        label=f"{name}: {len(guesses):,}",
    )


def _draw_map(axis: Axes, found: Knowledge) -> None:
    names = workload_labels(found.workloads)
    fits = {(row.workload, row.device_class): row.fits for row in found.rows}
    measured = [row for row in found.rows if row.source == "measured"]
    words = {
        (row.workload, row.device_class): f"{'killed' if row.killed else row.fits} (m)"
        for row in measured
    }
    draw_fits(axis, fits, found.workloads, found.devices, words)
    axis.set_yticks(range(len(found.workloads)), [names[w] for w in found.workloads], fontsize=8)
    axis.invert_yaxis()
    title = "What fits: (m) as it ran there,\nelse by the memory that was counted"
    if found.left_out:
        title += f"\n{found.left_out:,} workloads measured before are left out"
    axis.set_title(title, fontsize=10, loc="left")


def _summary(guesses: Sequence[Guess]) -> str:
    found = score(guesses)
    lines = [f"{len(guesses):,} measured times, each workload held out"]
    if found.mape_pct is not None and found.p90_coverage is not None:
        lines.append(
            f"error {found.mape_pct:.1f} % (mean), {found.median_ape_pct:.1f} % (median);"
            f" p90 covers {found.p90_coverage:.0%}"
        )
    sheet = sum(guess.method == "datasheet" for guess in guesses)
    never = sum(guess.predicted_s is None for guess in guesses)
    if sheet:
        lines.append(f"{sheet:,} of them by the data sheet alone: nothing else was measured there")
    if never:
        lines.append(f"{never:,} more ran, but would not have been started")
    return "\n".join(lines)


def _tick(seconds: float) -> str:
    if seconds >= 1e-3:
        return format_duration(seconds)
    return f"{seconds * 1e6:.0f} µs"
