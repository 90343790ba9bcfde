"""What `jetsched top` opens over its panes: why, the end of a log, more of a board, the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from textwrap import wrap
from typing import Any

from jetsched.cluster.recent import Quantity
from jetsched.cluster.terminal import Line, Size
from jetsched.cluster.top_marks import Marks, clean, spark
from jetsched.cluster.top_picture import Picture
from jetsched.cluster.top_trail import KEPT
from jetsched.cluster.top_view import Mode, View
from jetsched.screens import DECISION_COLUMNS
from jetsched.tables import STYLES, cells_wide, fit
from jetsched.units import NOTHING, number
from jetsched.words import decision_rows, done_word, gib, speed_word, troubles, why_of

Json = Mapping[str, Any]

#: A scale that heat and, where a board never draws more, watts are drawn on.
COLD_C, HOT_C, LITTLE_W = 20.0, 100.0, 5.0
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
    name = f"{device['id']}  {device['model'] or ''}  "
    emulated = " · emulated" if device["emulated"] else ""
    title = Line([(name, "bold"), (state, STYLES.get(state, "")), (emulated, "")])
    lines = [title, Line([]), *_traces(picture, device, size.width, marks), Line([])]
    lines += [Line([(f"  {name:<15}{fact}", "")]) for name, fact in _facts(device).items()]
    lines += _wrapped([f"  ! {words}" for words in troubles(device)], size.width, "yellow")
    verb = "undrain" if device["state"] == "draining" else "drain"
    lines += [Line([]), Line([(f"  Next: jetsched {verb} {device['id']}", "dim")])]
    return _scrolled(lines, view, size)


#: Name, quantity, unit, digits, and from where to where it is drawn; more, if there was more.
_TRACES: tuple[tuple[str, Quantity, str, int, float, float], ...] = (
    ("GPU", "gpu_util_pct", " %", 0, 0.0, 100.0),
    ("memory of jobs", "memory_mib", " MiB", 0, 0.0, 0.0),
    ("power", "power_w", " W", 1, 0.0, LITTLE_W),
    ("temperature", "temperature_c", " °C", 0, COLD_C, HOT_C),
)


def _traces(picture: Picture, device: Json, width: int, marks: Marks) -> list[Line]:
    lines = []
    for name, quantity, unit, digits, low, high in _TRACES:
        values = picture.trails.of(device["id"], quantity, max(8, min(KEPT, width - 44)))
        known = [value for value in values if value is not None]
        most = device["has_mib"] or 1.0 if quantity == "memory_mib" else high
        line = spark(values, low, max([most, *known]), marks)
        span = f"{min(known):,.{digits}f} to {max(known):,.{digits}f}" if known else ""
        now = number(device[quantity], digits, unit)
        lines.append(Line([(f"  {name:<15}{now:>10}  {line}  {span}", "")]))
    return lines


def _facts(device: Json) -> dict[str, str]:
    job = f"{device['job_id']} {device['job_name']}" if device["job_id"] else NOTHING
    return {
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


def _profile(device: Json) -> str:
    profile = device.get("profile")
    return f"{profile['verdict']}: {profile['text']}" if profile else NOTHING


def _help(picture: Picture, view: View, size: Size, marks: Marks) -> list[Line]:
    return _scrolled([Line([(line, "")]) for line in HELP.split("\n")], view, size)


#: What each mode draws.
DETAILS: dict[Mode, Callable[[Picture, View, Size, Marks], list[Line]]] = {
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
