"""Run times that a trace carries, by job and device model: the truth, and the estimate."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from math import isnan, nan

from jetsched.cluster.truth import TrueRun
from jetsched.records import DeviceClass, Job, Measurement, Never, Verdict
from jetsched.scheduler.table import known_run


class RunTimes(Mapping[str, Mapping[str, float]]):
    """Job id -> device model -> seconds, kept in one array: a million jobs are small.

    It is its own truth and cost model: a job can run where it has a time, nothing is loaded, and
    no memory is needed.
    """

    def __init__(self) -> None:
        self._columns: dict[str, int] = {}
        self._at: dict[str, int] = {}  # job id -> where its row begins
        self._times = array("d")

    @classmethod
    def of(cls, times: Mapping[str, Mapping[str, float]]) -> RunTimes:
        """The same times from dicts."""
        made = cls()
        for job_id, row in times.items():
            made.add(job_id, row)
        return made

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self._columns)

    def add(self, job_id: str, times_s: Mapping[str, float]) -> None:
        """The times of one more job."""
        columns = self._columns
        for model in times_s:
            if model not in columns:
                self._widen(model)
        self._at[job_id] = len(self._times)
        self._times.extend([times_s.get(model, nan) for model in columns])

    def _widen(self, model: str) -> None:
        """A column for one more model; happens a few times, at the start of a file."""
        width = len(self._columns)
        old, self._times = self._times, array("d")
        for number, job_id in enumerate(self._at):
            self._times.extend([*old[number * width : (number + 1) * width], nan])
            self._at[job_id] = number * (width + 1)
        self._columns[model] = width

    def __getitem__(self, job_id: str) -> Mapping[str, float]:
        at = self._at[job_id]
        row = zip(self._columns, self._times[at : at + len(self._columns)], strict=True)
        return {model: time_s for model, time_s in row if not isnan(time_s)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)

    def time_s(self, job: Job, device_class: DeviceClass) -> float | None:
        """Seconds of the job on such a device; None where it cannot run."""
        column, at = self._columns.get(device_class.model), self._at.get(job.id)
        if column is None or at is None:
            return None
        found = self._times[at + column]
        return None if isnan(found) else found

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        """The time as what really happens; see :class:`~jetsched.cluster.truth.Truth`."""
        time_s = self.time_s(job, device_class)
        return None if time_s is None else TrueRun(time_s, 0.0, 0.0)

    def verdict(self, job: Job, device_class: DeviceClass) -> Verdict:
        """The time as what is expected; see :class:`~jetsched.scheduler.view.Costs`."""
        time_s = self.time_s(job, device_class)
        if time_s is None:
            text = f"no run time of {job.id} on {device_class.model} is known"
            return Never("NotProfiled", text)
        return known_run(time_s)

    def learn(self, measurement: Measurement) -> bool:
        """There is nothing to learn: everything is known."""
        return False
