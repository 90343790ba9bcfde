"""Which models fit which boards, with some work chosen: a table of models x kinds of device.

The verdicts are those of the cost model, and what the runs there say stands beside them, as in
`jetsched costs show`. Nothing here reads a file or asks a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jetsched.errors import InputError
from jetsched.profiler.costs import CostModel
from jetsched.profiler.evidence import cost_key
from jetsched.profiler.known import Fits, Known, known_of
from jetsched.profiler.models import KNOWN, find
from jetsched.profiler.seen import Sightings
from jetsched.profiler.workchoice import WorkChoice
from jetsched.records import DeviceClass
from jetsched.units import format_size

#: Models that were measured here and have no short name: so many of the last ones are shown.
MOST_MODELS = 20


@dataclass(frozen=True, slots=True)
class Cell:
    """How one model does on one kind of device."""

    model: str
    device_class: DeviceClass
    fits: Fits
    #: Why in a word or two: ``killed``, ``6.1 GiB``, ``no bf16``; "" where it fits.
    word: str
    known: Known


@dataclass(frozen=True, slots=True)
class FitMap:
    """The cells of ``models`` x ``devices``, model by model."""

    choice: WorkChoice
    models: tuple[str, ...]
    devices: tuple[DeviceClass, ...]
    cells: tuple[tuple[Cell, ...], ...]

    def count(self, fits: Fits) -> int:
        """How many cells say so."""
        return sum(cell.fits == fits for row in self.cells for cell in row)


def fit_map(
    choice: WorkChoice, devices: Sequence[DeviceClass], costs: CostModel, sightings: Sightings
) -> FitMap:
    """The map of the models that have a name here, or were measured, on these kinds of device."""
    models = models_of(choice, sightings)
    cells = [tuple(cell_of(choice, m, d, costs, sightings) for d in devices) for m in models]
    return FitMap(choice, models, tuple(devices), tuple(cells))


def models_of(choice: WorkChoice, sightings: Sightings) -> tuple[str, ...]:
    """The model that is asked for by name, the known ones, and others by when they ran last."""
    first = [choice.model] if choice.model else []
    others = [w.model for w in sightings.workloads if w.model and find(w.model) is None]
    named = [*first, *(model.name for model in KNOWN)]
    return tuple(dict.fromkeys([*named, *list(dict.fromkeys(others))[:MOST_MODELS]]))


def cell_of(
    choice: WorkChoice, model: str, where: DeviceClass, costs: CostModel, sightings: Sightings
) -> Cell:
    """One cell. What a model cannot look at as a whole is refused on every device."""
    known = known_of(cost_key(choice.of(model)), where, costs, sightings)
    try:
        most = choice.most_tokens(model)
    except InputError as error:
        known = replace(known, fits="unknown", code="NotProfiled", reason=str(error))
        return Cell(model, where, "unknown", "not known", known)
    if most is not None:
        reason = f"{model} looks at {most:,} tokens at most, and this work has {choice.tokens:,}"
        return Cell(model, where, "never", "too long", replace(known, fits="never", reason=reason))
    return Cell(model, where, known.fits, _word(known, choice), known)


def _word(known: Known, choice: WorkChoice) -> str:
    if known.fits == "unknown":
        return "not known"
    if known.fits != "never":
        return ""
    if known.code == "EnvMissing":
        return f"no {choice.workload.precision}"
    if known.killed:
        return "killed"
    needs_mib = known.admitted_mib or known.live_memory_mib
    return f"needs {format_size(needs_mib)}" if needs_mib else "too much"
