"""What a job would have taken on a board where it never ran, out of a live history.

It did run somewhere: on boards of another class it takes as much more or less as it was estimated
to when it was placed, corrected by how far such estimates are off on either class, the median over
the attempts that were seen there. Where that is not known, the cost model tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from statistics import median

from jetsched.cluster.history import Seen
from jetsched.cluster.recorded import Ran, Recording
from jetsched.cluster.truth import CostsAsTruth, TrueRun, Truth
from jetsched.profiler.bundled import bundled_profile
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costs import CostModel
from jetsched.records import DeviceClass, Job


class Elsewhere:
    """The truth about attempts that were not seen."""

    def __init__(self, recording: Recording, calibrations: Iterable[Calibration] = ()) -> None:
        self._recording = recording
        self._calibrations = list(calibrations)

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        """The run of the job there; None where nobody knows."""
        ran = self._whole.get(job.id)
        if ran is None:
            return self._model.run(job, device_class)
        where = ran.device.device_class
        if where == device_class:
            return TrueRun(ran.measured_s, ran.load_s, 0.0)
        thought = self._recording.estimates.get(job.id, {})
        if not thought.get(where) or not thought.get(device_class):
            return self._model.run(job, device_class)
        times = thought[device_class] / thought[where]
        if where in self._off and device_class in self._off:
            times *= self._off[device_class] / self._off[where]
        return TrueRun(times * ran.measured_s, times * ran.load_s, 0.0)

    @cached_property
    def _whole(self) -> dict[str, Ran]:
        """Of each job the last attempt that went from its beginning to its end."""
        return {id: ran for (id, _), ran in self._recording.ran.items() if ran.outcome == "done"}

    @cached_property
    def _off(self) -> dict[DeviceClass, float]:
        """How many times as long as was estimated attempts take on a class of boards."""
        found: dict[DeviceClass, list[float]] = {}
        for ran in self._whole.values():
            if ran.estimate_s > 0:
                off = ran.measured_s / ran.estimate_s
                found.setdefault(ran.device.device_class, []).append(off)
        return {kind: median(off) for kind, off in found.items()}

    @cached_property
    def _model(self) -> Truth:
        """All that was measured, and the bundled profile. Fitted when it is first asked for."""
        history = self._recording.history
        behind = [*history.measurements, *bundled_profile()]
        return Seen(history.ran, CostsAsTruth(CostModel(behind, self._calibrations)))
