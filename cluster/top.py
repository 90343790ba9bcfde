"""`jetsched top`: the loop of looking, drawing and pressing keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetsched.cluster.client import Client
from jetsched.cluster.terminal import Gone, Line, Size, Terminal
from jetsched.cluster.top_events import Happened, Listener, past_of
from jetsched.cluster.top_marks import Marks, marks_for
from jetsched.cluster.top_picture import STATES, Picture
from jetsched.cluster.top_view import Deed, View
from jetsched.cluster.top_watch import Watch, connect_to
from jetsched.errors import InputError
from jetsched.units import parse_duration_s

#: The clock goes on also where nothing is heard.
TICK_S = 2.5
LEAST_S, MOST_S = 0.2, 3600.0
#: So many jobs and events in the text for a pipe.
FEW_JOBS, FEW_EVENTS = 50, 10

Draw = Callable[[Picture, View, Size, Marks], Sequence[Line]]


@dataclass(frozen=True)
class Look:
    """One look, for a pipe: rows of the API, the newest event first."""

    status: Any
    devices: list[Any]
    jobs: list[Any]
    events: list[Happened]

    def count(self) -> int:
        """How many jobs have not ended, listed or not."""
        return sum(int(self.status["states"][state]) for state in STATES["open"])


def look_once(client: Client) -> Look:
    """What there is now."""
    jobs = client.page(states=",".join(STATES["open"]), order="queue", limit=FEW_JOBS)
    return Look(client.status(), client.devices(), jobs, past_of(client)[:FEW_EVENTS])


def period_s(text: str) -> float:
    """How often to look. Raises :class:`InputError` for what is none, or for too often."""
    try:
        every_s = parse_duration_s(text)
    except InputError as error:
        raise InputError(f"--every {text}: {error}", hint=error.hint or "e.g. 1s") from None
    if not LEAST_S <= every_s <= MOST_S:
        raise InputError(f"--every {text}: from {LEAST_S:g} s to {MOST_S:g} s", hint="e.g. 1s")
    return every_s


def is_for_a_person() -> bool:
    """Whether somebody sits at a terminal that can do more than print."""
    dumb = os.environ.get("TERM", "") in ("", "dumb")
    return sys.stdin.isatty() and sys.stdout.isatty() and not dumb


def run(draw: Draw, *, every_s: float = 1.0, home: Path | None = None) -> None:
    """Show the fleet until somebody presses q. Raises :class:`UnreachableError` without a head."""
    connect = connect_to(home)
    marks = marks_for(sys.stdout.encoding)
    listener = Listener(connect)
    watch = Watch(connect(), connect, listener, every_s=every_s)
    with suppress(Gone), Terminal(coloured=not os.environ.get("NO_COLOR")) as terminal:
        listener.start()
        watch.start(terminal.wake)
        try:
            _attend(terminal, watch, listener, draw, marks)
        finally:
            watch.close()
            listener.close()


def _attend(terminal: Terminal, watch: Watch, listener: Listener, draw: Draw, marks: Marks) -> None:
    view = View()
    while True:
        watch.check()
        listener.check()
        picture, size = watch.picture, terminal.size()
        view.settle(picture, size)
        terminal.paint(draw(picture, view, size, marks), size)
        watch.want(view.wish)
        for key in terminal.wait(TICK_S):
            deed = view.press(key, picture)
            view.settle(picture, size)
            if deed is not None and deed.kind == "quit":
                return
            if deed is not None:
                watch.do(_cancelling(deed))


def _cancelling(deed: Deed) -> Callable[[Client], str]:
    def cancel(client: Client) -> str:
        row = client.cancel(deed.job_id)
        state = "stopping" if row["stopping"] else str(row["state"]).upper()
        return f"job {deed.job_id} {row['name']}: {state}"

    return cancel
