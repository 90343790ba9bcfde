"""The page of a comparison: one file that needs no other and no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jetsched import __version__
from jetsched.cluster import curves
from jetsched.cluster.compare import BY, Comparison, PolicyRow
from jetsched.cluster.curves import WORDS
from jetsched.cluster.drawing import as_bytes
from jetsched.cluster.gantt import gantt
from jetsched.cluster.markup import Html, data_uri, joined, tag
from jetsched.cluster.pagestyle import CSS
from jetsched.cluster.rowwords import remarks, told_apart, versus
from jetsched.cluster.study import Findings
from jetsched.units import NOTHING, format_duration, format_energy

#: Nothing may be fetched from anywhere, whatever stands in the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def _number(digits: int) -> Callable[[float | None], str]:
    return lambda value: NOTHING if value is None else f"{value:,.{digits}f}"


@dataclass(frozen=True)
class _Column:
    """A figure, what it is called, and how it is shown."""

    name: str
    title: str
    show: Callable[[float | None], str]
    #: Left out where it is 0 for everybody.
    rare: bool = False


_MAIN = (
    _Column(BY, "mean completion", format_duration),
    _Column("p95_completion_s", "95 % done within", format_duration),
    _Column("makespan_s", "all done", format_duration),
    _Column("mean_slowdown", "slow\u00addown", _number(1)),
    _Column("missed_deadlines", "missed dead\u00adlines", _number(1), rare=True),
    _Column("killed", "killed", _number(1), rare=True),
    _Column("energy_j", "energy", format_energy),
)
_MORE = (
    _Column("p50_completion_s", "half done within", format_duration),
    _Column("p99_completion_s", "99 % done within", format_duration),
    _Column("p99_slowdown", "99 % slow\u00addown", _number(1)),
    _Column("attempts", "attempts", _number(1)),
    _Column("lost", "lost with a board", _number(1), rare=True),
    _Column("preempted", "preempted", _number(1), rare=True),
    _Column("unfinished", "not done", _number(1), rare=True),
    _Column("fairness", "fairness", _number(2)),
    _Column("worst_user_slowdown", "worst user's slow\u00addown", _number(1)),
)


def page(found: Findings) -> str:
    """The whole page. To be called within :func:`jetsched.cluster.drawing.drawing`."""
    first = found.comparisons[0]
    body = [
        tag("h1", "Placement policies, compared in simulation"),
        *_world(found),
        *([] if found.sweeps else [*_results(first, found.study.seeds), *_figures(first)]),
        *(part for name in found.sweeps for part in _sweep(found, name)),
        *(_point_pictures(first) if found.sweeps else []),
        *_mistakes(found),
        *_reading(found),
    ]
    head = joined(
        (
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", "Placement policies compared"),
            tag("style", Html(CSS)),
        )
    )
    html = tag("html", tag("head", head), tag("body", tag("main", *body)), lang="en")
    return f"<!DOCTYPE html>\n{html}\n"


# ---------------------------------------------------------------------------------------- its parts


def _world(found: Findings) -> list[Html]:
    study = found.study
    runs = sum(len(c.runs) for c in found.comparisons)
    intro = (
        f"{len(study.policies)} policies, {study.seeds} draw{'s' if study.seeds > 1 else ''} of the"
        f" world, {runs:,} runs. All of it is simulated: no board has run anything for this page."
    )
    return [
        tag("p", intro),
        tag("ul", *(tag("li", line) for line in [*study.words(), *found.notes])),
        tag("p", "The same results again:", class_="soft"),
        tag("pre", study.command),
    ]


def _results(comparison: Comparison, seeds: int) -> list[Html]:
    return [tag("h2", "Results"), tag("p", verdict(comparison, seeds)), _table(comparison, _MAIN)]


def verdict(comparison: Comparison, seeds: int) -> str:
    """Who is best, by how sure a difference."""
    best = comparison.best.get(BY)
    if best is None:
        return "No policy has done any job under all seeds."
    row = next(row for row in comparison.rows if row.policy == best)
    text = f"Lowest mean completion: {best}, {format_duration(row.figures[BY].mean)}."
    others = [r for r in comparison.ranked if r.policy != best and BY in r.worse]
    if seeds < 2:
        return f"{text} One draw says nothing about how sure the differences are."
    same = [r.policy for r in others if not told_apart(r)]
    if len(same) == len(others) and others:
        return f"{text} No other policy can be told apart from it by these {seeds} draws."
    rest = "The others are worse, each by more than its 95 % interval."
    if not same:
        return f"{text} {rest}"
    return f"{text} Not to be told apart from it: {', '.join(same)}. {rest}"


def _figures(comparison: Comparison) -> list[Html]:
    return [
        *_point_pictures(comparison),
        tag("h2", "More figures"),
        _table(comparison, _MORE, against=False),
    ]


def _point_pictures(comparison: Comparison) -> list[Html]:
    point = comparison.point
    at = f" ({point.sweep} {point.value})" if point.sweep else ""
    parts = [
        tag("h2", f"How long jobs take{at}"),
        _picture(
            lambda narrow: as_bytes(curves.cdf(comparison, narrow=narrow), "svg"),
            "image/svg+xml",
            f"Curves of the share of jobs done within a time. Medians: {_medians(comparison)}.",
            "The further up and left, the sooner jobs are done. All seeds together.",
        ),
    ]
    if comparison.drawn:
        seed = comparison.drawn[0].seed
        parts += [
            tag("h2", f"Who ran what{at}"),
            _picture(
                lambda narrow: as_bytes(
                    gantt(comparison.drawn, rows=comparison.rows, narrow=narrow), "png"
                ),
                "image/png",
                "Lanes of devices under each policy, with their jobs over time."
                f" All done: {_ends(comparison)}.",
                f"Seed {seed}. A cross is an attempt that was killed, lost or stopped.",
            ),
        ]
    return parts


def _sweep(found: Findings, name: str) -> list[Html]:
    comparisons = found.of_sweep(name)
    values = [comparison.point.value for comparison in comparisons]
    rows = []
    for policy in curves.shown(comparisons, most=len(found.study.policies)):
        cells = [_policy(policy)]
        for comparison in comparisons:
            row = next(r for r in comparison.rows if r.policy == policy)
            cells.append(_cell(f"{name} {comparison.point.value}", row, _MAIN[0], versus(row)))
        rows.append(tag("tr", *cells))
    heads = [tag("th", "policy"), *(tag("th", value, scope="col") for value in values)]
    parts = [
        tag("h2", f"Sweep: {WORDS.get(name, name)}"),
        _picture(
            lambda narrow: as_bytes(curves.sweep(comparisons, narrow=narrow), "svg"),
            "image/svg+xml",
            f"Mean completion of each policy over {WORDS.get(name, name)}, and how far above the"
            " best policy it is. The table below has the figures.",
            "Bars are 95 % intervals; the lines with colours are the policies whose worst point is"
            " best.",
        ),
        tag("p", "Mean completion, and how much above the best at that point:", class_="soft"),
        tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows)),
    ]
    for comparison in comparisons:
        parts += [
            tag("h3", f"{name} {comparison.point.value}"),
            tag("p", " ".join(found.study.words_of(comparison.point)), class_="soft"),
            tag("p", verdict(comparison, found.study.seeds)),
            _table(comparison, _MAIN),
        ]
    return parts


def _mistakes(found: Findings) -> list[Html]:
    lines = [
        f"{run.policy}, seed {run.seed}{_at(comparison)}: {run.text}"
        for comparison, run in found.failed
    ]
    for comparison in found.comparisons:
        for run in comparison.runs:
            lines += [f"seed {run.seed}{_at(comparison)}: {text}" for text in run.policy_errors[:1]]
    if not lines:
        return []
    more = [f"and {len(lines) - 50:,} more"] if len(lines) > 50 else []
    items = [tag("li", line) for line in [*lines[:50], *more]]
    return [tag("h2", "What went wrong"), tag("ul", *items, class_="bad")]


def _at(comparison: Comparison) -> str:
    point = comparison.point
    return f", {point.sweep} {point.value}" if point.sweep else ""


def _reading(found: Findings) -> list[Html]:
    lines = [
        "Completion is from a job's submission to its end, of jobs that are done. Slowdown is that"
        " over the job's run time on the fastest device that can run it.",
        "x bound: the figure as a multiple of a lower bound that no schedule of the same jobs can"
        " beat, with any policy; 1.00 is the best possible, and the best possible may lie above 1.",
    ]
    if found.study.seeds > 1:
        lines.append(
            "± is the half width of a 95 % confidence interval (Student's t). Against"
            " the best: the mean difference in the same worlds, as a share of the best policy's"
            " mean; ≈ where the interval holds 0. Each interval holds by itself: of twenty, one may"
            " miss."
        )
    lines.append("runs.jsonl beside this page has every figure of every run.")
    return [
        tag("h2", "How to read this"),
        tag("ul", *(tag("li", line) for line in lines)),
        tag("p", f"Made by jetsched {__version__}.", class_="soft"),
    ]


# --------------------------------------------------------------------------------------- its tables


def _table(comparison: Comparison, columns: Sequence[_Column], *, against: bool = True) -> Html:
    rows = comparison.ranked
    shown = [column for column in columns if _worth_showing(rows, column)]
    bounded = [
        (name, title)
        for name, title in ((BY, "x bound, mean"), ("makespan_s", "x bound, all done"))
        if against and any(name in row.distance for row in rows)
    ]
    noted = against and any(remarks(row) for row in rows)
    heads = [c.title for c in shown]
    if against:
        heads[1:1] = ["against the best"]
    heads += [title for _, title in bounded]
    lines = []
    lowest = {c.name: _lowest(rows, c.name) for c in shown}
    for row in rows:
        cells = [_policy(row.policy)]
        for number, column in enumerate(shown):
            best = column.name != "attempts" and _is(row, column.name, lowest)
            cells.append(_cell(column.title, row, column, best=best))
            if against and not number:
                value, _, half = versus(row).partition(" ±")
                below = [tag("small", f"± {half}")] if half else []
                cells.append(_data("against the best", value, *below))
        for name, title in bounded:
            distance = row.distance.get(name)
            text = NOTHING if distance is None else f"{distance.mean:.2f}"
            cells.append(_data(title, text))
        if noted:
            cells.append(_data("note", ", ".join(remarks(row)), class_="words bad"))
        lines.append(tag("tr", *cells))
    titles = [tag("th", text, scope="col") for text in ["policy", *heads, *["note"] * noted]]
    return tag("table", tag("thead", tag("tr", *titles)), tag("tbody", *lines))


def _cell(title: str, row: PolicyRow, column: _Column, below: str = "", best: bool = False) -> Html:
    """A figure with its interval, and what is said of it below."""
    figure = row.figures.get(column.name)
    if figure is None:
        return _data(title, NOTHING)
    value = tag("strong" if best else "span", column.show(figure.mean))
    parts: list[str] = [value]
    if figure.half:
        parts.append(tag("small", f"± {column.show(figure.half)}"))
    if below:
        parts.append(tag("small", below))
    return _data(title, *parts)


def _data(title: str, *parts: str, class_: str | None = None) -> Html:
    """A cell; on a phone its title stands before it."""
    return tag("td", tag("span", *parts), data_label=title.replace("\u00ad", ""), class_=class_)


def _policy(name: str) -> Html:
    """The head of a policy's row; it may be broken after an underscore."""
    return tag("th", name.replace("_", "_\u200b"), scope="row")


def _worth_showing(rows: Sequence[PolicyRow], column: _Column) -> bool:
    figures = [row.figures.get(column.name) for row in rows]
    return any(f is not None and (f.mean or not column.rare) for f in figures)


def _lowest(rows: Sequence[PolicyRow], name: str) -> float | None:
    """The lowest mean of those that did all jobs, if not everybody has it."""
    means = {
        row.figures[name].mean
        for row in rows
        if name in row.figures and not row.failed and not row.figures["unfinished"].mean
    }
    return min(means) if len(means) > 1 and name not in ("fairness", "unfinished") else None


def _is(row: PolicyRow, name: str, lowest: Mapping[str, float | None]) -> bool:
    figure = row.figures.get(name)
    whole = not row.failed and "unfinished" in row.figures and not row.figures["unfinished"].mean
    return figure is not None and whole and figure.mean == lowest[name]


# ------------------------------------------------------------------------------------- its pictures


def _picture(draw: Callable[[bool], bytes], kind: str, alt: str, caption: str) -> Html:
    """A picture in two widths: the narrow one is for phones, whose readers cannot zoom in."""
    wide, narrow = (data_uri(draw(is_narrow), kind) for is_narrow in (False, True))
    source = tag("source", media="screen and (max-width: 640px)", srcset=narrow)
    picture = tag("picture", source, tag("img", src=wide, alt=alt))
    return tag("figure", picture, tag("figcaption", caption))


def _medians(comparison: Comparison) -> str:
    return _told(comparison, "p50_completion_s")


def _ends(comparison: Comparison) -> str:
    return _told(comparison, "makespan_s")


def _told(comparison: Comparison, name: str) -> str:
    rows = [row for row in comparison.ranked if name in row.figures]
    return ", ".join(f"{row.policy} {format_duration(row.figures[name].mean)}" for row in rows)
