"""The demo, live part included: what its summary must show, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def summary(folder: Path) -> dict[str, Any]:
    """What one run of the demo wrote; the command itself, as a person types it."""
    command = [sys.executable, "-m", "jetsched", "demo", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=570)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def job(summary: dict[str, Any], name: str) -> dict[str, Any]:
    return next(job for job in summary["live"] if job["name"] == name)


def test_a_training_job_is_killed_on_the_nx_and_finishes_on_the_orin(
    summary: dict[str, Any],
) -> None:
    """By the real cap: its peak was not known, only that it might be too much."""
    attempts = job(summary, "train-gpt2")["attempts"]
    assert [(a["device"], a["outcome"]) for a in attempts] == [
        ("nx-1", "killed_memory"),
        ("orin-1", "done"),
    ]
    assert "killed" in attempts[0]["text"]


def test_the_kill_is_learnt(summary: dict[str, Any]) -> None:
    assert list(summary["learnt"]) == ["nx-1"]
    assert "killed here" in summary["learnt"]["nx-1"]


def test_all_jobs_are_done_with_estimate_and_measurement(summary: dict[str, Any]) -> None:
    assert len(summary["live"]) >= 4
    for row in summary["live"]:
        assert row["state"] == "done"
        assert row["estimated_s"] > 0
        assert row["measured_s"] > 0


def test_two_jobs_run_at_the_same_time_on_the_two_boards(summary: dict[str, Any]) -> None:
    runs: dict[str, list[tuple[float, float]]] = {"nx-1": [], "orin-1": []}
    for row in summary["live"]:
        for a in row["attempts"]:
            runs[a["device"]].append((a["start_s"], a["start_s"] + a["seconds"]))
    assert any(
        start < other_end and other_start < end
        for start, end in runs["nx-1"]
        for other_start, other_end in runs["orin-1"]
    )


def test_everything_is_marked_emulated(summary: dict[str, Any]) -> None:
    assert summary["emulated"] is True
    assert all("emulated" in board for board in summary["boards"])


def test_the_simulated_part_compares_at_least_six_policies(summary: dict[str, Any]) -> None:
    assert len(summary["simulated"]) >= 6
    assert all(metrics["done"] == 24 for metrics in summary["simulated"].values())


def test_nothing_that_the_demo_started_is_left(summary: dict[str, Any], folder: Path) -> None:
    """No process works in its folder or carries its data home."""
    left = []
    for path in Path("/proc").glob("[0-9]*"):
        if path.name == str(os.getpid()):
            continue
        try:
            told = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told:
            left.append(path.name)
    assert left == []
    assert not (folder / "home/cluster.json").exists()


def test_a_folder_that_no_demo_made_is_never_removed(tmp_path: Path) -> None:
    """`--out /` must not cost anybody their home."""
    from jetsched.cluster.demo_live import run_live
    from jetsched.errors import InputError

    (tmp_path / "home" / "me").mkdir(parents=True)
    with pytest.raises(InputError, match="no demo made it"):
        run_live(tmp_path / "home", lambda text: None)
    assert (tmp_path / "home/me").is_dir()
