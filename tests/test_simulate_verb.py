"""`jetsched simulate`: what is typed, what comes back; the same seed gives the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Jetsched, Result

#: What a script may rely on.
FIGURES = {
    "mean_completion_s", "p50_completion_s", "p95_completion_s", "p99_completion_s", "makespan_s",
    "mean_slowdown", "p99_slowdown", "missed_deadlines", "killed", "energy_j", "utilisation",
    "jobs", "events", "loop_cpu_s", "jobs_per_cpu_s", "bound",
}  # fmt: skip
CPU = ("loop_cpu_s", "jobs_per_cpu_s")
MIX = ("--generate", "40", "--load", "0.8", "--seed", "3")


Simulate = Callable[..., Result]


@pytest.fixture
def simulate(jetsched: Jetsched) -> Simulate:
    """Runs the verb in this process, with a data home of its own."""
    return lambda *words: jetsched("simulate", *words)


def test_the_json_has_every_figure(simulate: Simulate) -> None:
    found = simulate(*MIX, "--json").json()
    assert set(found) >= FIGURES
    assert set(found["bound"]) == {"makespan_s", "mean_completion_s"}
    assert set(found["utilisation"]) == {"orin-nano", "xavier-nx"}
    assert found["jobs"] == found["done"] == 40 and found["energy_j"] > 0


def test_no_run_is_better_than_its_bounds(simulate: Simulate) -> None:
    found = simulate(*MIX, "--json").json()
    assert 0 < found["bound"]["makespan_s"] <= found["makespan_s"]
    assert 0 < found["bound"]["mean_completion_s"] <= found["mean_completion_s"]
    assert found["distance"]["makespan"] == found["makespan_s"] / found["bound"]["makespan_s"]


def test_without_bounds_none_are_given(simulate: Simulate) -> None:
    found = simulate(*MIX, "--json", "--no-bound").json()
    assert found["bound"] == {"makespan_s": None, "mean_completion_s": None}


def test_the_same_seed_gives_the_same_bytes_in_other_processes(tmp_path: Path) -> None:
    """Whatever the hash seed is."""
    texts = []
    for number in ("1", "2"):
        trace = tmp_path / f"{number}.json"
        words = [*MIX, "--estimate-error", "0.3", "--json", "--trace-out", str(trace)]
        found = subprocess.run(
            [sys.executable, "-m", "jetsched", "simulate", *words],
            env={**os.environ, "PYTHONHASHSEED": number, "JETSCHED_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [line for line in found.stdout.splitlines() if not any(n in line for n in CPU)]
        texts.append(("\n".join(lines), trace.read_bytes()))
    assert texts[0] == texts[1]


def test_another_seed_is_another_world(simulate: Simulate) -> None:
    first, second = (
        simulate("--generate", "30", "--seed", seed, "--json").json() for seed in ("1", "2")
    )
    assert first["mean_completion_s"] != second["mean_completion_s"]


def test_a_warm_up_leaves_the_first_jobs_out_of_the_figures_per_job(simulate: Simulate) -> None:
    cold, warm = (simulate(*MIX, "--json", "--warmup", part).json() for part in ("0", "0.5"))
    assert cold["counted"] == 40 > warm["counted"] > 10
    assert warm["makespan_s"] == cold["makespan_s"] and warm["jobs"] == 40
    assert warm["bound"]["mean_completion_s"] <= warm["mean_completion_s"]
    assert warm["mean_completion_s"] != cold["mean_completion_s"]


@pytest.mark.parametrize("part", ["1", "-0.1", "nan"])
def test_a_warm_up_that_leaves_nothing_is_bad_input(simulate: Simulate, part: str) -> None:
    result = simulate(*MIX, "--warmup", part)
    assert result.code == 2 and "--warmup" in result.err


def test_a_trace_file_is_written_and_told(simulate: Simulate, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    result = simulate(*MIX, "--trace-out", str(path))
    assert result.code == 0 and str(path) in result.out
    assert sum(e["ph"] == "X" for e in json.loads(path.read_text())["traceEvents"]) >= 40


def test_a_trace_file_that_cannot_be_written_is_told_before_the_run(simulate: Simulate) -> None:
    result = simulate("--generate", "10000000", "--trace-out", "no-such-folder/run.json")
    assert result.code == 2 and "no-such-folder" in result.err


def test_run_times_of_a_trace_are_the_truth(simulate: Simulate, tmp_path: Path) -> None:
    """A model without a data sheet will do; the third job cannot run on the second one."""
    trace, fleet = tmp_path / "jobs.csv", tmp_path / "fleet.yaml"
    trace.write_text(
        "job_id,arrival_s,user,run_s_a100,run_s_b200\n1,0,ann,10,5\n2,0,bob,10,5\n3,1,bob,20,\n"
    )
    fleet.write_text("devices: [{model: a100, count: 1}, {model: b200, count: 1}]\n")
    words = ("--trace", str(trace), "--fleet", str(fleet), "--policy", "earliest_finish")
    found = simulate(*words, "--json").json()
    assert found["done"] == 3 and found["killed"] == 0 and found["skipped"] == 0
    assert found["makespan_s"] >= found["bound"]["makespan_s"] == pytest.approx(21)
    assert 0.5 < found["fairness"] <= 1 and found["worst_user_slowdown"] >= 1
    assert "fairness" in simulate(*words).out


def test_a_progress_bar_does_not_get_into_the_output(simulate: Simulate) -> None:
    result = simulate(*MIX, "--json")
    assert result.err == "" and result.out.startswith("{")


def test_an_unknown_policy_is_told_before_a_large_world_is_made(simulate: Simulate) -> None:
    result = simulate("--generate", "10000000", "--policy", "earliest_finsh")
    assert result.code == 2 and "did you mean 'earliest_finish'?" in result.err


def test_a_policy_that_has_no_objective_says_so(simulate: Simulate) -> None:
    result = simulate(*MIX, "--policy", "earliest_finish", "--objective", "makespan")
    assert result.code == 2 and "objective" in result.err


def test_the_screen_says_how_far_the_run_was_from_the_bound(simulate: Simulate) -> None:
    result = simulate(*MIX)
    assert result.code == 0
    assert "x what no schedule beats" in result.out
    assert result.out.rstrip().splitlines()[-1].startswith("Next: jetsched")
