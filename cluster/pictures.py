"""Pictures of simulated runs: who ran what, where and when, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetsched.cluster.compare import PolicyRow
from jetsched.cluster.simulating import SimulationRun
from jetsched.records import Attempt, Job
from jetsched.units import format_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: More lanes than these in a picture help nobody; the rest is left out, and that is said.
MOST_LANES = 72

#: Okabe and Ito's palette, which people with any colour vision can tell apart; and a hatch each,
#: so that the colour is never the only carrier.
_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#D55E00", "#999999")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "ooo", "---")
_KILLED = "#B00020"
_LOST = "#555555"
_INK = "#222222"
_FAINT = "#D8D8D8"


@dataclass(frozen=True, slots=True)
class _Look:
    """How the bars of a workload are drawn."""

    label: str
    colour: str
    hatch: str


def gantt(
    runs: Sequence[SimulationRun],
    path: Path,
    *,
    title: str = "",
    note: str = "",
    rows: Sequence[PolicyRow] = (),
) -> None:
    """Draw one lane per device for every run, with kills crossed; beside it what came of it.

    The runs are of the same jobs, one per policy. ``rows`` are the policies' figures over many
    seeds: where they are given, the bars beside show those, with their confidence intervals. Writes
    a PNG of 1600 x 1000 pixels or more.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lanes = sum(min(len(run.devices), _most_lanes(runs)) for run in runs)
    height = max(6.7, 2.2 + 0.30 * lanes + 0.22 * len(runs))
    figure = Figure(figsize=(10.7, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    top, bottom = 1 - (0.78 if title else 0.45) / height, 1.35 / height
    grid = figure.add_gridspec(
        1, 3, width_ratios=(6.4, 1.55, 1.55), wspace=0.06, left=0.175, right=0.985, top=top,
        bottom=bottom,
    )  # fmt: skip
    axes = [figure.add_subplot(grid[0, column]) for column in range(3)]
    looks = _looks(runs)
    middles = _draw_lanes(axes[0], runs, looks)
    by_policy = {row.policy: row for row in rows}
    for axis, figure_name, words in (
        (axes[1], "mean_completion_s", "mean completion"),
        (axes[2], "makespan_s", "all done"),
    ):
        _draw_bars(axis, runs, middles, figure_name, words, by_policy)
        axis.set_ylim(axes[0].get_ylim())
    seeds = max((row.runs for row in rows), default=1)
    if seeds > 1:
        words = f"mean of {seeds} seeds ± 95 %\nlanes: seed {runs[0].seed}"
        axes[1].set_xlabel(words, size=7.5, color="#555555", loc="left", linespacing=1.35)
    _legend(figure, looks, runs)
    if title:
        figure.text(0.012, 1 - 0.16 / height, title, size=12.5, weight="bold", color=_INK, va="top")
    words = f"The numbers in the lanes are job ids. {note}".rstrip()
    if runs:
        figure.text(0.012, 0.10 / height, words, size=7.5, color="#555555", va="bottom")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _looks(runs: Sequence[SimulationRun]) -> dict[str, _Look]:
    """A colour and a hatch per workload, in the order of kind and model."""
    labels = {_label(r.job) for run in runs for r in run.scheduler.jobs.values()}
    size = len(_COLOURS)
    return {
        label: _Look(label, _COLOURS[i % size], _HATCHES[(i + i // size) % size])
        for i, label in enumerate(
            sorted(labels, key=lambda text: (text.split()[0] != "train", text))
        )
    }


def _most_lanes(runs: Sequence[SimulationRun]) -> int:
    """How many devices of each run are drawn."""
    return max(1, MOST_LANES // max(1, len(runs)))


def _label(job: Job) -> str:
    return f"{job.workload.kind} {job.workload.model.rsplit('/', 1)[-1]}".strip()


# ------------------------------------------------------------------------------------- who ran what


def _draw_lanes(
    axis: Axes, runs: Sequence[SimulationRun], looks: Mapping[str, _Look]
) -> list[float]:
    """Draw the lanes from top to bottom; returns the middle of each run's group of lanes."""
    span_s = max((run.metrics.makespan_s or 0.0 for run in runs), default=0.0) or 1.0
    unit_s, unit = (3600.0, "hours") if span_s > 3 * 3600 else (60.0, "minutes")
    if span_s < 300:
        unit_s, unit = 1.0, "seconds"
    y, ticks, names, middles = 0.0, [], [], []
    for run in runs:
        devices = sorted(run.devices, key=lambda d: (d.model, len(d.id), d.id))
        left_out = len(devices) - _most_lanes(runs)
        first = y
        lane_of = {}
        for device in devices[: _most_lanes(runs)]:
            lane_of[device.id] = y
            ticks.append(y)
            names.append(device.id)
            y += 1.0
        if left_out > 0:
            names[-1] += f"\n+ {left_out} more"
        middle = (first + y - 1.0) / 2
        middles.append(middle)
        axis.axhspan(first - 0.62, y - 0.38, color="#F6F6F6", zorder=0, linewidth=0)
        name, killed = run.policy.replace("_", "\n"), run.metrics.killed
        for text, colour, lift in (
            (name, _INK, 6 if killed else 0),
            (f"{killed} killed" if killed else "", _KILLED, -11 if "\n" in name else -7),
        ):
            axis.annotate(
                text, (0, middle), xycoords=("axes fraction", "data"), xytext=(-50, lift),
                textcoords="offset points", ha="right", va="center", color=colour, linespacing=1.05,
                size=8.5 if colour == _INK else 7.5, weight="bold" if colour == _INK else "normal",
            )  # fmt: skip
        for record in run.scheduler.jobs.values():
            for attempt in record.attempts:
                if attempt.device in lane_of:
                    look = looks[_label(record.job)]
                    _draw_attempt(
                        axis, lane_of[attempt.device], record.job, attempt, look, unit_s, span_s
                    )
        y += 0.75
    axis.set_ylim(y - 1.0, -0.75)
    axis.set_xlim(0, 1.01 * span_s / unit_s)
    axis.set_yticks(ticks, names, size=7.5, color="#444444")
    axis.tick_params(axis="y", length=0, pad=4)
    axis.tick_params(axis="x", labelsize=8, color=_FAINT)
    axis.set_xlabel(f"{unit} since the first job came", size=8.5, color=_INK)
    axis.grid(axis="x", color=_FAINT, linewidth=0.6, zorder=0)
    axis.set_axisbelow(True)
    _bare(axis)
    return middles


def _draw_attempt(
    axis: Axes,
    y: float,
    job: Job,
    attempt: Attempt,
    look: _Look,
    unit_s: float,
    span_s: float,
) -> None:
    start = attempt.start_s / unit_s
    width = ((attempt.end_s if attempt.end_s is not None else span_s) - attempt.start_s) / unit_s
    bad = attempt.outcome not in ("done", None)
    edge = (_LOST if attempt.outcome == "lost" else _KILLED) if bad else "white"
    axis.barh(
        y, width, left=start, height=0.80, facecolor=look.colour, edgecolor=edge,
        linewidth=1.2 if bad else 0.7, zorder=3 if bad else 2, alpha=0.45 if bad else 1.0,
    )  # fmt: skip
    if look.hatch:
        axis.barh(
            y, width, left=start, height=0.80, facecolor="none", edgecolor="#00000055",
            hatch=look.hatch, linewidth=0, zorder=3,
        )  # fmt: skip
    if bad:
        axis.plot(
            [start + width / 2], [y], marker="X", markersize=9.5, color=edge, zorder=6,
            markeredgecolor="white", markeredgewidth=0.9, clip_on=False, linestyle="none",
        )  # fmt: skip
    elif width * unit_s > 0.012 * span_s * len(job.id):
        axis.text(
            start + width / 2, y + 0.02, job.id, ha="center", va="center", size=6.5, color="black",
            zorder=5, bbox={"boxstyle": "round,pad=0.12", "fc": "#FFFFFFCC", "ec": "none"},
        )  # fmt: skip


# ---------------------------------------------------------------------------------- what came of it


def _draw_bars(
    axis: Axes,
    runs: Sequence[SimulationRun],
    middles: Sequence[float],
    name: str,
    words: str,
    rows: Mapping[str, PolicyRow],
) -> None:
    """One bar per policy for a figure in seconds, with its value; the best one is the dark one."""
    values, halves = [], []
    for run in runs:
        row = rows.get(run.policy)
        found = row.figures.get(name) if row is not None else None
        values.append(found.mean if found is not None else getattr(run.metrics, name) or 0.0)
        halves.append((found.half or 0.0) if found is not None else 0.0)
    best = min(values, default=0.0)
    most = max((v + h for v, h in zip(values, halves, strict=True)), default=1.0) or 1.0
    for y, value, half in zip(middles, values, halves, strict=True):
        colour = "#2F4B6E" if value <= best * 1.0001 else "#A9B8CC"
        axis.barh(y, value, height=0.85, color=colour, zorder=2)
        if half:
            axis.errorbar(value, y, xerr=half, color=_INK, capsize=2.5, elinewidth=0.9, zorder=4)
        text = format_duration(value) + (f" ± {format_duration(half)}" if half else "")
        axis.text(0, y - 0.55, text, ha="left", va="bottom", size=7.5, color=_INK, zorder=5)
    axis.set_xlim(0, 1.08 * most)
    axis.set_title(words, size=8.5, color=_INK, loc="left", pad=5, weight="bold")
    axis.set_yticks([])
    axis.set_xticks([])
    _bare(axis)
    axis.spines["bottom"].set_visible(False)


def _bare(axis: Axes) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(_FAINT)


def _legend(figure: Figure, looks: Mapping[str, _Look], runs: Sequence[SimulationRun]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if not looks:
        return
    handles: list[Any] = [
        Patch(facecolor=look.colour, edgecolor="#00000055", hatch=look.hatch, linewidth=0)
        for look in looks.values()
    ]
    labels = list(looks)
    outcomes = {a.outcome for run in runs for r in run.scheduler.jobs.values() for a in r.attempts}
    for words, colour, found in (
        ("killed, failed or stopped", _KILLED, outcomes - {"done", "lost", None}),
        ("lost with its device", _LOST, outcomes & {"lost"}),
    ):
        if found:
            marker = Line2D([], [], marker="X", markersize=9, color=colour, linestyle="none")
            handles.append(marker)
            one = next(iter(found)) if len(found) == 1 else None
            labels.append("killed for memory" if one == "killed_memory" else words)
    figure.legend(
        handles, labels, loc="lower center", ncol=min(4, len(handles)), fontsize=8, frameon=False,
        bbox_to_anchor=(0.5, 0.26 / figure.get_figheight()), handlelength=2.2, handleheight=1.3,
        columnspacing=1.8,
    )  # fmt: skip
