"""`jetsched compare` and `jetsched plan-fleet`, as a person types them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetsched.cli import main

Run = Callable[..., tuple[int, str, str]]

DIES = """
import os
class Dies:
    '''Ends its process.'''
    def decide(self, view):
        os._exit(9)
"""


@pytest.fixture
def jetsched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Runs the command in this process, in a folder of its own; (code, stdout, stderr)."""
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JETSCHED_DEBUG", "")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jetsched", *words])
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        return int(code or 0), *capsys.readouterr()

    return run


def test_the_table_has_intervals_differences_and_the_distance_to_the_bound(jetsched: Run) -> None:
    words = ["compare", "--generate", "12", "--seeds", "3", "--policies", "random,auto"]
    code, out, _ = jetsched(*words, "--jobs-parallel", "1")
    assert code == 0
    header, first, second = out.splitlines()[:3]
    for title in ("POLICY", "MEAN DONE", "VS BEST", "P95", "ALL DONE", "x BOUND"):
        assert title in header
    assert first.split()[0] == "auto" and " best " in first
    assert second.split()[0] == "random" and " ±" in second and " %" in second
    assert "95 % interval over 3 seeds" in out and "Next: " in out.splitlines()[-1]


def test_a_run_that_fails_is_told_and_ends_in_1(jetsched: Run) -> None:
    Path("dies.py").write_text(DIES)
    words = ["compare", "--generate", "4", "--seeds", "2", "--policies", "auto,dies.py"]
    code, out, _ = jetsched(*words, "--jobs-parallel", "1", "--out", "report")
    assert code == 1
    assert "2 of 2 runs failed" in out
    assert "✗ Dies, seed 1: its process ended with exit code 9" in out
    lines = [json.loads(line) for line in Path("report/runs.jsonl").read_text().splitlines()]
    assert [line["policy"] for line in lines] == ["auto", "auto", "Dies", "Dies"]
    assert lines[3] == {"policy": "Dies", "seed": 1, "failed": "its process ended with exit code 9"}
    assert "Dies, seed 1: its process ended" in Path("report/index.html").read_text()


def test_a_file_where_the_report_should_go_is_told_before_anything_runs(jetsched: Run) -> None:
    Path("report").write_text("mine")
    Path("dies.py").write_text(DIES)
    words = ["compare", "--generate", "4", "--seeds", "1", "--policies", "dies.py"]
    code, _, err = jetsched(*words, "--out", "report")
    assert code == 2 and "report is not a folder" in err and "exit code 9" not in err
    assert Path("report").read_text() == "mine"


def test_where_every_run_fails_it_is_bad_input_with_the_reason(jetsched: Run) -> None:
    Path("dies.py").write_text(DIES)
    code, _, err = jetsched("compare", "--generate", "4", "--seeds", "1", "--policies", "dies.py")
    assert code == 2 and "its process ended with exit code 9" in err


def test_json_has_a_row_per_point_and_policy(jetsched: Run) -> None:
    words = ["compare", "--generate", "6", "--seeds", "2", "--policies", "auto,random", "--json"]
    code, out, _ = jetsched(*words, "--sweep", "load=0.5,0.9", "--jobs-parallel", "1")
    rows = json.loads(out)
    assert code == 0
    assert [(row["sweep"], row["value"], row["policy"]) for row in rows] == [
        *(("load", "0.5", "auto"), ("load", "0.5", "random")),
        *(("load", "0.9", "auto"), ("load", "0.9", "random")),
    ]
    for row in rows:
        assert row["figures"]["mean_completion_s"]["half"] > 0
        assert row["distance"]["makespan_s"]["mean"] >= 1
        assert row["runs"] == 2 and row["failed"] == row["skipped"] == 0


def test_rows_of_a_trace_that_were_left_out_are_counted(jetsched: Run) -> None:
    Path("t.csv").write_text("job_id,arrival_s,run_s_a\n1,0,10\n2,0,-3\n3,1,10\n")
    words = ["compare", "--trace", "t.csv", "--fleet", "a:1", "--policies", "auto", "--seeds", "1"]
    code, _, err = jetsched(*words)
    assert code == 2 and "t.csv:3" in err
    code, out, _ = jetsched(*words, "--skip-bad-rows", "--json")
    (row,) = json.loads(out)
    assert code == 0 and row["skipped"] == 1 and row["figures"]["done"]["mean"] == 2


def test_plan_fleet_names_the_mix_and_what_it_rests_on(jetsched: Run) -> None:
    Path("t.csv").write_text(
        "job_id,arrival_s,run_s_a,run_s_b\n" + "".join(f"{n},0,100,50\n" for n in range(10))
    )
    words = ["plan-fleet", "--trace", "t.csv", "--models", "a,b", "--target", "makespan<=200s"]
    code, out, _ = jetsched(*words, "--price", "a=1,b=3", "--most", "8", "--jobs-parallel", "1")
    assert code == 0
    (chosen,) = [line for line in out.splitlines() if "✓ chosen" in line]
    assert chosen.split("  ")[1] == "5 x a"
    assert "5 x a meets makespan <= 3m 20s" in out
    assert "Next: jetsched compare --fleet a:5" in out
    code, out, _ = jetsched(*words, "--price", "a=1,b=3", "--most", "8", "--json")
    assert json.loads(out)["mix"] == {"a": 5, "b": 0} and json.loads(out)["cost"] == 5


def test_plan_fleet_says_which_job_makes_it_impossible_and_ends_in_3(jetsched: Run) -> None:
    Path("t.csv").write_text("job_id,arrival_s,run_s_a\nlong,0,5000\nshort,0,5\n")
    words = ["plan-fleet", "--trace", "t.csv", "--models", "a", "--target", "makespan<=1h"]
    code, _, err = jetsched(*words, "--jobs-parallel", "1")
    assert code == 3
    assert "no mix up to 64 x a meets makespan <= 1h 00m" in err
    assert "1 job cannot, on any of these boards; job long " in err and "1h 23m" in err
