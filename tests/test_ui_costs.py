"""The page Cost model: predicted against measured, drift per board, what it was learnt from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape

import httpx
import pytest
from api_world import Served
from builders import a_workload
from live_world import NX, ORIN, LiveWorld, a_command, table
from local_agents import LocalAgents
from test_costs_show import a_kill, a_run
from test_drift_story import SLOWER
from test_ui_fit import SOON_S, XAVIER, Site

from jetsched.cluster.ui_costs import MOST_BOARDS
from jetsched.cluster.ui_moments import seconds_of
from jetsched.profiler.evidence import speed_class
from jetsched.profiler.limits import Limits
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Device
from jetsched.words import clock

PAGE = {"X-Jetsched-Page": "1"}
JOBS = 6


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service on which some jobs have run, and that knows runs of a board that got slower."""
    home = tmp_path_factory.mktemp("costs")
    boards = {
        "nx-1": (NX, Limits(memory_mib=150.0)),
        "nx-9": (Device("nx-9", XAVIER), Limits(memory_mib=6150.0)),
        "orin-1": (ORIN, Limits(memory_mib=2000.0)),
    }
    agents = LocalAgents(home / "nodes", boards)
    with LiveWorld(home, table(short=0.1), agents=agents) as world:
        world.until_devices(*boards)
        world.desk.drain("nx-9")  # what it did is made up below
        with (
            Served(world, home=home) as served,
            httpx.Client(base_url=served.url, trust_env=False, timeout=SOON_S) as http,
        ):
            found = Site(home, world, http)
            assert "No job has ended yet" in found.text("/ui/costs")
            world.submit(*(a_command(str(n), "sleep 0.02") for n in range(1, JOBS + 1)))
            for number in range(1, JOBS + 1):
                world.until_state(str(number), "done")
            for ran in SLOWER:
                world.desk._drift.add(replace(ran, device="nx-9", at_s=1.7e9 + ran.at_s))
            works = [a_workload(m) for m in ("tiny-gpt2", "distilgpt2", "gpt2")]
            found.measure(
                *(a_run(w, XAVIER, rate_s=0.1 * n) for n, w in enumerate(works, 1)),
                a_run(works[1], NX.device_class, rate_s=0.4, at="2026-11-22T10:00:00+00:00"),
                a_kill(a_workload("phi-2"), XAVIER),
            )
            yield found


def words_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def a_part(html: str, name: str) -> str:
    """A section of the page, from its list on."""
    return html.partition(f'id="{name}"')[2].partition("</section>")[0]


def test_jobs_that_ran_are_compared_with_what_was_estimated(site: Site) -> None:
    """As a table and as marks; marks say their work in words."""
    html = site.until("/ui/costs", lambda text: f"{JOBS + len(SLOWER)} runs" in words_of(text))
    part = a_part(html, "costs-predicted")
    assert "command short" in words_of(part)
    assert part.count("<title>") == JOBS + len(SLOWER)
    assert re.search(r"<title>command short [^<]* on (nx|orin)-1: [^<]* predicted</title>", part)
    assert 'title="measured">(m)' in part


def test_each_kind_of_board_has_a_shape_and_a_word(site: Site) -> None:
    part = a_part(site.text("/ui/costs"), "costs-predicted")
    keys = re.findall(
        r'<li><svg[^<]*(?:<g[^>]*>|<svg[^>]*>)*<path d="([^"]+)".*?</svg>([^<]*: \d+)</li>', part
    )
    assert len(keys) >= 2
    assert len({shape for shape, _ in keys}) == len(keys)
    assert sum(int(name.rpartition(": ")[2]) for _, name in keys) == JOBS + len(SLOWER)


def test_a_board_that_got_slower_comes_first_and_says_so_in_words(site: Site) -> None:
    part = a_part(site.text("/ui/costs"), "costs-drift")
    rows = re.findall(r'<tr id="drift-.*?</tr>', part, re.DOTALL)
    assert 'href="/ui/devices/nx-9"' in rows[0]
    text = words_of(rows[0])
    assert "✗ 1.7x slower" in text and "run jetsched doctor there" in text
    assert '<svg class="drift-line"' in rows[0] and 'class="since"' in rows[0]
    assert {"nx-1", "orin-1"} & {
        found for row in rows[1:] for found in re.findall(r"(\w+-1)<", row)
    }


def test_what_it_was_learnt_from_is_counted(site: Site) -> None:
    def whole(text: str) -> bool:
        """Whether it has been read to the end: jobs that ran are written down a little later."""
        stored = MeasurementStore(site.home / MeasurementStore.name).read()
        told = words_of(a_part(text, "costs-learnt")).partition("in all")[2].split()
        return len(told) > 1 and told[1] == str(len(stored))

    part = a_part(site.until("/ui/costs", whole), "costs-learnt")
    (row,) = re.findall(
        r'<tr id="learnt-[^"]*">\s*<th scope="row">xavier-nx @ 15W.*?</tr>', part, re.DOTALL
    )
    # boards, workloads, runs, of jobs, killed, left out, last, calibrated
    cells = [words_of(cell) for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)]
    assert cells == [
        "nx-1",
        "4",
        "4",
        "0",
        "1",
        "0",
        clock(seconds_of("2026-11-21T10:00:00")),
        "not yet",
    ]


def test_unseen_work_is_worked_out_aside_on_request(site: Site) -> None:
    """Once; its figures are those of `jetsched costs plot`, and stay until it is asked again."""
    assert "Work it out" in site.text("/ui/costs")
    answer = site.http.post("/ui/costs/unseen", json={}, headers=PAGE)
    assert answer.status_code == 200 and answer.json() == {"running": True}
    html = site.until("/ui/costs", lambda text: "Work it out again" in text)
    part = words_of(a_part(html, "costs-unseen"))
    assert "train distilgpt2 b8x384 fp32" in part
    assert "it should be 90" in part
    refused = site.http.post("/ui/costs/unseen/cancel", json={}, headers=PAGE)
    assert refused.status_code == 400 and "nothing is being worked out" in refused.text


def test_another_site_cannot_have_it_worked_out(site: Site) -> None:
    site.http.get("/ui/costs")
    assert site.http.post("/ui/costs/unseen", json={}).status_code == 403


def test_a_large_fleet_shows_those_boards_first_that_need_somebody(site: Site) -> None:
    """The rest on request; boards that are gone come last."""
    for number in range(MOST_BOARDS + 5):
        device = f"spare-{number}"
        ran = replace(SLOWER[0], device=device, speed=speed_class(ORIN.device_class))
        site.world.desk._drift.add(ran)
    html = site.until("/ui/costs", lambda text: "more boards" in text)
    assert a_part(html, "costs-drift").count('<tr id="drift-') == MOST_BOARDS
    assert "nx-9" in a_part(html, "costs-drift")
    assert "spare-0" in a_part(html, "costs-drift") and "not here" in html
    every = site.text("/ui/costs", boards="all")
    assert "/ui/devices/spare-0" not in every  # there is no such page
    assert "spare-9" in every and "more boards" not in words_of(every)
