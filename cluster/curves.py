"""Pictures of comparisons: how long jobs take under each policy, and what a sweep changes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from jetsched.cluster.compare import BY, Comparison, Interval
from jetsched.cluster.drawing import COLOURS, FAINT, GREY, INK, bare, canvas, time_unit
from jetsched.cluster.summaries import POINTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Lines that can be told apart; the others are drawn in grey.
MOST_LINES = 7
#: Yellow is too light for a line, and grey is taken.
_LINES = (*(colour for colour in COLOURS if colour not in ("#F0E442", "#999999")), "#222222")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
_MARKS = "osD^vPX"


def shown(comparisons: Sequence[Comparison], most: int = MOST_LINES) -> list[str]:
    """The policies that get a colour: those that are best on the whole, best first.

    By their mean completion relative to the best one's, worst point first: who is good everywhere.
    """
    worst: dict[str, float] = {}
    for comparison in comparisons:
        for row in comparison.rows:
            if (worse := row.worse.get(BY)) is not None:
                worst[row.policy] = max(worst.get(row.policy, 0.0), worse.mean)
    return sorted(worst, key=lambda policy: worst[policy])[:most]


def cdf(comparison: Comparison, *, narrow: bool = False) -> Figure:
    """Which share of the jobs is done within what time: a line per policy, all seeds together.

    Jobs that are never done keep a line from reaching 100 %.
    """
    coloured = shown([comparison])
    figure, (axis,) = _panels(1, narrow)
    longest_s = max(
        (run.completions_s[-1] for run in comparison.runs if run.completions_s), default=1
    )
    unit_s, unit = time_unit(longest_s / 10)
    for policy in [row.policy for row in comparison.rows if row.policy not in coloured]:
        times, shares = _pooled(comparison, policy)
        axis.plot([t / unit_s for t in times], shares, color="#C4C4C4", linewidth=0.8, zorder=2)
    for number, policy in reversed(list(enumerate(coloured))):
        times, shares = _pooled(comparison, policy)
        axis.plot(
            [t / unit_s for t in times], shares, color=_LINES[number % len(_LINES)], zorder=3,
            linestyle=_DASHES[number % len(_DASHES)], linewidth=1.6, label=policy,
        )  # fmt: skip
    _logarithmic(axis, "x")
    axis.set_ylim(0, 1.005)
    axis.yaxis.set_major_formatter(lambda value, position: f"{100 * value:.0f} %")
    axis.set_xlabel(f"completion time, {unit}", size=8.5, color=INK)
    axis.set_ylabel("jobs done within it", size=8.5, color=INK)
    _finish(figure, [axis], coloured, sum(row.runs > 0 for row in comparison.rows), narrow)
    return figure


def _pooled(comparison: Comparison, policy: str) -> tuple[list[float], list[float]]:
    """Times, and the share of all jobs of all seeds that are done by then."""
    runs = comparison.runs_of(policy)
    jobs = sum(run.metrics.jobs for run in runs)
    points = sorted(
        (time_s, run.metrics.done / POINTS) for run in runs for time_s in run.completions_s
    )
    times, shares, done = [], [], 0.0
    for time_s, weight in points:
        done += weight
        times.append(time_s)
        shares.append(done / jobs)
    keep = max(1, len(points) // (2 * POINTS))
    return times[::keep] + times[-1:], shares[::keep] + shares[-1:]


def sweep(comparisons: Sequence[Comparison], *, narrow: bool = False) -> Figure:
    """What the points of a sweep change: mean completion, and how far each is from the best one.

    The bars are 95 % confidence intervals, where there are several seeds.
    """
    coloured = shown(comparisons)
    figure, (above, below) = _panels(2, narrow)
    values = [comparison.point.value for comparison in comparisons]
    places = _places(values)
    rest = [row.policy for row in comparisons[0].rows if row.policy not in coloured]
    means = [r.figures[BY].mean for c in comparisons for r in c.rows if BY in r.figures]
    unit_s, unit = time_unit(max(means, default=1.0) / 3)
    for number, policy in [(-1, policy) for policy in rest] + list(enumerate(coloured)):
        rows = [next(r for r in c.rows if r.policy == policy) for c in comparisons]
        _line(above, places, [row.figures.get(BY) for row in rows], 1 / unit_s, number, policy)
        _line(below, places, [row.worse.get(BY) for row in rows], 100.0, number, policy)
    _logarithmic(above, "y")
    above.set_title(f"mean completion, {unit}", size=8.5, loc="left", color=INK, weight="bold")
    below.set_title("above the best, %", size=8.5, loc="left", color=INK, weight="bold")
    worse = [r.worse.get(BY) for c in comparisons for r in c.rows if r.policy in coloured]
    ends = [100 * (i.mean + (i.half or 0.0)) for i in worse if i is not None]
    below.set_ylim(-0.05 * max([5.0, *ends]), 1.05 * max([5.0, *ends]))
    for axis in (above, below):
        axis.set_xticks(places, values, size=8)
        axis.set_xlabel(WORDS.get(comparisons[0].point.sweep, ""), size=8.5, color=INK)
    _finish(figure, [above, below], coloured, len(comparisons[0].rows), narrow)
    return figure


#: What a sweep changes, in words.
WORDS = {
    "load": "load: offered work over the fleet's capacity",
    "error": "error of the estimates (sigma)",
    "fleet": "devices of each kind",
}


def _places(values: Sequence[str]) -> list[float]:
    """Where the points stand: at their numbers, or evenly."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return [float(i) for i in range(len(values))]
    return numbers if len(set(numbers)) == len(numbers) else [float(i) for i in range(len(values))]


def _line(
    axis: Axes,
    places: Sequence[float],
    intervals: Sequence[Interval | None],
    scale: float,
    number: int,
    policy: str,
) -> None:
    there = [(x, i) for x, i in zip(places, intervals, strict=True) if i is not None]
    if not there:
        return
    xs, means = [x for x, _ in there], [scale * i.mean for _, i in there]
    if number < 0:
        axis.plot(xs, means, color="#C4C4C4", linewidth=0.8, zorder=2)
        return
    colour = _LINES[number % len(_LINES)]
    halves = [scale * (i.half or 0.0) for _, i in there]
    gap = min((b - a for a, b in pairwise(sorted(places))), default=1.0)
    xs = [x + 0.02 * gap * (number - MOST_LINES // 2) for x in xs]  # or bars hide each other
    axis.errorbar(
        xs, means, yerr=halves if any(halves) else None, color=colour, capsize=2.5, elinewidth=0.9,
        linestyle=_DASHES[number % len(_DASHES)], marker=_MARKS[number % len(_MARKS)],
        markersize=4.5, linewidth=1.5, zorder=3, label=policy,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------- layout


def _logarithmic(axis: Axes, which: Literal["x", "y"]) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set(**{f"{which}scale": "log"})
    along = axis.xaxis if which == "x" else axis.yaxis
    along.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    along.set_major_formatter(lambda value, position: f"{value:g}")
    along.set_minor_formatter(NullFormatter())


def _panels(count: int, narrow: bool) -> tuple[Figure, list[Axes]]:
    if narrow:
        figure = canvas(4.6, 3.0 * count + 1.6)
        axes = figure.subplots(count, 1, squeeze=False)[:, 0]
    else:
        figure = canvas(10.0, 4.6)
        axes = figure.subplots(1, count, squeeze=False)[0]
    return figure, list(axes)


def _finish(
    figure: Figure, axes: Sequence[Axes], coloured: Sequence[str], policies: int, narrow: bool
) -> None:
    for axis in axes:
        bare(axis)
        axis.grid(color=FAINT, linewidth=0.6, zorder=0)
        axis.set_axisbelow(True)
        axis.tick_params(labelsize=8, color=FAINT, which="both")
    found = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    height = figure.get_figheight()
    columns = 2 if narrow else 4
    rows = -(-len(coloured) // columns)
    bottom = (0.62 + 0.2 * rows + (0.2 if policies > len(coloured) else 0)) / height
    figure.legend(
        [found[p] for p in coloured if p in found],
        [p.rsplit("/", 1)[-1][:28] for p in coloured if p in found],
        loc="lower center", ncol=columns, fontsize=8, frameon=False, handlelength=3.2,
        bbox_to_anchor=(0.5, (0.24 if policies > len(coloured) else 0.04) / height),
    )  # fmt: skip
    if policies > len(coloured):
        text = f"grey: the {policies - len(coloured)} other policies"
        figure.text(0.5, 0.08 / height, text, size=8, color=GREY, ha="center")
    if narrow:
        figure.subplots_adjust(
            left=0.15, right=0.97, top=1 - 0.3 / height, bottom=bottom, hspace=0.42
        )
    else:
        figure.subplots_adjust(
            left=0.07, right=0.985, top=1 - 0.35 / height, bottom=bottom, wspace=0.14
        )
