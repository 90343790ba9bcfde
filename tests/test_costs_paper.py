"""`costs paper` predicts from data sheets alone, and says where it is not as the paper has it."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jetsched.cli import app
from jetsched.profiler import bundled, paper, paper_predictions
from jetsched.profiler.costs import CostModel
from jetsched.profiler.paper import FIGURES, NX, ORIN, TABLE_3
from jetsched.profiler.paper_predictions import Prediction, predictions
from jetsched.records import Estimate, Job


@pytest.fixture(scope="module")
def found() -> Mapping[str, Prediction]:
    return {each.title: each for each in predictions()}


def test_all_six_workloads_are_predicted_on_both_boards(found: Mapping[str, Prediction]) -> None:
    assert list(found) == [figure.title for figure in FIGURES]
    for each in found.values():
        assert 0.9 < each.ratio_p10 <= each.ratio <= each.ratio_p90 < 4
        for side in (each.nx, each.orin):
            assert (side.source, side.method) == ("assumed", "datasheet")
            assert 0 < side.load_s < side.time_s < side.time_p90_s
            assert 0 < side.needs_mib <= side.admitted_mib
            assert side.energy_j is not None and side.gpu_util_pct is not None


def test_nothing_of_the_paper_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """With other ratios and utilisations in the paper, the predictions are the same."""
    before = predictions()
    none = {board: dict.fromkeys(row) for board, row in TABLE_3.items()}
    figures = tuple(
        paper.Comparison(each.figure, each.title, (paper.Reading(9.0, "made up"),))
        for each in FIGURES
    )
    monkeypatch.setattr(paper_predictions, "TABLE_3", none)
    monkeypatch.setattr(paper_predictions, "FIGURES", figures)
    monkeypatch.setattr(bundled, "FIGURES", figures)
    after = predictions()
    for old, new in zip(before, after, strict=True):
        assert (old.ratio, old.ratio_p10, old.ratio_p90) == (
            new.ratio,
            new.ratio_p10,
            new.ratio_p90,
        )
        assert (old.nx.time_s, old.nx.gpu_util_pct) == (new.nx.time_s, new.nx.gpu_util_pct)
        assert (old.nx.fit, old.orin.fit) == (new.nx.fit, new.orin.fit)
        assert not any(told.within for told in new.told)


def test_the_module_reads_no_profile() -> None:
    tree = ast.parse(Path(paper_predictions.__file__).read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert "bundled_profile" not in names


def test_a_prediction_is_what_the_cost_model_says_without_measurements(
    found: Mapping[str, Prediction],
) -> None:
    each = found["DistilGPT2"]
    verdict = CostModel().verdict(Job("1", each.workload, each.amount), bundled.paper_class(NX))
    assert isinstance(verdict, Estimate)
    assert verdict.time_s == each.nx.time_s and verdict.fit == each.nx.fit


def test_a_reading_is_within_when_it_lies_in_the_interval(found: Mapping[str, Prediction]) -> None:
    told = [(each, told) for each in found.values() for told in each.told]
    assert len(told) == 6
    for each, reading in told:
        inside = each.ratio_p10 <= reading.nx_over_orin <= each.ratio_p90
        assert reading.within == inside
    assert all(reading.within for each, reading in told if each.title == "TinyGPT2")


def test_gpt2_small_never_fits_the_nx_and_fits_the_orin(found: Mapping[str, Prediction]) -> None:
    """As in the paper, where it was killed. Other settings, of those left open, would have run."""
    each = found["GPT-2 Small"]
    assert each.killed and each.told == () and each.agrees
    assert each.nx.fit is None and each.nx.needs_mib > each.nx.has_mib
    assert each.orin.fit == "fits"
    assert 0 < each.nx.never_pct < 100
    assert "memory alone explains the kill" in each.notes[0]


def test_every_miss_is_explained(found: Mapping[str, Prediction]) -> None:
    for each in found.values():
        for told in each.told:
            if not told.within:
                assert any(f"the paper's {told.nx_over_orin:.2f}" in note for note in each.notes)
        if each.nx.fit is None and not each.killed:
            assert not each.agrees
            assert any("never runs there; the paper ran it" in note for note in each.notes)


def test_phi_2_in_fp16_does_not_fit_the_nx_by_our_count(found: Mapping[str, Prediction]) -> None:
    each = found["Phi-2"]
    assert each.nx.fit is None and each.orin.fit is not None
    assert f"{each.nx.needs_mib:,.0f} of {each.nx.has_mib:,.0f} MiB" in each.notes[0]


def test_the_json_has_a_ratio_an_interval_and_both_boards() -> None:
    result = CliRunner().invoke(app, ["costs", "paper", "--json"])
    assert result.exit_code == 0
    rows = json.loads(result.output)
    assert [row["model"] for row in rows] == [figure.title for figure in FIGURES]
    distil = rows[1]
    assert set(distil["ratio"]) == {"p10", "p50", "p90"}
    assert [reading["nx_over_orin"] for reading in distil["paper"]["readings"]] == [2.5, 1.6]
    assert set(distil["devices"]) == {NX, ORIN}
    nx = rows[2]["devices"][NX]
    assert nx["fits"] == "never" and rows[2]["paper"]["killed_on"] == [NX]
    assert {"needs_mib", "has_mib", "time_s", "source", "paper_gpu_util_pct"} <= set(nx)


def test_the_screen_shows_prediction_and_paper_side_by_side() -> None:
    result = CliRunner().invoke(app, ["costs", "paper"])
    assert result.exit_code == 0
    for words in ("2.50 or 1.60", "KILLED(NX)", "ran on both", "of 6 agree", "assumed"):
        assert words in result.output
