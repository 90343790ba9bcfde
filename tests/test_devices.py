"""Facts about the data sheets."""

from __future__ import annotations

import pytest

from jetsched.errors import InputError
from jetsched.profiler.devices import (
    DEVICE_MODELS,
    POWER_MODES,
    device_model,
    power_mode_of,
    sheet_of,
)
from jetsched.records import DeviceClass

BOARDS = [name for name, row in DEVICE_MODELS.items() if row.architecture]


def test_the_papers_boards_have_the_figures_of_its_table_1() -> None:
    nx, orin = DEVICE_MODELS["xavier-nx"], DEVICE_MODELS["orin-nano"]
    assert (nx.cuda_cores, nx.architecture, nx.bandwidth_gb_s, nx.max_w) == (384, "Volta", 59.7, 20)
    assert (orin.cuda_cores, orin.architecture, orin.bandwidth_gb_s, orin.max_w) == (
        1024,
        "Ampere",
        102.0,
        25,
    )
    assert nx.cpu_cores == orin.cpu_cores == 6


def test_peaks_follow_from_cores_and_clock() -> None:
    nx, orin = DEVICE_MODELS["xavier-nx"], DEVICE_MODELS["orin-nano"]
    assert nx.peak_gflops["fp32"] == pytest.approx(384 * 2 * 1.109)
    assert orin.peak_gflops["fp32"] == pytest.approx(1024 * 2 * 1.020)
    # NVIDIA gives 67 sparse INT8 TOPS for the Orin Nano: a quarter of it is dense fp16.
    assert orin.peak_gflops["fp16"] == pytest.approx(67_000 / 4, rel=0.01)


def test_volta_has_no_bf16_and_ampere_has() -> None:
    for name in BOARDS:
        row = DEVICE_MODELS[name]
        assert row.bf16 == (row.architecture == "Ampere")
        assert row.bf16 == ("bf16" in row.peak_gflops)


def test_a_headless_board_leaves_less_than_it_has() -> None:
    assert device_model("xavier-nx").usable_mib == 6157
    assert device_model("orin-nano").usable_mib == 6907


def test_a_misspelt_model_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(InputError) as caught:
        device_model("orin-nan0")
    assert "orin-nano" in caught.value.hint


def test_cpu_is_the_machine_at_hand() -> None:
    row = device_model("cpu")
    assert row.memory_mib > row.usable_mib > 0
    assert row.peak_gflops["fp32"] > 0 and row.cpu_cores >= 1
    assert device_model("cpu") is row


@pytest.mark.parametrize("name", BOARDS)
def test_the_default_power_mode_is_one_of_the_boards_own(name: str) -> None:
    row = DEVICE_MODELS[name]
    assert row.default_power_mode in row.power_modes
    assert len(set(row.power_modes)) == len(row.power_modes)


@pytest.mark.parametrize("name", BOARDS)
def test_no_power_mode_exceeds_the_sheet(name: str) -> None:
    row = DEVICE_MODELS[name]
    for mode in POWER_MODES[name]:
        sheet = sheet_of(DeviceClass(name, mode.name))
        assert sheet.peak_gflops["fp32"] <= row.peak_gflops["fp32"]
        assert sheet.bandwidth_gb_s <= row.bandwidth_gb_s
        assert row.idle_w < sheet.max_w <= row.max_w


def test_15_watts_cost_the_orin_nano_a_third_of_clock_and_bandwidth() -> None:
    sheet = sheet_of(DeviceClass("orin-nano", "15W"))
    assert sheet.peak_gflops["fp32"] == pytest.approx(1024 * 2 * 0.612)
    assert (sheet.bandwidth_gb_s, sheet.max_w) == (68.0, 15)


def test_an_unnamed_or_unknown_power_mode_is_the_default_one() -> None:
    default = sheet_of(DeviceClass("orin-nano", "25W"))
    assert sheet_of(DeviceClass("orin-nano")) == default
    assert sheet_of(DeviceClass("orin-nano", "mine")) == default


def test_nvidias_long_names_of_power_modes_are_understood() -> None:
    assert power_mode_of(DeviceClass("xavier-nx", "MODE_15W_6CORE")) == "15W_6CORE"
    assert sheet_of(DeviceClass("xavier-nx", "MODE_10W_DESKTOP")).cpu_cores == 4


def test_an_emulated_board_has_a_core_of_this_machine_and_nothing_of_the_real_gpu() -> None:
    nx = sheet_of(DeviceClass("xavier-nx", "emulated", emulated=True))
    orin = sheet_of(DeviceClass("orin-nano", "emulated", emulated=True))
    here = device_model("cpu")
    assert nx.architecture == orin.architecture == ""
    assert orin.peak_gflops["fp32"] == pytest.approx(here.peak_gflops["fp32"] / here.cpu_cores)
    assert orin.peak_gflops["fp32"] == pytest.approx(2 * nx.peak_gflops["fp32"])  # its slow-down
    assert not nx.bf16 and orin.bf16  # what the board lacks, its stand-in refuses
