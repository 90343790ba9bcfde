"""A short chaos run: real Ray on hosts of their own, hurt from a seed; and the judge is judged."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from multihost import reason_against

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"


@pytest.fixture(scope="module")
def tools() -> dict[str, ModuleType]:
    """The modules of the tool, under their own names: there they import each other."""
    return {name: load(name) for name in ("chaos_jobs", "chaos_faults", "chaos_ledger")}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_same_seed_draws_the_same_faults_and_jobs(tools: dict[str, ModuleType]) -> None:
    faults, jobs = tools["chaos_faults"], tools["chaos_jobs"]
    drawn = faults.draw_faults(60, 7, lease_s=12.0)
    assert drawn == faults.draw_faults(60, 7, lease_s=12.0)
    assert drawn != faults.draw_faults(60, 8, lease_s=12.0)
    assert jobs.draw_jobs(50, 7) == jobs.draw_jobs(50, 7)


def test_some_of_those_that_take_a_while_are_to_be_cancelled(tools: dict[str, ModuleType]) -> None:
    drawn = tools["chaos_jobs"].draw_jobs(200, 2)
    chosen = [job for job in drawn if job.cancel_s is not None]
    assert len(chosen) == 12
    assert {job.kind for job in chosen} <= tools["chaos_jobs"].CANCELLED
    assert any(job.cancel_s is not None for job in tools["chaos_jobs"].draw_jobs(20, 2))


def test_every_kind_of_fault_and_job_is_there(tools: dict[str, ModuleType]) -> None:
    faults, jobs = tools["chaos_faults"], tools["chaos_jobs"]
    assert {f.kind for f in faults.draw_faults(13, 1, lease_s=12.0)} == set(faults.KINDS)
    assert {job.kind for job in jobs.draw_jobs(200, 1)} == set(jobs.KINDS)


# ------------------------------------------------------------------------------------ the judge


def submitted(*ids: str, times: int = 1) -> tuple[str, dict[str, Any]]:
    jobs = [{"id": id, "env": {}, "retry": {"times": times, "on": ["lost"]}} for id in ids]
    return "Submitted", {"jobs": jobs}


def start(job: str, attempt: int, device: str = "nx") -> tuple[str, dict[str, Any]]:
    return "Start", {
        "placement": {"job": {"id": job}, "device": {"id": device}},
        "attempt": attempt,
    }


def finished(job: str, attempt: int, outcome: str) -> tuple[str, dict[str, Any]]:
    return "Finished", {"job_id": job, "attempt": attempt, "outcome": outcome}


def lost(device: str = "nx") -> tuple[str, dict[str, Any]]:
    return "DeviceLost", {"device_id": device}


def cancel(job: str) -> tuple[str, dict[str, Any]]:
    return "CancelAsked", {"job_id": job}


def ledger_of(tools: dict[str, ModuleType], *entries: tuple[str, dict[str, Any]]) -> Any:
    ledger = tools["chaos_ledger"].Ledger()
    for at, (kind, data) in enumerate(entries):
        ledger.take(kind, data, float(at))
    return ledger


def test_a_job_that_is_done_twice_is_found(tools: dict[str, ModuleType]) -> None:
    ledger = ledger_of(
        tools, submitted("1"), start("1", 1), lost(), start("1", 2), finished("1", 2, "done")
    )
    assert ledger.jobs["1"].commits == [2]
    ledger.take(*finished("1", 1, "done"), 9.0)
    assert (ledger.jobs["1"].commits, ledger.late_refused) == ([2], 1)
    ledger.take(*start("1", 3), 9.0)
    assert ledger.wrong == ["job 1 was started again while it was done"]
    ledger.take(*finished("1", 3, "done"), 9.0)
    assert ledger.jobs["1"].commits == [2, 3]


def test_a_late_result_counts_while_nothing_newer_was_started(tools: dict[str, ModuleType]) -> None:
    ledger = ledger_of(tools, submitted("1"), start("1", 1), lost(), finished("1", 1, "done"))
    assert (ledger.jobs["1"].state, ledger.late_accepted) == ("done", 1)


def test_a_job_that_is_not_tried_again_though_it_may_be_is_found(
    tools: dict[str, ModuleType],
) -> None:
    ledger = ledger_of(tools, submitted("1"), start("1", 1), lost())
    assert ledger.jobs["1"].state == "waiting"
    ledger.take(*start("1", 2), 5.0)
    ledger.take(*lost(), 6.0)
    assert ledger.jobs["1"].state == "lost"


def test_two_attempts_at_once_are_found(tools: dict[str, ModuleType]) -> None:
    ledger = ledger_of(tools, submitted("1"), start("1", 1), start("1", 2, "orin"))
    assert ledger.wrong == ["job 1 was started again while it was running"]


def test_a_job_that_was_to_be_stopped_is_not_started_again(tools: dict[str, ModuleType]) -> None:
    ledger = ledger_of(tools, submitted("1", "2", "3"), cancel("1"), start("2", 1), cancel("2"))
    assert [ledger.jobs[id].state for id in "123"] == ["cancelled", "running", "waiting"]
    ledger.take(*lost(), 8.0)
    assert ledger.jobs["2"].state == "cancelled"
    ledger.take(*finished("2", 1, "done"), 9.0)  # too late: nobody wants it
    assert (ledger.jobs["2"].state, ledger.late_refused) == ("cancelled", 1)
    ledger.take(*start("2", 2), 10.0)
    assert ledger.wrong == ["job 2 was started again while it was cancelled"]


def test_a_job_that_was_done_before_it_could_be_stopped_is_done(
    tools: dict[str, ModuleType],
) -> None:
    ledger = ledger_of(
        tools, submitted("1"), start("1", 1), cancel("1"), finished("1", 1, "done"), cancel("1")
    )
    assert (ledger.jobs["1"].state, ledger.jobs["1"].commits) == ("done", [1])


# -------------------------------------------------------------------------------------- the run


@pytest.mark.slow
@pytest.mark.skipif(bool(reason_against()), reason=reason_against())
def test_twenty_jobs_survive_eight_faults(tmp_path: Path) -> None:
    """Nothing is lost, nothing counts twice, no process is left; else the exit code is 1."""
    done = subprocess.run(
        [
            sys.executable,
            str(TOOLS / "chaos.py"),
            *("--jobs", "20", "--faults", "8", "--seed", "1", "--out", str(tmp_path)),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=580,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "chaos.json").read_text())
    zeros = ("lost", "committed_twice", "orphans", "cut_logs", "decided_otherwise")
    assert [told[f"{name}_count"] for name in zeros] == [0] * 5
    assert told["replay"]["same"] and told["replay"]["decisions"] >= 20
    assert told["jobs"] == 20
    assert told["faults_done"] >= 6  # a fault that came when all had ended hits nothing
