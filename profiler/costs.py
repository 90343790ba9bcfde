"""What a job costs on a device: measured, else estimated from measurements, else assumed.

:class:`CostModel` is what the scheduler asks. Time comes from timing.py, memory from admission.py,
utilisation and energy from power.py, all out of the same measurements; none of them imports torch
or reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jetsched.profiler.admission import Admission, Counted, Needs
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.devices import DEVICE_MODELS
from jetsched.profiler.evidence import Evidence, SpeedClass, speed_class
from jetsched.profiler.grid import Grid, GridMaker
from jetsched.profiler.judged import believed
from jetsched.profiler.memory import Memory
from jetsched.profiler.power import Draw, PowerModel, Utilisation
from jetsched.profiler.subjects import Card, Place, Subjects
from jetsched.profiler.timing import Timing
from jetsched.records import (
    DeviceClass,
    Estimate,
    Fit,
    Job,
    Measurement,
    Method,
    Never,
    Source,
    Verdict,
    Workload,
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a workload costs on a device class, per unit of work."""

    load_s: float
    rate_s: float
    p90: float  # in nine of ten cases a whole run takes at most this many times its p50
    peak_memory_mib: float
    admitted_mib: float
    gpu_util_pct: float | None
    power_w: float | None  # while it works
    load_w: float | None
    source: Source
    method: Method
    measurements: int
    fit: Fit
    emulated: bool
    runtime_mib: float = 0.0
    note: str = ""  # what the time was extrapolated over

    def of(self, amount: float) -> Estimate:
        """The estimate for so many units of work."""
        time_s = self.load_s + amount * self.rate_s
        energy_j = None
        if self.power_w is not None and self.load_w is not None:
            energy_j = self.load_w * self.load_s + self.power_w * amount * self.rate_s
        return Estimate(  # by position, which is quicker: it is asked for each job
            time_s,
            time_s * self.p90,
            self.load_s,
            self.peak_memory_mib,
            self.admitted_mib,
            self.gpu_util_pct,
            energy_j,
            self.source,
            self.method,
            self.fit,
            self.measurements,
            self.emulated,
            self.runtime_mib,
            self.note,
        )


class CostModel:
    """The scheduler's :class:`~jetsched.scheduler.view.Costs`, filled by measurements.

    What was not measured on a device class is estimated by the newest of its ``calibrations``.
    Answers are kept for each device class and workload: asking again is a look-up. ``learn`` drops
    those that can have changed.
    """

    def __init__(
        self, measurements: Iterable[Measurement] = (), calibrations: Iterable[Calibration] = ()
    ) -> None:
        self._evidence = Evidence()
        self._subjects = Subjects(calibrations)
        self._timing = Timing(self._evidence, self._subjects)
        self._admission = Admission(self._evidence, self._subjects)
        self._power = PowerModel(subjects=self._subjects)
        self._answers: dict[DeviceClass, dict[Workload, Cost | Never]] = {}
        for measurement in measurements:
            self.learn(measurement)

    def verdict(self, job: Job, device_class: DeviceClass) -> Verdict:
        """An estimate for the whole job, or why it never runs there. Pure."""
        cost = self.cost(job.workload, device_class)
        return cost if isinstance(cost, Never) else cost.of(job.amount)

    def cost(self, workload: Workload, device_class: DeviceClass) -> Cost | Never:
        """What a unit of the workload costs there, or why it never runs there. Pure."""
        answers = self._answers.get(device_class)
        if answers is None:
            answers = self._answers[device_class] = {}
        answer = answers.get(workload)
        if answer is None:
            answer = self._answer(workload, device_class)
            if not isinstance(answer, Never) or answer.code != "NotProfiled":
                answers[workload] = answer  # else what describes the model may yet come
        return answer

    def grid(self, workloads: Sequence[Workload], device_classes: Sequence[DeviceClass]) -> Grid:
        """What :meth:`cost` says of all pairs, as arrays of (workloads, device classes). Pure."""
        maker = GridMaker(self._evidence, self._timing, self._admission, self.cost, _lacks)
        return maker.make(
            [self._subjects.card(workload) for workload in workloads],
            [self._subjects.place(device_class) for device_class in device_classes],
        )

    def memory(self, workload: Workload, device_class: DeviceClass) -> Memory | None:
        """What the memory would go to, as counted; None where the model's shape is not known."""
        card, place = self._subjects.card(workload), self._subjects.place(device_class)
        return self._admission.memory(card, place)

    def counted(self, workload: Workload, device_class: DeviceClass) -> Counted | None:
        """What it would need as counted, whatever its runs held; None likewise."""
        card, place = self._subjects.card(workload), self._subjects.place(device_class)
        return self._admission.counted(card, place)

    def needs(self, workload: Workload, device_class: DeviceClass) -> Needs | None:
        """What it would need in any case, by its runs or as counted; None where neither tells."""
        card, place = self._subjects.card(workload), self._subjects.place(device_class)
        return self._admission.needs(card, place)

    def power(
        self, workload: Workload, device_class: DeviceClass
    ) -> tuple[Utilisation | None, Draw | None]:
        """GPU utilisation and power with their spreads and sources; None where nothing tells."""
        card, place = self._subjects.card(workload), self._subjects.place(device_class)
        use = self._power.utilisation(card, place)
        return use, self._power.draw(card, place, use)

    def learn(self, measurement: Measurement) -> bool:
        """Take a measurement into account. True if some verdict may be another one now."""
        sound = believed(measurement)
        if sound is None or not self._evidence.add(sound):
            return False
        self._power.learn(sound)
        self._forget(speed_class(sound.device_class))
        return True

    def calibrate(self, calibration: Calibration) -> bool:
        """Take a board's constants into account. True if some verdict may be another one now."""
        if not self._subjects.calibrate(calibration):
            return False
        self._power.forget(calibration.speed)
        self._forget(calibration.speed)
        return True

    def _forget(self, where: SpeedClass) -> None:
        """Something was learnt about devices of this class."""
        self._timing.forget(where)
        self._admission.forget(where.allocator)
        for device_class, answers in self._answers.items():
            # What is fitted or counted there may rest on this run too.
            if self._subjects.place(device_class).speed.engine == where.engine:
                answers.clear()

    def _answer(self, workload: Workload, device_class: DeviceClass) -> Cost | Never:
        card, place = self._subjects.card(workload), self._subjects.place(device_class)
        lack = _lacks(card.workload, place)
        if lack is not None:
            return self._with_memory(lack, card, place)
        never = self._admission.killed(card, place)
        if never is not None:
            return never
        time = self._timing.best(card, place)
        if time is None:
            return Never("NotProfiled", card.problem or place.problem)
        room = self._admission.room(card, place)
        if isinstance(room, Never):
            return room
        use = self._power.utilisation(card, place, time.gpu_share_pct)
        draw = self._power.draw(card, place, use)
        return Cost(
            load_s=time.load_s,
            rate_s=time.rate_s,
            p90=time.p90,
            peak_memory_mib=room.live_mib,
            admitted_mib=room.admitted_mib,
            gpu_util_pct=None if use is None else use.pct,
            power_w=None if draw is None else draw.work_w,
            load_w=None if draw is None else draw.load_w,
            source=time.source,
            method=time.method,
            measurements=time.measurements,
            fit=room.fit,
            emulated=device_class.emulated,
            runtime_mib=room.runtime_mib,
            note=time.note,
        )

    def _with_memory(self, never: Never, card: Card, place: Place) -> Never:
        """What it would need all the same, for those who wonder whether that is the only thing."""
        needed = self._admission.counted(card, place)
        if needed is None:
            return never
        return replace(
            never,
            peak_memory_mib=needed.live_mib,
            admitted_mib=needed.admitted_mib,
            source="estimated",
        )


def _lacks(workload: Workload, place: Place) -> Never | None:
    """What the device cannot compute in. What a command computes in is its own business."""
    sheet = place.sheet
    if sheet is None or workload.kind == "command":
        return None
    if workload.precision == "bf16" and not sheet.bf16:
        # An emulated board's sheet is that of a CPU; only the board itself has the chip.
        known = DEVICE_MODELS.get(sheet.name)
        chip = known.architecture if known else sheet.title
        text = f"bf16 needs an Ampere GPU or newer, {sheet.name} is {chip}: use fp16"
        return Never("EnvMissing", text)
    if workload.precision == "fp16" and workload.kind == "train" and not sheet.architecture:
        text = "fp16 training needs a CUDA GPU (gradient scaling): use fp32 or bf16"
        return Never("EnvMissing", text)
    return None
