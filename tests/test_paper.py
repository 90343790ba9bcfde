"""The paper's figures come out as they went in, and what is assumed is marked."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from jetsched.cli import app
from jetsched.profiler.bundled import bundled_profile, paper_class, paper_workload
from jetsched.profiler.costs import CostModel
from jetsched.profiler.models import find
from jetsched.profiler.paper import (
    ASSUMED,
    FIGURES,
    KILLED,
    NX,
    ORIN,
    SETTING,
    TABLE_1,
    TABLE_2,
    TABLE_3,
    Comparison,
    paper_model,
)
from jetsched.records import Estimate, Job, Never


def verdict(title: str, board: str, amount: float = 100.0) -> Estimate | Never:
    model = CostModel(bundled_profile())
    return model.verdict(Job("1", paper_workload(paper_model(title)), amount), paper_class(board))


def test_table_1() -> None:
    assert TABLE_1["memory"] == ("8 GB LPDDR4x, 59.7 GB/s", "8 GB LPDDR5, 102 GB/s")
    assert TABLE_1["INT8"] == ("21 TOPS", "67 TOPS")
    assert TABLE_1["power"] == ("up to 20 W", "up to 25 W")
    assert TABLE_1["year"] == ("2020", "2023")


def test_table_2_names_models_that_are_known_here() -> None:
    assert [(model.title, model.parameters) for model in TABLE_2] == [
        ("TinyGPT2", "25 million"),
        ("DistilGPT2", "82 million"),
        ("GPT-2 Small", "117 million"),
        ("TinyLlama-1.1B", "1.1 billion"),
        ("Phi-2", "2.7 billion"),
        ("Qwen1.5-1.8B", "1.8 billion"),
    ]
    assert all(find(model.known_as) for model in TABLE_2)


def test_table_3() -> None:
    assert list(TABLE_3[ORIN].values()) == [67.05, 96.73, 96.18, 27.17, 33.05, 16.4]
    assert list(TABLE_3[NX].values()) == [74.01, 91.42, None, 9.26, 14.41, 9.26]


def test_figures_keep_both_readings_of_distilgpt2() -> None:
    ratios = {figure.title: [r.nx_over_orin for r in figure.readings] for figure in FIGURES}
    assert ratios == {
        "TinyGPT2": [pytest.approx(1 / 0.6)],
        "DistilGPT2": [2.5, 1.6],
        "GPT-2 Small": [],
        "TinyLlama-1.1B": [1.6],
        "Phi-2": [2.1],
        "Qwen1.5-1.8B": [2.1],
    }


def test_every_row_of_the_bundled_profile_is_assumed_and_names_the_paper() -> None:
    rows = bundled_profile()
    assert len(rows) == 12
    for row in rows:
        assert row.source == "assumed"
        assert row.identity == {"source": "paper"}
        assert row.text
    assert {"precision", "batch size", "power mode", "seconds"} <= set(ASSUMED)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.title)
def test_the_bundled_profile_has_the_papers_ratio_utilisation_and_kill(figure: Comparison) -> None:
    orin, nx = verdict(figure.title, ORIN), verdict(figure.title, NX)
    assert isinstance(orin, Estimate)
    assert (orin.source, orin.method, orin.fit) == ("assumed", "table", "fits")
    assert orin.gpu_util_pct == TABLE_3[ORIN][figure.title]
    if not figure.readings:
        assert (NX, figure.title) == KILLED
        assert isinstance(nx, Never) and nx.code == "NeverFits"
        assert nx.source == "assumed"
        return
    assert isinstance(nx, Estimate) and nx.fit == "fits"
    assert nx.gpu_util_pct == TABLE_3[NX][figure.title]
    ratio = (nx.time_s - nx.load_s) / (orin.time_s - orin.load_s)
    assert ratio == pytest.approx(figure.readings[0].nx_over_orin)


def test_the_data_sheets_alone_agree_with_the_paper_about_who_is_faster_and_who_is_killed() -> None:
    """No figure of the paper goes into this: only shapes and sheets."""
    model = CostModel()
    for figure in FIGURES:
        job = Job("1", paper_workload(paper_model(figure.title)), 100.0)
        nx, orin = (model.verdict(job, paper_class(board)) for board in (NX, ORIN))
        assert isinstance(orin, Estimate)
        if not figure.readings:
            assert isinstance(nx, Never) and nx.code == "NeverFits"
        elif isinstance(nx, Estimate):
            ratio = (nx.time_s - nx.load_s) / (orin.time_s - orin.load_s)
            assert ratio == pytest.approx(figure.readings[0].nx_over_orin, rel=0.4)


def test_the_screen_shows_every_figure_of_the_tables_and_marks_what_is_assumed() -> None:
    result = CliRunner().invoke(app, ["profiles", "show", "paper"])
    assert result.exit_code == 0
    cells = [cell for row in TABLE_1.values() for cell in row if cell]
    cells += [f"{value:.2f} %" for row in TABLE_3.values() for value in row.values() if value]
    cells += [model.parameters for model in TABLE_2] + [*SETTING.values(), *ASSUMED.values()]
    assert [cell for cell in cells if cell not in result.output] == []
    assert "2.50 or 1.60" in result.output and "KILLED(NX)" in result.output
    assert "assumed here" in result.output


def test_the_json_has_all_of_it() -> None:
    found = json.loads(CliRunner().invoke(app, ["profiles", "show", "paper", "--json"]).output)
    assert found["table_1"]["GPU"] == ["384-core Volta", "1024-core Ampere"]
    tiny = found["table_2"][0]
    assert (tiny["parameters"], tiny["parameters_counted"]) == ("25 million", 102_714)
    assert tiny["hub_id"] == "sshleifer/tiny-gpt2"
    assert "0.1 million" in tiny["note"]
    distil = next(figure for figure in found["figures"] if figure["title"] == "DistilGPT2")
    assert [reading["nx_over_orin"] for reading in distil["readings"]] == [2.5, 1.6]
    assert found["table_3"]["xavier-nx"]["GPT-2 Small"] is None
    assert found["killed"] == ["xavier-nx", "GPT-2 Small"]
    assert found["assumed"] == dict(ASSUMED) and found["setting"] == dict(SETTING)
