"""A board that was only calibrated is estimated by its own constants, and by nothing less."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from attempt_worlds import BOARD, processes_in
from builders import NX, ORIN, a_workload
from test_costs import estimate, killed, measured, never

from jetsched.cli import main
from jetsched.errors import JobFailedError
from jetsched.files import from_json, to_json
from jetsched.profiler.bundled import bundled_profile
from jetsched.profiler.calibrating import CalibrationStore, calibrate
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costs import CostModel
from jetsched.profiler.session import this_board
from jetsched.records import DeviceClass, Workload

A_CALIBRATION = Calibration(
    ORIN,
    launch_us=20.0,
    bandwidth_gb_s=80.0,
    gemm_gflops={"fp32": 1500.0, "fp16": 9000.0, "bf16": 9000.0},
    load_mb_s=400.0,
    load_from="disk",
    compute_capability="8.7",
)
WORK = a_workload("gpt2")
DECODE = Workload("infer", "tinyllama-1.1b", prompt_tokens=8, max_new_tokens=64, precision="fp16")
#: No data sheet has a row for it.
UNKNOWN = DeviceClass("geforce-rtx-9090", "", "torch-2.13.0", 8192.0)


def slower(by: float) -> Calibration:
    return replace(
        A_CALIBRATION,
        launch_us=by * A_CALIBRATION.launch_us,
        bandwidth_gb_s=A_CALIBRATION.bandwidth_gb_s / by,
        gemm_gflops={name: rate / by for name, rate in A_CALIBRATION.gemm_gflops.items()},
    )


def work_s(model: CostModel, workload: Workload, where: DeviceClass) -> float:
    found = estimate(model, workload, where)
    return found.time_s - found.load_s


# -- in the cost model -----------------------------------------------------------------------------


@pytest.mark.parametrize("workload", [WORK, DECODE])
def test_a_calibrated_board_is_estimated_and_an_uncalibrated_one_assumed(
    workload: Workload,
) -> None:
    without, with_it = CostModel(), CostModel([], [A_CALIBRATION])
    sheet, own = estimate(without, workload, ORIN), estimate(with_it, workload, ORIN)
    assert (sheet.source, sheet.method) == ("assumed", "datasheet")
    assert (own.source, own.method, own.measurements) == ("estimated", "fitted", 0)
    assert own.time_s != sheet.time_s
    assert own.time_p90_s / own.time_s < sheet.time_p90_s / sheet.time_s
    # The same order of magnitude: the constants above are not far from what the sheet promises.
    assert 0.3 < own.time_s / sheet.time_s < 3
    # Memory is counted, not calibrated.
    assert (own.peak_memory_mib, own.admitted_mib) == (sheet.peak_memory_mib, sheet.admitted_mib)


@pytest.mark.parametrize("workload", [WORK, DECODE])
def test_a_board_half_as_fast_in_everything_takes_twice_as_long(workload: Workload) -> None:
    fast, slow = CostModel([], [A_CALIBRATION]), CostModel([], [slower(2.0)])
    assert work_s(slow, workload, ORIN) == pytest.approx(2 * work_s(fast, workload, ORIN))


def test_decode_follows_launches_and_training_the_matrices() -> None:
    launches = CostModel([], [replace(A_CALIBRATION, launch_us=200.0)])
    matrices = CostModel([], [replace(A_CALIBRATION, gemm_gflops={"fp32": 150, "fp16": 900})])
    base = CostModel([], [A_CALIBRATION])
    ratio = {
        (name, work.kind): work_s(model, work, ORIN) / work_s(base, work, ORIN)
        for name, model in (("launches", launches), ("matrices", matrices))
        for work in (WORK, DECODE)
    }
    assert ratio["launches", "infer"] > ratio["launches", "train"]
    assert ratio["matrices", "train"] > ratio["matrices", "infer"]


def test_loading_follows_the_storage_but_not_the_page_cache() -> None:
    def load_s(calibration: Calibration) -> float:
        return estimate(CostModel([], [calibration]), DECODE, ORIN).load_s

    slow_card = load_s(replace(A_CALIBRATION, load_mb_s=50.0))
    assert slow_card > load_s(A_CALIBRATION) + 30  # 2.2 GB at 50 instead of 400 MB/s
    cached = load_s(replace(A_CALIBRATION, load_mb_s=9000.0, load_from="page cache"))
    assert cached == estimate(CostModel(), DECODE, ORIN).load_s


@pytest.mark.parametrize("workload", [WORK, DECODE])
def test_what_was_measured_wins_over_a_calibration(workload: Workload) -> None:
    """GPU use that the measurement lacks may still come from the calibration."""
    row = measured(workload, ORIN, 3.0, gpu_util_pct=50.0)
    found = estimate(CostModel([row], [slower(50)]), workload, ORIN)
    assert found == estimate(CostModel([row]), workload, ORIN)
    assert (found.source, found.method) == ("measured", "table")


def test_a_calibration_wins_over_what_is_only_assumed() -> None:
    paper = bundled_profile()
    found = estimate(CostModel(paper, [A_CALIBRATION]), WORK, ORIN)
    assert found.source == "estimated"


def test_without_a_calibration_of_its_own_nothing_changes_for_a_board() -> None:
    rows = [measured(WORK, ORIN), killed(a_workload("gpt2", batch_size=64), NX)]
    without, with_it = CostModel(rows), CostModel(rows, [A_CALIBRATION])
    for work in (DECODE, a_workload(), a_workload(batch_size=2)):
        assert estimate(with_it, work, NX) == estimate(without, work, NX)


def test_a_board_in_another_power_mode_is_not_calibrated() -> None:
    other = replace(ORIN, power_mode="15W")
    assert estimate(CostModel([], [A_CALIBRATION]), WORK, other).method == "datasheet"


def test_the_last_calibration_counts() -> None:
    model = CostModel([], [slower(9.0), A_CALIBRATION])
    assert estimate(model, WORK, ORIN) == estimate(CostModel([], [A_CALIBRATION]), WORK, ORIN)


def test_scaling_by_measurements_starts_from_the_calibration() -> None:
    """Other work was measured: the ratio to the roofline carries over, whichever roofline it is."""
    row = measured(a_workload(batch_size=2), ORIN)
    found = estimate(CostModel([row], [A_CALIBRATION]), a_workload(batch_size=4), ORIN)
    assert (found.source, found.method, found.measurements) == ("estimated", "fitted", 1)


def test_a_precision_that_was_not_calibrated_keeps_its_ratio_on_the_sheet() -> None:
    only_fp32 = replace(A_CALIBRATION, gemm_gflops={"fp32": 1500.0})
    half = replace(WORK, precision="fp16")
    found = work_s(CostModel([], [only_fp32]), half, ORIN)
    assert 0 < found < work_s(CostModel([], [only_fp32]), WORK, ORIN)


def test_a_board_without_a_data_sheet_is_usable_once_calibrated() -> None:
    assert never(CostModel(), WORK, UNKNOWN).code == "NotProfiled"
    own = replace(A_CALIBRATION, device_class=UNKNOWN)
    found = estimate(CostModel([], [own]), WORK, UNKNOWN)
    assert (found.source, found.method, found.energy_j) == ("estimated", "fitted", None)
    old = replace(own, gemm_gflops={"fp32": 1500.0, "fp16": 3000.0}, compute_capability="7.5")
    bf16 = replace(WORK, precision="bf16")
    assert never(CostModel([], [old]), bf16, UNKNOWN).code == "EnvMissing"


# -- the record ------------------------------------------------------------------------------------


def test_a_calibration_survives_json() -> None:
    assert from_json(Calibration, json.loads(json.dumps(to_json(A_CALIBRATION)))) == A_CALIBRATION


def test_the_last_one_is_valid_until_the_board_changes(tmp_path: Path) -> None:
    store = CalibrationStore(tmp_path / "c.jsonl")
    identity = {"jetpack": "6.2", "software": {"torch": "2.4.0"}}
    assert store.valid(ORIN, identity) is None
    kept = replace(A_CALIBRATION, identity=identity)
    store.append(replace(kept, launch_us=1.0))
    store.append(kept)
    store.append(replace(kept, device_class=NX))
    assert store.valid(replace(ORIN, memory_mib=1.0), identity) == kept
    assert store.valid(ORIN, {"jetpack": "6.2.1"}) is None


# -- the run ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_this_machine_is_calibrated_by_the_same_runner(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    identity = {"title": "an emulated board"}
    found = calibrate(BOARD, tmp_path / "c", identity=identity)
    assert found.device_class == BOARD.device_class and found.device == "nx-1"
    assert found.identity["title"] == "an emulated board" and found.identity["run"]["torch"]
    assert 0.1 < found.launch_us < 10_000
    assert 0.1 < found.bandwidth_gb_s < 10_000
    assert found.gemm_gflops["fp32"] > 0.1
    assert found.load_mb_s is not None and found.load_from in ("disk", "page cache")
    assert found.time_s is not None and found.at
    assert sorted(p.name for p in (tmp_path / "c").iterdir() if p.stat().st_size > 2**20) == []
    assert processes_in(tmp_path) == []
    store = CalibrationStore(tmp_path / "c.jsonl")
    store.append(found)
    assert store.read() == [found]


@pytest.mark.slow
def test_the_verb_keeps_a_calibration_and_a_session_uses_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["jetsched", "profile", "--calibrate", "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    (kept,) = CalibrationStore().read()
    assert from_json(Calibration, json.loads(capsys.readouterr().out)) == kept
    assert this_board().calibration() == kept  # nothing has changed: not measured anew


def test_a_calibration_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(JobFailedError, match="did not end well") as caught:
        calibrate(BOARD, tmp_path / "c", python="/bin/false")
    assert "log.txt" in caught.value.hint
