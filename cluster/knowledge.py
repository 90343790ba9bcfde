"""What the scheduler knows from measurements, wherever they were made, each taken in once.

Attempts bring theirs with their end. What `jetsched profile` measures goes to the data home of the
machine that it runs on: the head's is looked at here, again and again, and a node's is told by its
agent. Measurements go through the journal, many in one event: each event costs a new fit where jobs
wait. Calibrations go to the cost model at once, and the event says only that they did.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from jetsched.cluster.profiled import Profiles
from jetsched.cluster.protocol import Stored
from jetsched.files import json_bytes, to_json
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.drift import DriftWatch, ran_of
from jetsched.profiler.store import LineStore, MeasurementStore
from jetsched.records import DeviceClass, Measurement
from jetsched.scheduler.events import Entry, Finished, Learned
from jetsched.scheduler.state import JobRecord

log = logging.getLogger(__name__)
R = TypeVar("R")

#: So many measurements are an event at most: who asks meanwhile must not wait for long.
AT_ONCE = 1000

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
        self.profiles = Profiles()
        #: What the scheduler has not been told yet.
        self._news: list[Measurement] = []
        self._moved: list[DeviceClass] = []
        self._look_at_calibrations()
        self._moved.clear()  # it has not asked for anything yet

    # -------------------------------------------------------------------------------- what is new

    @property
    def has_news(self) -> bool:
        """Whether there is something that the scheduler should be told."""
        return bool(self._news or self._moved)

    def news(self, now_s: float) -> Learned | None:
        """What is new, as an event; None for nothing. Where it is very much, the rest comes next.

        Call it again while it :attr:`has_news`.
        """
        if not self.has_news:
            return None
        event = Learned(now_s, tuple(self._news[:AT_ONCE]), tuple(self._moved))
        del self._news[:AT_ONCE]
        self._moved.clear()
        return event

    def look(self) -> None:
        """See what was added to the head's data home since the last look."""
        found, read = self._measured.read_on(self._read[0])
        self._read = (read, self._read[1])
        _complain(self._measured)
        self._news += [measurement for measurement in found if self._is_new(measurement)]
        self._look_at_calibrations()

    def take(self, device_id: str, stored: Stored) -> None:
        """Take in what an agent tells of its node's data home; it is kept in the head's as well."""
        new = [
            # The node did not know then how the fleet calls it.
            measurement if measurement.emulated else replace(measurement, device=device_id)
            for measurement in stored.measurements
            if self._is_new(measurement)
        ]
        self.keep(*new)
        self._news += new
        calibrations = [c for c in stored.calibrations if _mark(c) not in self._known]
        _append(self._calibrated, calibrations)
        self._take_calibrations(calibrations)

    def _look_at_calibrations(self) -> None:
        found, read = self._calibrated.read_on(self._read[1])
        self._read = (self._read[0], read)
        _complain(self._calibrated)
        self._take_calibrations(found)

    def _take_calibrations(self, found: Iterable[Calibration]) -> None:
        for calibration in found:
            if self._is_new(calibration) and self._calibrate(calibration):
                self._moved.append(calibration.device_class)

    # ---------------------------------------------------------------------------- what has happened

    def remember(self, entry: Entry, jobs: Mapping[str, JobRecord]) -> None:
        """Take in what the scheduler has just applied, in a replay as well."""
        if isinstance(entry, Learned):
            for measurement in entry.measurements:
                self._watch(measurement)
                self._is_new(measurement)
                self.profiles.note(measurement)
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

    def knows(self, measurement: Measurement) -> bool:
        """Whether it has been learnt."""
        return _mark(measurement) in self._known

    def keep(self, *measurements: Measurement) -> None:
        """Add them to the head's data home, for `jetsched profiles` and the next cluster."""
        _append(self._measured, measurements)

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


def _append(store: LineStore[R], records: Collection[R]) -> None:
    if not records:
        return
    try:
        store.append(*records)
    except (OSError, ValueError) as error:  # the loop must not end for this
        log.error("%s does not take what was measured: %s", store.path, error)


def _complain(store: LineStore[R]) -> None:
    for bad in store.bad:
        log.warning("%s", bad)
