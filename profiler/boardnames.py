"""Which devices a word means: ``orin-nano``, ``orin-nano@15W``, ``cpu``, ``xavier-nx:0.5``.

A model stands for the boards of that model as they were last measured here, in their default power
mode, or as their data sheet has them. An emulated board is another thing than a real one, and is
meant only where its scale is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from jetsched.errors import InputError
from jetsched.problems import did_you_mean, listed, quoted
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.devices import DEVICE_MODELS, power_mode_of, this_machine
from jetsched.profiler.emulation import parse
from jetsched.profiler.identity import STEP_MIB
from jetsched.profiler.procfs import number_after
from jetsched.records import DeviceClass, Measurement


class _Sighting(NamedTuple):
    """A board as it was when something was measured on it."""

    at: str
    mode: str
    software: str
    memory_mib: float  # 0: not known


class BoardNames:
    """The device models that there is a data sheet of, and those that were measured here."""

    def __init__(
        self, measurements: Iterable[Measurement] = (), calibrations: Iterable[Calibration] = ()
    ) -> None:
        self._seen: dict[str, list[_Sighting]] = {}
        records: list[Measurement | Calibration] = [*measurements, *calibrations]
        for record in records:
            where = record.device_class
            if where.emulated or (isinstance(record, Measurement) and record.source != "measured"):
                continue
            sighting = _Sighting(
                record.at, power_mode_of(where), where.software, _uncapped_mib(record)
            )
            self._seen.setdefault(where.model, []).append(sighting)

    @property
    def models(self) -> tuple[str, ...]:
        """Those with a data sheet in its order, then the others by name."""
        return (*DEVICE_MODELS, *sorted(self._seen.keys() - DEVICE_MODELS.keys()))

    def device_class(self, word: str) -> DeviceClass:
        """The devices that the word stands for.

        Their memory is what jobs have: of ``cpu`` at this moment, of a board when it was last
        measured, else assumed. Raises InputError with what was probably meant.
        """
        if ":" in word:
            return _emulated(word)
        name, mark, wanted = (part.strip() for part in word.partition("@"))
        model = name.lower()
        if model not in self.models:
            raise InputError(
                f"unknown device model {quoted(name)}",
                hint=did_you_mean(name, self.models) or f"known: {listed(self.models)}",
            )
        mode = self._mode(model, wanted) if mark else self._default_mode(model)
        seen = self._seen.get(model, [])
        last = max((s for s in seen if s.mode == mode), default=max(seen, default=None))
        row = DEVICE_MODELS.get(model)
        memory_mib = row.usable_mib if row else 0.0
        if model == "cpu":
            memory_mib = _free_here_mib()
        elif known := [s for s in seen if s.memory_mib]:
            memory_mib = max(known).memory_mib
        return DeviceClass(model, mode, last.software if last else "", memory_mib)

    def _default_mode(self, model: str) -> str:
        row = DEVICE_MODELS.get(model)
        return row.default_power_mode if row else max(self._seen[model]).mode

    def _mode(self, model: str, wanted: str) -> str:
        row = DEVICE_MODELS.get(model)
        modes = dict.fromkeys(row.power_modes if row else ())
        modes.update(dict.fromkeys(s.mode for s in sorted(self._seen.get(model, [])) if s.mode))
        mode = power_mode_of(DeviceClass(model, wanted)) if wanted else ""
        if mode not in modes:
            hint = did_you_mean(wanted, modes) or f"it has {listed(modes)}"
            raise InputError(
                f"{model} has no power mode {quoted(wanted)}",
                hint=hint if modes else f"write {model} alone",
            )
        return mode


def _emulated(word: str) -> DeviceClass:
    boards = parse(word)
    if len(boards) != 1:
        raise InputError(f"{quoted(word)} is more than one board", hint="--device for each of them")
    return boards[0].device.device_class


def _uncapped_mib(record: Measurement | Calibration) -> float:
    """What jobs had on the board, 0 if that is not known: a run may be capped far below."""
    board = record.identity
    has_mib = float(board.get("gpu_memory_mib") or board.get("memory_available_mib") or 0.0)
    return has_mib // STEP_MIB * STEP_MIB or record.device_class.memory_mib


def _free_here_mib(root: Path = Path("/")) -> float:
    """Memory of this machine that jobs can have now, in the steps in which a profile tells it."""
    try:
        text = (root / "proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    free_kib = number_after("MemAvailable:", text)
    if free_kib is None:
        return this_machine().usable_mib
    return free_kib / 1024 // STEP_MIB * STEP_MIB
