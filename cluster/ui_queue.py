"""The page of the queue: all jobs, filtered, sorted, a page at a time, as they change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast, get_args
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse

from jetsched import words
from jetsched.cluster.desk_pages import Order, Page
from jetsched.cluster.desk_wanted import OPEN, STATES, Wanted
from jetsched.cluster.ui_base import Ui
from jetsched.errors import InputError
from jetsched.problems import did_you_mean, listed, quoted
from jetsched.records import FINAL_STATES

Json = Mapping[str, Any]

#: How many jobs a page may show, and how many it does.
SIZES = (25, 50, 100, 250, 500)
USUAL_SIZE = 100
#: More pages there cannot be.
LAST_PAGE = 1_000_000
#: Orders that are no column's, in words.
ORDERS = {"queue": "as they are served", "newest": "newest first", "submitted": "oldest first"}
#: The column that each order sorts by, under the title that `jetsched queue` gives it.
SORTED_BY = {
    "NAME": "name",
    "WORK": "work",
    "PRI": "priority",
    "STATE": "state",
    "WHERE": "device",
    "FOR": "since",
}
#: Moments that lie ahead are rounded: a start that is foreseen anew each time moves by a little.
ROUNDED_S = 5.0


@dataclass(frozen=True)
class Asked:
    """What a page of the queue is to show, as its address says it."""

    state: str = "open"
    text: str = ""
    device: str = ""
    user: str = ""
    priority: str = ""
    order: Order = "queue"
    size: int = USUAL_SIZE
    page: int = 1

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Asked:
        """Raises :class:`InputError` for what cannot be meant."""
        order = params.get("order") or "queue"
        if order not in get_args(Order):
            hint = did_you_mean(order, get_args(Order)) or f"orders: {listed(get_args(Order))}"
            raise InputError(f"there is no order {quoted(order)}", hint=hint)
        asked = cls(
            **{n: params.get(n, "").strip()[:200] for n in ("text", "device", "user", "priority")},
            state=params.get("state") or "open",
            order=cast(Order, order),
            size=min(_whole(params, "size", USUAL_SIZE), SIZES[-1]),
            page=_whole(params, "page", 1),
        )
        asked.wanted  # noqa: B018 - raises what is wrong with it
        return asked

    @property
    def wanted(self) -> Wanted:
        return Wanted.of(
            state="" if self.state == "all" else self.state,
            text=self.text,
            device=self.device,
            user=self.user,
            priority=self.priority,
        )

    @property
    def params(self) -> dict[str, str]:
        """What its address carries: only what is not usual, so that the same is called the same."""
        usual = asdict(Asked())
        return {name: str(v) for name, v in asdict(self).items() if v != usual[name]}

    @property
    def is_filtered(self) -> bool:
        return not self.wanted.is_all

    def link(self, **changes: Any) -> str:
        """The address of the same page but for the changes; another filter begins at page 1."""
        query = urlencode(replace(self, **{"page": 1, **changes}).params)
        return "/ui/queue" + (f"?{query}" if query else "")

    def turned(self, column: str) -> str:
        """The order of a column, or its reverse where the page is in that order already."""
        name = SORTED_BY[column]
        return f"-{name}" if self.order == name else name

    def direction(self, column: str) -> str:
        """``ascending`` or ``descending`` where the page is sorted by this column, else ''."""
        name = SORTED_BY.get(column, "")
        return {name: "ascending", f"-{name}": "descending"}.get(self.order, "") if name else ""


def _whole(params: Mapping[str, str], name: str, usual: int) -> int:
    text = params.get(name) or str(usual)
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and 1 <= int(text) <= LAST_PAGE):
        raise InputError(f"{name}: {quoted(text)} is no number of 1 or more")
    return int(text)


def add_queue_page(ui: Ui) -> None:
    """Put the page into the application, and its live view."""
    ui.live.add("queue", lambda params: QueueView(ui, Asked.of(params)))

    @ui.router.get("/queue")
    def queue(request: Request) -> HTMLResponse:
        problem, typed = None, dict(request.query_params)
        try:
            asked = Asked.of(typed)
            typed = {name: str(value) for name, value in asdict(asked).items()}
        except InputError as error:
            asked, problem = Asked(), error
        return ui.page(
            request,
            "queue.html",
            status_code=200 if problem is None else 400,
            asked=asked,
            typed={**{name: str(v) for name, v in asdict(Asked()).items()}, **typed},
            problem=problem,
            names=ui.desk.names(),
            titles=words.QUEUE,
            sorted_by=SORTED_BY,
            orders=ORDERS,
            sizes=SIZES,
            shown=ui.live.shown("queue", asked.params),
        )


class QueueView:
    """The rows of one page of the queue, what is above them, and what is below."""

    def __init__(self, ui: Ui, asked: Asked) -> None:
        self._ui = ui
        self._asked = asked
        self._wanted = asked.wanted  # it knows already of most jobs whether they are

    def look(self) -> dict[str, dict[str, Any]]:
        asked = self._asked
        jobs, total = self._page(asked.page)
        page = asked.page
        if not jobs and total:  # the jobs of this page are gone: show the last there is
            page = -(-total // asked.size)
            jobs, total = self._page(page)
        first = (page - 1) * asked.size + 1
        pager = {"page": page, "first": first, "shown": len(jobs), "total": total}
        return {
            "queue-states": {"queue-counts": self._counts()},
            "queue-rows": {f"job-row-{job['id']}": row_of(job) for job in jobs},
            "queue-pages": {"queue-pager": pager},
        }

    def draw(self, part_id: str, data: Any) -> str:
        macro = {"queue-counts": "counts", "queue-pager": "pager"}.get(part_id)
        if macro is None:
            return self._ui.render("queue_parts.html", "row", data)
        return self._ui.render("queue_parts.html", macro, data, self._asked)

    def _page(self, page: int) -> tuple[list[dict[str, Any]], int]:
        asked = self._asked
        skip = (page - 1) * asked.size
        return self._ui.desk.counted(Page(self._wanted, asked.order, limit=asked.size, skip=skip))

    def _counts(self) -> dict[str, int]:
        """How many jobs there are in each state, whatever else is asked for."""
        states: dict[str, int] = self._ui.desk.health()["states"]
        found = {"open": sum(states[state] for state in OPEN)}
        found |= {state: states[state] for state in STATES if states[state]}
        return {**found, "all": sum(states.values())}


def row_of(job: Json) -> dict[str, Any]:
    """What a row shows of a job: the words of `jetsched queue`, and moments in place of spans."""
    last = job["attempts"][-1] if job["attempts"] else None
    text, kind, at_s = words.progress_parts(job, last)
    cells = dict(zip(words.QUEUE, words.job_cells(job), strict=True))
    if at_s is not None and kind == "starts":
        at_s = ROUNDED_S * round(at_s / ROUNDED_S)
    return {
        "id": job["id"],
        "name": cells["NAME"],
        "work": cells["WORK"],
        "user": job["user"],
        "priority": cells["PRI"],
        "state": job["state"],
        "word": cells["STATE"],
        "where": cells["WHERE"],
        "emulated": bool(job["emulated"] and cells["WHERE"]),
        "since_s": job["since_s"],
        "text": text,
        "kind": kind,
        "at_s": at_s,
        "action": (actions_of(job) or [""])[-1],
    }


def actions_of(job: Json) -> list[str]:
    """Everything that can be asked of a job in its state; what is wanted most often comes last.

    What the scheduler holds can be held by a person, too, but that helps nobody.
    """
    state, reason = job["state"], job["reason"]
    if state == "done" or job["stopping"]:
        return []
    if state in FINAL_STATES:
        return ["retry"]
    if state == "waiting":
        return ["hold", "cancel"]
    if state == "held" and reason and reason["code"] == "Held":
        return ["release", "cancel"]
    return ["cancel"]
