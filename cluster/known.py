"""What a live scheduler knew that its journal does not hold: boards' constants, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costs import CostModel
from jetsched.records import DeviceClass
from jetsched.scheduler.events import Entry, Learned, PolicyChanged, ServiceStarted, Start


@dataclass
class Survey:
    """What has to be known of a journal before it is followed."""

    entries: int = 0
    first_s: float = inf
    last_s: float = -inf
    first_policy: str = ""
    began: list[ServiceStarted] = field(default_factory=list)
    chosen: list[PolicyChanged] = field(default_factory=list)
    #: Each time that a class of boards was said to have other constants.
    calibrated: list[tuple[float, DeviceClass]] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        """Take in the next entry."""
        self.entries += 1
        self.first_s, self.last_s = min(self.first_s, entry.at_s), max(self.last_s, entry.at_s)
        match entry:
            case ServiceStarted():
                self.began.append(entry)
            case PolicyChanged():
                self.chosen.append(entry)
            case Learned():
                self.calibrated += [(entry.at_s, kind) for kind in entry.calibrated]
            case Start() if not self.first_policy and entry.decision is not None:
                self.first_policy = entry.decision.policy

    def memory_from_s(self, from_s: float) -> float:
        """When the policy that decided at a time began, and with it whatever it remembers."""
        times_s = [entry.at_s for entry in self.began] + [entry.at_s for entry in self.chosen]
        return max((at_s for at_s in times_s if at_s <= from_s), default=-inf)


class Known:
    """Tells a cost model of calibrations when the live one was told.

    They are in a file beside the journal, which says only that there were new ones of a class: the
    last that were measured by then. All others were found in the file by a scheduler that began.
    """

    def __init__(self, found: Iterable[Calibration], costs: CostModel, survey: Survey) -> None:
        self._costs = costs
        newer = _newer(found)
        #: (from when on, calibration), the latest first.
        self._to_come = sorted(_dated(newer, survey), key=lambda dated: -dated[0])

    def news(self, entry: Entry) -> Learned | None:
        """Tell the model what was known by then; an event if verdicts may be others now."""
        moved = self.until(entry.at_s)
        if not moved or (isinstance(entry, Learned) and entry.calibrated):
            return None
        return Learned(entry.at_s, (), tuple(moved))

    def until(self, at_s: float) -> list[DeviceClass]:
        """Tell the model what was known at a time; the classes of which it thinks otherwise now."""
        moved: list[DeviceClass] = []
        while self._to_come and self._to_come[-1][0] <= at_s:
            calibration = self._to_come.pop()[1]
            if self._costs.calibrate(calibration):
                moved.append(calibration.device_class)
        return moved


def _newer(found: Iterable[Calibration]) -> list[Calibration]:
    """Those that counted when they came: measured after the last one of such boards."""
    last: dict[object, str] = {}
    kept = []
    for calibration in found:
        if calibration.at > last.get(calibration.speed, ""):
            last[calibration.speed] = calibration.at
            kept.append(calibration)
    return kept


def _dated(found: Sequence[Calibration], survey: Survey) -> Iterable[tuple[float, Calibration]]:
    """Each with the time from which on it was known."""
    left = list(found)
    for at_s, kind in reversed(survey.calibrated):
        for calibration in reversed(left):
            if calibration.device_class == kind and _measured_s(calibration) <= at_s:
                left.remove(calibration)
                yield at_s, calibration
                break
    began = [entry.at_s for entry in survey.began]
    for calibration in left:
        made_s = _measured_s(calibration)
        if began:
            made_s = min((at_s for at_s in began if at_s >= made_s), default=inf)
        yield made_s, calibration


def _measured_s(calibration: Calibration) -> float:
    try:
        return datetime.fromisoformat(calibration.at.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return -inf
