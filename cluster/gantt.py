"""A picture of simulated runs: who ran what, where and when, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetsched.cluster.compare import PolicyRow
from jetsched.cluster.drawing import COLOURS, FAINT, GREY, HATCHES, INK, bare, canvas, time_unit
from jetsched.cluster.summaries import Bar, RunSummary
from jetsched.units import format_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KILLED = "#B00020"
_LOST = "#555555"
#: A bar of so many times the best one reaches the edge.
_LONGEST_BAR = 4.0
#: Several short jobs in one bar.
_JOINED = "many jobs"


@dataclass(frozen=True, slots=True)
class _Look:
    """How the bars of a workload are drawn."""

    colour: str
    hatch: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """Of the axis of time."""

    unit_s: float
    unit: str
    span_s: float


def gantt(
    runs: Sequence[RunSummary],
    *,
    title: str = "",
    note: str = "",
    rows: Sequence[PolicyRow] = (),
    narrow: bool = False,
) -> Figure:
    """One lane per device for every run, with kills crossed; beside it what came of it.

    The runs are of the same jobs, one per policy, and have their lanes. ``rows`` are the policies'
    figures over many seeds: where they are given, the bars beside show those, with their confidence
    intervals. A wide one has 1600 x 1000 pixels or more; a ``narrow`` one has the lanes alone.
    """
    lanes = sum(len(run.lanes) for run in runs)
    looks = _looks(runs)
    if narrow:
        below = 0.75 + 0.19 * -(-(len(looks) + 2) // 2)  # the legend's
        height = max(3.5, below + 0.15 + 0.19 * lanes + 0.32 * len(runs))
        figure = canvas(4.6, height)
        axis = figure.add_axes((0.15, below / height, 0.83, 1 - (below + 0.15) / height))
        _draw_lanes(axis, runs, looks, narrow=True)
        _legend(figure, looks, runs, columns=2)
        return figure
    height = max(6.7, 2.2 + 0.30 * lanes + 0.22 * len(runs))
    figure = canvas(10.7, height)
    top, bottom = 1 - (0.78 if title else 0.45) / height, 1.35 / height
    grid = figure.add_gridspec(
        1, 3, width_ratios=(6.4, 1.55, 1.55), wspace=0.06, left=0.175, right=0.985, top=top,
        bottom=bottom,
    )  # fmt: skip
    axes = [figure.add_subplot(grid[0, column]) for column in range(3)]
    middles = _draw_lanes(axes[0], runs, looks, narrow=False)
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
        axes[1].set_xlabel(words, size=7.5, color=GREY, loc="left", linespacing=1.35)
    _legend(figure, looks, runs, columns=4)
    if title:
        figure.text(0.012, 1 - 0.16 / height, title, size=12.5, weight="bold", color=INK, va="top")
    words = f"The numbers in the lanes are job ids. {note}".rstrip()
    if runs:
        figure.text(0.012, 0.10 / height, words, size=7.5, color=GREY, va="bottom")
    return figure


def _looks(runs: Sequence[RunSummary]) -> dict[str, _Look]:
    """A colour and a hatch per workload, in the order of kind and model."""
    labels = {bar.label for run in runs for lane in run.lanes for bar in lane.bars if bar.job}
    size = len(COLOURS)
    looks = {
        label: _Look(COLOURS[i % size], HATCHES[(i + i // size) % size])
        for i, label in enumerate(
            sorted(labels, key=lambda text: (text.split()[0] != "train", text))
        )
    }
    if any(not bar.job for run in runs for lane in run.lanes for bar in lane.bars):
        looks[_JOINED] = _Look("#B8C4D2", "")
    return looks


# ------------------------------------------------------------------------------------- who ran what


def _draw_lanes(
    axis: Axes, runs: Sequence[RunSummary], looks: Mapping[str, _Look], *, narrow: bool
) -> list[float]:
    """Draw the lanes from top to bottom; returns the middle of each run's group of lanes."""
    span_s = max((run.metrics.makespan_s or 0.0 for run in runs), default=0.0) or 1.0
    scale = _Scale(*time_unit(span_s), span_s)
    y, ticks, names, middles = 0.0, [], [], []
    for run in runs:
        y += 0.9 if narrow else 0.0  # room for the policy's name above
        first = y
        for lane in run.lanes:
            _draw_lane(axis, y, lane.bars, looks, scale)
            ticks.append(y)
            names.append(lane.device)
            y += 1.0
        left_out = run.devices - len(run.lanes)
        if left_out > 0 and run.lanes:
            names[-1] += f"\n+ {left_out:,} more"
        middle = (first + y - 1.0) / 2
        middles.append(middle)
        axis.axhspan(first - 0.62, y - 0.38, color="#F6F6F6", zorder=0, linewidth=0)
        if narrow:
            killed = f"   {run.metrics.killed} killed" if run.metrics.killed else ""
            axis.annotate(
                f"{_short(run.policy)}{killed}", (0, first - 0.68),
                xycoords=("axes fraction", "data"), xytext=(-42, 0), textcoords="offset points",
                va="bottom", size=8.5, weight="bold", color=INK,
            )  # fmt: skip
        else:
            _name_beside(axis, run, middle)
        y += 0.75
    axis.set_ylim(y - 1.0, -0.75)
    axis.set_xlim(0, 1.01 * span_s / scale.unit_s)
    axis.set_yticks(ticks, names, size=7.5, color="#444444")
    axis.tick_params(axis="y", length=0, pad=4)
    axis.tick_params(axis="x", labelsize=8, color=FAINT)
    axis.set_xlabel(f"{scale.unit} since the first job came", size=8.5, color=INK)
    axis.grid(axis="x", color=FAINT, linewidth=0.6, zorder=0)
    axis.set_axisbelow(True)
    bare(axis)
    return middles


def _name_beside(axis: Axes, run: RunSummary, middle: float) -> None:
    name, killed = _short(run.policy).replace("_", "\n"), run.metrics.killed
    for text, colour, lift in (
        (name, INK, 6 if killed else 0),
        (f"{killed} killed" if killed else "", _KILLED, -11 if "\n" in name else -7),
    ):
        axis.annotate(
            text, (0, middle), xycoords=("axes fraction", "data"), xytext=(-50, lift),
            textcoords="offset points", ha="right", va="center", color=colour, linespacing=1.05,
            size=8.5 if colour == INK else 7.5, weight="bold" if colour == INK else "normal",
        )  # fmt: skip


def _short(policy: str) -> str:
    """A policy's name, or the end of its path."""
    name = policy.rsplit("/", 1)[-1]
    return name if len(name) <= 24 else name[:23] + "…"


def _draw_lane(
    axis: Axes, y: float, bars: Sequence[Bar], looks: Mapping[str, _Look], scale: _Scale
) -> None:
    """All bars of a kind at once: a collection each, since lanes may have thousands."""
    kinds: dict[tuple[str, str], list[tuple[float, float]]] = {}
    few = sum(bar.outcome not in ("done", None) for bar in bars) < 12
    for bar in bars:
        end_s = bar.end_s if bar.end_s is not None else scale.span_s
        start, width = bar.start_s / scale.unit_s, (end_s - bar.start_s) / scale.unit_s
        bad = bar.outcome not in ("done", None)
        edge = (_LOST if bar.outcome in ("lost", "preempted") else _KILLED) if bad else "white"
        kinds.setdefault((bar.label if bar.job else _JOINED, edge), []).append((start, width))
        if bad:
            axis.plot(
                [start + width / 2], [y], marker="X", markersize=9.5 if few else 4.5, color=edge,
                markeredgecolor="white", markeredgewidth=0.9 if few else 0.4, clip_on=False,
                linestyle="none", zorder=6,
            )  # fmt: skip
        elif bar.job and width * scale.unit_s > 0.012 * scale.span_s * min(len(bar.job), 12):
            axis.text(
                start + width / 2, y + 0.02, bar.job[:12], ha="center", va="center", size=6.5,
                color="black", zorder=5,
                bbox={"boxstyle": "round,pad=0.12", "fc": "#FFFFFFCC", "ec": "none"},
            )  # fmt: skip
    for (label, edge), places in kinds.items():
        look, bad = looks[label], edge != "white"
        # Edges and hatches would be all that is left of bars this thin.
        thin = sum(width for _, width in places) < len(places) * 0.006 * scale.span_s / scale.unit_s
        axis.broken_barh(
            places, (y - 0.4, 0.8), facecolor=look.colour, edgecolor=edge,
            linewidth=0.0 if thin else 1.2 if bad else 0.7, zorder=3 if bad else 2,
            alpha=0.45 if bad else 1.0,
        )  # fmt: skip
        if look.hatch and not thin:
            axis.broken_barh(
                places, (y - 0.4, 0.8), facecolor="none", edgecolor="#00000055",
                hatch=look.hatch, linewidth=0, zorder=3,
            )  # fmt: skip


# ---------------------------------------------------------------------------------- what came of it


def _draw_bars(
    axis: Axes,
    runs: Sequence[RunSummary],
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
    if best > 0:
        most = min(most, _LONGEST_BAR * best)  # or one that is far off makes all others alike
    for y, value, half in zip(middles, values, halves, strict=True):
        colour = "#2F4B6E" if value <= best * 1.0001 else "#A9B8CC"
        axis.barh(y, min(value, 1.2 * most), height=0.85, color=colour, zorder=2)
        if half and value < most:
            axis.errorbar(value, y, xerr=half, color=INK, capsize=2.5, elinewidth=0.9, zorder=4)
        text = format_duration(value) + (f" ± {format_duration(half)}" if half else "")
        text += " »" if value > most else ""
        axis.text(0, y - 0.55, text, ha="left", va="bottom", size=7.5, color=INK, zorder=5)
    axis.set_xlim(0, 1.08 * most)
    axis.set_title(words, size=8.5, color=INK, loc="left", pad=5, weight="bold")
    axis.set_yticks([])
    axis.set_xticks([])
    bare(axis)
    axis.spines["bottom"].set_visible(False)


def _legend(
    figure: Figure, looks: Mapping[str, _Look], runs: Sequence[RunSummary], *, columns: int
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if not looks:
        return
    handles: list[Any] = [
        Patch(facecolor=look.colour, edgecolor="#00000055", hatch=look.hatch, linewidth=0)
        for look in looks.values()
    ]
    labels = [label[:40] for label in looks]
    outcomes = {bar.outcome for run in runs for lane in run.lanes for bar in lane.bars}
    softly = {"lost": "lost with its device", "preempted": "preempted"}
    for words, colour, found in (
        ("killed, failed or stopped", _KILLED, outcomes - {"done", "lost", "preempted", None}),
        (" or ".join(softly[o] for o in softly if o in outcomes), _LOST, outcomes & set(softly)),
    ):
        if found:
            marker = Line2D([], [], marker="X", markersize=9, color=colour, linestyle="none")
            handles.append(marker)
            one = next(iter(found)) if len(found) == 1 else None
            labels.append("killed for memory" if one == "killed_memory" else words)
    lift = (0.05 if columns < 4 else 0.26) / figure.get_figheight()
    figure.legend(
        handles, labels, loc="lower center", ncol=min(columns, len(handles)), fontsize=8,
        frameon=False, bbox_to_anchor=(0.5, lift), handlelength=2.2, handleheight=1.3,
        columnspacing=1.8,
    )  # fmt: skip
