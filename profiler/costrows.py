"""One measured time and what was asked of the device for it: what times are fitted to.

A row comes from a file of other people's measurements (costtable.py) or from a phase of a
measurement of our own (timing.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CostRow:
    """A row; None: not known. ``time_s`` is 0 in a row that only asks for a prediction."""

    device: str  # with its power mode
    workload: str
    kind: str  # train | infer | decode | prefill | ...: rows of different kinds share little
    time_s: float = 0.0
    precision: str = ""
    framework: str = ""
    board: str = ""  # what the device is a power mode or a version of
    peak_gflops: float | None = None  # of the device in this precision, by its data sheet
    bandwidth_gb_s: float | None = None
    memory_gb: float | None = None
    batch: float | None = None
    seq_len: float | None = None
    flops: float | None = None
    bytes: float | None = None
    launches: float | None = None  # of kernels
    launch_s: float = 1e-5  # what one is assumed to take there
    power_w: float | None = None
    gpu_util_pct: float | None = None
    peer_time_s: float | None = None  # what somebody else's model predicts for this row
    number: int = 0  # which row of its file, from 1
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)  # all cells by column
