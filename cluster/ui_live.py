"""Parts of pages that change by themselves: looked at once, drawn once, sent to all who watch."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from typing import Annotated, Any, Protocol
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool

from jetsched.cluster.api_events import BEAT_S, NOD_S, Followers, Wake
from jetsched.cluster.feed import Feed
from jetsched.cluster.sse import BEAT, ServerEvent
from jetsched.errors import InputError, UnreachableError

#: Looks may take this share of a core: where they are dear, they become rare. What a view has not
#: used it may use at once, so much of it: a dear look now and then delays nothing.
SHARE, SAVED_S = 0.02, 0.2
#: ... but nobody waits longer than this for the next one.
LONGEST_S = 5.0
#: A change that comes alone is shown after so long: those that come with it are shown at once.
SETTLE_S = 0.05
#: Views that nobody watches any more and that are kept for those who come back.
MOST_IDLE = 32
#: Of one page.
MOST_VIEWS = 8

Params = Mapping[str, str]


class View(Protocol):
    """What a page shows that changes. Both methods are called in a thread, one at a time."""

    def look(self) -> Mapping[str, Mapping[str, Any]]:
        """By the id of a list, its parts in order: by id, what each is drawn from.

        A part is drawn again when that differs, so it holds no present moment.
        """
        ...

    def draw(self, part_id: str, data: Any) -> str:
        """HTML of one element, whose id is the part's."""
        ...


@dataclass(frozen=True)
class Part:
    """An element as it was drawn last, and at which version of its channel."""

    version: int
    data: Any
    html: str


@dataclass(frozen=True)
class Shown:
    """A view at one moment, for the first paint of a page."""

    name: str
    stamp: str
    lists: Mapping[str, Sequence[str]]
    parts: Mapping[str, Part]

    def html(self, list_id: str) -> Markup:
        """The elements of a list, one after the other."""
        return Markup("".join(self.parts[part_id].html for part_id in self.lists[list_id]))

    def ids(self, list_id: str) -> Sequence[str]:
        """The ids of a list's parts."""
        return self.lists[list_id]

    @property
    def attributes(self) -> Markup:
        """What the element around the lists carries, so that they are kept up to date.

        A script collects them, and asks for all views of the page in one request.
        """
        return Markup('data-live="{}" data-live-version="{}"').format(self.name, self.stamp)


class Channel:
    """One view with its parameters, and all who watch it."""

    def __init__(self, view: View, name: str, feed: Feed, period_s: float, readings: bool) -> None:
        self.name = name  # with its parameters: ``queue?state=held``
        self.watchers = 0
        self.epoch = secrets.token_hex(4)
        self.version = 0
        self._view = view
        self._feed = feed
        self._period_s = period_s
        self._readings = readings
        self._lists: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._parts: dict[str, Part] = {}
        self._seen = -1  # how many events there had been at the last look
        self._looked = 0.0  # monotonic
        self._left_s = SAVED_S  # of the CPU time that it may take
        self._lock = threading.Lock()

    @property
    def pause_s(self) -> float:
        """How long after a look the next one may be."""
        return min(max(self._period_s, -self._left_s / SHARE), LONGEST_S)

    def is_due(self) -> bool:
        """Whether something may have changed, and the last look is long enough ago."""
        return self._may_differ and time.monotonic() - self._looked >= self.pause_s

    @property
    def rest_s(self) -> float:
        """How long to sleep, unless something happens."""
        if not self._may_differ:
            return NOD_S
        return min(max(self._looked + self.pause_s - time.monotonic(), 0.0), NOD_S)

    @property
    def _may_differ(self) -> bool:
        return self._readings or self._feed.changes != self._seen

    def shown(self) -> Shown:
        """How it is now; what was seen a moment ago is not looked up again."""
        if self._feed.changes != self._seen or time.monotonic() - self._looked > self._period_s:
            self.refresh()
        with self._lock:
            lists = {name: ids for name, (_, ids) in self._lists.items()}
            return Shown(self.name, self.stamp, lists, dict(self._parts))

    @property
    def stamp(self) -> str:
        return f"{self.epoch}-{self.version}"

    def refresh(self) -> None:
        """Look, and draw what differs."""
        with self._lock:
            self._seen, began = self._feed.changes, time.thread_time()
            found = self._view.look()
            version = self.version + 1
            parts: dict[str, Part] = {}
            changed = False
            for name, members in found.items():
                for part_id, data in members.items():
                    old = self._parts.get(part_id)
                    if old is None or old.data != data:
                        old = Part(version, data, self._view.draw(part_id, data))
                        changed = True
                    parts[part_id] = old
                ids = tuple(members)
                if name not in self._lists or self._lists[name][1] != ids:
                    self._lists[name] = version, ids
                    changed = True
            self._parts = parts
            if changed:
                self.version = version
            earned_s = SHARE * (time.monotonic() - self._looked)
            cost_s = time.thread_time() - began
            self._left_s = max(min(self._left_s + earned_s, SAVED_S) - cost_s, -SHARE * LONGEST_S)
            self._looked = time.monotonic()

    def since(self, stamp: str) -> ServerEvent:
        """What somebody lacks who has seen that version; everything, where it is not known."""
        epoch, _, text = stamp.partition("-")
        known = int(text) if epoch == self.epoch and text.isascii() and text.isdigit() else -1
        with self._lock:
            if known > self.version:
                known = -1
            data = {
                "view": self.name,
                "version": self.stamp,
                "parts": {i: p.html for i, p in self._parts.items() if p.version > known},
                "lists": {n: ids for n, (version, ids) in self._lists.items() if version > known},
            }
            return ServerEvent("parts", data)


class Hub:
    """All views, by name, and those of them that are watched."""

    def __init__(self, feed: Feed, followers: Followers) -> None:
        self._feed = feed
        self._followers = followers
        self._makers: dict[str, tuple[Callable[[Params], View], float, bool]] = {}
        self._channels: OrderedDict[str, Channel] = OrderedDict()
        self._lock = threading.Lock()
        self._looks: dict[str, asyncio.Task[None]] = {}

    def closing(self) -> bool:
        """Whether the server wants to end."""
        return self._followers.closing()

    def add(
        self,
        name: str,
        make: Callable[[Params], View],
        *,
        period_s: float = 0.5,
        readings: bool = False,
    ) -> None:
        """Have a view under this name; ``make`` gets the address's parameters, and may refuse them.

        It is looked at when something has happened in the cluster, at most every ``period_s``, and
        with ``readings`` also when nothing has.
        """
        self._makers[name] = make, period_s, readings

    def shown(self, name: str, params: Params | None = None) -> Shown:
        """A view as it is now. Raises :class:`InputError` for parameters that it does not take."""
        return self.channel(name, params or {}).shown()

    def channel(self, name: str, params: Params) -> Channel:
        """The channel of a view with these parameters; all who name the same share it."""
        if name not in self._makers:
            raise InputError(f"there is no view {name!r}")
        query = urlencode(sorted((k, v) for k, v in params.items() if v))
        full = f"{name}?{query}" if query else name
        with self._lock:
            found = self._channels.get(full)
            if found is None:
                make, period_s, readings = self._makers[name]
                found = Channel(make(params), full, self._feed, period_s, readings)
                self._channels[full] = found
            self._channels.move_to_end(full)
            idle = [n for n, c in self._channels.items() if not c.watchers and c is not found]
            for old in idle[: max(0, len(idle) - MOST_IDLE)]:
                del self._channels[old]
        return found

    def add_route(self, router: APIRouter) -> None:
        """Put the stream of parts into the application."""

        @router.get("/live", response_class=StreamingResponse)
        async def live(
            view: Annotated[list[str], Query(min_length=1, max_length=MOST_VIEWS)],
            version: Annotated[list[str], Query(max_length=MOST_VIEWS)],
        ) -> StreamingResponse:
            """What changes on a page, as server-sent events.

            A page names all its views and the version of each that it has: a browser opens few
            connections to one place.
            """
            channels = await run_in_threadpool(lambda: [self._named(one) for one in view])
            return self._followers.answer(self._stream(channels, version))

    def _named(self, full: str) -> Channel:
        name, _, query = full.partition("?")
        return self.channel(name, dict(parse_qsl(query, max_num_fields=20)))

    async def _stream(
        self, channels: Sequence[Channel], versions: Sequence[str]
    ) -> AsyncIterator[bytes]:
        """Parts as they change. Whoever comes first looks; the others send what it has seen."""
        wake, beat = Wake(self._feed), time.monotonic()
        seen = dict(zip_longest(channels, versions[: len(channels)], fillvalue=""))
        for channel in channels:
            channel.watchers += 1
        yield BEAT
        try:
            while not self._followers.closing():
                for channel in channels:
                    await self._look(channel)
                    if seen[channel] != channel.stamp:
                        event = channel.since(seen[channel])
                        seen[channel], beat = event.data["version"], time.monotonic()
                        yield event.encode()
                if time.monotonic() - beat > BEAT_S:
                    beat = time.monotonic()
                    yield BEAT
                await wake.sleep(min(channel.rest_s for channel in channels))
                await asyncio.sleep(SETTLE_S)
        finally:
            for channel in channels:
                channel.watchers -= 1
            wake.end()

    async def _look(self, channel: Channel) -> None:
        """Have the channel looked at if that is due, once for all who watch it."""
        task = self._looks.get(channel.name)
        if task is None and channel.is_due():
            task = asyncio.create_task(run_in_threadpool(channel.refresh))
            self._looks[channel.name] = task
            task.add_done_callback(lambda _: self._looks.pop(channel.name, None))
        if task is not None:
            with suppress(UnreachableError):  # the loop is busy or about to end: the next time
                await asyncio.shield(task)
