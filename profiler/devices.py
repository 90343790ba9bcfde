"""What the data sheets say about the boards, and what a power mode changes.

Peaks are arithmetic over the sheet: cores x 2 x GHz for fp32, tensor cores x dense operations per
clock x GHz for half precision. Nothing here was measured by this project; what a row assumes is
written in its ``notes``.

Sources: NVIDIA's module data sheets; the clocks in the ``nvpmodel`` tables that JetPack 5 installs
for the Xavier NX (p3668) and JetPack 6.2 for the Orin Nano (p3767-0003, "super"); MemTotal as
tegrastats prints it, in MiB.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from functools import lru_cache

from jetsched.errors import InputError
from jetsched.records import DeviceClass, DeviceModel, Precision

#: What a headless board's operating system and the agent keep for themselves. Assumed: 0.5-1.3 GB
#: were seen on other people's boards, and the agent measures what the board at hand has.
SYSTEM_MIB = 700.0

#: How much slower an emulated board is made than the machine that emulates it (duty cycling).
#: Assumed: the paper has the Orin Nano 1.6x to 2.5x ahead of the Xavier NX.
EMULATED_SLOWDOWN: Mapping[str, float] = {"xavier-nx": 2.0}


@dataclass(frozen=True, slots=True)
class PowerMode:
    """What a power mode caps: clocks, online cores, memory clock, the board's budget in watts."""

    name: str
    gpu_ghz: float
    cpu_cores: int
    cpu_ghz: float
    bandwidth_gb_s: float
    watts: float


#: By device model. The first mode is the one in which the board reaches its data sheet.
#: Bandwidth is 128 bits x 2 x the memory clock: 1600 MHz make 51.2 GB/s, 2133 MHz make 68 GB/s.
POWER_MODES: Mapping[str, tuple[PowerMode, ...]] = {
    "xavier-nx": (
        PowerMode("20W_6CORE", 1.109, 6, 1.421, 59.7, 20),
        PowerMode("20W_4CORE", 1.109, 4, 1.421, 59.7, 20),
        PowerMode("20W_2CORE", 1.109, 2, 1.907, 59.7, 20),
        PowerMode("15W_6CORE", 1.109, 6, 1.421, 51.2, 15),
        PowerMode("15W_4CORE", 1.109, 4, 1.421, 51.2, 15),
        PowerMode("15W_2CORE", 1.109, 2, 1.907, 51.2, 15),
        PowerMode("10W_4CORE", 0.803, 4, 1.190, 51.2, 10),
        PowerMode("10W_2CORE", 0.803, 2, 1.498, 51.2, 10),
        PowerMode("10W_DESKTOP", 0.510, 4, 1.907, 51.2, 10),
    ),
    "orin-nano": (
        PowerMode("MAXN_SUPER", 1.020, 6, 1.728, 102.0, 25),
        PowerMode("25W", 0.918, 6, 1.344, 102.0, 25),
        PowerMode("15W", 0.612, 6, 1.498, 68.0, 15),
    ),
    "orin-nx": (PowerMode("MAXN", 0.918, 8, 1.984, 102.4, 25),),
    "agx-xavier": (PowerMode("MAXN", 1.377, 8, 2.266, 136.5, 30),),
    "agx-orin": (PowerMode("MAXN", 1.300, 12, 2.202, 204.8, 60),),
}
#: What an unnamed mode means, where it is not the first: nvpmodel's own default of JetPack 6.2 (as
#: the paper's "up to 25 W"). Boards that were flashed before that boot into 15W.
_DEFAULT_MODES: Mapping[str, str] = {"orin-nano": "25W"}


def _board(
    name: str,
    title: str,
    architecture: str,
    compute_capability: str,
    cuda_cores: int,
    tensor_flops_per_clock: int,
    memory_mib: float,
    cpu: str,
    idle_w: float,
    notes: str,
) -> DeviceModel:
    """A row of the sheet, in the board's first power mode.

    A tensor core does 64 fused multiply-adds in a clock on Volta, 256 on Orin's Ampere (dense).
    """
    top = POWER_MODES[name][0]
    half = tensor_flops_per_clock * top.gpu_ghz
    peaks: dict[Precision, float] = {"fp32": cuda_cores * 2 * top.gpu_ghz, "fp16": half}
    if architecture != "Volta":
        peaks["bf16"] = half
    return DeviceModel(
        name=name,
        title=title,
        architecture=architecture,
        compute_capability=compute_capability,
        cuda_cores=cuda_cores,
        peak_gflops=peaks,
        bandwidth_gb_s=top.bandwidth_gb_s,
        memory_mib=memory_mib,
        usable_mib=memory_mib - SYSTEM_MIB,
        cpu=cpu,
        cpu_cores=top.cpu_cores,
        cpu_ghz=top.cpu_ghz,
        idle_w=idle_w,
        max_w=top.watts,
        bf16="bf16" in peaks,
        power_modes=tuple(mode.name for mode in POWER_MODES[name]),
        default_power_mode=_DEFAULT_MODES.get(name, top.name),
        notes=notes,
    )


def _cpu(title: str, cores: int, ghz: float, memory_mib: float, flags: Set[str]) -> DeviceModel:
    """A row for a CPU: peak = cores x GHz x operations per clock (two vector units).

    Assumed: 20 GB/s for each core, at most 80 for all; bf16 computes like fp32, twice as fast with
    AVX512_BF16; fp16 a fifth as fast (measured on one Zen 5 core, docs/log.md). There is no power
    sensor, hence 0 W.
    """
    width = 64 if "avx512f" in flags else 32 if "avx2" in flags else 16
    peak = cores * ghz * width
    return DeviceModel(
        name="cpu",
        title=title,
        architecture="",
        compute_capability="",
        cuda_cores=0,
        peak_gflops={
            "fp32": peak,
            "fp16": peak / 5,
            "bf16": peak * (2 if "avx512_bf16" in flags else 1),
        },
        bandwidth_gb_s=min(20.0 * cores, 80.0),
        memory_mib=memory_mib,
        usable_mib=max(memory_mib - SYSTEM_MIB, 0.0),
        cpu="generic",
        cpu_cores=cores,
        cpu_ghz=ghz,
        idle_w=0.0,
        max_w=0.0,
        bf16=True,
        notes="Peak and bandwidth assumed from the number of cores, the clock and vector width.",
    )


#: One row per model that job and fleet files may name.
DEVICE_MODELS: Mapping[str, DeviceModel] = {
    row.name: row
    for row in (
        _board(
            "xavier-nx", "Jetson Xavier NX 8GB", "Volta", "7.2", 384, 48 * 128, 6857, "Carmel", 4.0,
            "MemTotal on JetPack 5 (JetPack 4: 7774). Idle power as in other people's tegrastats"
            " logs. INT8: 21 TOPS with both accelerators.",
        ),
        _board(
            "orin-nano", "Jetson Orin Nano 8GB", "Ampere", "8.7", 1024, 32 * 512, 7607,
            "Cortex-A78AE", 5.3,
            "MemTotal on JetPack 6. Idle power as in other people's tegrastats logs. INT8: 67 TOPS"
            " (sparse). The mode 7W is left out: its clocks were not found.",
        ),
        _board(
            "orin-nx", "Jetson Orin NX 16GB", "Ampere", "8.7", 1024, 32 * 512, 15388,
            "Cortex-A78AE", 5.3,
            "MemTotal on JetPack 5. Only MAXN has a row. Idle power assumed: as the Orin Nano.",
        ),
        _board(
            "agx-xavier", "Jetson AGX Xavier 32GB", "Volta", "7.2", 512, 64 * 128, 31011,
            "Carmel", 8.0,
            "MemTotal on JetPack 5. Only MAXN has a row. Both power figures assumed.",
        ),
        _board(
            "agx-orin", "Jetson AGX Orin 64GB", "Ampere", "8.7", 2048, 64 * 512, 62817,
            "Cortex-A78AE", 12.0,
            "MemTotal on JetPack 7. Only MAXN has a row. Idle power assumed.",
        ),
        _cpu("a CPU without an accelerator", 4, 2.5, 8192, frozenset({"avx2"})),
    )
}  # fmt: skip


def device_model(name: str) -> DeviceModel:
    """The row of this name; ``cpu`` is the machine at hand.

    Raises InputError with the name that was probably meant.
    """
    if name == "cpu":
        return this_machine()
    row = DEVICE_MODELS.get(name)
    if row is None:
        close = difflib.get_close_matches(name.lower(), DEVICE_MODELS, n=1)
        raise InputError(
            f"unknown device model {name!r}",
            hint=f"did you mean {close[0]!r}?" if close else f"known: {', '.join(DEVICE_MODELS)}",
        )
    return row


@lru_cache(maxsize=1)
def this_machine() -> DeviceModel:
    """The CPU of this machine as a row, from /proc; 2.5 GHz and 8 GiB where it is silent."""
    cores = os.cpu_count() or 1
    info = _proc("/proc/cpuinfo")
    memory_kib = float(_proc("/proc/meminfo").get("MemTotal", "8388608 kB").split()[0])
    return _cpu(
        info.get("model name", "this machine"),
        cores,
        float(info.get("cpu MHz", 2500.0)) / 1000,
        memory_kib / 1024,
        frozenset(info.get("flags", "").split()),
    )


def _proc(path: str) -> dict[str, str]:
    """The ``key : value`` lines of a file below /proc, the first of each key."""
    found: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                found.setdefault(key.strip(), value.strip())
    except OSError:
        pass  # not Linux: the assumed figures stand
    return found


def power_mode_of(device_class: DeviceClass) -> str:
    """The power mode under its short name: NVIDIA's ``MODE_15W_6CORE`` is ``15W_6CORE`` here.

    An unnamed mode of a real board is its default one.
    """
    mode = device_class.power_mode.upper().removeprefix("MODE_")
    row = DEVICE_MODELS.get(device_class.model)
    return row.default_power_mode if row and not mode else mode


def sheet_of(device_class: DeviceClass) -> DeviceModel:
    """What a device of this class can do at best, in its power mode.

    An unknown power mode counts as the default one. An emulated board runs on one core of this
    machine, slowed down: its real sheet says nothing about its time. Raises InputError for an
    unknown model.
    """
    row = device_model(device_class.model)
    if device_class.emulated:
        return _emulated(row)
    modes = {mode.name: mode for mode in POWER_MODES.get(row.name, ())}
    if not modes:
        return row
    mode = modes.get(power_mode_of(device_class), modes[row.default_power_mode])
    clocks = mode.gpu_ghz / POWER_MODES[row.name][0].gpu_ghz
    return replace(
        row,
        peak_gflops={precision: peak * clocks for precision, peak in row.peak_gflops.items()},
        bandwidth_gb_s=mode.bandwidth_gb_s,
        cpu_cores=mode.cpu_cores,
        cpu_ghz=mode.cpu_ghz,
        max_w=mode.watts,
    )


def _emulated(row: DeviceModel) -> DeviceModel:
    slow = EMULATED_SLOWDOWN.get(row.name, 1.0)
    here = this_machine()
    share = 1 / (here.cpu_cores * slow)
    return replace(
        here,
        name=row.name,
        title=f"{row.title} (emulated)",
        peak_gflops={precision: peak * share for precision, peak in here.peak_gflops.items()},
        bandwidth_gb_s=min(20.0, here.bandwidth_gb_s) / slow,
        cpu_cores=1,
        cpu_ghz=here.cpu_ghz / slow,
        bf16=row.bf16,  # what the board lacks, its stand-in refuses
    )
