"""The page Fit map: the verdicts of the cost model, and where the memory goes behind each."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_world import Served
from builders import a_workload
from live_world import ORIN, LiveWorld, a_command, table
from local_agents import LocalAgents
from test_costs_show import a_kill, a_run

from jetsched.cluster.ui_fit import MOST_COLUMNS, columns_of, key_of
from jetsched.profiler.costs import CostModel
from jetsched.profiler.fitdetail import counted
from jetsched.profiler.limits import Limits
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Device, DeviceClass, Workload
from jetsched.units import format_rate, number

#: Against hanging only.
SOON_S = 120.0
XAVIER = DeviceClass("xavier-nx", "15W_6CORE", "jetpack-5", 6150.0)
BOARDS = {
    "nx-1": (Device("nx-1", XAVIER), Limits(memory_mib=6150.0)),
    "nx-2": (Device("nx-2", XAVIER), Limits(memory_mib=6150.0)),
    "orin-1": (ORIN, Limits(memory_mib=2000.0)),
}
SIGNS = {"fits": "✓", "tight": "~", "never": "✗", "unknown": "?"}


@dataclass
class Site:
    """A service with pages, a browser without scripts, and what is measured there."""

    home: Path
    world: LiveWorld
    http: httpx.Client

    def measure(self, *measured: Any) -> None:
        MeasurementStore(self.home / MeasurementStore.name).append(*measured)

    def text(self, url: str, **params: str) -> str:
        answer = self.http.get(url, params=params or None)
        assert answer.status_code == 200, answer.text
        return answer.text

    def until(self, url: str, fact: Callable[[str], Any], **params: str) -> str:
        end = time.monotonic() + SOON_S
        while not fact(text := self.text(url, **params)):
            assert time.monotonic() < end, "it did not become true"
            time.sleep(0.1)
        return text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("fit")
    agents = LocalAgents(home / "nodes", BOARDS)
    with LiveWorld(home, table(short=0.1), agents=agents) as world:
        world.until_devices(*BOARDS)
        with (
            Served(world, home=home) as served,
            httpx.Client(base_url=served.url, trust_env=False, timeout=SOON_S) as http,
        ):
            found = Site(home, world, http)
            found.measure(
                a_run(a_workload(), XAVIER, job_id="profile-a"),
                a_run(a_workload(), XAVIER, at="2026-11-21T10:00:00+00:00", rate_s=0.22),
                a_kill(a_workload("gpt2"), XAVIER),
            )
            yield found


def a_row(html: str, model: str) -> list[str]:
    """The cells of a model, as text."""
    found = re.search(rf'<th scope="row">{re.escape(model)}</th>(.*?)</tr>', html, re.DOTALL)
    assert found is not None, model
    cells = re.findall(r"<td.*?</td>", found[1], re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells]


def a_link(html: str, model: str, place: int) -> str:
    """Where a cell leads."""
    found = re.search(rf'<th scope="row">{re.escape(model)}</th>(.*?)</tr>', html, re.DOTALL)
    assert found is not None, model
    return unescape(re.findall(r'href="([^"]+)" data-drawer', found[1])[place])


# ------------------------------------------------------------------------------------ the map


def test_a_column_is_a_kind_of_board_with_its_boards(site: Site) -> None:
    html = site.text("/ui/fit")
    heads = re.findall(r'<th scope="col">(.*?)</th>', html, re.DOTALL)
    assert len(heads) == 3
    assert "xavier-nx @ 15W_6CORE" in heads[1] and "nx-1, nx-2" in heads[1]
    assert "orin-nano (emulated)" in heads[2]


def test_a_cell_has_a_sign_a_word_and_where_it_comes_from(site: Site) -> None:
    """Colour is never alone; what was measured is marked so."""
    html = site.text("/ui/fit")
    assert a_row(html, "distilgpt2")[0] == f"✓ fits {format_rate(0.21)} (m)"
    assert a_row(html, "gpt2")[0] == "✗ killed (m)"
    assert re.fullmatch(r"✗ needs \d+\.\d GiB \(e\)", a_row(html, "phi-2")[0])
    for fits, sign in SIGNS.items():
        for cell in re.findall(rf'<td class="fit {fits}">.*?</td>', html, re.DOTALL):
            assert f'<span aria-hidden="true">{sign}</span> ' in cell


def test_other_work_is_another_map(site: Site) -> None:
    usual = site.text("/ui/fit")
    small = site.text("/ui/fit", batch_size="1", gradient_checkpointing="true")
    assert a_row(usual, "gpt2")[0] == "✗ killed (m)"
    assert a_row(small, "gpt2")[0].startswith("✓ fits")
    assert "per prompt" in site.text("/ui/fit", kind="infer")


def test_what_was_chosen_stays_in_the_form(site: Site) -> None:
    html = site.text("/ui/fit", batch_size="4", method="lora", others="on", model="gpt-2")
    assert 'name="batch_size" value="4"' in html
    assert "<option selected>lora</option>" in html
    assert 'name="others" value="on" checked' in html
    assert 'name="model" value="gpt-2"' in html


def test_boards_that_are_not_here_are_shown_on_request(site: Site) -> None:
    assert "agx-orin" not in site.text("/ui/fit")
    html = site.text("/ui/fit", others="on")
    assert "agx-orin @ MAXN" in html and "not here" in html


def test_a_choice_that_makes_no_sense_is_refused_with_all_reasons(site: Site) -> None:
    answer = site.http.get("/ui/fit", params={"batch_size": "0", "precision": "<script>"})
    assert answer.status_code == 422
    assert "batch_size: 0 is below 1" in answer.text
    assert "&lt;script&gt;" in answer.text and "<script>&#39;" not in answer.text
    assert 'name="batch_size" value="0"' in answer.text  # to be mended


def test_a_name_that_is_markup_stays_a_name(site: Site) -> None:
    """Of a model that somebody measured under it."""
    site.measure(a_run(a_workload("<img src=x onerror=alert(1)>"), XAVIER))
    html = site.until("/ui/fit", lambda text: "onerror" in text)
    assert "<img" not in html
    url = a_link(html, "&lt;img src=x onerror=alert(1)&gt;", 0)
    assert "<img" not in site.text(url)


def test_what_is_measured_comes_to_an_open_page(site: Site) -> None:
    """Without a reload; what is as it was is not sent again."""
    html = site.text("/ui/fit", batch_size="2")
    assert a_row(html, "tiny-gpt2")[0].endswith("(e)")
    live = re.search(r'data-live="(fit\b[^"]*)" data-live-version="([^"]+)"', html)
    assert live is not None
    site.measure(a_run(a_workload("tiny-gpt2", batch_size=2), XAVIER, rate_s=0.007))
    params = {"view": unescape(live[1]), "version": live[2]}
    with site.http.stream("GET", "/ui/live", params=params) as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("data: "))
        event = json.loads(next(lines).removeprefix("data: "))
    (row,) = (part for part in event["parts"].values() if ">tiny-gpt2<" in part)
    assert a_row(row, "tiny-gpt2")[0] == f"✓ fits {format_rate(0.007)} (m)"
    assert "fit-columns" not in event["parts"]


def test_columns_are_boards_here_then_those_of_data_sheets() -> None:
    here = {"a": XAVIER, "b": ORIN.device_class}
    assert [column.ids for column in columns_of(here, [], others=False)] == [("a",), ("b",)]
    every = columns_of(here, [XAVIER], others=True)
    assert [column.ids for column in every[:2]] == [("a",), ("b",)]
    assert "xavier-nx" not in [column.device_class.model for column in every[2:]]  # it is here
    assert "orin-nano" in [column.device_class.model for column in every[2:]]  # only emulated
    nobody = columns_of({}, [], others=False)
    assert nobody and not any(column.ids for column in nobody)


def test_kinds_of_board_have_names_of_their_own() -> None:
    kinds = [DeviceClass("xavier-nx", "m", "s", float(n)) for n in range(200)]
    assert len({key_of(kind) for kind in kinds}) == 200
    assert len(columns_of({str(n): k for n, k in enumerate(kinds)}, [], others=False)) == 200
    assert MOST_COLUMNS < 200


# --------------------------------------------------------------------------------- the detail


def test_the_detail_has_each_megabyte_as_counted_and_what_was_measured(site: Site) -> None:
    html = site.text(a_link(site.text("/ui/fit"), "distilgpt2", 0))
    work = a_workload()
    learnt = MeasurementStore(site.home / MeasurementStore.name).read()
    found = counted(CostModel(learnt), work, XAVIER)
    assert found is not None
    table_text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    for part in found.parts:
        assert f"{part.name} {number(part.mib)}" in table_text
    assert f"in tensors {number(found.live_mib)} (e) 1,800 (m)" in table_text
    assert f"the process holds {number(found.admitted_mib)} (e) 2,500 (m)" in table_text
    assert "the board has 6,150 (m)" in table_text


def test_the_detail_has_the_time_with_its_spread(site: Site) -> None:
    url = a_link(site.text("/ui/fit", samples="100"), "distilgpt2", 0)
    text = " ".join(re.sub(r"<[^>]+>", " ", site.text(url)).split())
    assert "per sample 210 ms , nine of ten below" in text
    assert "210 ms (median of 2), from 200 ms to 220 ms (m)" in text
    assert "100 samples 26 s , nine of ten below" in text  # 5 s of loading, 100 x 0.21 s


def test_the_detail_says_why_it_does_not_fit_and_what_would_help(site: Site) -> None:
    text = site.text(a_link(site.text("/ui/fit"), "gpt2", 0))
    assert "killed here on 2026-11-2" in text
    assert "What would make it fit" in text and "batch_size" in text
    assert "model: gpt2" in text  # as a job file


def test_in_the_drawer_only_the_part_is_sent(site: Site) -> None:
    url = a_link(site.text("/ui/fit"), "gpt2", 0)
    part = site.http.get(url, headers={"X-Jetsched-Part": "1"}).text
    assert "<html" not in part and "megabyte by megabyte" in part


def test_a_run_stands_beside_what_was_estimated_before_it(site: Site) -> None:
    """Of a job that ran here: its estimate is that of its attempt."""
    site.world.submit(a_command("7", "sleep 0.1"))
    site.world.until_state("7", "done")
    attempt = site.world.look(lambda s: s.jobs["7"].attempts[0])
    where = site.world.look(lambda s: s.fleet.devices[attempt.device].device_class)
    site.measure(
        a_run(
            a_workload("gpt2", batch_size=1),
            where,
            device=attempt.device,
            job_id="7",
            at="2026-11-24T10:00:00+00:00",
        )
    )
    place = 0 if where == XAVIER else 1
    html = site.until("/ui/fit", lambda text: "(m)" in a_row(text, "gpt2")[place], batch_size="1")
    detail = site.text(a_link(html, "gpt2", place))
    row = re.search(r"<tr><td><time [^>]*data-at=\"1795514400[^>]*>.*?</tr>", detail, re.DOTALL)
    assert row is not None
    assert '<a href="/ui/jobs/7" data-drawer>7</a>' in row[0]
    cells = [" ".join(re.sub(r"<[^>]+>", " ", c).split()) for c in row[0].split("<td")]
    assert attempt.estimate.time_s == 0.1
    assert 'class="number" data-label="Was estimated">100 ms (m)' in cells


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"model": "gpt2", "at": "nothing"}, "no kind of board here"),
        ({"at": key_of(XAVIER)}, "which model is not said"),
        ({"model": "/etc/passwd", "at": key_of(XAVIER)}, "not a file that the head lets"),
        ({"model": "gpt2", "at": key_of(XAVIER), "batch_size": "-1"}, "-1 is below 1"),
    ],
)
def test_a_detail_that_makes_no_sense_is_refused(
    site: Site, params: dict[str, str], words: str
) -> None:
    answer = site.http.get("/ui/fit/detail", params=params)
    assert answer.status_code == 422
    assert words in unescape(answer.text)
    assert "To the map" in answer.text


def test_the_scheduler_is_not_asked_for_the_map(site: Site) -> None:
    """Its loop may be busy: what stands in the map is worked out beside it."""
    asked = site.world.cluster.ask
    site.world.cluster.ask = lambda *a, **k: pytest.fail("the loop was asked")  # type: ignore[method-assign]
    try:
        part = site.http.get(
            "/ui/fit", params={"batch_size": "16"}, headers={"X-Jetsched-Part": "1"}
        )
    finally:
        site.world.cluster.ask = asked  # type: ignore[method-assign]
    assert part.status_code == 200 and "fit-map" in part.text


def test_what_is_like_a_command_is_not_in_the_map(site: Site) -> None:
    site.measure(a_run(Workload("command", "", command="sleep 1"), XAVIER))
    assert "sleep 1" not in site.text("/ui/fit")
