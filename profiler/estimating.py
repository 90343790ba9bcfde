"""`jetsched estimate`: what one job would cost on each device model, without a cluster.

The answers are those of :class:`~jetsched.profiler.costs.CostModel`, fed with what was measured on
this machine. Nothing here imports torch, or asks a network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from jetsched.errors import InputError
from jetsched.jobfile import load_job
from jetsched.jobsource import STDIN
from jetsched.problems import listed
from jetsched.profiler.advice import estimate_hint
from jetsched.profiler.boardnames import BoardNames
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.costs import CostModel
from jetsched.profiler.counting import NotCounted
from jetsched.profiler.hub_cache import FETCH
from jetsched.profiler.judged import read_and_say
from jetsched.profiler.memory import Memory
from jetsched.profiler.models import count_if_needed, find, missing, positions, suggest
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Code, DeviceClass, Job, Method, Never, Source
from jetsched.units import format_size


@dataclass(frozen=True, slots=True)
class Spread:
    """Half of the cases are below ``p50``, nine of ten below ``p90``."""

    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class Parts:
    """Where memory goes at the peak, as counted, in MiB; all but the runtime are live bytes."""

    weights_mib: float
    gradients_mib: float
    optimizer_mib: float
    activations_mib: float
    logits_mib: float
    kv_mib: float
    runtime_mib: float


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """What a job would cost on the devices of one model. None: not known, or it never runs there.

    ``peak_memory_mib`` is live bytes, ``admitted_mib`` adds the runtime and the allocator's
    headroom; both are given also where they are too much. ``hint`` has the smallest changes to the
    job that make it fit surely, in words.
    """

    device: str
    power_mode: str
    software: str  # whose measurements were taken; "" where there are none
    time_s: Spread | None
    load_s: float | None
    peak_memory_mib: float | None
    admitted_mib: float | None
    has_mib: float | None
    gpu_util_pct: float | None
    gpu_util_p90_pct: float | None
    energy_j: float | None  # loading included
    energy_p90_j: float | None
    power_source: Source | None  # of utilisation and energy: they may be known better than time
    fits: Literal["fits", "tight", "never"]
    code: Code | None
    reason: str
    source: Source | None
    method: Method | None
    measurements: int
    emulated: bool
    hint: tuple[str, ...]
    memory: Parts | None

    @property
    def label(self) -> str:
        """The device for a person, e.g. ``xavier-nx @ 15W_6CORE``."""
        return DeviceClass(self.device, self.power_mode, emulated=self.emulated).label


@dataclass(frozen=True, slots=True)
class Estimated:
    """One job and its estimates, a row for each device model."""

    file: Path
    job: Job
    rows: tuple[ModelEstimate, ...]

    @property
    def hopeless(self) -> bool:
        """Whether none of the devices can ever run it."""
        return all(row.fits == "never" for row in self.rows)


def estimate_file(
    words: Sequence[str],
    devices: Sequence[str] = (),
    changes: Sequence[str] = (),
    *,
    python: str = sys.executable,
    say: Callable[[str], None] = lambda text: None,
) -> Estimated:
    """Estimate a job file on ``devices`` (all models if none is named), with changes to its fields.

    ``words`` name the file; behind ``--device`` a shell leaves further devices among them. Raises
    FileProblems for the file, and InputError for an unknown device or more than one file.

    A model of a type that is not known here is counted once by ``python``, the workload's
    interpreter; ``say`` hears of that, since it takes seconds, and of measurements that are left
    out.
    """
    measurements, calibrations = read_and_say(MeasurementStore(), say), CalibrationStore().read()
    names = BoardNames(measurements, calibrations)
    file, more = _file_and_devices(words, bool(devices))
    asked = [part.strip() for word in (*devices, *more) for part in word.split(",")]
    classes = dict.fromkeys(names.device_class(word) for word in asked or names.models)
    spec = load_job(file, changes, positions=positions)
    job = spec.to_job("estimate", 0.0, canonical=_one_name)
    counted = count_if_needed(job.workload.model, python, say) if job.workload.model else None
    costs = CostModel(measurements, calibrations)
    rows = [estimate_on(costs, job, where) for where in classes]
    if isinstance(counted, NotCounted):
        problem = _what_to_fetch(job.workload.model) or str(counted)
        rows = [replace(row, reason=problem) if row.code == "NotProfiled" else row for row in rows]
    return Estimated(file, job, tuple(rows))


def estimate_on(costs: CostModel, job: Job, where: DeviceClass) -> ModelEstimate:
    """What a job would cost on one kind of device."""
    verdict = costs.verdict(job, where)
    never = verdict if isinstance(verdict, Never) else None
    found = None if isinstance(verdict, Never) else verdict
    fits: Literal["fits", "tight", "never"] = found.fit if found else "never"
    reason = never.text if never else found.note if found else ""
    if found and fits == "tight":
        likely, has = format_size(found.admitted_mib), format_size(where.memory_mib)
        tight = f"live bytes and runtime fit, but it is likely to hold {likely}, has {has}"
        reason = f"{tight}; {reason}" if reason else tight
    use, draw = costs.power(job.workload, where) if found else (None, None)
    energy_p90_j = None
    if found and draw and found.energy_j is not None:
        energy_p90_j = found.energy_j * draw.p90_factor(found.time_p90_s / found.time_s)
    return ModelEstimate(
        device=where.model,
        power_mode=where.power_mode,
        software=where.software,
        time_s=Spread(found.time_s, found.time_p90_s) if found else None,
        load_s=found.load_s if found else None,
        peak_memory_mib=verdict.peak_memory_mib,
        admitted_mib=verdict.admitted_mib,
        has_mib=where.memory_mib or None,
        gpu_util_pct=found.gpu_util_pct if found else None,
        gpu_util_p90_pct=use.p90_pct if use else None,
        energy_j=found.energy_j if found else None,
        energy_p90_j=energy_p90_j,
        power_source=draw.source if draw else None,
        fits=fits,
        code=never.code if never else None,
        reason=reason,
        source=verdict.source,
        method=found.method if found else None,
        measurements=found.measurements if found else 0,
        emulated=where.emulated,
        hint=tuple(change.words for change in estimate_hint(costs, job, where)),
        memory=_parts(costs.memory(job.workload, where)),
    )


def _parts(memory: Memory | None) -> Parts | None:
    if memory is None:
        return None
    return Parts(
        weights_mib=memory.weights_mib,
        gradients_mib=memory.gradients_mib,
        optimizer_mib=memory.optimizer_mib,
        activations_mib=memory.activations_mib,
        logits_mib=memory.logits_mib,
        kv_mib=memory.kv_mib,
        runtime_mib=memory.runtime_mib,
    )


def _what_to_fetch(model: str) -> str:
    """What to do about a model that nothing here describes; "" for one that has its config."""
    if not missing(model):
        return ""
    close = suggest(model)
    return (
        f"no config.json of {model} is on this machine, and nothing is fetched: run"
        f" `{FETCH} {model} config.json` here once, or name a folder with one (./my-model)"
        + (f"; did you mean {close}?" if close else "")
    )


def _file_and_devices(words: Sequence[str], named: bool) -> tuple[Path, list[str]]:
    """The one job file among the words, and the devices of ``--device A B``."""
    files = [word for word in words if not (named and _looks_like_device(word))]
    if len(files) != 1:
        raise InputError(
            f"estimate takes one job file, not {len(files)}" + (f": {listed(files)}" * bool(files)),
            hint="one after the other; several on a fleet: jetsched submit FILE...",
        )
    return Path(files[0]), [word for word in words if word not in files]


def _looks_like_device(word: str) -> bool:
    return (
        word != STDIN
        and "/" not in word
        and not word.endswith((".yaml", ".yml", ".json"))
        and (not Path(word).exists())
    )


def _one_name(model: str) -> str:
    known = find(model)
    return known.name if known else model
