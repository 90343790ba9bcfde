"""Pages of the queue and of jobs in all states, read as a browser would."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
from api_world import LIKE, Served
from live_world import SOON_S, LiveWorld, table

from jetsched.cluster.ui_base import Ui

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
#: What scripts of the pages send along.
PAGE = {"X-Jetsched-Page": "1"}


def a_spec(name: str, run: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "work": {"kind": "command", "run": run, "like": LIKE}, **more}


class Paged(Served):
    """With a browser that has been let in."""

    http: httpx.Client

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.http.get(path, **more)

    def rows(self, path: str, table: str) -> list[list[str]]:
        """The cells of the body of the table of that class, as text."""
        return Tables(self.get(path).text).bodies[table]


class Tables(HTMLParser):
    """The tables of a page, and everything that could do harm."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.bodies: dict[str, list[list[str]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._table, self._in_body, self._cell = "", False, False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "table":
            self._table = (found.get("class") or "?").split()[0]
            self.bodies[self._table] = []
        elif tag == "tbody":
            self._in_body = True
        elif tag == "tr" and self._in_body:
            self.bodies[self._table].append([])
        elif tag in ("td", "th") and self._in_body:
            self.bodies[self._table][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "tbody":
            self._in_body = False
        elif tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.bodies[self._table][-1][-1] += data

    @property
    def buttons(self) -> list[str]:
        return [str(a["data-post"]) for tag, a in self.tags if tag == "button" and "data-post" in a]


@contextmanager
def job_pages(home: Path) -> Iterator[Paged]:
    """Job 1 is done and left a file, 2 has failed, 3 and 4 run, 5 to 8 wait, 9 is held by nobody.

    The boards are agents in this process; what waits is behind what runs for as long as that is.
    """
    with (
        LiveWorld(home, table(**{"tiny-gpt2": 100.0})) as world,
        closing(Paged(world, home=home)) as served,
    ):
        world.until_devices("nx-1", "orin-1")
        run = (
            "printf 'one\\rtwo\\033[31m red\\033[0m\\nthree\\n'; echo 42 > $JETSCHED_OUT/answer.txt"
        )
        there = {"device": ["orin-1"]}
        more = {"needs": there, "labels": {"project": "qa"}, "time_limit": "2m"}
        served.client.submit_specs([a_spec("leaves", run, **more)], user="ada")
        world.until_state("1", "done")
        served.client.submit_specs([a_spec("fails", "echo no >&2; exit 3", retry={"times": 0})])
        world.until_state("2", "failed")
        sleeps = [a_spec(f"sleeps-{n}", "echo here; sleep 600") for n in (3, 4)]
        served.client.submit_specs(sleeps)
        for job_id in "34":
            world.until_state(job_id, "running")
        waits = [a_spec(name, "true", priority=10 * n) for n, name in enumerate((EVIL, "b", "c"))]
        served.client.submit_specs(waits, user="bob")
        served.client.submit_specs([a_spec("deadline", "true", deadline="2h")], user="ada")
        never = {**LIKE, "model": "gpt2"}
        held = {"name": "never", "work": {"kind": "command", "run": "true", "like": never}}
        served.client.submit_specs([held], hold=True)
        wait_for(lambda: served.client.job("1")["artefacts"]["state"] == "complete")
        as_browser = {"Sec-Fetch-Site": "same-origin"}
        with httpx.Client(base_url=served.url, headers=as_browser, trust_env=False) as http:
            served.http = http
            yield served


def wait_for(fact: Any) -> None:
    end = time.monotonic() + SOON_S
    while not fact():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)


def a_ui(served: Paged) -> Ui:
    """The pages' side, beside the one that is served: to look at views without a browser."""
    made = object.__new__(Ui)
    made.desk, made.home = served.world.desk, served.world.home
    return made
