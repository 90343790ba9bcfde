"""The benchmarks of power and of data sheets: their bars, on other people's rows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / f"tools/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass asks for it
    spec.loader.exec_module(module)
    return module


def power_figures() -> list[Any]:
    return list(tool("bench_power").figures(SHARED / "cost"))


def test_power_of_what_was_left_out_is_within_the_bar() -> None:
    """7.8 %: the trial before the project; 859 medians of an AGX Orin, and three boards' clocks."""
    found = {figure.test: figure for figure in power_figures()}
    if not found:
        pytest.skip("the tables of measured costs are not here")
    held_out = found["power, AGX Orin, hold out framework x model x precision"]
    assert held_out.rows == 859
    assert held_out.mape_pct < 7.8
    assert held_out.p90_coverage == pytest.approx(0.9, abs=0.05)
    clocks = [figure for test, figure in found.items() if "other GPU clocks" in test]
    assert len(clocks) == 3 and all(figure.mape_pct < 10 for figure in clocks)


def test_measured_workloads_make_power_better_than_the_sheet() -> None:
    found = [figure for figure in power_figures() if "alone" in figure.test]
    few = [figure for figure in power_figures() if "measured" in figure.test]
    if not found:
        pytest.skip("the tables of measured costs are not here")
    errors = [figure.mape_pct for figure in (*found, *few)]
    assert len(errors) == 4 and errors == sorted(errors, reverse=True)


def test_decoding_by_the_data_sheet_is_near_what_was_published() -> None:
    """Twelve rows of eager transformers on two boards: none is off by more than 15 %."""
    rows = [
        row
        for row in tool("bench_sheet").rows(SHARED / "jetson" / "published.csv")
        if row.phase == "decode"
    ]
    if not rows:
        pytest.skip("the published runs are not here")
    assert len(rows) == 12
    assert [row for row in rows if not 0.85 < row.ratio < 1.15] == []


def test_benchmarks_without_data_say_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("bench_power", "bench_sheet"):
        module = tool(name)
        monkeypatch.setattr(module, "DATA", tmp_path / "not-there")
        module.main()
        assert "no data in" in capsys.readouterr().out
