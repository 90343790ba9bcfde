"""What `jetsched top` draws: a picture of the fleet and where somebody is in it, as lines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jetsched.cluster.terminal import Line, Size, Span
from jetsched.cluster.top_events import Happened
from jetsched.cluster.top_marks import Marks, bar, clean, spark
from jetsched.cluster.top_picture import Picture
from jetsched.cluster.top_view import HEADS, Pane, View
from jetsched.tables import Column, cells_wide, console, cut, fit
from jetsched.top_details import COLD_C, DETAILS, HOT_C, LITTLE_W
from jetsched.units import NOTHING, format_duration, number
from jetsched.words import (
    coming_words,
    done_word,
    gib,
    job_cells,
    job_state,
    progress_parts,
    share_done,
    speed_word,
    troubles,
)

Json = Mapping[str, Any]

#: A picture that is so much older than it should be is said to be old.
OLD_S = 4.0
KEYS = "q quit · ? keys · Tab pane · w why · l log · c cancel · Enter more · f filter · s sort"


def draw(picture: Picture, view: View, size: Size, marks: Marks) -> list[Line]:
    """The whole screen, at most as many lines as there is room for, none of them too wide."""
    lines = _head(picture, size.width)
    if view.mode in ("list", "sure"):
        for pane, rows in _PANES.items():
            if view.rooms[pane]:
                lines += rows(picture, view, size.width, marks)
    else:
        room = max(1, size.height - len(lines) - 1)
        lines += DETAILS[view.mode](picture, view, Size(size.width, room), marks)
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
    if rows and view.pane == "boards":  # a note may be cut off; of the selected one all is told
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
    what, place = kinds[picture.shown], view.places["queue"]
    if view.pane == "queue" and place < len(picture.jobs):
        selected = picture.jobs[place]
        what += f" · {selected['id']}: {_job_cells(selected)[-1]}"
    total = max(picture.total, len(picture.jobs))
    return _table("queue", what, _QUEUE, picture.jobs, _job_cells, total, view, width, marks)


#: Those of `queue`, but what comes next has a column of its own, and no reason makes room for it.
_QUEUE = (
    Column("ID", right=True),
    Column("NAME", most=24, least=10),
    Column("WORK", most=24, drop=8),
    Column("PRI", right=True, drop=9),
    Column("STATE"),
    Column("WHERE"),
    Column("FOR", right=True, drop=4),
    Column("NEXT (e)", right=True, drop=3),
    Column("REASON / PROGRESS", most=200, drop=1, least=22),
)


def _job_cells(job: Json) -> list[str]:
    words, kind, at_s = progress_parts(job, job["attempts"][-1] if job["attempts"] else None)
    return [*job_cells(job)[:-1], coming_words(kind, at_s, job["now_s"]), words]


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


#: What each pane draws.
_PANES: dict[Pane, Callable[[Picture, View, int, Marks], list[Line]]] = {
    "boards": _boards,
    "queue": _queue,
    "events": _events,
}


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
