"""What is known of a workload whatever the device, and of a device whatever the workload.

Both are computed once; an estimate is then a few multiplications.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

from jetsched.errors import InputError
from jetsched.profiler import roofline
from jetsched.profiler.calibration import (
    Calibration,
    calibrated_rates,
    latest,
    sheet_of_calibration,
)
from jetsched.profiler.devices import sheet_of
from jetsched.profiler.evidence import SpeedClass, cost_key, speed_class
from jetsched.profiler.memory import Memory, Stack, memory_needed, stack_of, work_kind
from jetsched.profiler.models import ModelShape, find, shape
from jetsched.profiler.roofline import Phase, Rates, Sheeted
from jetsched.records import DeviceClass, DeviceModel, Precision, Workload

#: Shapes that were found, by cost key's model: known models cannot change, and reading a
#: ``config.json`` for each of ten thousand workloads would take seconds.
_SHAPES: dict[str, ModelShape] = {}


class Card:
    """A workload: its cost key, its model's shape, and what can be counted from that.

    ``shape`` is None where nothing describes the model; ``problem`` then says what to do.
    """

    __slots__ = ("_memory", "_phases", "kind", "problem", "shape", "teaches", "workload")

    def __init__(self, workload: Workload) -> None:
        self.workload = cost_key(workload)
        self.kind = work_kind(workload)
        #: Whether its runs say something of other work. What a command is like is a first guess at
        #: it: what it then does is its own business.
        self.teaches = workload.kind != "command"
        self.shape: ModelShape | None = None
        self.problem = ""
        self._memory: dict[Stack, Memory] = {}
        self._phases: dict[Stack, tuple[Phase, ...]] = {}
        if not self.kind:
            self.problem = (
                "nothing is known about this command: say what it is like (work.like), or profile"
                " the job file"
            )
            return
        try:
            self.shape = _shape_of(self.workload.model)
            if self.shape is None:
                self.problem = (
                    f"the shape of {workload.model} is not known here: profile the job file, or"
                    " name a folder with the model's config.json"
                )
        except InputError as error:
            self.problem = f"{workload.model}: {error}; {error.hint or 'profile the job file'}"

    def memory(self, place: Place) -> Memory | None:
        """Live bytes as counted, with the runtime that is assumed for the device's software."""
        if self.shape is None or place.stack is None:
            return None
        found = self._memory.get(place.stack)
        if found is None:
            found = memory_needed(self.shape, self.workload, place.stack)
            self._memory[place.stack] = found
        return found

    def sheeted(self, place: Place, *, calibrated: bool = True) -> Sheeted | None:
        """The time of a unit of work by the place's calibration if it has one, else its sheet.

        Not ``calibrated``: by the data sheet in any case, as to compare with another place's.
        """
        phases = self.phases(place)
        if not phases or place.stack is None:
            return None
        rates = (place.rates if calibrated else place.sheet_rates)[self.workload.precision]
        return roofline.by_the_sheet(phases, rates, gpu=place.stack.cuda)

    def phases(self, place: Place) -> tuple[Phase, ...]:
        """What each phase of a unit of work asks of the place; () where nothing is known."""
        if self.shape is None or place.stack is None:
            return ()
        phases = self._phases.get(place.stack)
        if phases is None:
            phases = roofline.phases_of(self.shape, self.workload, place.stack)
            self._phases[place.stack] = phases
        return phases

    def load_s(self, place: Place, *, calibrated: bool = True) -> float:
        """Loading, likewise; 0 where nothing is known."""
        return sum(self.load_terms(place, calibrated=calibrated))

    def load_terms(self, place: Place, *, calibrated: bool = True) -> tuple[float, float]:
        """Loading by its parts: starting the interpreter and all, reading the weights."""
        if self.shape is None or place.sheet is None:
            return 0.0, 0.0
        storage_mb_s = place.storage_mb_s if calibrated else roofline.STORAGE_MB_S
        return roofline.load_terms(self.shape, self.workload, place.sheet, storage_mb_s)


class Place:
    """A device class: its data sheet in its power mode, and what follows from that.

    ``sheet`` and ``stack`` are None for a model that has neither a data sheet nor a calibration;
    ``problem`` then says so. ``rates`` are those of the calibration, where there is one.
    """

    __slots__ = (
        "calibrated",
        "device_class",
        "has_mib",
        "problem",
        "rates",
        "sheet",
        "sheet_rates",
        "speed",
        "stack",
        "storage_mb_s",
    )

    def __init__(self, device_class: DeviceClass, calibration: Calibration | None = None) -> None:
        self.device_class = device_class
        self.speed = speed_class(device_class)
        self.calibrated = calibration is not None
        self.problem = ""
        self.sheet: DeviceModel | None = None
        self.stack: Stack | None = None
        self.rates: Mapping[Precision, Rates] = {}
        self.sheet_rates: Mapping[Precision, Rates] = {}
        self.storage_mb_s = roofline.STORAGE_MB_S
        self.has_mib = device_class.memory_mib or inf
        try:
            self.sheet = (
                sheet_of(device_class)
                if calibration is None
                else sheet_of_calibration(device_class, calibration)
            )
        except InputError as error:
            self.problem = f"{error}, and nothing was measured on it"
            return
        self.stack = stack_of(self.sheet)
        self.rates = self.sheet_rates = roofline.rates_of(self.sheet)
        self.has_mib = device_class.memory_mib or self.sheet.usable_mib
        if calibration is not None:
            self.rates = calibrated_rates(calibration, self.sheet)
            if calibration.load_mb_s and calibration.load_from == "disk":
                self.storage_mb_s = calibration.load_mb_s


class Subjects:
    """Cards and places, each made once. ``calibrations``: the newest of a speed class counts."""

    def __init__(self, calibrations: Iterable[Calibration] = ()) -> None:
        self._calibrations = latest(calibrations)
        self._cards: dict[Workload, Card] = {}
        self._places: dict[DeviceClass, Place] = {}

    def card(self, workload: Workload) -> Card:
        card = self._cards.get(workload)
        if card is None:
            card = Card(workload)
            if card.shape is not None or not card.kind:  # else its config, or count, may yet come
                self._cards[workload] = card
        return card

    def place(self, device_class: DeviceClass) -> Place:
        place = self._places.get(device_class)
        if place is None:
            calibration = self._calibrations.get(speed_class(device_class))
            place = self._places[device_class] = Place(device_class, calibration)
        return place

    def calibrate(self, calibration: Calibration) -> bool:
        """Take a calibration into account; False where this one, or a newer one, is known."""
        speed = calibration.speed
        known = self._calibrations.get(speed)
        if known is not None and (known == calibration or known.at > calibration.at):
            return False
        self._calibrations[speed] = calibration
        self._places = {key: place for key, place in self._places.items() if place.speed != speed}
        return True

    def any_place(self, speed: SpeedClass) -> Place:
        """A place of this speed class, of whatever memory."""
        return self.place(
            DeviceClass(speed.model, speed.power_mode, speed.software, emulated=speed.emulated)
        )


def _shape_of(model: str) -> ModelShape | None:
    found = _SHAPES.get(model)
    if found is None:
        found = shape(model)
        if found is not None and find(model) is not None:
            _SHAPES[model] = found
    return found
