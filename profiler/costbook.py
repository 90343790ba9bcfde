"""The cost model of a data home, kept up to date with what is measured there.

It is a model of its own, made of the same files as that of `jetsched costs`: whoever looks at it
does not keep a scheduler from deciding. Answers of one :meth:`CostBook.open` are of one moment.
Where much was measured, reading it the first time takes seconds: who does not want to wait gets
what is known by then, and the rest is read meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

from jetsched.files import BadLine
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.calibration import Calibration, latest
from jetsched.profiler.costs import CostModel
from jetsched.profiler.evidence import SpeedClass
from jetsched.profiler.seen import Sightings
from jetsched.profiler.store import MeasurementStore

#: So much of a file is read at a time: a tenth of a second.
CHUNK_BYTES = 256 << 10
#: Who reads on in the background rests for so many times as long as it worked.
_REST = 1.0
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
    share: float  # of what stands in the files; below 1 while it is being read


class CostBook:
    """May be asked from any thread, by one at a time. Nothing is read before the first look."""

    def __init__(self, home: Path) -> None:
        self._measured = MeasurementStore(home / MeasurementStore.name)
        self._calibrated = CalibrationStore(home / CalibrationStore.name)
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._begin()

    def _begin(self) -> None:
        self._read = (0, 0)
        self._costs = CostModel()
        self._sightings = Sightings()
        self._calibrations: dict[SpeedClass, Calibration] = {}
        self._bad: tuple[BadLine, ...] = ()
        self._behind = True  # there may be more in the files than was read

    @contextmanager
    def open(self, patience_s: float = inf) -> Iterator[Opened]:
        """What is known after at most about ``patience_s``; nobody else looks meanwhile."""
        with self._lock:
            if not self._look(patience_s):
                self._read_on()
            read = sum(self._read)
            share = min(read / max(self.version, 1), 1.0) if self._behind else 1.0
            yield Opened(self._costs, self._sightings, self._calibrations, self._bad, read, share)

    @property
    def version(self) -> int:
        """That of what an :meth:`open` would show; cheap."""
        return sum(_size(store.path) for store in (self._measured, self._calibrated))

    def _look(self, patience_s: float) -> bool:
        """Read on; False if something is left. A file that became shorter is another one."""
        ends = time.monotonic() + patience_s
        measured, calibrated = self._read
        if _size(self._measured.path) < measured or _size(self._calibrated.path) < calibrated:
            self._begin()
        known, end = self._calibrated.read_on(self._read[1])
        self._note(self._calibrated.bad)
        for calibration in known:
            self._costs.calibrate(calibration)
        self._calibrations = latest([*self._calibrations.values(), *known])
        self._read = self._read[0], end
        self._behind = True
        while time.monotonic() < ends:
            found, end = self._measured.read_on(self._read[0], CHUNK_BYTES)
            self._note(self._measured.bad)
            for measurement in found:
                self._costs.learn(measurement)
                self._sightings.add(measurement)
            if end == self._read[0]:
                self._behind = False
                break
            self._read = end, self._read[1]
        return not self._behind

    def _read_on(self) -> None:
        """Have the rest read meanwhile."""
        if self._reader is None or not self._reader.is_alive():
            self._reader = threading.Thread(target=self._read_rest, name="costbook", daemon=True)
            self._reader.start()

    def _read_rest(self) -> None:
        """In small steps, so that whoever looks meanwhile need not wait."""
        while True:
            began = time.monotonic()
            with self._lock:
                if self._look(0.05):
                    return
            time.sleep(_REST * (time.monotonic() - began))

    def _note(self, bad: tuple[BadLine, ...]) -> None:
        self._bad = (self._bad + bad)[-MOST_BAD:]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
