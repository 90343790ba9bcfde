"""The page and the files of a comparison: self-contained, escaped, the same each time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from jetsched.cluster.bounds import Bounds
from jetsched.cluster.fanout import Here
from jetsched.cluster.markup import Html, joined, tag
from jetsched.cluster.report import check_folder, write_report
from jetsched.cluster.study import Findings, Study
from jetsched.cluster.trials import Trial, distance
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.errors import InputError

#: A policy that cannot decide anything, and says so in markup.
SCRIPT = '''
class Cool:
    """Nothing."""

    def decide(self, view):
        raise RuntimeError("<img src=x onerror=alert(2)>")
'''


class Page(HTMLParser):
    """The elements of a page, and where its links and pictures lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(name)
        self.attributes += [(name, key, value or "") for key, value in attrs]
        if name not in ("img", "meta", "source"):
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, element: str, attribute: str) -> list[str]:
        return [v for e, a, v in self.attributes if (e, a) == (element, attribute)]


@pytest.fixture(scope="module")
def odd_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odd") / "<b>&.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def found(odd_policy: Path) -> Iterator[Findings]:
    study = Study.of(
        WorldOptions(generate=8),
        names=f"auto,random,{odd_policy}",
        seeds=2,
        sweeps=["load=0.5,0.9", "error=0,0.5"],
        at_once=1,
    )
    yield study.run()


@pytest.fixture(scope="module")
def folder(found: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "new"
    write_report(found, folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    page = Page((folder / "index.html").read_text())
    assert page.open == []
    return page


def test_a_report_has_a_page_pictures_and_a_line_for_every_run(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        *("cdf.png", "gantt.png", "index.html", "runs.jsonl"),
        *("sweep-error.png", "sweep-load.png", "timings.jsonl"),
    ]
    lines = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    assert len(lines) == 4 * 3 * 2  # points, policies, seeds
    assert {(line["sweep"], line["value"]) for line in lines} == {
        *(("load", "0.5"), ("load", "0.9"), ("error", "0"), ("error", "0.5")),
    }
    assert all(line["done"] == 8 and line["bound"]["makespan_s"] > 0 for line in lines)
    assert not any("cpu" in key for line in lines for key in line)


def test_the_page_needs_nothing_else_and_no_network(page: Page) -> None:
    links = [v for _, key, v in page.attributes if key in ("src", "srcset", "href", "data")]
    assert links and all(link.startswith("data:image/") for link in links)
    assert not {"script", "link", "iframe", "object", "a"} & set(page.elements)
    assert "url(" not in "".join(page.words) and "@import" not in "".join(page.words)
    assert any("default-src 'none'" in content for content in page.of("meta", "content"))


def test_every_picture_has_words_for_those_who_do_not_see_it(page: Page) -> None:
    alts = page.of("img", "alt")
    assert len(alts) == page.elements.count("img") == 4
    assert all(len(alt) > 40 for alt in alts)


def test_names_and_messages_are_text_whatever_is_in_them(page: Page, folder: Path) -> None:
    text = "".join(page.words).replace("\u200b", "")
    assert "<img src=x onerror=alert(2)>" in text
    assert "onerror" not in {key for _, key, _ in page.attributes}
    assert "script" not in page.elements
    assert "<b>&.py" in text  # in the command


def test_a_policy_that_is_named_like_markup_stays_text(tmp_path: Path) -> None:
    """In the tables, the alternative texts and the pictures."""
    name = "<script>alert('x')</script>"
    study = Study.of(WorldOptions(generate=4), names="auto", at_once=1)
    write_report(replace(study, policies={name: "random"}, engine=Here()).run(), tmp_path)
    page = Page((tmp_path / "index.html").read_text())
    assert "script" not in page.elements
    assert name in "".join(page.words) and name in page.of("img", "alt")[0]


def test_the_page_says_what_world_it_was_and_how_to_have_it_again(
    page: Page, odd_policy: Path
) -> None:
    text = "".join(page.words)
    assert "8 jobs of the paper's mix" in text and "assumed" in text and "Seeds 0 to 1." in text
    assert "jetsched compare --generate 8 --seed 0 --seeds 2 --policies" in text
    assert "--sweep load=0.5,0.9 --sweep error=0,0.5" in text
    assert "Arrivals: poisson, at 0.5" in text and "simulated" in text


def test_on_a_phone_each_figure_has_its_title(page: Page) -> None:
    """The head of a table is hidden there, so that nobody scrolls sideways."""
    assert page.elements.count("td") == len(
        [1 for e, a, _ in page.attributes if (e, a) == ("td", "data-label")]
    )
    assert all("\u00ad" not in label for label in page.of("td", "data-label"))


def test_the_same_findings_give_the_same_bytes(
    found: Findings, folder: Path, tmp_path: Path
) -> None:
    write_report(found, tmp_path)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_markup_escapes_what_is_not_markup() -> None:
    assert tag("p", "<b>", Html("<i>"), title='"&') == '<p title="&quot;&amp;">&lt;b&gt;<i></p>'
    assert joined(["a&", tag("br")]) == "a&amp;<br>"
    assert re.fullmatch(r"<td data-label='?\"?x\"?'?>1</td>", tag("td", "1", data_label="x"))


# ------------------------------------------------------------------------------- sweeps and options


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ("lod=0.5", "there are load, error, fleet"),
        ("load", "there are load, error, fleet"),
        ("load=", "is not a number"),
        ("load=0.5,fast", "is not a number"),
        ("load=0", "is not between"),
        ("load=nan", "is not between"),
        ("error=4", "is not between 0 and 3"),
        ("fleet=0:0", "leaves no device"),
        ("fleet=1:-1", "is not counts"),
        ("fleet=1:1,2", "as many numbers"),
        ("fleet=1:1:1", "for the 2 entries"),
        ("load=0.5,0.50", "here twice"),
    ],
)
def test_what_is_no_sweep_is_told_before_anything_runs(sweep: str, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        Study.of(WorldOptions(generate=4), names="auto", sweeps=[sweep])


def test_a_sweep_of_fleets_changes_the_boards_and_nothing_else() -> None:
    study = Study.of(WorldOptions(generate=4), names="auto", sweeps=["fleet=1:3,2:0"], at_once=1)
    found = study.run()
    assert [point.world.counts for point in study.points] == [(1, 3), (2, 0)]
    assert [found.comparisons[i].runs[0].devices for i in range(2)] == [4, 2]


def test_two_sweeps_each_vary_one_thing() -> None:
    study = Study.of(
        WorldOptions(generate=4, load=0.7),
        names="auto",
        sweeps=["load=0.5,0.9", "error=0.25"],
        at_once=1,
    )
    worlds = [(p.world.load, p.world.estimate_error) for p in study.points]
    assert worlds == [(0.5, 0.0), (0.9, 0.0), (0.7, 0.25)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"at_once": 0}, "--jobs-parallel 0"),
        ({"address": "h:1", "on_ray": False}, "do not go together"),
        ({"run_limit": "10"}, "--run-limit: needs a unit"),
        ({"warmup": 1.0}, "--warmup 1"),
        ({"names": "nobody"}, "no policy 'nobody'"),
        ({"seeds": 0}, "--seeds 0"),
        ({"seeds": 10_000_000}, "too many"),
    ],
)
def test_options_that_make_no_sense_are_bad_input(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        Study.of(WorldOptions(generate=4), **{"names": "auto", **options})  # type: ignore[arg-type]


def test_jobs_of_the_warm_up_count_neither_in_the_figures_nor_in_the_bound() -> None:
    study = Study.of(
        WorldOptions(generate=40, load=0.8), names="auto", seeds=2, warmup=0.5, at_once=1
    )
    (found,) = replace(study, engine=Here()).run().comparisons
    for run in found.runs:
        assert run.metrics.counted < run.metrics.done == 40
    assert found.rows[0].distance["mean_completion_s"].mean >= 1
    assert found.rows[0].distance["makespan_s"].mean >= 1
    assert "--warmup 0.5" in study.command


def test_resumed_runs_after_a_warm_up_are_held_against_the_bound_of_such_runs() -> None:
    """A job that was tried twice from the start is in one go; one that was resumed is not."""
    trial = Trial(WorldOptions(generate=20, load=0.8), 0, "auto", "auto", warmup=0.2)
    metrics, bound = trial().metrics, Bounds(20, 1.0, 2.0, 4.0, 3.0)
    mean_s = metrics.mean_completion_s
    assert mean_s is not None and 0 < metrics.counted < metrics.done == 20
    for resumed, least_s in ((0, 4.0), (1, 2.0)):
        run = replace(metrics, resumed=resumed, attempts=21)
        assert distance(bound, run).mean_completion == pytest.approx(mean_s / least_s)


def test_pictures_of_an_earlier_comparison_do_not_stay_beside_a_new_page(
    found: Findings, tmp_path: Path
) -> None:
    """What is not a report's stays."""
    (tmp_path / "sweep-mine.png").write_bytes(b"mine")
    write_report(found, tmp_path)
    (load, *_) = found.comparisons
    runs = [replace(run, lanes=()) for run in load.runs]
    undrawn = replace(load, point=replace(load.point, sweep="", value=""), runs=runs)
    write_report(replace(found, comparisons=[undrawn]), tmp_path)
    left = {path.name for path in tmp_path.glob("*.png")}
    assert left == {"cdf.png", "sweep-mine.png"}


def test_where_no_report_can_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_text("mine")
    for path in (file, file / "inside" / "it"):
        with pytest.raises(InputError, match=re.escape(f"{file} is not a folder")):
            check_folder(path)
    assert check_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b" and check_folder(tmp_path)
    assert not (tmp_path / "a").exists()


def test_a_world_without_chance_is_told_when_there_are_several_seeds(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text("job_id,arrival_s,run_s_orin-nano\n1,0,10\n2,0,20\n")
    world = WorldOptions(trace=trace, fleet="orin-nano:1")
    for options, told in ((world, True), (WorldOptions(generate=4), False)):
        study = Study.of(options, names="auto", seeds=2, at_once=1)
        notes = replace(study, engine=Here()).run().notes
        assert any("nothing of this world is drawn" in note for note in notes) == told
