"""One's own history as a world to simulate: the jobs that came, the boards that were there.

Jobs arrive when they did. A job that ended where it was not stopped really takes what it took
there, per unit of work as it was measured; on boards of another class it takes what the cost model
says, times how far the model was off where it did run. What never ran takes what the model says.
The model knows all measurements of the journal and, behind them, the bundled profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from math import inf
from pathlib import Path

from jetsched.cluster.scenarios import Work
from jetsched.cluster.simulated import Outage
from jetsched.cluster.store import JOURNAL, journal_entries
from jetsched.cluster.truth import CostsAsTruth, TrueRun, Truth
from jetsched.errors import InputError
from jetsched.files import from_json, home, json_bytes, read_json_lines, to_json, write_atomically
from jetsched.problems import quoted
from jetsched.profiler.bundled import bundled_profile
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.costs import CostModel
from jetsched.records import Device, DeviceClass, Job, Measurement
from jetsched.scheduler.events import (
    CancelAsked,
    DeviceJoined,
    DeviceLost,
    DeviceRemoved,
    Entry,
    Finished,
    Learned,
    Start,
    Submitted,
)
from jetsched.units import parse_duration_s

_DAY_S = 86_400.0
_SPANS = {"all": inf, "last-day": _DAY_S, "last-week": 7 * _DAY_S, "last-month": 30 * _DAY_S}
_HINT = "all, last-day, last-week, last-month, or a duration such as 12h or 7d"


@dataclass(frozen=True)
class Ran:
    """A whole run of a job that was seen: where, and what it took."""

    device_class: DeviceClass
    run: TrueRun


@dataclass(frozen=True)
class History:
    """What a journal tells of a span of time, from its first arrival, which is at 0.

    ``outages`` of a board that came later begin at 0; ``also`` are boards that became others, such
    as by another power mode. ``cancelled`` jobs are left out: nobody wanted them.
    """

    jobs: Sequence[Job]
    devices: Sequence[Device]
    outages: Sequence[Outage]
    ran: Mapping[str, Ran]  # by job id
    measurements: Sequence[Measurement]
    also: Sequence[DeviceJoined] = ()
    cancelled: int = 0

    def work(self, folder: Path | None = None) -> Work:
        """The jobs with what is true of them; ``folder`` holds the calibrations of the boards."""
        calibrations = []
        if folder is not None:
            calibrations = CalibrationStore(folder / CalibrationStore.name).read()
        behind = [*self.measurements, *bundled_profile()]
        truth = CostsAsTruth(CostModel(behind, calibrations))
        return Work(self.jobs, Seen(self.ran, truth), partial(CostModel, behind, calibrations))


class Seen:
    """The runs that were seen as the truth, and what follows from them for other boards."""

    def __init__(self, ran: Mapping[str, Ran], otherwise: Truth) -> None:
        self._ran = ran
        self._otherwise = otherwise

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        seen = self._ran.get(job.id)
        if seen is not None and seen.device_class == device_class:
            return seen.run
        model = self._otherwise.run(job, device_class)
        if seen is None or model is None:
            return model
        there = self._otherwise.run(job, seen.device_class)
        if there is None or not there.time_s:
            return model
        off = seen.run.time_s / there.time_s
        energy_j = None if model.energy_j is None else model.energy_j * off
        return TrueRun(
            model.time_s * off,
            model.load_s * off,
            model.peak_memory_mib,
            energy_j,
            model.gpu_util_pct,
        )


def read_history(path: Path | None, span: str) -> History:
    """The history of a journal, or of lines that :func:`write_history` wrote, in a span.

    ``span`` is ``all``, ``last-week``... or a duration; it ends with the last entry. ``path`` is by
    default the journal of this machine. Raises :class:`InputError`.
    """
    lasts_s = span_s(span)
    path = path or home() / JOURNAL
    if not path.is_file():
        raise InputError(
            f"there is no history: no file {path}",
            hint="it is written by a cluster that ran: jetsched up; or name one with --history",
        )
    history = history_of(entries_of(path), lasts_s)
    if not history.jobs:
        raise InputError(f"{path}: no job was submitted in that time (--replay {span})", hint=_HINT)
    return history


def span_s(text: str, option: str = "--replay") -> float:
    """Seconds of ``last-week`` or ``7d``; infinite for ``all``. Raises :class:`InputError`."""
    if text in _SPANS:
        return _SPANS[text]
    try:
        found = parse_duration_s(text)
    except InputError as error:
        raise InputError(f"{option} {quoted(text)}: {error}", hint=_HINT) from None
    if found <= 0:
        raise InputError(f"{option} {text}: is no time at all", hint=_HINT)
    return found


def moment_s(text: str) -> float:
    """Seconds since the Unix epoch of a local date and time. Raises :class:`InputError`."""
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"--since {text!r} is no date and time", hint='e.g. --since "2026-11-20 08:00"'
        ) from None


def write_history(path: Path, entries: Iterable[Entry]) -> None:
    """Write entries as JSON lines: a journal that can be sent to somebody.

    It holds what jobs say: their commands and environment included.
    """
    lines = [json_bytes(to_json(entry, tag=True)) + b"\n" for entry in entries]
    write_atomically(path, b"".join(lines), mode=0o600)


def entries_of(path: Path, *, job_id: str | None = None) -> Iterator[Entry]:
    """The entries of a journal, or of lines that :func:`write_history` wrote. Streams.

    ``job_id`` leaves out most of those that do not name this job.
    """
    if path.suffix != ".jsonl":
        yield from journal_entries(path, naming=job_id)
        return
    for line, value in read_json_lines(path):
        try:
            yield from_json(Entry, value)
        except InputError as error:
            raise InputError(f"{path}:{line}: {error}") from None


# ------------------------------------------------------------------------------ from what happened


@dataclass
class Gathered:
    """What is told by the entries, one after the other, on the journal's clock."""

    jobs: dict[str, Job] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    #: Device id -> (time, what it was from then on)
    devices: dict[str, list[tuple[float, Device]]] = field(default_factory=dict)
    #: Device id -> (time, whether it was there from then on)
    presence: dict[str, list[tuple[float, bool]]] = field(default_factory=dict)
    started: dict[tuple[str, int], Start] = field(default_factory=dict)
    ran: dict[str, Ran] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    last_s: float = -inf

    def take(self, entry: Entry) -> None:
        self.last_s = max(self.last_s, entry.at_s)
        match entry:
            case Submitted():
                self.jobs.update((job.id, job) for job in entry.jobs)
            case CancelAsked():
                self.cancelled.add(entry.job_id)
            case DeviceJoined():
                been = self.devices.setdefault(entry.device.id, [])
                if not been or been[-1][1] != entry.device:
                    been.append((entry.at_s, entry.device))
                self._note(entry.device.id, entry.at_s, there=True)
            case DeviceLost() | DeviceRemoved():
                self._note(entry.device_id, entry.at_s, there=False)
            case Learned():
                self.measurements += entry.measurements
            case Start():
                # Without what the policy saw: that is a row per board.
                start = replace(entry, decision=None) if entry.decision is not None else entry
                self.started[entry.placement.job.id, entry.attempt] = start
            case Finished():
                self._finished(entry)

    def _note(self, device_id: str, at_s: float, *, there: bool) -> None:
        seen = self.presence.setdefault(device_id, [])
        if not seen or seen[-1][1] != there:
            seen.append((at_s, there))

    def was_there(self, device_id: str) -> None:
        """A board that is back was never really away: what ran there went on."""
        seen = self.presence.get(device_id, [])
        if len(seen) >= 3 and seen[-1][1]:  # there, away, there
            del seen[-2:]

    def _finished(self, entry: Finished) -> None:
        if entry.measurement is not None:
            self.measurements.append(entry.measurement)
        start = self.started.get((entry.job_id, entry.attempt))
        if start is None or entry.outcome not in ("done", "failed"):
            return
        self.cancelled.discard(entry.job_id)  # it was quicker
        run = _whole_run(start, entry)
        if run is not None:
            self.ran[entry.job_id] = Ran(start.placement.device.device_class, run)


def _whole_run(start: Start, end: Finished) -> TrueRun | None:
    """What the job takes from its beginning to its end, by the attempt in which it ended.

    An attempt that went on from a checkpoint tells it per unit of work only.
    """
    job, seen = start.placement.job, end.measurement
    lasted_s = end.at_s - start.at_s
    peak_mib, energy_j, use = 0.0, None, None
    load_s = 0.0
    if seen is not None:
        peak_mib, use = seen.peak_memory_mib or 0.0, seen.gpu_util_pct
        load_s = min(seen.load_s or 0.0, lasted_s)
        if end.outcome == "done" and seen.work_s and seen.amount > 0:
            whole = job.amount / seen.amount
            lasted_s = load_s + seen.work_s * whole
            energy_j = None if seen.energy_j is None else seen.energy_j * whole
        elif start.attempt > 1:
            return None
    elif start.attempt > 1:
        return None
    has_mib = start.placement.device.device_class.memory_mib
    return TrueRun(max(lasted_s, 1e-3), load_s, min(peak_mib, has_mib), energy_j, use)


def history_of(entries: Iterable[Entry], lasts_s: float = inf) -> History:
    """What the entries tell of their last ``lasts_s`` seconds."""
    found = Gathered()
    for entry in entries:
        found.take(entry)
    from_s = found.last_s - lasts_s
    within = [job for job in found.jobs.values() if job.submitted_s >= from_s]
    wanted = [job for job in within if job.id not in found.cancelled]
    wanted.sort(key=lambda job: job.submitted_s)
    origin_s = wanted[0].submitted_s if wanted else 0.0
    jobs = [_shifted(job, origin_s) for job in wanted]
    presence = {id: _since(seen, origin_s) for id, seen in found.presence.items()}
    devices, also = [], []
    for id, seen in sorted(presence.items()):
        if any(there for _, there in seen):
            first, changes = _been(found.devices[id], origin_s)
            devices.append(first)
            also += changes
    outages = [o for device in devices for o in _outages(device.id, presence[device.id])]
    ran = {job.id: found.ran[job.id] for job in jobs if job.id in found.ran}
    cancelled = len(within) - len(wanted)
    return History(jobs, devices, outages, ran, found.measurements, also, cancelled)


def _been(
    seen: Sequence[tuple[float, Device]], origin_s: float
) -> tuple[Device, list[DeviceJoined]]:
    """What a board was at 0, or when it came, and what it became after that."""
    before = sum(at_s <= origin_s for at_s, _ in seen) or 1
    changes = [DeviceJoined(at_s - origin_s, device) for at_s, device in seen[before:]]
    return seen[before - 1][1], changes


def _shifted(job: Job, origin_s: float) -> Job:
    deadline_s = None if job.deadline_s is None else job.deadline_s - origin_s
    return replace(job, submitted_s=job.submitted_s - origin_s, deadline_s=deadline_s)


def _since(seen: Sequence[tuple[float, bool]], origin_s: float) -> list[tuple[float, bool]]:
    """When a board came and went, from 0 on; the first says whether it was there then."""
    there_at_0 = False
    later = []
    for at_s, there in seen:
        if at_s <= origin_s:
            there_at_0 = there
        else:
            later.append((at_s - origin_s, there))
    return [(0.0, there_at_0), *later]


def _outages(device_id: str, seen: Sequence[tuple[float, bool]]) -> Iterator[Outage]:
    for (at_s, there), (until_s, _) in zip(seen, [*seen[1:], (inf, True)], strict=True):
        if not there:
            yield Outage(device_id, at_s, until_s)
