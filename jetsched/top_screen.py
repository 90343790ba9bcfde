"""What `jetsched top` draws: a picture of the fleet and where somebody is in it, as lines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

from jetsched.cluster.terminal import Line, Size, Span
from jetsched.cluster.top_events import Happened
from jetsched.cluster.top_marks import Marks, bar, clean, spark
from jetsched.cluster.top_picture import Picture
from jetsched.cluster.top_view import HEADS, Mode, Pane, View
from jetsched.screens import DECISION_COLUMNS, QUEUE_COLUMNS
from jetsched.tables import STYLES, Column, cells_wide, console, cut, fit
from jetsched.units import NOTHING, format_duration, number
from jetsched.words import (
    decision_rows,
    done_word,
    gib,
    job_cells,
    job_state,
    share_done,
    speed_word,
    troubles,
    why_of,
)

Json = Mapping[str, Any]

#: A picture that is so much older than it should be is said to be old.
OLD_S = 4.0
#: A scale that heat and, where a board never draws more, watts are drawn on.
COLD_C, HOT_C, LITTLE_W = 20.0, 100.0, 5.0
KEYS = "q quit · ? keys · Tab pane · w why · l log · c cancel · Enter more · f filter · s sort"
HELP = """KEYS
  up, down, j, k       select a row; PgUp, PgDn, Home, End go further
  Tab, left, right     go to the boards, the queue, the last events
  Enter                more of a board; of a job the same as w
  w                    why a job runs where it runs, or why it waits (`jetsched why`)
  l                    the end of its log, as it grows (`jetsched logs -f`)
  c                    cancel it; you are asked first (`jetsched cancel`)
                       On a board w, l and c are about the job that runs there.
  f                    show the jobs that are open, that wait, that run, that have ended
  s                    sort the boards by name, state, GPU, memory, heat
  z                    the pane alone, and back
  q                    quit; q, Esc or Enter leave what was opened

SIGNS
  (m) measured, (e) estimated. A dash: nobody knows; emulated boards have no sensors.
  The lines beside the bars are the last minutes, 5 s for each character: GPU from 0 to 100 %,
  heat from 20 to 100 °C, watts from 0 to the most that was seen.
  JOBS/HAS: what jobs hold of the memory that they may hold."""


def draw(picture: Picture, view: View, size: Size, marks: Marks) -> list[Line]:
    """The whole screen, at most as many lines as there is room for, none of them too wide."""
    lines = _head(picture, size.width)
    if view.mode in ("list", "sure"):
        for pane, rows in _PANES.items():
            if view.rooms[pane]:
                lines += rows(picture, view, size.width, marks)
    else:
        room = max(1, size.height - len(lines) - 1)
        lines += _DETAILS[view.mode](picture, view, Size(size.width, room), marks)
    lines = [Line(_clipped(line.spans, size.width), line.marked) for line in lines]
    lines = lines[: max(0, size.height - 1)]
    lines += [Line([])] * (size.height - 1 - len(lines))
    return [*lines, Line(_clipped(_foot(picture, view), size.width))][-size.height :]


def _head(picture: Picture, width: int) -> list[Line]:
    status = picture.status
    clock = time.strftime("%H:%M:%S", time.localtime(status["at_s"]))
    first: list[Span] = [
        ("jetsched top", "bold"),
        (f"  {picture.head} · policy {status['policy']} · {clock}", ""),
    ]
    states = Counter(device["state"] for device in picture.devices)
    boards = " ".join(f"{count} {state}" for state, count in states.most_common())
    jobs = ", ".join(f"{n:,} {state}" for state, n in status["states"].items() if n)
    second = [(f"{len(picture.devices)} boards: {boards or 'none'} · jobs: {jobs or 'none'}", "")]
    old_s = time.monotonic() - picture.at
    if picture.trouble:
        away = format_duration(float(int(old_s)))
        second = [(f"✗ the head is lost for {away}, trying again: {picture.trouble}", "bold red")]
    elif old_s > OLD_S:
        away = format_duration(float(int(old_s)))
        second = [(f"! no answer for {away}: what is shown is as old", "yellow")]
    elif status.get("paused"):
        words = f"PAUSED: {status['paused']} (jetsched resume) · "
        second = [(words, "yellow"), *second]
    return [Line(first), Line(second)]


def _foot(picture: Picture, view: View) -> list[Span]:
    if view.mode == "sure":
        job = next((job for job in picture.jobs if job["id"] == view.job_id), None)
        name = f" {clean(job['name'])} ({job_state(job)})" if job is not None else ""
        return [(f"Cancel job {view.job_id}{name}? y: yes, any other key: no", "bold")]
    if view.said:
        return [(view.said, "bold")]
    if view.mode == "list":
        return [(KEYS, "dim")]
    about = f" · w why · l log · c cancel job {view.job_id}" if view.mode in ("why", "log") else ""
    return [(f"q back · arrows scroll{about}", "dim")]


# ------------------------------------------------------------------------------------------ panes


def _boards(picture: Picture, view: View, width: int, marks: Marks) -> list[Line]:
    wide = 5 if width < 110 else 8 if width < 170 else 14
    trail = 8 if width < 150 else 12 if width < 190 else 24
    columns = [
        Column("DEVICE", most=24, least=8),
        Column("STATE"),
        Column("GPU (m)"),
        Column("", drop=4),
        Column("MEMORY jobs/has (m)"),
        Column("WATTS", right=True, drop=5),
        Column("", drop=8),
        Column("TEMP", right=True, drop=3),
        Column("", drop=7),
        Column("JOB", most=32, least=10),
        Column("DONE (e)", right=True, drop=1),
        Column("SPEED", drop=6),
        Column("MODEL", drop=9),
        Column("NOTE", most=40, drop=2, least=10),
    ]

    emulated = sum(1 for device in picture.devices if device["emulated"])

    def cells(device: Json) -> list[str]:
        gpu_pct, used_mib, has_mib = (
            device["gpu_util_pct"],
            device["memory_mib"],
            device["has_mib"],
        )
        share = used_mib / has_mib if used_mib is not None and has_mib else None
        watts = picture.trails.of(device["id"], "power_w", trail)
        most_w = max((w for w in watts if w is not None), default=0.0)
        notes = troubles(device)
        if device["emulated"] and emulated < len(picture.devices):  # else the title says it of all
            notes = ["emulated", *notes]
        return [
            device["id"],
            device["state"].upper(),
            f"{bar(None if gpu_pct is None else gpu_pct / 100, wide, marks)} "
            f"{number(gpu_pct, 0, ' %'):>5}",
            spark(picture.trails.of(device["id"], "gpu_util_pct", trail), 0, 100, marks),
            f"{bar(share, wide, marks)} {gib(used_mib):>4}/{gib(has_mib)} GiB",
            number(device["power_w"], 1, " W"),
            spark(watts, 0, max(most_w, LITTLE_W), marks),
            number(device["temperature_c"], 0, " °C"),
            spark(picture.trails.of(device["id"], "temperature_c", trail), COLD_C, HOT_C, marks),
            f"{device['job_id']} {device['job_name']}" if device["job_id"] else NOTHING,
            _progress(device) + done_word(device),
            speed_word(device["drift"]),
            device["model"] or "",
            "; ".join(notes),
        ]

    order = "" if view.order == "name" else f" by {view.order}"
    some = f"{emulated} of them" if emulated < len(picture.devices) else "all of them"
    what = "boards" + order + (f", {some} emulated" if emulated else "")
    rows = view.boards(picture)
    if rows and view.pane == "boards":  # the note may be cut off; of this one all is told
        selected = rows[view.places["boards"]]
        what += "".join(f" · {selected['id']}: {words}" for words in troubles(selected)[:1])
    return _table("boards", what, columns, rows, cells, len(rows), view, width, marks)


def _progress(device: Json) -> str:
    share = share_done(device.get("progress"))
    return "" if share is None else f"{100 * share:.0f} % "


def _queue(picture: Picture, view: View, width: int, marks: Marks) -> list[Line]:
    kinds = {
        "open": "jobs that have not ended",
        "waiting": "jobs that wait",
        "running": "jobs that run",
        "ended": "jobs that have ended, the newest first",
    }
    what = f"{kinds[picture.shown]}, times to come (e)"
    total = max(picture.total, len(picture.jobs))
    return _table("queue", what, QUEUE_COLUMNS, picture.jobs, job_cells, total, view, width, marks)


def _events(picture: Picture, view: View, width: int, marks: Marks) -> list[Line]:
    first, room = view.firsts["events"], view.rooms["events"]
    lines = [_title("events", "last events", len(picture.events), view, marks)]
    for place, event in enumerate(picture.events[first : first + room], start=first):
        lines.append(_row("events", place, [(event_text(event), "")], view, marks))
    lines += [Line([])] * (HEADS["events"] + room - len(lines))
    return lines


def print_events(events: Sequence[Happened]) -> None:
    """The last events as text, the newest first; nothing where there are none."""
    if not events:
        return
    console().print("\nLast events", style="bold")
    for event in events:
        console().print(f"  {clean(event_text(event))}", markup=False)


def event_text(event: Happened) -> str:
    """When and what."""
    return f"{time.strftime('%H:%M:%S', time.localtime(event.at_s))}  {event.text}"


def _table(
    pane: Pane,
    what: str,
    columns: Sequence[Column],
    rows: Sequence[Json],
    cells: Callable[[Json], list[str]],
    total: int,
    view: View,
    width: int,
    marks: Marks,
) -> list[Line]:
    """A pane of rows: only those in sight are made into cells."""
    first, room = view.firsts[pane], view.rooms[pane]
    shown = rows[first : first + room]
    _, lines = fit(columns, [[clean(c) for c in cells(row)] for row in shown], width - 2)
    found = [_title(pane, what, total, view, marks), Line([("  ", ""), *lines[0]])]
    for place, spans in enumerate(lines[1:], start=first):
        found.append(_row(pane, place, spans, view, marks))
    if not rows:
        found.append(Line([("  none", "dim")]))
    return (found + [Line([])] * room)[: HEADS[pane] + room]


def _title(pane: Pane, what: str, total: int, view: View, marks: Marks) -> Line:
    first, room = view.firsts[pane], view.rooms[pane]
    last = min(first + room, total)
    place = f"{first + 1:,}-{last:,} of {total:,}" if total > room else f"{total:,}"
    here = view.pane == pane
    sign = marks.cursor if here else " "
    return Line([(f"{sign} {place} {what}", "bold" if here else "dim")])


def _row(pane: Pane, place: int, spans: Sequence[Span], view: View, marks: Marks) -> Line:
    marked = place == view.places[pane] and view.pane == pane
    return Line([(f"{marks.cursor} " if marked else "  ", ""), *spans], marked)


# ---------------------------------------------------------------------------------------- details


def _why(picture: Picture, view: View, size: Size, marks: Marks) -> list[Line]:
    detail = picture.detail
    if detail is None or (detail.kind, detail.job_id) != ("why", view.job_id):
        return [Line([(f"why {view.job_id}: asking", "dim")])]
    if detail.why is None:
        return [Line([(detail.error, "red")])]
    why = why_of(detail.why)
    _, table = fit(
        DECISION_COLUMNS,
        [[clean(cell) for cell in cells] for cells in decision_rows(why.decision)],
        size.width - 2,
    )
    lines = [Line([(why.title, "bold")]), *_wrapped([why.above], size.width)]
    lines += [Line([("  ", ""), *spans]) for spans in table]
    lines += _wrapped(why.below, size.width)
    return _scrolled(lines, view, size)


def _log(picture: Picture, view: View, size: Size, marks: Marks) -> list[Line]:
    detail = picture.detail
    if detail is None or (detail.kind, detail.job_id) != ("log", view.job_id):
        return [Line([(f"log of job {view.job_id}: asking", "dim")])]
    if detail.error:
        return [Line([(detail.error, "red")])]
    title = f"the end of the log of job {view.job_id}"
    title += f", try {detail.attempt}" if detail.attempt else ""
    room = max(1, size.height - 1)
    lines = _wrapped(detail.lines or ["it has written nothing (yet)"], size.width)
    view.scroll = min(view.scroll, max(0, len(lines) - room))
    if view.scroll:
        title += f" · {view.scroll:,} lines below; End goes on as it grows"
    last = len(lines) - view.scroll
    return [Line([(title, "bold")]), *lines[max(0, last - room) : last]]


def _board(picture: Picture, view: View, size: Size, marks: Marks) -> list[Line]:
    device = next((d for d in picture.devices if d["id"] == view.device_id), None)
    if device is None:
        return [Line([(f"{view.device_id} is gone", "red")])]
    state = device["state"].upper()
    emulated = " · emulated" if device["emulated"] else ""
    lines = [
        Line(
            [
                (f"{device['id']}  {device['model'] or ''}  ", "bold"),
                (state, STYLES.get(state, "")),
                (emulated, ""),
            ]
        ),
        Line([]),
    ]
    count = max(8, min(72, size.width - 36))
    has_mib = device["has_mib"] or 1.0
    for name, quantity, unit, digits, low, high in (
        ("GPU", "gpu_util_pct", " %", 0, 0.0, 100.0),
        ("memory of jobs", "memory_mib", " MiB", 0, 0.0, has_mib),
        ("power", "power_w", " W", 1, 0.0, LITTLE_W),
        ("temperature", "temperature_c", " °C", 0, COLD_C, HOT_C),
    ):
        values = picture.trails.of(device["id"], quantity, count)  # type: ignore[arg-type]
        known = [value for value in values if value is not None]
        high = max([high, *known]) if quantity == "power_w" else high
        now = number(device[quantity], digits, unit)
        span = f"{min(known):,.0f} to {max(known):,.0f}" if known else ""
        line = f"  {name:<15}{now:>10}  {spark(values, low, high, marks)}  {span}"
        lines.append(Line([(line, "")]))
    job = f"{device['job_id']} {device['job_name']}" if device["job_id"] else NOTHING
    facts = {
        "memory": f"jobs {gib(device['memory_mib'])}, others {gib(device.get('others_mib'))}, "
        f"free {gib(device['memory_free_mib'])} of {gib(device['memory_total_mib'])} GiB; "
        f"jobs may hold {gib(device['has_mib'])}",
        "disk free": f"{gib(device['disk_free_mib'])} GiB",
        "power mode": device["power_mode"] or NOTHING,
        "profile": _profile(device),
        "speed": speed_word(device["drift"]),
        "job": f"{job} · done {done_word(device)} (e)" if device["job_id"] else job,
        "labels": ", ".join(device["labels"]) or NOTHING,
    }
    lines.append(Line([]))
    lines += [Line([(f"  {name:<15}{fact}", "")]) for name, fact in facts.items()]
    lines += _wrapped([f"  ! {words}" for words in troubles(device)], size.width, "yellow")
    closed = "undrain" if device["state"] == "draining" else "drain"
    lines += [Line([]), Line([(f"  Next: jetsched {closed} {device['id']}", "dim")])]
    return _scrolled(lines, view, size)


def _profile(device: Json) -> str:
    profile = device.get("profile")
    return f"{profile['verdict']}: {profile['text']}" if profile else NOTHING


def _help(picture: Picture, view: View, size: Size, marks: Marks) -> list[Line]:
    return _scrolled([Line([(line, "")]) for line in HELP.split("\n")], view, size)


_PANES: dict[Pane, Callable[[Picture, View, int, Marks], list[Line]]] = {
    "boards": _boards,
    "queue": _queue,
    "events": _events,
}
_DETAILS: dict[Mode, Callable[[Picture, View, Size, Marks], list[Line]]] = {
    "why": _why,
    "log": _log,
    "board": _board,
    "help": _help,
}


def _scrolled(lines: list[Line], view: View, size: Size) -> list[Line]:
    view.scroll = min(view.scroll, max(0, len(lines) - size.height))
    return lines[view.scroll : view.scroll + size.height]


def _wrapped(texts: Iterable[str], width: int, style: str = "") -> list[Line]:
    """Each text in as many lines as it takes."""
    lines: list[Line] = []
    for text in texts:
        text = clean(text)
        indent = " " * (len(text) - len(text.lstrip()))
        fits = cells_wide(text) <= width
        parts = [text] if fits else wrap(text, max(20, width), subsequent_indent=indent + "  ")
        lines += [Line([(part, style)]) for part in parts]
    return lines


def _clipped(spans: Sequence[Span], width: int) -> list[Span]:
    """As much of a line as fits."""
    found: list[Span] = []
    for text, style in spans:
        text = clean(text)
        wide = cells_wide(text)
        if wide > width:
            found.append((cut(text, width) if width > 0 else "", style))
            break
        found.append((text, style))
        width -= wide
    return found
