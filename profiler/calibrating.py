"""Calibrating the board at hand, and keeping what came of it.

It is a run like any other, under the same supervisor and limits; what the child does is in
child_calibrate.py. One JSON line each goes to ``calibrations.jsonl`` of the data home.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jetsched.errors import JobFailedError
from jetsched.profiler.attempts import Story
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.evidence import speed_class
from jetsched.profiler.limits import Limits
from jetsched.profiler.runner import Run, RunOrder
from jetsched.profiler.staleness import changes
from jetsched.profiler.store import LineStore
from jetsched.records import Device, DeviceClass, Job, Workload

#: Against hanging only: a slow board needs about a minute.
LIMIT_S = 600.0


class CalibrationStore(LineStore[Calibration]):
    """What boards do in the simplest of all work."""

    record = Calibration
    name = "calibrations.jsonl"

    def valid(self, device_class: DeviceClass, identity: Mapping[str, Any]) -> Calibration | None:
        """The last one of these devices, if nothing about the board has changed since."""
        speed = speed_class(device_class)
        found = [c for c in self.read() if c.speed == speed and not changes(c.identity, identity)]
        return found[-1] if found else None


def calibrate(
    device: Device,
    folder: Path,
    *,
    python: str = sys.executable,
    limits: Limits | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Calibration:
    """Measure the constants of the board at hand; ``folder`` is the run's own, and is emptied.

    On a board whose torch is CPU-only the result is one of a CPU. Raises JobFailedError with what
    the run said where it did not come to its end.
    """
    shutil.rmtree(folder, ignore_errors=True)
    # The kind of work is the child's affair: nothing is learnt about a workload.
    job = Job("calibrate", Workload("infer", ""), name="calibrate", work={"kind": "calibrate"})
    limits = replace(limits or Limits(), time_s=LIMIT_S)
    order = RunOrder(job, device, folder, python, limits, grace_s=2.0, identity=identity or {})
    run = Run.start(order)
    try:
        measurement = run.wait()
    except BaseException:
        run.stop("cancelled", grace_s=2.0)
        run.wait(30.0)
        raise
    story = Story(folder / "events.jsonl")
    story.read_on()
    result = story.result
    if measurement.outcome != "done" or result is None:
        raise JobFailedError(
            f"the calibration did not end well: {measurement.text or measurement.outcome}",
            hint=f"its log: {folder / 'log.txt'}",
        )
    return Calibration(
        device_class=measurement.device_class,
        **result["calibration"],
        time_s=measurement.time_s,
        device=device.id,
        at=measurement.at,
        identity=measurement.identity,
    )
