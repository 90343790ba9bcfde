"""Who looks at a view, who waits for that, and what becomes of those who watch others."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from jetsched.cluster.api_events import Followers
from jetsched.cluster.feed import Feed
from jetsched.cluster.sse import decode
from jetsched.cluster.ui_live import Channel, Hub
from jetsched.cluster.ui_moments import freshened, left, moment, since, until
from jetsched.scheduler.events import DeviceRemoved

#: Against hanging only.
SOON_S = 120


class Odd:
    """A view of one part; ``first`` is done at each look."""

    def __init__(self, first: Callable[[], object] = lambda: None, html: str = "") -> None:
        self.first = first
        self.html = html
        self.looks = 0

    def look(self) -> dict[str, dict[str, Any]]:
        self.looks += 1
        self.first()
        return {"one": {"part": self.html}}

    def draw(self, part_id: str, data: Any) -> str:
        return f'<p id="{part_id}">{data}</p>'


@contextmanager
def in_threads(*works: Callable[[], object]) -> Iterator[None]:
    """All of them at once; fails if one of them does not end."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(SOON_S)
    assert not any(thread.is_alive() for thread in threads)


def fail() -> None:
    raise ValueError("no such thing")


def test_what_could_not_be_looked_at_is_looked_at_again() -> None:
    feed = Feed({})
    view = Odd()
    channel = Channel(view, "odd", feed, 0.0, False)
    channel.refresh()
    feed.note(DeviceRemoved(0.0, "nx-1"), [])
    view.first = fail
    with pytest.raises(ValueError, match="no such thing"):
        channel.refresh()
    assert channel.is_due()
    view.first = lambda: None
    channel.refresh()
    assert not channel.is_due()


def test_what_is_known_is_told_while_somebody_looks() -> None:
    view = Odd()
    channel = Channel(view, "odd", Feed({}), 0.0, False)
    channel.refresh()
    looking, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        looking.set()
        go_on.wait(SOON_S)

    view.first = wait
    with in_threads(channel.refresh):
        assert looking.wait(SOON_S)
        with in_threads(lambda: channel.since("")):
            pass
        go_on.set()


def test_those_who_come_at_once_share_one_look() -> None:
    started = threading.Event()
    view = Odd(lambda: started.wait(SOON_S))
    channel = Channel(view, "odd", Feed({}), 1000.0, False)
    with in_threads(*[channel.shown] * 4):
        time.sleep(0.05)  # for all of them to come
        started.set()
    assert view.looks == 1


def test_a_view_that_is_slow_to_make_holds_up_no_other() -> None:
    hub = Hub(Feed({}), Followers(lambda: False))
    making, go_on = threading.Event(), threading.Event()

    def make(params: object) -> Odd:
        making.set()
        go_on.wait(SOON_S)
        return Odd()

    hub.add("slow", make)
    hub.add("quick", lambda params: Odd())
    with in_threads(lambda: hub.channel("slow", {})):
        assert making.wait(SOON_S)
        with in_threads(lambda: hub.channel("quick", {})):
            pass
        go_on.set()


# --------------------------------------------------------------------------------------- in streams


def a_stream(hub: Hub, *names: str) -> AsyncGenerator[bytes, None]:
    channels = [hub.channel(name, {}) for name in names]
    return cast("AsyncGenerator[bytes, None]", hub._stream(channels, []))


def test_a_view_in_trouble_and_one_that_hangs_spoil_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go_on = threading.Event()
    feed = Feed({})
    hub = Hub(feed, Followers(lambda: False))
    views = {"bad": Odd(fail), "stuck": Odd(lambda: go_on.wait(SOON_S)), "good": Odd(html="hi")}
    for name in views:
        hub.add(name, lambda params, view=views[name]: view, period_s=0.0)  # type: ignore[misc]

    async def watch() -> None:
        stream = a_stream(hub, *views)
        try:
            assert await told(stream) == "hi"
            views["good"].html = "ho"
            while views["bad"].looks < 3:
                feed.note(DeviceRemoved(0.0, "nx-1"), [])
                await asyncio.wait_for(stream.__anext__(), SOON_S)
                views["good"].html += "!"
        finally:
            go_on.set()
            await stream.aclose()

    async def told(stream: AsyncGenerator[bytes, None]) -> str:
        async for part in stream:
            for event in decode(iter(part.decode().splitlines())):
                html = json.loads(json.dumps(event.data))["parts"]["part"]
                return str(html).removeprefix('<p id="part">').removesuffix("</p>")
        raise AssertionError("the stream has ended")

    with caplog.at_level(logging.ERROR):
        asyncio.run(asyncio.wait_for(watch(), SOON_S))
    said = [record.getMessage() for record in caplog.records if "view" in record.getMessage()]
    assert said == ["the view bad cannot be shown"]  # once, not at every look


def test_whoever_leaves_at_once_is_not_counted_any_more() -> None:
    feed = Feed({})
    hub = Hub(feed, Followers(lambda: False))
    hub.add("odd", lambda params: Odd())

    async def come_and_go() -> None:
        stream = a_stream(hub, "odd")
        await stream.__anext__()
        await stream.aclose()

    asyncio.run(come_and_go())
    assert not hub.channel("odd", {}).watchers
    assert not feed._wake


# ------------------------------------------------------------------------------------------ moments


def test_a_page_says_moments_anew_though_its_parts_were_drawn_long_ago() -> None:
    drawn = str(since(time.time() - 7200)).replace("2h 00m", "12 s")
    assert ">12 s<" in drawn
    shown = Channel(Odd(html=drawn), "odd", Feed({}), 0.0, False).shown()
    assert ">2h 00m</time>" in shown.html("one") and "12 s" not in shown.html("one")


def test_what_only_looks_like_a_moment_stays() -> None:
    written = str(escape(str(since(1.0))))
    for text in ("<time>12 s</time>", written):
        assert freshened(text) == text


@given(st.floats(-1e5, 1e5), st.sampled_from(["since", "left", "starts", "done", "clock"]))
def test_a_moment_that_is_said_anew_is_said_as_at_first(off_s: float, kind: str) -> None:
    ways: dict[str, Callable[[float], Markup]] = {"since": since, "left": left, "clock": moment}

    def made(at_s: float) -> Markup:
        return ways[kind](at_s) if kind in ways else until(at_s, kind)

    at_s = round(time.time() + off_s, 3)
    before, again, after = made(at_s), freshened(stale(made(at_s))), made(at_s)
    assert again in (before, after)  # a second may end just between them


def stale(html: str) -> str:
    return f"{html.partition('>')[0]}>long ago</time>"
