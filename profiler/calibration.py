"""A minute with a new board: four constants that stand in for its data sheet.

Measured by child_calibrate.py, see calibrating.py. The cost model estimates with them what was not
measured on a device class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jetsched.errors import InputError
from jetsched.profiler.devices import sheet_of
from jetsched.profiler.evidence import SpeedClass, speed_class
from jetsched.profiler.roofline import Rates, Shares, rates_of
from jetsched.records import DeviceClass, DeviceModel, Precision


@dataclass(frozen=True)
class Calibration:
    """What a device does in the simplest of all work. None: not measured."""

    device_class: DeviceClass
    launch_us: float  # the host's part of one small operation
    bandwidth_gb_s: float  # of a triad: two reads and a write
    gemm_gflops: Mapping[Precision, float]  # those that the device can do
    load_mb_s: float | None = None  # from the model cache's storage to the device
    load_from: str = ""  # disk | page cache: the latter says nothing about the storage
    compute_capability: str = ""  # "" for a CPU
    time_s: float | None = None
    device: str = ""  # the id in the fleet, where there was one
    at: str = ""  # wall time, ISO 8601, UTC
    identity: Mapping[str, Any] = field(default_factory=dict)  # of the board; no serial numbers

    @property
    def speed(self) -> SpeedClass:
        """The devices that it speaks of."""
        return speed_class(self.device_class)


#: What share of the calibrated rates eager transformers reach, in the additive form: the shares of
#: roofline.py over what the calibration itself reaches of a sheet. CPU: one core of this project's
#: machine. GPU: assumed, with 0.9 (fp32), 0.75 (half precision) and 0.87 (bandwidth) of the sheet.
GPU_OF_CALIBRATED = Shares({"fp32": 1.0, "fp16": 0.67, "bf16": 0.67}, bandwidth=0.54, stream=0.86)
CPU_OF_CALIBRATED = Shares({"fp32": 1.0, "fp16": 1.0, "bf16": 1.0}, bandwidth=0.18, stream=0.5)
#: How many small operations one of eager transformers is worth to the host. Fitted likewise.
OPERATIONS_PER_LAUNCH = 1.4


def latest(calibrations: Iterable[Calibration]) -> dict[SpeedClass, Calibration]:
    """The newest of each speed class; a store may hold an older one behind it."""
    return {each.speed: each for each in sorted(calibrations, key=lambda each: each.at)}


def calibrated_rates(calibration: Calibration, sheet: DeviceModel) -> Mapping[Precision, Rates]:
    """The rates of a calibrated device in each precision.

    A precision that it could not do keeps its ratio to fp32 on the sheet.
    """
    shares = CPU_OF_CALIBRATED if not sheet.architecture else GPU_OF_CALIBRATED
    gflops, bandwidth = calibration.gemm_gflops, calibration.bandwidth_gb_s * 1e9
    by_sheet = rates_of(sheet)
    fp32_s = 1 / (shares.of_peak["fp32"] * gflops["fp32"] * 1e9)
    return {
        precision: Rates(
            flop_s=1 / (share * gflops[precision] * 1e9)
            if precision in gflops
            else fp32_s * by_sheet[precision].flop_s / by_sheet["fp32"].flop_s,
            byte_s=1 / (shares.bandwidth * bandwidth),
            stream_byte_s=1 / (shares.stream * bandwidth),
            launch_s=OPERATIONS_PER_LAUNCH * calibration.launch_us * 1e-6,
        )
        for precision, share in shares.of_peak.items()
    }


def sheet_of_calibration(device_class: DeviceClass, calibration: Calibration) -> DeviceModel:
    """The data sheet of a device, or where it has none, one made of its calibration.

    Power is not known then: 0 W.
    """
    try:
        return sheet_of(device_class)
    except InputError:
        pass
    identity, capability = calibration.identity, calibration.compute_capability
    total_mib = float(identity.get("gpu_memory_mib") or identity.get("memory_total_mib") or 0.0)
    return DeviceModel(
        name=device_class.model,
        title=str(identity.get("title") or device_class.model),
        architecture=f"sm_{capability.replace('.', '')}" if capability else "",
        compute_capability=capability,
        cuda_cores=0,
        peak_gflops=calibration.gemm_gflops,
        bandwidth_gb_s=calibration.bandwidth_gb_s,
        memory_mib=total_mib,
        usable_mib=device_class.memory_mib or total_mib,
        cpu="generic",
        cpu_cores=0,
        cpu_ghz=float(identity.get("cpu_max_mhz") or 2500.0) / 1000,
        idle_w=0.0,
        max_w=0.0,
        bf16="bf16" in calibration.gemm_gflops,
        notes="Made of a calibration.",
    )
