"""`jetsched estimate` after something was measured here: whose runs a device model stands for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from builders import a_workload
from estimate_world import AS_WORK, GPT2, Estimate, a_file, a_run, estimate_in, remember

from jetsched.profiler.devices import DEVICE_MODELS
from jetsched.records import DeviceClass


@pytest.fixture
def estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Estimate:
    return estimate_in(tmp_path / "home", monkeypatch, capsys)


def test_cpu_is_this_machine_and_knows_what_was_measured_on_it(
    estimate: Estimate, tmp_path: Path
) -> None:
    """The same work is measured; other work of its kind is estimated from that."""
    same = a_file(
        tmp_path, "kind: train, model: tinygpt2-25m, batch_size: 2, seq_len: 64, samples: 24"
    )
    words = (same, "--device", "cpu", "--json")
    before = estimate(*words).row
    assert (before["source"], before["software"]) == ("assumed", "")
    remember(tmp_path, a_run())
    after = estimate(*words).row
    assert (after["source"], after["method"], after["measurements"]) == ("measured", "table", 1)
    assert after["time_s"]["p50"] == pytest.approx(3 + 24 * 0.5)
    assert after["software"] == "torch-2.9.0"
    other = estimate(*words, "--set", "work.batch_size=4").row
    assert (other["source"], other["method"]) == ("estimated", "fitted")
    assert other["measurements"] >= 1
    assert "cpu: by what was measured here with torch-2.9.0." in estimate(*words[:-1]).out


def test_what_was_measured_on_an_emulated_board_says_nothing_of_the_real_one(
    estimate: Estimate, tmp_path: Path
) -> None:
    emulated = DeviceClass("xavier-nx", "emulated", "torch-2.9.0", 3078.5, emulated=True)
    words = (
        a_file(tmp_path, AS_WORK),
        *("--json", "--device"),
    )
    before = estimate(*words, "xavier-nx").row
    remember(tmp_path, a_run(emulated))
    assert estimate(*words, "xavier-nx").row == before
    row = estimate(*words, "xavier-nx:0.5").row
    assert (row["device"], row["emulated"]) == ("xavier-nx", True)
    assert row["has_mib"] == pytest.approx(3078.5)
    assert row["source"] in ("measured", "estimated") and row["measurements"] == 1


def test_the_software_that_a_board_had_last_stands_for_its_model(
    estimate: Estimate, tmp_path: Path
) -> None:
    """In the default power mode; its memory is what jobs had then, however the run was capped."""
    new = DeviceClass("orin-nano", "25W", "jetpack-6.2 torch-2.8.0", 2048.0)
    old = DeviceClass("orin-nano", "25W", "jetpack-6.0 torch-2.3.0", 6400.0)
    low = DeviceClass("orin-nano", "15W", "jetpack-6.2 torch-2.9.0", 6656.0)
    remember(
        tmp_path,
        a_run(new, at="2026-11-03T10:00:00Z", identity={"memory_available_mib": 6700.0}),
        a_run(old, at="2026-11-02T10:00:00Z", work_s=60.0, time_s=63.0),
        a_run(old, at="2026-11-01T10:00:00Z", work_s=60.0, time_s=63.0),
    )
    file = a_file(tmp_path, AS_WORK)
    row = estimate(file, "--json", "--device", "orin-nano").row
    assert (row["software"], row["power_mode"]) == (new.software, "25W")
    assert (row["source"], row["load_s"]) == ("measured", 3.0)
    assert row["has_mib"] == 6656
    remember(tmp_path, a_run(low, at="2026-11-04T10:00:00Z"))
    assert estimate(file, "--json", "--device", "orin-nano").row["software"] == new.software
    assert estimate(file, "--json", "--device", "orin-nano@15W").row["software"] == low.software


def test_a_device_without_a_data_sheet_is_known_once_it_was_measured(
    estimate: Estimate, tmp_path: Path
) -> None:
    gpu = DeviceClass("some-gpu-16gb", "", "torch-2.9.0", 15_872.0)
    file = a_file(tmp_path, AS_WORK)
    assert estimate(file, "--device", "some-gpu-16gb").code == 2
    remember(tmp_path, a_run(gpu))
    result = estimate(file, "--json")
    assert [row["device"] for row in result.rows] == [*DEVICE_MODELS, "some-gpu-16gb"]
    row = result.rows[-1]
    assert (row["fits"], row["source"], row["energy_j"]) == ("fits", "measured", None)


def test_a_kill_here_rules_the_device_out(estimate: Estimate, tmp_path: Path) -> None:
    nx = DeviceClass("xavier-nx", "20W_6CORE", "jetpack-5", 6144.0)
    workload = a_workload("gpt2", batch_size=4, seq_len=128)
    words = (GPT2, "--json", "--device", "xavier-nx")
    assert estimate(*words).row["fits"] == "fits"
    remember(tmp_path, a_run(nx, workload, outcome="killed_memory"))
    result = estimate(*words)
    assert (result.code, result.row["source"]) == (3, "measured")
    assert "killed here on 2026-11-01" in result.row["reason"]
    assert result.row["peak_memory_mib"] > 0 and result.row["admitted_mib"] >= 6144


def test_a_measurement_that_cannot_be_used_is_named_and_left_out(
    estimate: Estimate, tmp_path: Path
) -> None:
    """On standard error: the JSON stays JSON."""
    remember(tmp_path, a_run(work_s=-6.0), a_run(at="2026-11-02T10:00:00Z"))
    with (tmp_path / "home/measurements.jsonl").open("a") as store:
        store.write("{not json\n")
    result = estimate(a_file(tmp_path, AS_WORK), "--device", "cpu", "--json")
    assert result.row["measurements"] == 1
    assert "measurements.jsonl:3: " in result.err
    assert "left out: line 1, train tinygpt2-25m b2x64 fp32 of 2026-11-01" in result.err


@pytest.mark.slow
def test_after_a_real_profile_the_cpu_is_estimated_from_it(tmp_path: Path) -> None:
    """The whole way: a suite that really runs, its store, and an estimate of work not in it."""
    env = {"PATH": "/usr/bin:/bin", "JETSCHED_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "jetsched"]
    subprocess.run([*command, "profile", "--suite", "demo"], env=env, check=True, timeout=300)
    file = a_file(tmp_path, "kind: train, model: tinygpt2-25m, batch_size: 4, seq_len: 64")
    words = [*command, "estimate", file, "--device", "cpu", "--json"]
    found = subprocess.check_output(words, env=env, timeout=60)
    (row,) = json.loads(found)
    assert (row["source"], row["method"]) == ("estimated", "fitted")
    assert row["measurements"] >= 1 and row["software"].startswith("torch-")
