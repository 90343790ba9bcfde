"""Looks at the head again and again for `jetsched top`, and survives its absence."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from jetsched.cluster.client import Client
from jetsched.cluster.top_events import Happened
from jetsched.cluster.top_picture import STATES, Detail, Picture, Wish
from jetsched.cluster.top_trail import Trails
from jetsched.errors import JetschedError, UnreachableError

#: A head that leaves a question unanswered for so long is lost.
ANSWER_S = 10.0
#: It is asked again after so long; less often the longer it is away.
AGAIN_S, LONGEST_S = 1.0, 5.0
#: So much of a core may go into asking for each thing; what costs more is asked for less often.
SHARE = 0.008
LOG_BYTES = 64 * 1024

Connect = Callable[[], Client]
Deed = Callable[[Client], str]


class Hears(Protocol):
    """What knows the last events: :class:`~jetsched.cluster.top_events.Listener`."""

    @property
    def lines(self) -> list[Happened]: ...


class Pace:
    """When something is due again that costs CPU time: it may take up a share of the time."""

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._due = 0.0

    def is_due(self, now: float) -> bool:
        return now >= self._due

    def spent(self, now: float, cpu_s: float) -> None:
        """It was done, at a moment and at a cost; both in seconds."""
        self._due = now + cpu_s / self._share - 0.05  # what is due with the next look is


def connect_to(home: Path | None = None) -> Connect:
    """Finds the head each time anew: after another `up` it has another port and token."""
    return lambda: Client.connect(home, timeout_s=ANSWER_S)


class Watch:
    """Keeps a :class:`Picture` true, in a thread once :meth:`start` is called."""

    def __init__(
        self,
        client: Client,
        connect: Connect,
        hears: Hears,
        *,
        every_s: float = 1.0,
    ) -> None:
        self._client: Client | None = client
        self._connect, self._hears = connect, hears
        self._every_s = every_s
        self._wish = Wish()
        self._deeds: queue.SimpleQueue[Deed] = queue.SimpleQueue()
        self._hurry, self._closed = threading.Event(), False
        self._failed: Exception | None = None
        self._boards_pace, self._jobs_pace = Pace(), Pace()
        self._trails, self._seeded = Trails(), False
        self._asked = 0  # for so many jobs
        self.picture = self._first(client)

    def _first(self, client: Client) -> Picture:
        status = client.status()
        url = client.connection.url
        found = Picture(url, status, [], [], self._wish.shown, time.monotonic())
        self.picture = found
        self.look()
        return self.picture

    # -- for the one who looks ---------------------------------------------------------------------

    def want(self, wish: Wish) -> None:
        """Look for this from now on, at once if it is something new."""
        if wish != self._wish:
            self._wish = wish
            self._hurry.set()

    def do(self, deed: Deed) -> None:
        """Have something done; what it came to stands in the picture, as ``said``."""
        self._deeds.put(deed)
        self._hurry.set()

    def start(self, wake: Callable[[], None]) -> None:
        """Look again and again; ``wake`` is called after each look."""
        threading.Thread(target=self._run, args=(wake,), name="looks", daemon=True).start()

    def close(self) -> None:
        """Have the thread end when it comes round; it does not keep the process."""
        self._closed = True
        self._hurry.set()

    def check(self) -> None:
        """Raises what ended the thread, which is a bug."""
        if self._failed is not None:
            raise self._failed

    # -- in the thread -----------------------------------------------------------------------------

    def _run(self, wake: Callable[[], None]) -> None:
        try:
            self._go_on(wake)
        except Exception as error:
            self._failed = error
            wake()

    def _go_on(self, wake: Callable[[], None]) -> None:
        pause_s = self._every_s
        began = time.monotonic()
        while not self._closed:
            # In step with the clock: what a look takes is part of the period.
            self._hurry.wait(max(0.0, began + pause_s - time.monotonic()))
            self._hurry.clear()
            began = time.monotonic()
            self.look()
            pause_s = self._every_s
            if self.picture.trouble:
                away_s = time.monotonic() - self.picture.at
                pause_s = min(max(AGAIN_S, away_s / 5), LONGEST_S)
            wake()

    def look(self) -> None:
        """Ask for everything that is due; a head that is lost leaves the picture as it was."""
        try:
            if self._client is None:
                self._client = self._connect()
                self._seeded = False
            self._ask(self._client)
        except JetschedError as error:
            if self._client is not None:
                self._client.close()
                self._client = None
            self.picture = replace(self.picture, trouble=str(error), events=self._hears.lines)
            self._say_undone(error)

    def _say_undone(self, error: JetschedError) -> None:
        """What waits to be done is not done later, when nobody expects it any more."""
        undone = False
        with suppress(queue.Empty):
            while True:
                self._deeds.get_nowait()
                undone = True
        if undone:
            self._say(f"not done: {error}")

    def _ask(self, client: Client) -> None:
        wish, before = self._wish, self.picture
        self._do_deeds(client)
        now = time.monotonic()
        status = client.status()
        devices, jobs, trails = before.devices, before.jobs, before.trails
        is_new = wish.shown != before.shown or wish.count > self._asked
        if is_new or self._jobs_pace.is_due(now):
            states = ",".join(STATES[wish.shown])
            began = time.thread_time()
            jobs = client.page(states=states, order="queue", limit=wish.count)
            self._asked = wish.count
            self._jobs_pace.spent(now, time.thread_time() - began)
        if self._boards_pace.is_due(now):
            began = time.thread_time()
            devices = client.devices()
            self._trails.add(devices, float(status["at_s"]))
            trails = self._trails.copy()
            self._boards_pace.spent(now, time.thread_time() - began)
        if not self._seeded:
            self._seeded = True
            self._seed(client)
            trails = self._trails.copy()
        detail = self._detail(client, wish)
        self.picture = replace(
            self.picture,
            head=client.connection.url,
            status=status,
            devices=devices,
            jobs=jobs,
            shown=wish.shown,
            at=now,
            events=self._hears.lines,
            trails=trails,
            detail=detail,
            trouble="",
        )

    def _seed(self, client: Client) -> None:
        """What the head knows of the last minutes; one of an older version knows nothing."""
        try:
            self._trails.seed(client.recent())
        except UnreachableError:
            raise
        except JetschedError:
            return

    def _do_deeds(self, client: Client) -> None:
        """Do what was asked for; a refusal is told and is no reason to give up the head."""
        with suppress(queue.Empty):
            while True:
                deed = self._deeds.get_nowait()
                try:
                    self._say(deed(client))
                except UnreachableError as error:
                    self._say(f"nobody knows whether it was done: {error}")
                    raise
                except JetschedError as error:
                    self._say(f"{error}; {error.hint}" if error.hint else str(error))

    def _say(self, text: str) -> None:
        self.picture = replace(self.picture, said=text, saids=self.picture.saids + 1)

    def _detail(self, client: Client, wish: Wish) -> Detail | None:
        if not wish.kind:
            return None
        try:
            if wish.kind == "why":
                return Detail("why", wish.job_id, why=client.why(wish.job_id))
            return _log_end(client, wish.job_id)
        except UnreachableError:
            raise
        except JetschedError as error:
            return Detail(wish.kind, wish.job_id, error=str(error))


def _log_end(client: Client, job_id: str) -> Detail:
    found = client.log(job_id, last_bytes=LOG_BYTES)
    lines = found["text"].splitlines()
    return Detail("log", job_id, lines=lines, attempt=found["attempt"])
