"""Routes that go on: what changes, and what a job writes, as server-sent events.

A follower costs a coroutine and, while nothing happens, a look at a file's size: it never asks the
scheduler's loop for anything that has not changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Annotated

from fastapi import FastAPI, Header, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from jetsched.cluster.desk import Desk
from jetsched.cluster.feed import Feed
from jetsched.cluster.sse import BEAT, ServerEvent
from jetsched.errors import InputError, JetschedError, UnreachableError
from jetsched.problems import quoted

#: More would rather be a mistake than people.
MOST_FOLLOWERS = 100
BEAT_S = 15.0
LOOK_S = 0.25  # at a log's size
NOD_S = 1.0  # at most so long after the server wants to end

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Closing = Callable[[], bool]
LastId = Annotated[str, Header(alias="Last-Event-ID", max_length=100)]


class Followers:
    """Counts those who follow. For the server's event loop."""

    def __init__(self, closing: Closing) -> None:
        self.closing = closing
        self.count = 0

    def answer(self, events: AsyncIterator[bytes]) -> StreamingResponse:
        """The answer that sends the events. Raises :class:`UnreachableError` for one too many."""
        if self.count >= MOST_FOLLOWERS:
            raise UnreachableError(f"{MOST_FOLLOWERS} follow already", hint="try again later")

        async def counted() -> AsyncIterator[bytes]:
            self.count += 1
            try:
                async for part in events:
                    yield part
            finally:
                self.count -= 1

        return StreamingResponse(counted(), media_type="text/event-stream", headers=_HEADERS)


def add_event_routes(app: FastAPI, desk: Desk, followers: Followers) -> None:
    """Put the routes into the application."""

    @app.get("/events", tags=["events"], response_class=StreamingResponse)
    async def events(last_id: LastId = "") -> StreamingResponse:
        """What changes, as server-sent events: `jobs`, `devices`, `queue`; `hello` comes first.

        With `Last-Event-ID` those that were missed come first; `reset` where they are not known
        any more: look at everything again then.
        """
        return followers.answer(_changes(desk.feed, last_id, followers.closing))

    @app.get("/jobs/{job_id}/log/stream", tags=["events"], response_class=StreamingResponse)
    async def log_stream(
        job_id: str,
        attempt: Annotated[
            int | None, Query(ge=1, le=1 << 31, description="Only this one; else all from the last")
        ] = None,
        begin: Annotated[
            str,
            Query(max_length=100, description="Where to begin: attempt and offset, e.g. 1-4096"),
        ] = "",
        last_id: LastId = "",
    ) -> StreamingResponse:
        """The log of a job as it grows, as server-sent events: `log`, at the end `end`."""
        place = last_id or begin
        number, offset = _log_place(place) if place else (attempt, 0)
        await run_in_threadpool(desk.log, job_id, number, offset)  # raises what is wrong now
        story = LogStory(desk, job_id, number, offset, only=attempt is not None)
        return followers.answer(story.events(followers.closing))


def _log_place(text: str) -> tuple[int, int]:
    attempt, _, offset = text.partition("-")
    if attempt.isascii() and attempt.isdigit() and offset.isascii() and offset.isdigit():
        found = int(attempt), int(offset)
        if 1 <= found[0] < 1 << 31 and found[1] < 1 << 62:
            return found
    raise InputError(f"{quoted(text)} is no place in a log", hint="e.g. 1-4096: attempt and offset")


class Wake:
    """Lets a coroutine sleep until the feed has something, or for a while."""

    def __init__(self, feed: Feed) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self.end = feed.subscribe(self._ring)

    def _ring(self) -> None:
        with suppress(RuntimeError):  # the server's event loop has ended
            self._loop.call_soon_threadsafe(self._event.set)

    def ring(self) -> None:
        """Wake it from the server's event loop."""
        self._event.set()

    async def sleep(self, limit_s: float) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._event.wait(), limit_s)
        self._event.clear()


async def _changes(feed: Feed, last_id: str, closing: Closing) -> AsyncIterator[bytes]:
    wake, beat = Wake(feed), time.monotonic()
    run, _, text = last_id.partition("-")
    number = feed.newest
    try:
        if last_id and run == feed.run and text.isascii() and text.isdigit():
            number = int(text[:18])
        elif last_id:
            yield ServerEvent("reset", {}, f"{feed.run}-{number}").encode()
        yield ServerEvent("hello", {"run": feed.run}, f"{feed.run}-{number}").encode()
        while not closing():
            changes = feed.after(number)
            if changes is None:
                number = feed.newest
                yield ServerEvent("reset", {}, f"{feed.run}-{number}").encode()
            elif changes:
                number = changes[-1].number
                yield b"".join(
                    ServerEvent(c.kind, c.data, f"{feed.run}-{c.number}").encode() for c in changes
                )
                beat = time.monotonic()
            else:
                await wake.sleep(NOD_S)
                if time.monotonic() - beat > BEAT_S:
                    yield BEAT
                    beat = time.monotonic()
    finally:
        wake.end()


class LogStory:
    """What a job writes, from a place on, and through its later attempts unless *only* one."""

    def __init__(
        self, desk: Desk, job_id: str, attempt: int | None, offset: int, *, only: bool
    ) -> None:
        self._desk = desk
        self._job_id = job_id
        self._attempt = attempt
        self._offset = offset
        self._only = only
        self._seen = desk.feed.newest

    async def events(self, closing: Closing) -> AsyncIterator[bytes]:
        """Server-sent events until the last attempt has ended."""
        wake, beat = Wake(self._desk.feed), time.monotonic()
        try:
            while not closing():
                self._seen = self._desk.feed.newest
                try:
                    event = await run_in_threadpool(self._next)
                except UnreachableError:
                    await wake.sleep(NOD_S)
                    continue
                except JetschedError as error:
                    yield ServerEvent("error", {"error": str(error)}).encode()
                    return
                if event is not None:
                    yield event.encode()
                    beat = time.monotonic()
                    if event.name == "end":
                        return
                    continue
                while not closing() and not self._has_news():
                    await wake.sleep(LOOK_S)
                    if time.monotonic() - beat > BEAT_S:
                        yield BEAT
                        beat = time.monotonic()
        finally:
            wake.end()

    def _next(self) -> ServerEvent | None:
        """The next part, or the end; None where there is nothing more now."""
        part = self._desk.log(self._job_id, self._attempt, self._offset)
        self._attempt = part["attempt"] or None  # also when it has written nothing yet
        if part["text"]:
            self._offset = part["offset"]
            place = f"{self._attempt}-{self._offset}"
            data = {"attempt": self._attempt, "offset": self._offset, "text": part["text"]}
            return ServerEvent("log", data, place)
        if part["final"] or (part["ended"] and self._only):
            return ServerEvent("end", {"attempt": part["attempt"], "final": part["final"]})
        if part["ended"]:
            newest = self._desk.log(self._job_id)["attempt"]
            if newest != part["attempt"]:
                self._attempt, self._offset = part["attempt"] + 1, 0
                return self._next()
        return None

    def _has_news(self) -> bool:
        """Whether the log has grown, or something has become of the job."""
        attempt = self._attempt
        if attempt is not None and self._desk.log_size(self._job_id, attempt) > self._offset:
            return True
        changes = self._desk.feed.after(self._seen)
        if changes is None:
            return True
        if changes:
            self._seen = changes[-1].number
        return any(
            change.data["count"] > len(change.data["jobs"])
            or any(job["id"] == self._job_id for job in change.data["jobs"])
            for change in changes
            if change.kind == "jobs"
        )
