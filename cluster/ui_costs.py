"""The page Cost model: how good its predictions are, how boards drift, what it was learnt from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from jetsched.cluster.aside import Aside, Going
from jetsched.cluster.markup import Html
from jetsched.cluster.svg_scatter import Dot, scatter
from jetsched.cluster.ui_base import Ui
from jetsched.cluster.ui_drift import drift_line
from jetsched.cluster.ui_fit import PATIENCE_S, add_fit_page
from jetsched.cluster.unseen import guesses_of
from jetsched.errors import InputError
from jetsched.files import to_json
from jetsched.profiler.accuracy import Compared, groups_of, of_guesses, of_runs, score_of
from jetsched.profiler.costbook import CostBook, Opened
from jetsched.profiler.drift_story import BoardStory
from jetsched.profiler.evidence import SpeedClass
from jetsched.profiler.labels import device_labels
from jetsched.profiler.seen import Sightings, Source
from jetsched.units import format_rate

PERIOD_S = 2.0
#: So many marks, rows of a table and boards are shown; the rest is counted.
MOST_MARKS, MOST_ROWS, MOST_BOARDS = 300, 25, 20


class CostsView:
    """The live parts of the page; each is worked out when what it rests on has changed."""

    def __init__(self, ui: Ui, book: CostBook, aside: Aside, params: Mapping[str, str]) -> None:
        self._ui, self._book, self._aside = ui, book, aside
        self._all = params.get("boards", "") == "all"
        self._kept: dict[str, tuple[Any, Any]] = {}

    def look(self) -> dict[str, dict[str, Any]]:
        going = self._aside.going
        here = self._ui.desk.device_classes()
        mark = (self._ui.desk.runs_known, here)
        told = self._if_new("told", mark, lambda: self._told(here))
        learnt = self._learnt()
        result = going.result if going is not None else None
        took_s = going.took_s if going is not None else None
        unseen = self._if_new("unseen", (result is None, took_s), lambda: _unseen(result))
        state = _state(going, self._book.version)
        return {
            "costs-predicted": {"costs-predicted-part": told["predicted"]},
            "costs-unseen": {"costs-unseen-part": {**unseen, **state}},
            "costs-drift": told["boards"],
            "costs-drift-rest": {"costs-drift-more": told["left_out"]},
            "costs-learnt": learnt,
        }

    def _if_new(self, name: str, mark: Any, make: Any) -> Any:
        kept = self._kept.get(name)
        if kept is None or kept[0] != mark:
            kept = self._kept[name] = mark, make()
        return kept[1]

    def _told(self, here: Mapping[str, Any]) -> dict[str, Any]:
        """What the boards' runs tell; of those that are gone last."""
        found = self._ui.desk.stories()
        boards = sorted(found.boards, key=lambda s: (s.device not in here, _urgency(s)))
        shown = boards if self._all else boards[:MOST_BOARDS]
        return {
            "predicted": {
                **comparison(of_runs(found.predicted)),
                "guessed": sum(ran.is_guessed for ran in found.predicted),
            },
            "boards": {
                _part_id("drift", story.device): {
                    "story": story,
                    "here": story.device in here,
                    "drift": to_json(story.drift),
                    "line": drift_line(story),
                }
                for story in shown
            },
            "left_out": len(boards) - len(shown),
        }

    def _learnt(self) -> dict[str, Any]:
        """What the measurements are of."""
        kept = self._kept.get("learnt")
        if kept is None or kept[0] != self._book.version:
            with self._book.open(PATIENCE_S) as opened:
                rows: dict[str, Any] = {
                    _part_id("learnt", repr(speed)): {**source, "calibrated": calibrated}
                    for speed, source, calibrated in sources_of(opened)
                }
                rows["costs-learnt-sum"] = _sum_of(opened)
                kept = self._kept["learnt"] = opened.version, rows
        found: dict[str, Any] = kept[1]
        return found

    def draw(self, part_id: str, data: Any) -> str:
        kind = part_id.rpartition("-")[0] if part_id.startswith(("drift-", "learnt-")) else part_id
        macro = {
            "costs-predicted-part": "predicted",
            "costs-unseen-part": "unseen",
            "costs-drift-more": "more",
            "costs-learnt-sum": "learnt_sum",
        }.get(kind, kind)
        return self._ui.render("costs_parts.html", macro, part_id, data)


def comparison(compared: Sequence[Compared]) -> dict[str, Any]:
    """What is shown of predictions beside what was measured."""
    groups = groups_of(compared)
    return {
        "score": score_of(compared),
        "scatter": _picture(compared[-MOST_MARKS:]),
        "groups": groups[:MOST_ROWS],
        "left_out": max(0, len(groups) - MOST_ROWS),
    }


def _picture(compared: Sequence[Compared]) -> Html:
    """Predicted against measured; nothing of nothing."""
    counts = Counter(each.device for each in compared)
    dots = [
        Dot(
            each.predicted_s,
            each.measured_s,
            f"{each.device}: {counts[each.device]:,}",
            f"{each.work} on {each.board or each.device}: {format_rate(each.measured_s)} measured,"
            f" {format_rate(each.predicted_s)} predicted",
            each.predicted_p90_s,
        )
        for each in compared
    ]
    title = "Predicted against measured times; the table has the figures"
    return scatter(dots, title=title, what="Seconds per unit of work, without loading.")


def _unseen(result: Mapping[str, Any] | None) -> dict[str, Any]:
    if result is None:
        return {"found": None}
    found = comparison(of_guesses(guesses_of(result)))
    return {"found": {**found, "score": result["score"]}}


def _state(going: Going | None, version: int) -> dict[str, Any]:
    """How the working out does; ``old``: something was measured since it began."""
    if going is None:
        return {"running": False, "done": 0, "total": 0, "error": "", "hint": "", "old": False}
    return {
        "running": going.running,
        "done": going.done,
        "total": going.total,
        "error": going.error,
        "hint": going.hint,
        "old": going.mark != version,
    }


def _urgency(story: BoardStory) -> tuple[Any, ...]:
    """Boards that something is to be said of first."""
    place = {"slower": 0, "faster": 1, "unknown": 3}.get(story.drift.verdict, 2)
    return (place, not story.drift.text, -(story.drift.ratio or 0.0) * (place == 0), story.device)


def sources_of(opened: Opened) -> list[tuple[SpeedClass, dict[str, Any], str]]:
    """Each kind of device with what was learnt from it, and when it was calibrated last."""
    found: dict[SpeedClass, Source | None] = dict(opened.sightings.sources)
    for speed in opened.calibrations:
        found.setdefault(speed, None)
    classes = {
        speed: source.device_class if source else opened.calibrations[speed].device_class
        for speed, source in found.items()
    }
    labels = device_labels(list(classes.values()))
    rows = []
    for speed in sorted(found, key=lambda s: (s.emulated, s.model, s.power_mode, s.software)):
        calibration = opened.calibrations.get(speed)
        row = {"label": labels[classes[speed]], "software": speed.software, **_counts(found[speed])}
        rows.append((speed, row, calibration.at if calibration else ""))
    return rows


def _counts(source: Source | None) -> dict[str, Any]:
    return {
        "boards": sorted(source.boards) if source else [],
        "workloads": len(source.workloads) if source else 0,
        "runs": source.runs if source else 0,
        "of_jobs": source.of_jobs if source else 0,
        "kills": source.kills if source else 0,
        "left_out": source.left_out if source else 0,
        "last_at": source.last_at if source else "",
    }


def _sum_of(opened: Opened) -> dict[str, Any]:
    sightings: Sightings = opened.sightings
    sources = sightings.sources.values()
    return {
        "runs": sum(source.runs for source in sources),
        "kills": sum(source.kills for source in sources),
        "left_out": sum(source.left_out for source in sources),
        "workloads": len({work for source in sources for work in source.workloads}),
        "read_pct": int(100 * opened.share),
        "bad": [str(line) for line in opened.bad[-3:]],
        "bad_lines": len(opened.bad),
    }


def _part_id(kind: str, of: str) -> str:
    return f"{kind}-{blake2b(of.encode(), digest_size=5).hexdigest()}"


def add_costs_pages(ui: Ui) -> None:
    """Put the pages about costs into the dashboard; they share one cost model."""
    book, aside = CostBook(ui.home), Aside(closing=ui.live.closing, turn=ui.turn)
    add_fit_page(ui, book)
    ui.live.add(
        "costs",
        lambda params: CostsView(ui, book, aside, params),
        period_s=PERIOD_S,
        readings=True,
    )

    @ui.router.get("/costs")
    def costs(request: Request, boards: str = "") -> HTMLResponse:
        """How good the predictions are, how boards drift, and what was learnt from."""
        shown = ui.live.shown("costs", {"boards": "all" if boards == "all" else ""})
        return ui.page(request, "costs.html", shown=shown, all_boards=boards == "all")

    @ui.router.post("/costs/unseen")
    def work_out() -> dict[str, Any]:
        """Predict each workload without its own runs; takes seconds to minutes, aside."""
        home: Path = ui.home
        going = aside.start(book.version, "jetsched.cluster.unseen", [str(home)])
        return {"running": going.running}

    @ui.router.post("/costs/unseen/cancel")
    def cancel() -> dict[str, Any]:
        """Stop that."""
        if not aside.cancel():
            raise InputError("nothing is being worked out", hint="reload the page")
        return {"running": False}
