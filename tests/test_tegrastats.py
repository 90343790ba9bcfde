"""The parser of tegrastats lines: lines made up for each board and JetPack, and cut ones."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetsched.profiler.tegrastats import PLAUSIBLE_C, Sample, parse, total_power_w

#: Real lines, which are not ours to ship.
SAMPLES = Path(__file__).resolve().parents[2] / "shared/data/tegrastats_samples.txt"

NX_4 = (
    "RAM 2000/7774MB (lfb 900x4MB) SWAP 12/3887MB (cached 1MB) CPU [20%@1190,off,7%@1190,off]"
    " EMC_FREQ 11%@1600 GR3D_FREQ 55%@510 APE 150 MTS fg 0% bg 1% AO@40C GPU@41.5C PMIC@100C"
    " AUX@40.5C CPU@42C thermal@41.2C VDD_IN 5100/4900 VDD_CPU_GPU_CV 900/850 VDD_SOC 1400/1390"
)
NX_5 = (
    "01-31-2026 23:59:58 RAM 3000/6857MB (lfb 2x1MB) SWAP 5/3428MB (cached 0MB)"
    " CPU [41%@1906,13%@1190,off,off,off,off] EMC_FREQ 2%@204 GR3D_FREQ 97%@[1109] VIC_FREQ 601"
    " APE 150 CPU@42.5C GPU@43C PMIC@50C VDD_IN 12000mW/4000mW VDD_CPU_GPU_CV 8000mW/2000mW"
    " VDD_SOC 1500mW/1200mW"
)
ORIN_6 = (
    "02-01-2026 00:00:00 RAM 1500/7620MB (lfb 8x512kB) CPU [0%@729,0%@729] GR3D_FREQ 0%"
    " cpu@48.5C cv0@-256C gpu@49.125C tj@49.125C VDD_IN 5000mW/6000mW VDD_SOC 1000mW/1100mW"
)
ORIN_7 = (
    "02-01-2026 00:00:00 RAM 1500/7546MB (lfb 8x4MB) SWAP 0/2048MB (cached 0MB) CPU [3%@1728]"
    " EMC_FREQ 40%@3199 GR3D_FREQ 98%@[1018,1020] cpu@59.5C/60.5C gpu@61.25C/62C"
    " VDD_IN 19000mW/13000mW/21000mW VDD_SOC 4000mW/3000mW/4500mW"
)
AGX_ORIN = (
    "RAM 29000/30697MB (lfb 3x4MB)    SWAP 4900/15348MB (cached 1MB) CPU [3%@729,100%@2201]"
    " EMC_FREQ 1%@2133 GR3D_FREQ 0%@[305,305] NVENC      off  NVDEC    off   cpu@53C   gpu@47.5C"
    "    VDD_GPU_SOC 3200mW/3200mW VDD_CPU_CV 4400mW/4400mW VIN_SYS_5V0 4700mW/4700mW"
)
AGX_XAVIER = (
    "RAM 9000/31011MB (lfb 33x4MB) SWAP 0/15505MB (cached 0MB) CPU [14%@1154,0%@2161]"
    " EMC_FREQ 0%@2133 GR3D_FREQ 99%@624 VIC_FREQ 1036 APE 150 CPU@46C Tboard@45C GPU@46C PMIC@50C"
    " GPU 1000mW/20mW CPU 600mW/640mW SOC 1800mW/1200mW CV 0mW/0mW VDDRQ 600mW/170mW"
    " SYS5V 2200mW/1800mW"
)
AGX_THOR = (
    "02-01-2026 00:00:00 RAM 3400/125749MB (lfb 120x4MB) CPU [0%@972,5%@2601,off] EMC_FREQ @4266"
    " GR3D_FREQ @[1574,1570,1574] cpu@49.75C/50C soc012@48C/48.5C gpu@51C/51C"
    " VDD_GPU -390mW/0mW/100mW VDD_CPU_SOC_MSS 6500mW/6500mW/6500mW"
    " VIN_SYS_5V0 6500mW/6500mW/6500mW VIN 28900mW/14400mW/28900mW"
)
NANO_4 = (
    "RAM 1280/3964MB (lfb 12x4MB) IRAM 0/252kB(lfb 252kB) CPU [14%@1428,9%@1428,10%@1428,8%@1428]"
    " EMC_FREQ 4%@1600 GR3D_FREQ 21%@76 APE 25 PLL@38C CPU@40C PMIC@100C GPU@38.5C AO@44.5C"
    " thermal@39.25C POM_5V_IN 2500/2600 POM_5V_GPU 0/17 POM_5V_CPU 640/670"
)
ALL = (NX_4, NX_5, ORIN_6, ORIN_7, AGX_ORIN, AGX_XAVIER, AGX_THOR, NANO_4)


def read(line: str) -> Sample:
    sample = parse(line)
    assert sample is not None
    return sample


def test_jetpack_4_without_a_date_and_with_bare_milliwatts() -> None:
    assert read(NX_4) == Sample(
        ram_used_mib=2000,
        ram_total_mib=7774,
        swap_used_mib=12,
        swap_total_mib=3887,
        gpu_pct=55,
        gpu_mhz=510,
        cpu_pct=[20, None, 7, None],
        emc_pct=11,
        temperatures_c={"AO": 40, "GPU": 41.5, "AUX": 40.5, "CPU": 42, "thermal": 41.2},
        power_w=5.1,
        rails_w={"VDD_IN": 5.1, "VDD_CPU_GPU_CV": 0.9, "VDD_SOC": 1.4},
    )


def test_jetpack_5_has_a_date_and_power_is_the_first_figure() -> None:
    sample = read(NX_5)
    assert sample.timestamp == datetime(2026, 1, 31, 23, 59, 58)
    assert (sample.power_w, sample.gpu_pct, sample.gpu_mhz) == (12, 97, 1109)
    assert sample.cpu_pct == [41, 13, None, None, None, None]
    assert sample.temperatures_c == {"CPU": 42.5, "GPU": 43}  # the PMIC's is made up


def test_jetpack_6_without_root_and_without_swap() -> None:
    sample = read(ORIN_6)
    assert sample.swap_used_mib is None
    assert (sample.gpu_pct, sample.gpu_mhz, sample.emc_pct) == (0, None, None)
    assert sample.temperatures_c == {"cpu": 48.5, "gpu": 49.125, "tj": 49.125}  # cv0 is off


def test_jetpack_7_tells_maxima_too() -> None:
    sample = read(ORIN_7)
    assert sample.power_w == 19
    assert sample.temperatures_c == {"cpu": 59.5, "gpu": 61.25}
    assert sample.gpu_mhz == 1020  # the faster of two clusters


def test_an_agx_without_an_input_rail_takes_the_sum_of_its_rails() -> None:
    assert read(AGX_ORIN).power_w == pytest.approx(12.3)
    xavier = read(AGX_XAVIER)
    assert xavier.power_w == pytest.approx(6.2)
    assert xavier.rails_w["GPU"] == 1 and xavier.temperatures_c["GPU"] == 46
    assert xavier.cpu_pct == [14, 0] and xavier.rails_w["CPU"] == 0.6


def test_a_thor_has_a_gpu_clock_but_no_load() -> None:
    sample = read(AGX_THOR)
    assert (sample.gpu_pct, sample.gpu_mhz, sample.emc_pct) == (None, 1574, None)
    assert sample.power_w == 28.9  # VIN feeds all the others
    assert sample.rails_w["VDD_GPU"] == -0.39  # the monitor's offset, as it says it


def test_a_nano_calls_its_input_otherwise_and_has_a_memory_of_its_own_in_kilobytes() -> None:
    sample = read(NANO_4)
    assert (sample.ram_used_mib, sample.power_w, sample.gpu_mhz) == (1280, 2.5, 76)
    assert set(sample.rails_w) == {"POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"}


def test_without_root_a_memory_load_of_zero_is_none() -> None:
    line = "RAM 1/2MB (lfb 1x4MB) CPU [1%@2] EMC_FREQ 0% GR3D_FREQ 99% AO@42C"
    assert read(line).emc_pct is None
    assert read(line.replace("0% ", "0%@2133 ")).emc_pct == 0


@pytest.mark.parametrize("line", ALL, ids=lambda line: re.sub(r"\W+", "-", line[:24]))
def test_a_line_that_was_cut_says_nothing_wrong(line: str) -> None:
    """What is left of it agrees with the whole line, however much is missing."""
    whole = read(line)
    for end in range(len(line)):
        cut = parse(line[:end])
        if cut is None:
            assert end < line.index("MB") + 2
            continue
        assert (cut.ram_used_mib, cut.ram_total_mib) == (whole.ram_used_mib, whole.ram_total_mib)
        for name in ("swap_used_mib", "gpu_pct", "gpu_mhz", "emc_pct", "timestamp"):
            assert getattr(cut, name) in (None, getattr(whole, name)), (name, line[:end])
        assert cut.cpu_pct in ([], whole.cpu_pct)
        assert cut.temperatures_c.items() <= whole.temperatures_c.items()
        assert cut.rails_w.items() <= whole.rails_w.items()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "RAM",
        "RAM 12/",
        "RAM 12/34",
        "RAM x/yMB",
        "hello",
        "CPU [1%@2]",
        "\0" * 50,
        "99-99-2026 99:99:99",
        "# RAM 1/2MB",
    ],
)
def test_what_is_no_line_gives_none(line: str) -> None:
    assert parse(line) is None


def test_a_date_that_cannot_be_is_no_date() -> None:
    assert read("13-40-2026 25:61:61 RAM 1/2MB").timestamp is None


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    parse(text)
    parse(f"RAM 1/2MB {text}")


@given(st.sampled_from(ALL), st.data())
def test_a_broken_line_is_survived(line: str, data: st.DataObject) -> None:
    """Pieces of a line in any order, with anything between them."""
    pieces = data.draw(st.lists(st.sampled_from(line.split(" ")), max_size=30))
    noise = data.draw(st.lists(st.text(alphabet="0123456789%@/[],.-CMBmW \t", max_size=8)))
    sample = parse("RAM 1/2MB " + " ".join(data.draw(st.permutations(pieces + noise))))
    assert sample is not None
    low, high = PLAUSIBLE_C
    assert all(low < degrees < high for degrees in sample.temperatures_c.values())


def test_no_rails_no_power() -> None:
    assert total_power_w({}) is None
    assert total_power_w({"A": 1.0, "B": 2.0}) == 3.0
    assert total_power_w({"A": 1.0, "VDD_IN": 2.0}) == 2.0


def real_lines() -> list[str]:
    if not SAMPLES.exists():
        return []
    lines = SAMPLES.read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.skipif(not SAMPLES.exists(), reason="the real lines are not here")
def test_every_real_line_says_what_stands_in_it() -> None:
    lines = real_lines()
    assert len(lines) >= 15
    for line in lines:
        sample = read(line)
        assert 0 < sample.ram_used_mib <= sample.ram_total_mib
        assert (sample.swap_used_mib is not None) == ("SWAP" in line)
        assert (sample.gpu_pct is not None) == bool(re.search(r"GR3D_FREQ \d+%", line))
        assert sample.gpu_pct is None or 0 <= sample.gpu_pct <= 100
        assert (sample.gpu_mhz is not None) == bool(re.search(r"GR3D_FREQ \d*%?@", line))
        assert len(sample.cpu_pct) == re.search(r"CPU \[(.*?)\]", line)[1].count(",") + 1  # type: ignore[index]
        assert sample.cpu_pct.count(None) == line.count("off,") + line.count("off]")
        zones = re.findall(r"(\w+)@-?[\d.]+C", line)
        assert set(sample.temperatures_c) == {zone for zone in zones if zone != "PMIC"}
        assert all(20 < degrees < 110 for degrees in sample.temperatures_c.values())
        rails = re.findall(r"(\w+) \d+(?:mW)?/\d+(?:mW)?(?: |/|$)", line)
        assert set(sample.rails_w) == {rail for rail in rails if rail not in ("RAM", "SWAP")}
        assert (sample.power_w is not None) == bool(rails)
        assert sample.power_w is None or 2 < sample.power_w < 40
        assert (sample.timestamp is not None) == bool(re.match(r"\d\d-\d\d-\d{4} ", line))


@pytest.mark.skipif(not SAMPLES.exists(), reason="the real lines are not here")
def test_every_real_line_may_be_cut_anywhere() -> None:
    for line in real_lines():
        for end in range(len(line)):
            cut = parse(line[:end])
            assert cut is None or cut.rails_w.items() <= read(line).rails_w.items()
