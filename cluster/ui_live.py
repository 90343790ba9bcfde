"""Parts of pages that change by themselves: looked at once, drawn once, sent to all who watch."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from jetsched.cluster.api_events import BEAT_S, NOD_S, Followers, Wake
from jetsched.cluster.feed import Feed
from jetsched.cluster.sse import BEAT, ServerEvent
from jetsched.cluster.ui_moments import freshened
from jetsched.errors import InputError, UnreachableError

#: Looks may take this share of a core: where they are dear, they become rare. What a view has not
#: used it may use at once, so much of it: a dear look now and then delays nothing. What a look has
#: the scheduler's loop do is not counted: there each question bounds itself.
SHARE, SAVED_S = 0.02, 0.2
#: ... but nobody waits longer than this for the next one.
LONGEST_S = 5.0
#: A change that comes alone is shown after so long: those that come with it are shown at once.
SETTLE_S = 0.05
#: A stream is asked for anew after so long: whoever may see it no longer, sees no more.
STREAM_S = 60.0
#: Views that nobody watches any more and that are kept for those who come back.
MOST_IDLE = 32
#: Of one page.
MOST_VIEWS = 8

log = logging.getLogger(__name__)

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
        """The elements of a list, one after the other.

        They may have been drawn long ago: what they say of moments is said anew.
        """
        html = "".join(self.parts[part_id].html for part_id in self.lists[list_id])
        return Markup(freshened(html))

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
        self.watchers: set[Wake] = set()
        self.trouble = ""  # of the last look, which has been told
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
        self._looking = threading.Lock()  # one looks at a time
        self._lock = threading.Lock()  # for a moment: what was seen is put in its place, or taken

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
        if self._is_old():
            with self._looking:
                if self._is_old():  # nobody has looked while this one waited
                    self._look()
        with self._lock:
            lists = {name: ids for name, (_, ids) in self._lists.items()}
            return Shown(self.name, self.stamp, lists, dict(self._parts))

    def _is_old(self) -> bool:
        is_late = time.monotonic() - self._looked > self._period_s
        return is_late or self._feed.changes != self._seen

    @property
    def stamp(self) -> str:
        return f"{self.epoch}-{self.version}"

    def refresh(self) -> None:
        """Look, and draw what differs."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        changes, began = self._feed.changes, time.thread_time()
        try:
            self._take(self._view.look())
            self._seen = changes  # not before: what could not be looked at has not been seen
        finally:
            earned_s = SHARE * (time.monotonic() - self._looked)
            cost_s = time.thread_time() - began
            self._left_s = max(min(self._left_s + earned_s, SAVED_S) - cost_s, -SHARE * LONGEST_S)
            self._looked = time.monotonic()

    def _take(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        version = self.version + 1
        parts: dict[str, Part] = {}
        lists = dict(self._lists)
        changed = False
        for name, members in found.items():
            for part_id, data in members.items():
                old = self._parts.get(part_id)
                if old is None or old.data != data:
                    old = Part(version, data, self._view.draw(part_id, data))
                    changed = True
                parts[part_id] = old
            ids = tuple(members)
            if name not in lists or lists[name][1] != ids:
                lists[name] = version, ids
                changed = True
        with self._lock:
            self._parts, self._lists = parts, lists
            if changed:
                self.version = version

    def since(self, stamp: str) -> ServerEvent:
        """What somebody lacks who has seen that version; everything, where it is not known."""
        epoch, _, text = stamp.partition("-")
        is_number = text.isascii() and text.isdigit() and len(text) < 19
        known = int(text) if epoch == self.epoch and is_number else -1
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
        self._looks: dict[Channel, asyncio.Task[None]] = {}

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
        if found is None:  # made outside the lock: that may take a while
            make, period_s, readings = self._makers[name]
            found = Channel(make(params), full, self._feed, period_s, readings)
        with self._lock:
            found = self._channels.setdefault(full, found)
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

        @router.head("/live")
        def may_watch() -> Response:
            """For scripts whose stream was refused: browsers do not tell them why."""
            return Response(status_code=204)

    def _named(self, full: str) -> Channel:
        name, _, query = full.partition("?")
        return self.channel(name, dict(parse_qsl(query, max_num_fields=20)))

    async def _stream(
        self, channels: Sequence[Channel], versions: Sequence[str]
    ) -> AsyncIterator[bytes]:
        """Parts as they change. Whoever comes first looks; the others send what it has seen.

        Nobody waits for a look: its end wakes those who watch, so a slow view holds up no other.
        """
        seen = dict(zip(channels, [*versions, *[""] * len(channels)], strict=False))
        wake, beat = Wake(self._feed), time.monotonic()
        until = beat + STREAM_S
        try:
            for channel in seen:
                channel.watchers.add(wake)
            yield BEAT
            while not self._followers.closing():
                if time.monotonic() > until:
                    yield ServerEvent("again", {}).encode()
                    return
                for channel in seen:
                    if channel.version and seen[channel] != channel.stamp:
                        event = channel.since(seen[channel])
                        seen[channel], beat = event.data["version"], time.monotonic()
                        yield event.encode()
                if time.monotonic() - beat > BEAT_S:
                    beat = time.monotonic()
                    yield BEAT
                await wake.sleep(min(self._begin(channel) for channel in seen))
                if all(not c.version or stamp == c.stamp for c, stamp in seen.items()):
                    await asyncio.sleep(SETTLE_S)  # woken by a change: more may come with it
        finally:
            for channel in seen:
                channel.watchers.discard(wake)
            wake.end()

    def _begin(self, channel: Channel) -> float:
        """Have it looked at if that is due, once for all who watch; returns how long to sleep."""
        if channel not in self._looks and channel.is_due():
            self._looks[channel] = asyncio.create_task(self._look(channel))
        return NOD_S if channel in self._looks else channel.rest_s

    async def _look(self, channel: Channel) -> None:
        """What goes wrong is told once, and is no other view's trouble."""
        trouble = ""
        try:
            await run_in_threadpool(channel.refresh)
        except UnreachableError:
            pass  # the scheduler's loop is busy or about to end: the next time
        except Exception as error:
            trouble = repr(error)
            if trouble != channel.trouble:
                log.exception("the view %s cannot be shown", channel.name)
        finally:
            channel.trouble = trouble
            self._looks.pop(channel, None)
            for wake in channel.watchers:
                wake.ring()
