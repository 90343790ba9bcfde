"""What has happened lately, a line each, for `jetsched top`: heard from the head as it happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from jetsched.cluster.client import Client
from jetsched.cluster.sse import ServerEvent
from jetsched.errors import JetschedError, UnreachableError
from jetsched.words import state_word

Json = Mapping[str, Any]

#: So many lines are kept, and so many changes are asked for of the time before.
KEPT = 200
PAST = 50
#: Of jobs that change together, so many have a line each.
MOST_LINES = 20
#: A line about a job is not repeated within so many.
NEAR = 8
PAUSE_S = 2.0

_OF_BOARDS = {
    "DeviceJoined": "is there",
    "DeviceLost": "is lost",
    "DeviceClosed": "takes no new jobs",
    "DeviceOpened": "may take jobs again",
    "DeviceRemoved": "is forgotten",
}


@dataclass(frozen=True)
class Happened:
    """A line about a job or a board. ``at_s`` is on the head's clock."""

    at_s: float
    text: str
    job_id: str = ""
    device_id: str = ""


def lines_of(event: ServerEvent) -> list[Happened]:
    """What a change comes to in words; nothing for what nobody would want to read."""
    if event.name == "jobs":
        return _of_jobs(event.data)
    data = event.data
    if event.name == "devices":
        words = f"{data['device']} {_OF_BOARDS.get(data['event'], data['event'])}"
        words += f": {data['text']}" if data["text"] else ""
        return [Happened(data["at_s"], words, device_id=data["device"])]
    if event.name == "queue" and data["event"] == "QueuePaused":
        return [Happened(data["at_s"], "the queue was paused, or goes on")]
    return []


def _of_jobs(data: Json) -> list[Happened]:
    jobs, count = data["jobs"], data["count"]
    shown = jobs if count <= MOST_LINES else jobs[: MOST_LINES - 1]
    found = [
        Happened(data["at_s"], _job_words(job, data["event"]), job["id"], job["device"] or "")
        for job in shown
    ]
    if count > len(shown):
        found.append(Happened(data["at_s"], f"and {count - len(shown):,} jobs more"))
    return found


def _job_words(job: Json, event: str) -> str:
    name = f"job {job['id']} {job['name']}".rstrip()
    state, outcome, device = job["state"], job["outcome"], job["device"]
    if state in ("starting", "running"):
        number = f", try {job['attempt']}" if (job["attempt"] or 1) > 1 else ""
        return f"{name} {state_word(state)} on {device}{number}"
    if state in ("waiting", "held"):
        if outcome is not None and event != "Submitted":
            ended = state_word(outcome.partition("_")[0], outcome)
            return f"{name} {ended} on {device}; {state_word(state)}"
        return f"{name} {state_word(state)}" + (" (new)" if event == "Submitted" else "")
    return f"{name} {state_word(state, outcome)}" + (f" on {device}" if device else "")


def past_of(client: Client, count: int = PAST) -> list[Happened]:
    """The last changes, the newest first, as far as the head still has them."""
    run, newest = _parts(_first_id(client.follow()))
    found: list[Happened] = []
    if newest == 0:
        return found
    with closing(client.follow(last=f"{run}-{max(0, newest - count)}")) as events:
        for event in events:
            if event.name == "reset" or _parts(event.id)[0] != run:
                break  # it has begun anew meanwhile
            found += lines_of(event)
            if _parts(event.id)[1] >= newest:
                break
    return found[::-1]


def _first_id(events: Generator[ServerEvent, None, None]) -> str:
    """Of the newest event. Raises :class:`UnreachableError` where the stream ends before it."""
    with closing(events):
        for event in events:
            return event.id
    raise UnreachableError("the head ended its events before the first", hint="ask it again")


def _parts(id: str) -> tuple[str, int]:
    run, _, number = id.partition("-")
    return run, int(number) if number.isdigit() else 0


class Listener:
    """Hears what happens, in a thread of its own, and comes back by itself when the head is lost.

    ``connect`` makes a client, or raises :class:`JetschedError`.
    """

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        #: The newest first; replaced as a whole, for another thread reads it.
        self._lines: tuple[Happened, ...] = ()
        self._closed = threading.Event()
        self._failed: Exception | None = None
        self._last = ""  # the id of the newest event

    def start(self) -> None:
        threading.Thread(target=self._run, name="listens", daemon=True).start()

    def close(self) -> None:
        """Have the thread end after the next event; it does not keep the process."""
        self._closed.set()

    @property
    def lines(self) -> list[Happened]:
        """The newest first."""
        return list(self._lines)

    def check(self) -> None:
        """Raises what ended the thread, which is a bug."""
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                with suppress(JetschedError), self._connect() as client:
                    self._hear(client)
                self._closed.wait(PAUSE_S)
        except Exception as error:  # nobody would see it here, only that nothing happens any more
            self._failed = error

    def _hear(self, client: Client) -> None:
        """Goes on until the head is lost, which is raised."""
        if not self._last:
            run, number = _parts(_first_id(client.follow()))
            self._last = f"{run}-{max(0, number - PAST)}"
        with closing(client.follow(last=self._last)) as events:
            for event in events:
                if self._closed.is_set():
                    return
                if event.name == "reset":  # something was missed: perhaps the head still has it
                    run, number = _parts(event.id)
                    self._last = f"{run}-{max(0, number - PAST)}"
                    return
                self._last = event.id or self._last
                self._take(lines_of(event))

    def _take(self, lines: list[Happened]) -> None:
        known = list(self._lines)
        for line in lines:
            if not line.job_id or line.text not in [old.text for old in known[:NEAR]]:
                known.insert(0, line)  # a change of a job need not be one of its state
        self._lines = tuple(known[:KEPT])
