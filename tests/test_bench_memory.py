"""The benchmark of memory: its bars, on the record of what was measured for this project."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jetsched.profiler.costs import CostModel
from jetsched.records import DeviceClass

ROOT = Path(__file__).resolve().parent.parent


def tool(name: str) -> ModuleType:
    """A module from `tools`, under its own name: there they import each other."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    tool("memory_cases")
    return tool("bench_memory")


@pytest.fixture(scope="module")
def models(bench: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = bench.configs(tmp_path_factory.mktemp("models"))
    return folder


@pytest.fixture(scope="module")
def rows(bench: ModuleType) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bench.read(bench.FIT_RECORD)
    return found


def test_counted_training_memory_of_gpt2_shapes_is_within_3_percent(
    bench: ModuleType, models: Path
) -> None:
    found = bench.live_results(bench.read(bench.LIVE_RECORD), models)
    errors = [live.error for live in found if live.in_bar]
    assert len(errors) >= 20
    assert sum(map(abs, errors)) / len(errors) < 0.01  # the bar is 3 %
    assert min(errors) > -0.03  # and -6 %


@pytest.mark.parametrize("learnt", [False, True], ids=["nothing measured", "after quick"])
def test_decisions_under_real_caps_keep_to_their_bars(
    bench: ModuleType, models: Path, rows: list[dict[str, Any]], learnt: bool
) -> None:
    """None that was said to fit was killed; few that were said never to would have run."""
    costs = CostModel(bench.quick_rows(rows) if learnt else ())
    found = bench.decisions(rows, models, costs)
    assert len(found) >= 40
    assert 0.3 < sum(each.ran for each in found) / len(found) < 0.7  # both are put to the test
    assert [str(each) for each in found if each.wrong and each.verdict == "fits"] == []
    wrongly = [each for each in found if each.wrong and each.verdict == "never"]
    assert len(wrongly) <= 0.05 * len(found)
    assert sum(each.verdict == "tight" for each in found) < 0.2 * len(found)


def test_where_an_error_would_show_first_there_is_none(
    bench: ModuleType, models: Path, rows: list[dict[str, Any]]
) -> None:
    """Caps that were by half a per cent what just fits, or what just never does."""
    found = bench.decisions(rows, models, CostModel(), edges=True)
    assert len(found) >= 20
    assert [str(each) for each in found if each.wrong and each.verdict == "fits"] == []
    assert sum(each.wrong for each in found) <= 0.05 * len(found)


def test_every_case_that_is_measured_came_to_a_clear_end(rows: list[dict[str, Any]]) -> None:
    ends = [row["outcome"] for row in rows if "outcome" in row]
    assert set(ends) == {"done", "killed_memory"}


def test_the_record_says_what_it_was_measured_on(rows: list[dict[str, Any]]) -> None:
    assert {"machine", "cpus", "memory_mib", "cap", "libc", "torch"} <= set(rows[0])
    assert rows[0]["cap"].startswith("cgroup")


def test_a_case_that_was_killed_is_never_placed_there_again(
    bench: ModuleType, models: Path, rows: list[dict[str, Any]]
) -> None:
    """The record's own kills and ends, learnt: they override what was counted."""
    for row in rows:
        if "outcome" not in row:
            continue
        case = bench.from_json(bench.Case, row["case"])
        where = DeviceClass("cpu", memory_mib=row["cap_mib"])
        measurement = bench.Measurement(
            case.job(models).workload,
            where,
            row["outcome"],
            amount=3.0,
            time_s=3.0,
            work_s=1.0,
            peak_memory_mib=row["peak_mib"],
        )
        edges = row.get("edge", False)
        (found,) = bench.decisions([row], models, CostModel([measurement]), edges=edges)
        assert found.verdict == ("fits" if row["outcome"] == "done" else "never")


def test_without_arguments_it_prints_both_tables(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_memory.py"])
    bench.main()
    printed = capsys.readouterr().out
    assert "training, GPT-2 shapes" in printed and "after the quick suite" in printed
    assert "WRONG" not in printed


@pytest.mark.slow
def test_live_bytes_are_what_the_allocator_counts(tmp_path: Path) -> None:
    """An inference of a tiny model: weights, and a little more. Needs torch."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    import subprocess

    spec = {
        "version": 1,
        "work": {"kind": "infer", "model": "x", "prompt_tokens": 8, "max_new_tokens": 2},
        "amount": 1,
        "folder": str(tmp_path),
        "model_config": str(tmp_path / "config.json"),
        "device": "cpu",
    }
    sizes = {"n_layer": 2, "n_embd": 256, "n_head": 4, "vocab_size": 4096, "n_positions": 64}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", **sizes}))
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, str(ROOT / "tools/live_bytes.py"), str(tmp_path / "spec.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    weights_mib = (4096 * 256 + 64 * 256 + 2 * (12 * 256**2 + 13 * 256) + 2 * 256) * 4 / 2**20
    assert weights_mib < float(done.stdout) < weights_mib + 4
