"""Parts of pages that change by themselves: looked at once for all, sent as they change."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from api_world import Served
from builders import TableCosts
from live_world import LiveWorld
from local_agents import LocalAgents

from jetsched.cluster import ui_live
from jetsched.cluster.api_events import NOD_S, Followers, Wake
from jetsched.cluster.feed import Feed
from jetsched.cluster.sse import decode
from jetsched.cluster.ui_live import MOST_IDLE, Channel, Hub
from jetsched.errors import InputError
from jetsched.scheduler.events import DeviceRemoved


class Shelf:
    """A view of names, each in an element; it counts how often it is looked at and drawn."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.looks = 0
        self.drawn: list[str] = []

    def look(self) -> dict[str, dict[str, Any]]:
        self.looks += 1
        return {"names": {f"name-{name.lower()}": name for name in self.names}}

    def draw(self, part_id: str, data: Any) -> str:
        self.drawn.append(part_id)
        return f'<li id="{part_id}">{data}</li>'


def a_channel(view: Shelf, feed: Feed | None = None) -> Channel:
    return Channel(view, "shelf", feed or Feed({}), 0.0, False)


def test_only_what_differs_is_drawn_again_and_sent() -> None:
    view = Shelf("ada", "bob")
    channel = a_channel(view)
    first = channel.shown()
    assert first.html("names") == '<li id="name-ada">ada</li><li id="name-bob">bob</li>'
    view.names[1] = "BOB"
    channel.refresh()
    assert view.drawn == ["name-ada", "name-bob", "name-bob"]
    sent = channel.since(first.stamp).data
    assert sent["parts"] == {"name-bob": '<li id="name-bob">BOB</li>'}
    assert sent["lists"] == {}  # the same ones in the same order


def test_what_came_and_went_is_told_by_the_list() -> None:
    view = Shelf("ada", "bob")
    channel = a_channel(view)
    first = channel.shown()
    view.names = ["cleo", "ada"]
    channel.refresh()
    sent = channel.since(first.stamp).data
    assert sent["lists"] == {"names": ("name-cleo", "name-ada")}
    assert set(sent["parts"]) == {"name-cleo"}


@pytest.mark.parametrize(
    "stamp",
    ["", "nonsense", "0badcafe-1", "-1", "{epoch}-999", "{epoch}-x", "{epoch}-" + "9" * 9999],
)
def test_whoever_has_seen_nothing_that_is_known_gets_everything(stamp: str) -> None:
    channel = a_channel(Shelf("ada"))
    channel.shown()
    sent = channel.since(stamp.format(epoch=channel.epoch)).data
    assert set(sent["parts"]) == {"name-ada"} and set(sent["lists"]) == {"names"}


def test_nothing_is_looked_up_while_nothing_happens() -> None:
    feed = Feed({})
    view = Shelf("ada")
    channel = a_channel(view, feed)
    channel.refresh()
    assert not channel.is_due() and channel.rest_s == NOD_S
    feed.note(DeviceRemoved(0.0, "nx-1"), [])
    assert channel.rest_s < NOD_S


def test_a_name_that_is_taken_twice_is_one_channel_and_odd_views_are_refused() -> None:
    hub = Hub(Feed({}), Followers(lambda: False))
    hub.add("shelf", lambda params: Shelf(params.get("name", "")))
    assert hub.channel("shelf", {"a": "1", "b": ""}) is hub.channel("shelf", {"b": "", "a": "1"})
    with pytest.raises(InputError, match="no view 'nope'"):
        hub.channel("nope", {})


def test_views_that_nobody_watches_are_forgotten() -> None:
    hub = Hub(Feed({}), Followers(lambda: False))
    hub.add("shelf", lambda params: Shelf(params["name"]))
    watched = hub.channel("shelf", {"name": "watched"})
    watched.watchers.add(cast(Wake, object()))
    first = hub.channel("shelf", {"name": "0"})
    for number in range(MOST_IDLE + 5):
        hub.channel("shelf", {"name": str(number)})
    assert hub.channel("shelf", {"name": "watched"}) is watched
    assert hub.channel("shelf", {"name": "0"}) is not first


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("live")
    agents = LocalAgents(home / "nodes", {})
    with (
        LiveWorld(home, TableCosts({}), agents=agents) as world,
        Served(world, home=home) as found,
    ):
        yield found


def test_a_page_gets_what_has_changed_since_it_was_made(served: Served) -> None:
    with httpx.Client(base_url=served.url, trust_env=False, timeout=120) as http:
        page = http.get("/ui/queue").text
        assert 'data-live="frame"' in page and "paused" not in page
        version = page.partition('data-live-version="')[2].partition('"')[0]
        params = {"view": "frame", "version": version}
        with http.stream("GET", "/ui/live", params=params) as answer:
            events = decode(answer.iter_lines())
            threading.Timer(0.3, served.client.pause, ["for a test"]).start()
            event = next(e for e in events if e.name == "parts")
        assert "paused: for a test" in event.data["parts"]["frame-line"]
        assert event.data["view"] == "frame" and event.data["lists"] == {}
    served.client.resume()


def test_a_stream_for_no_view_or_an_unknown_one_is_refused(served: Served) -> None:
    with httpx.Client(base_url=served.url, trust_env=False) as http:
        http.get("/ui/queue")
        assert http.get("/ui/live").status_code == 422
        answer = http.get("/ui/live", params={"view": "nope", "version": ""})
        assert answer.status_code == 400 and "no view" in json.loads(answer.text)["error"]


def test_a_stream_is_not_for_those_who_may_not_see_the_page(served: Served) -> None:
    params = {"view": "frame", "version": ""}
    answer = httpx.get(
        f"{served.url}/ui/live", params=params, headers={"Host": "head.lab"}, trust_env=False
    )
    assert answer.status_code == 401


def test_a_script_is_told_why_it_gets_no_stream(served: Served) -> None:
    """A browser says of a stream only that there is none."""
    with httpx.Client(base_url=served.url, trust_env=False) as http:
        assert http.head("/ui/live").status_code == 204
        assert http.head("/ui/live", headers={"Host": "head.lab"}).status_code == 401


def test_a_stream_is_asked_for_anew_so_that_a_revoked_token_ends_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui_live, "STREAM_S", 0.2)
    params = {"view": "frame", "version": ""}
    with (
        httpx.Client(base_url=served.url, trust_env=False, timeout=120) as http,
        http.stream("GET", "/ui/live", params=params) as answer,
    ):
        names = [event.name for event in decode(answer.iter_lines())]
    assert names[-1] == "again"


def test_streams_end_with_the_server(tmp_path: Path) -> None:
    agents = LocalAgents(tmp_path / "nodes", {})
    with LiveWorld(tmp_path, TableCosts({}), agents=agents) as world:
        served = Served(world, home=tmp_path)
        with httpx.Client(base_url=served.url, trust_env=False, timeout=120) as http:
            http.get("/ui/queue")
            params = {"view": "frame", "version": ""}
            with http.stream("GET", "/ui/live", params=params) as answer:
                lines = answer.iter_lines()
                next(decode(lines))
                ended = threading.Thread(target=lambda: list(lines))
                ended.start()
                time.sleep(0.1)
                served.close()
                ended.join(120)
                assert not ended.is_alive()
