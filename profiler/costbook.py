"""The cost model of a data home, kept up to date with what is measured there.

It is a model of its own, made of the same files as that of `jetsched costs`: whoever looks at it
does not keep a scheduler from deciding. Answers of one :meth:`CostBook.open` are of one moment.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jetsched.files import BadLine
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.calibration import Calibration, latest
from jetsched.profiler.costs import CostModel
from jetsched.profiler.evidence import SpeedClass
from jetsched.profiler.seen import Sightings
from jetsched.profiler.store import MeasurementStore

#: So much of a file is read at a time.
CHUNK_BYTES = 4 << 20
#: So many lines that say nothing are remembered, the last ones.
MOST_BAD = 100


@dataclass(frozen=True)
class Opened:
    """What is known; not to be kept, or changed."""

    costs: CostModel
    sightings: Sightings
    calibrations: dict[SpeedClass, Calibration]
    bad: tuple[BadLine, ...]  # lines of the files that say nothing
    version: int  # grows with what is known


class CostBook:
    """May be asked from any thread, by one at a time. Nothing is read before the first look."""

    def __init__(self, home: Path) -> None:
        self._measured = MeasurementStore(home / MeasurementStore.name)
        self._calibrated = CalibrationStore(home / CalibrationStore.name)
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._read = (0, 0)
        self._costs = CostModel()
        self._sightings = Sightings()
        self._calibrations: dict[SpeedClass, Calibration] = {}
        self._bad: tuple[BadLine, ...] = ()

    @contextmanager
    def open(self) -> Iterator[Opened]:
        """What is known now; nobody else looks meanwhile."""
        with self._lock:
            self._look()
            yield Opened(
                self._costs, self._sightings, self._calibrations, self._bad, sum(self._read)
            )

    @property
    def version(self) -> int:
        """That of what an :meth:`open` would show; cheap."""
        return sum(_size(store.path) for store in (self._measured, self._calibrated))

    def _look(self) -> None:
        """Read on. A file that has become shorter is another one: all is forgotten."""
        measured, calibrated = self._read
        if _size(self._measured.path) < measured or _size(self._calibrated.path) < calibrated:
            self._begin()
        while True:
            found, end = self._measured.read_on(self._read[0], CHUNK_BYTES)
            self._note(self._measured.bad)
            for measurement in found:
                self._costs.learn(measurement)
                self._sightings.add(measurement)
            if end == self._read[0]:
                break
            self._read = end, self._read[1]
        known, end = self._calibrated.read_on(self._read[1])
        self._note(self._calibrated.bad)
        for calibration in known:
            self._costs.calibrate(calibration)
        self._calibrations = latest([*self._calibrations.values(), *known])
        self._read = self._read[0], end

    def _note(self, bad: tuple[BadLine, ...]) -> None:
        self._bad = (self._bad + bad)[-MOST_BAD:]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
