"""What the scheduler knows from measurements, wherever they were made, each taken in once.

Attempts bring theirs with their end. What `jetsched profile` measures goes to the data home of the
machine that it runs on: the head's is looked at here, again and again, and a node's is told by its
agent. Measurements go through the journal as events; calibrations go to the cost model at once, and
the event says only that they did.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from jetsched.cluster.protocol import Stored
from jetsched.files import json_bytes, to_json
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.drift import DriftWatch, ran_of
from jetsched.profiler.store import LineStore, MeasurementStore
from jetsched.records import Measurement
from jetsched.scheduler.events import Calibrated, Entry, Event, Finished, Learned
from jetsched.scheduler.state import JobRecord

log = logging.getLogger(__name__)
R = TypeVar("R")

#: Tells the cost model; True if some verdict may be another one now.
Calibrate = Callable[[Calibration], bool]


class Knowledge:
    """For the loop's thread. ``calibrate`` tells the cost model what a board's constants are.

    What is in the head's data home by now is told to it at once; its measurements come as events.
    """

    def __init__(self, home: Path, calibrate: Calibrate) -> None:
        self._measured = MeasurementStore(home / MeasurementStore.name)
        self._calibrated = CalibrationStore(home / CalibrationStore.name)
        self._read = (0, 0)
        self._calibrate = calibrate
        self._known: set[bytes] = set()
        self.drift = DriftWatch()
        for _ in self._calibrations(0.0, self._read_calibrations()):
            pass

    # ----------------------------------------------------------------------- what is new, as events

    def look(self, now_s: float) -> Iterator[Event]:
        """What was added to the head's data home since the last look."""
        found, read = self._measured.read_on(self._read[0])
        self._read = (read, self._read[1])
        _complain(self._measured)
        for measurement in found:
            if self._is_new(measurement):
                yield Learned(now_s, measurement)
        yield from self._calibrations(now_s, self._read_calibrations())

    def take(self, now_s: float, device_id: str, stored: Stored) -> Iterator[Event]:
        """What an agent tells of its node's data home; it is kept in the head's as well."""
        for measurement in stored.measurements:
            if self._is_new(measurement):
                if not measurement.emulated:  # the node did not know then how the fleet calls it
                    measurement = replace(measurement, device=device_id)
                self.keep(measurement)
                yield Learned(now_s, measurement)
        new = [c for c in stored.calibrations if _mark(c) not in self._known]
        for calibration in new:
            _append(self._calibrated, calibration)
        yield from self._calibrations(now_s, new)

    def _read_calibrations(self) -> list[Calibration]:
        found, read = self._calibrated.read_on(self._read[1])
        self._read = (self._read[0], read)
        _complain(self._calibrated)
        return found

    def _calibrations(self, now_s: float, found: Iterable[Calibration]) -> Iterator[Event]:
        for calibration in found:
            if self._is_new(calibration) and self._calibrate(calibration):
                yield Calibrated(now_s, calibration.device_class)

    # ---------------------------------------------------------------------------- what has happened

    def remember(self, entry: Entry, jobs: Mapping[str, JobRecord]) -> None:
        """Take in what the scheduler has just applied, in a replay as well."""
        if isinstance(entry, Learned):
            self._watch(entry.measurement)
            self._is_new(entry.measurement)
        elif isinstance(entry, Finished) and entry.measurement is not None:
            self._is_new(entry.measurement)
            record = jobs.get(entry.job_id)
            if record is None or len(record.attempts) < entry.attempt:
                return
            attempt = record.attempts[entry.attempt - 1]
            if attempt.end_s == entry.at_s:  # else it came late
                ran = ran_of(entry.measurement, entry.at_s, attempt.estimate, record.job.amount)
                if ran is not None:
                    self.drift.add(ran)

    def keep(self, measurement: Measurement) -> None:
        """Add it to the head's data home, for `jetsched profiles` and the next cluster."""
        _append(self._measured, measurement)

    def _watch(self, measurement: Measurement) -> None:
        """A profile's run counts from when it ended, not from when it became known."""
        try:
            began = datetime.fromisoformat(measurement.at.replace("Z", "+00:00"))
        except ValueError:
            return
        ran = ran_of(measurement, began.timestamp() + (measurement.time_s or 0.0))
        if ran is not None:
            self.drift.add(ran)

    def _is_new(self, record: Measurement | Calibration) -> bool:
        mark = _mark(record)
        if mark in self._known:
            return False
        self._known.add(mark)
        return True


def _mark(record: Measurement | Calibration) -> bytes:
    """The same for the same record, under whatever name its board went."""
    return blake2b(json_bytes(to_json(replace(record, device=""))), digest_size=16).digest()


def _append(store: LineStore[R], record: R) -> None:
    try:
        store.append(record)
    except (OSError, ValueError) as error:  # the loop must not end for this
        log.error("%s does not take what was measured: %s", store.path, error)


def _complain(store: LineStore[R]) -> None:
    for bad in store.bad:
        log.warning("%s", bad)
