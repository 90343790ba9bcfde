"""Boards that are emulated on this machine: real work under a real memory cap, slowed down.

Every figure that comes from them is marked *emulated*; the time that is measured is the time that
passed, and is never multiplied.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass

from jetsched.errors import InputError
from jetsched.profiler.devices import DEVICE_MODELS, EMULATED_SLOWDOWN, device_model
from jetsched.profiler.identity import software_of
from jetsched.profiler.limits import Limits, cap_kind
from jetsched.records import Device, DeviceClass

#: How a board of a model is called, before its number.
SHORT_NAMES = {"xavier-nx": "nx", "orin-nano": "orin"}
_HINT = "write for example xavier-nx,orin-nano or xavier-nx:0.5 (half its memory)"


@dataclass(frozen=True)
class EmulatedBoard:
    """A board and the limits that make this machine behave like it.

    ``scale`` is the part of the real board's memory that it has.
    """

    id: str
    device: Device
    limits: Limits
    scale: float = 1.0

    @property
    def title(self) -> str:
        """One line for a person, e.g. for `jetsched up`."""
        words = f"{device_model(self.device.model).title}, emulated"
        words += f": {self.device.device_class.memory_mib:.0f} MiB"
        if self.scale != 1.0:
            words += f" ({self.scale:g} of the real board's)"
        words += f", {cap_kind()} cap"
        if self.limits.slowdown != 1.0:
            words += f", {self.limits.slowdown:g}x slower"
        if self.limits.cpus:
            words += f", CPU {','.join(map(str, self.limits.cpus))}"
        return words


def parse(text: str, python: str = sys.executable) -> list[EmulatedBoard]:
    """Boards from e.g. ``xavier-nx:0.37,orin-nano``: models, each with an optional memory scale.

    ``python`` is the interpreter of their workloads. Each board gets a CPU of its own where there
    are enough, and as many threads as CPUs. Raises InputError that says what to write instead.
    """
    words = [word.strip() for word in text.split(",")]
    if not any(words):
        raise InputError("no board to emulate is named", hint=_HINT)
    wanted = [_parse_one(word, text) for word in words]
    cpus = sorted(os.sched_getaffinity(0))
    own = len(cpus) >= len(wanted)
    numbers: Counter[str] = Counter()
    boards = []
    for index, (model, scale) in enumerate(wanted):
        short = SHORT_NAMES.get(model, model)
        numbers[short] += 1
        memory_mib = device_model(model).usable_mib * scale
        device_class = DeviceClass(
            model=model,
            power_mode="emulated",
            software=software_of(python).label,
            memory_mib=memory_mib,
            emulated=True,
        )
        device = Device(f"{short}-{numbers[short]}", device_class, ("emulated",))
        limits = Limits(
            memory_mib=memory_mib,
            slowdown=EMULATED_SLOWDOWN.get(model, 1.0),
            cpus=(cpus[index],) if own else (),
            threads=1,
        )
        boards.append(EmulatedBoard(device.id, device, limits, scale))
    return boards


def _parse_one(word: str, text: str) -> tuple[str, float]:
    model, colon, factor = (part.strip() for part in word.partition(":"))
    if not model:
        raise InputError(f"a board has no name in {text!r}", hint=_HINT)
    if not device_model(model).architecture:  # raises for an unknown model
        known = ", ".join(name for name, row in DEVICE_MODELS.items() if row.architecture)
        raise InputError(f"{model!r} is no board", hint=f"known: {known}")
    if not colon:
        return model, 1.0
    try:
        scale = float(factor)
    except ValueError:
        raise InputError(f"{factor!r} is not a memory scale in {word!r}", hint=_HINT) from None
    if not 0 < scale <= 1:
        hint = "it is the part of the real board's memory, above 0 and at most 1"
        raise InputError(f"{word}: {factor} is not a memory scale", hint=hint)
    return model, scale
