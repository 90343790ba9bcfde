"""`make bench-policies`: each part says what it measured beside its bar, or why it did not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jetsched import policies

ROOT = Path(__file__).resolve().parent.parent


def tool(name: str) -> ModuleType:
    """A module from `tools`, under its own name: there they import each other."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


bars = tool("policy_bars")
scale = tool("policy_scale")
loads = tool("policy_loads")
batches = tool("policy_batches")
bench = tool("bench_policies")

RESULTS = "trace,v100:p100:k80,policy,gavel_code,round_s,reset_s,mean_jct_s\n"


def nothing(tmp_path: Path) -> Any:
    return bars.Asked(data=tmp_path)


@pytest.mark.parametrize("part", [loads.gavel, loads.philly, loads.error, batches.braun])
def test_without_its_data_a_part_is_left_out_and_says_which_file(part: Any, tmp_path: Path) -> None:
    (row,) = part(nothing(tmp_path))
    assert row.met is None and str(tmp_path) in row.measured


def test_every_greedy_policy_meets_overload_on_its_own() -> None:
    names = bench.chosen(["overload"])
    assert {"overload-earliest_finish", "overload-random"} <= set(names)
    assert len(names) == len(scale.greedy()) < len(policies.BUILT_IN)


def test_parts_are_chosen_by_name() -> None:
    assert bench.chosen(["gavel", "braun"]) == ["gavel", "braun"]
    assert bench.chosen([]) == list(bench.parts())
    with pytest.raises(SystemExit, match="there is no part 'gavl'"):
        bench.chosen(["gavl"])


@pytest.mark.slow
def test_a_part_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    (row,) = bench.in_child("braun", ["--data", str(tmp_path)], 60.0)
    assert "left out" in row.measured


@pytest.mark.slow
def test_a_part_that_takes_too_long_or_breaks_is_a_row_too() -> None:
    (late,) = bench.in_child("growth", [], 0.01)
    assert late.met is False and "not done after" in late.measured
    (broken,) = bench.in_child("growth", ["--seeds", "none"], 60.0)
    assert broken.met is False and "broke" in broken.measured


def test_gavels_best_is_found_at_its_defaults_and_tuned(tmp_path: Path) -> None:
    """One job that takes 100 s on a V100: 90 s cannot be reached, 100 s are."""
    folder = tmp_path / "gavel"
    folder.mkdir()
    lines = []
    for name in loads.GAVEL:
        for policy, round_s, reset_s, mean_s in (
            ("fifo", 360, 1920, 100.0),
            ("las", 360, 1920, 120.0),
            ("tuned", 60, 0, 90.0),
        ):
            lines.append(f"{name},1:1:1,{policy},unmodified,{round_s},{reset_s},{mean_s}\n")
        (folder / f"{name}.csv").write_text(
            "job_id,arrival_s,run_s_v100,run_s_p100,run_s_k80\n1,0,100,200,300\n"
        )
    (folder / "gavel_results.csv").write_text(RESULTS + "".join(lines))
    rows = list(loads.gavel(nothing(tmp_path)))
    assert len(rows) == 3 * len(loads.GAVEL)
    default, tuned, single = rows[:3]
    assert default.met and "fifo" in default.peer and default.measured == "100 s"
    assert tuned.met is False and tuned.measured == "1.111"
    assert single.met


def test_the_peer_runs_here() -> None:
    pytest.importorskip("simpy")
    rate = scale.simpy_jobs_per_cpu_s(jobs=2_000)
    assert rate is not None and rate > 0


def test_overload_counts_what_was_not_done_as_missed() -> None:
    (row,) = scale.overload(bars.Asked(), "fifo_fastest", jobs=300)
    assert "300 jobs wait" in row.test and row.met is not None


def test_a_row_says_missed_only_where_a_bar_was() -> None:
    assert "MISSED" in bars.Row("t", "1", "2", "", False).cells
    assert "MISSED" not in bars.Row("t", "1", "2", "", True).cells + bars.Row("t", "1").cells
