"""One line of NVIDIA's ``tegrastats``, taken apart: JetPack 4 to 7, from Nano to AGX Thor.

Pure: text in, numbers out. Each part of a line is looked for by itself, so a part that is missing
(without root, without swap) or new costs nothing but itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

#: Rails that feed the whole module, the most telling first: NX, Orin Nano and TX2; Nano; AGX Thor.
INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")

#: What a sensor on a running board can show; -256 means that its part of the chip is off.
PLAUSIBLE_C = (-60.0, 150.0)


@dataclass(frozen=True)
class Sample:
    """What one line says. None, or an empty list or dict: the line does not say it."""

    ram_used_mib: float
    ram_total_mib: float
    swap_used_mib: float | None = None  # None: no swap is configured
    swap_total_mib: float | None = None
    gpu_pct: float | None = None  # AGX Thor has none
    gpu_mhz: float | None = None  # of several clusters the fastest
    cpu_pct: list[float | None] = field(default_factory=list)  # one per core; None: it is off
    emc_pct: float | None = None  # load of the memory controller
    temperatures_c: dict[str, float] = field(default_factory=dict)  # zone as the line spells it
    power_w: float | None = None  # of the module, now; see total_power_w
    rails_w: dict[str, float] = field(default_factory=dict)  # each now, not its mean
    timestamp: datetime | None = None  # local time of the board, without a zone


_HEAD = re.compile(r"\s*(?:(\d\d-\d\d-\d{4} \d\d:\d\d:\d\d)\s+)?RAM (\d{1,9})/(\d{1,9})MB(?!\w)")
_SWAP = re.compile(r"(?<!\S)SWAP (\d{1,9})/(\d{1,9})MB(?!\w)")
_CPU = re.compile(r"(?<!\S)CPU \[([^\[\]]*)\]", re.IGNORECASE)
_CORE = re.compile(r"(\d{1,3})%")
#: A bare clock must be followed by something: at the end of a line it may have been cut short.
_GPU = re.compile(
    r"(?<!\S)GR3D(?:_FREQ)?\s+(?:(\d{1,3})%)?(?:@(?:\[([\d,\s]*)\]|(\d{1,6})(?=\s)))?"
)
_EMC = re.compile(r"(?<!\S)EMC(?:_FREQ)?\s+(\d{1,3})%(@)?")
_TEMPERATURE = re.compile(r"(?<!\S)([A-Za-z][\w.-]*)@(-?\d{1,4}(?:\.\d{1,6})?)C(?=[\s/]|$)")
_RAIL = re.compile(r"(?<!\S)([A-Za-z]\w*)\s+(-?\d{1,9})(?:mW)?/(?=-?\d|$)(?!\d+(?:\.\d+)?[kMG]B)")


def parse(line: str) -> Sample | None:
    """Take one line apart; None for a line that is none. Never raises.

    A line begins with its RAM, or with a date before that. Of a line that was cut short, what is
    whole is taken: a number that may have lost its last digits is not.
    """
    head = _HEAD.match(line)
    if head is None:
        return None
    rest = line[head.end() :]
    swap, gpu, rails = _SWAP.search(rest), _GPU.search(rest), _rails(rest)
    return Sample(
        ram_used_mib=float(head[2]),
        ram_total_mib=float(head[3]),
        swap_used_mib=float(swap[1]) if swap else None,
        swap_total_mib=float(swap[2]) if swap else None,
        gpu_pct=float(gpu[1]) if gpu and gpu[1] else None,
        gpu_mhz=_clock(gpu) if gpu else None,
        cpu_pct=_cores(rest),
        emc_pct=_memory_load(rest),
        temperatures_c=plausible(
            {found[1]: float(found[2]) for found in _TEMPERATURE.finditer(rest)}
        ),
        power_w=total_power_w(rails),
        rails_w=rails,
        timestamp=_time(head[1]),
    )


def total_power_w(rails_w: Mapping[str, float]) -> float | None:
    """What the module takes, from its rails; None without any.

    Where one rail feeds the module, that one. AGX Xavier (GPU, CPU, SOC, CV, VDDRQ, SYS5V) and
    AGX Orin (VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0, ...) have none: there it is the sum of all
    rails, which reads less than a meter at the supply. Whether AGX Orin's VDDQ_VDD2_1V8AO hangs
    below its 5 V rail, and so counts twice (about 1 W), we could not find out.
    """
    for name in INPUT_RAILS:
        if name in rails_w:
            return rails_w[name]
    return sum(rails_w.values()) if rails_w else None


def plausible(temperatures_c: Mapping[str, float]) -> dict[str, float]:
    """The zones that measure something: neither off, nor the PMIC.

    The PMIC's is a constant of the device tree on every board (100, on newer ones 50).
    """
    low, high = PLAUSIBLE_C
    return {
        name: degrees
        for name, degrees in temperatures_c.items()
        if low < degrees < high and not name.upper().startswith("PMIC")
    }


def _rails(text: str) -> dict[str, float]:
    return {
        found[1]: float(found[2]) / 1000
        for found in _RAIL.finditer(text)
        if found[1] not in ("RAM", "SWAP", "IRAM")  # their total may have been cut off
    }


def _clock(gpu: re.Match[str]) -> float | None:
    numbers = (gpu[2] or gpu[3] or "").replace(",", " ").split()
    return max(map(float, numbers), default=None)


def _cores(text: str) -> list[float | None]:
    found = _CPU.search(text)
    if found is None:
        return []
    cores = [_CORE.match(entry.strip()) for entry in found[1].split(",")]
    return [float(core[1]) if core else None for core in cores]


def _memory_load(text: str) -> float | None:
    """Without root it is always ``0%`` and has no clock: that is not a measurement."""
    found = _EMC.search(text)
    if found is None or (found[1] == "0" and not found[2]):
        return None
    return float(found[1])


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(text, "%m-%d-%Y %H:%M:%S") if text else None
    except ValueError:
        return None
