"""What sampling beside a run costs, in per cent of one core, by source and rate.

Sources are read from the made-up board in `tests/fake_sys`, tegrastats is a shell script of that
name; what this machine has itself is measured too. Two sleeping processes are the workload. The
figures go to docs/log.md with the machine they were measured on.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from jetsched.profiler.machine import Machine
from jetsched.profiler.sensors import Missing, Source, candidates
from jetsched.profiler.sensors_tegrastats import TegrastatsSensors
from jetsched.profiler.telemetry import RunTelemetry

BOARD = Path(__file__).resolve().parent.parent / "tests/fake_sys/orin-nano-jetpack6"
LINE = (
    "RAM 900/7620MB (lfb 8x4MB) SWAP 64/3810MB (cached 0MB) CPU [7%@729,2%@729,off,off]"
    " GR3D_FREQ 80%@[612] cpu@48.5C gpu@50.25C tj@50.25C VDD_IN 10000mW/9000mW VDD_SOC 900mW/900mW"
)
#: Until the interpreter has imported what it needs; not part of the cost of sampling.
SETTLE_S = 1.0

Candidates = Callable[[], Iterable[Source | Missing]]


def measure(sources: Candidates, root: Path, rate_hz: float, lasts_s: float, pid: int) -> str:
    """One line of the table."""
    machine = Machine(sources, root)
    telemetry = RunTelemetry(machine, 1 / rate_hz)
    telemetry.start(pid)
    time.sleep(SETTLE_S)
    before_s, start = telemetry.own_cpu_s, time.monotonic()
    time.sleep(lasts_s)
    own_s, lasted_s = telemetry.own_cpu_s - before_s, time.monotonic() - start
    summary = telemetry.stop()
    helper = 100 * machine.helper_cpu_s / (lasted_s + SETTLE_S)
    name = str(summary.record["source"])
    return f"{name:12}{rate_hz:4g} Hz {100 * own_s / lasted_s:7.2f} % {helper:9.2f} %"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=6.0, help="for each figure")
    options.add_argument("--rates", type=float, nargs="+", default=[2.0, 4.0, 10.0], metavar="HZ")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "tegrastats"
        program.write_text(f"#!/bin/sh\nwhile :; do echo '{LINE}'; sleep 0.1; done\n")
        program.chmod(0o755)
        tegrastats = Source("tegrastats", "", partial(TegrastatsSensors, str(program)))
        sysfs = [each for each in candidates(BOARD, ()) if each.name == "sysfs"]
        rows: list[tuple[Candidates, Path]] = [
            (tuple, BOARD),
            (lambda: sysfs, BOARD),
            (lambda: [tegrastats], BOARD),
            (candidates, Path("/")),
        ]
        workload = subprocess.Popen(["sh", "-c", "sleep 900 & sleep 900"], start_new_session=True)
        try:
            print("source       rate      own     helper")
            for rate_hz in given.rates:
                for sources, root in rows:
                    print(measure(sources, root, rate_hz, given.seconds, workload.pid), flush=True)
        finally:
            os.killpg(workload.pid, signal.SIGKILL)
            workload.wait()


if __name__ == "__main__":
    main()
