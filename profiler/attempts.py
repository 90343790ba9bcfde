"""The folder of one attempt, read: how far it is, how it ended, what it cost.

Everything about an attempt is on disk, so a restarted agent finds out what happened to one whose
runner died. Files: ``spec.json`` (for the child), ``order.json`` (for the supervisor, and whose
attempt it is), ``supervisor.json`` (its pid), ``events.jsonl`` (from the child), ``log.txt``,
``exit.json`` (from the supervisor, at the very end), ``measurement.json`` (what the runner made
of it all).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from math import inf
from pathlib import Path
from typing import Any

from jetsched.errors import InputError
from jetsched.files import from_json, json_bytes, to_json, write_atomically
from jetsched.profiler.limits import Limits, MemoryCounters, read_counters
from jetsched.profiler.outcomes import Ending, Seen, classify
from jetsched.profiler.procfs import boot_id, free_mib, start_ticks
from jetsched.profiler.samples import Summary
from jetsched.records import Device, DeviceClass, Job, Kind, Measurement

#: How much of the end of a log is looked at for a reason.
LOG_TAIL_BYTES = 16 * 1024
#: A supervisor that has not written its pid after this long has never lived.
START_PATIENCE_S = 30.0
#: Nobody sampled beside it.
NOTHING_SEEN = Summary()
#: Shorter values of secrets are not redacted: every other line would be full of stars.
SHORTEST_REDACTED = 6
#: Within an attempt, from here on, the wall clock was set, and moments on it say nothing.
CLOCK_STEP_S = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """Whose attempt a folder holds, as ``order.json`` tells."""

    job: Job
    device: Device
    limits: Limits = field(default_factory=Limits)
    identity: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Story:
    """What the child has told so far: the last event of each name. Reads the file as it grows."""

    path: Path
    started: Mapping[str, Any] | None = None
    loaded: Mapping[str, Any] | None = None
    progress: Mapping[str, Any] | None = None
    checkpoint: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    failed: Mapping[str, Any] | None = None
    loss_first: float | None = None
    _offset: int = 0

    def read_on(self) -> None:
        """Take in the lines that have become complete since the last call; never blocks."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        complete, newline, _ = data.rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        for line in complete.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a child that was killed while writing; the log has the rest
            if isinstance(event, dict):
                self._take(event)

    def _take(self, event: Mapping[str, Any]) -> None:
        name = event.get("event")
        if name in ("started", "loaded", "progress", "checkpoint", "result", "failed"):
            setattr(self, str(name), event)
        if name == "progress" and self.loss_first is None:
            self.loss_first = event.get("loss")


def read_attempt(folder: Path) -> Attempt | None:
    """Whose attempt it is; None where there is no order. Raises InputError for a bad one."""
    order = read_object(folder / "order.json")
    return from_json(Attempt, order["attempt"]) if order else None


def read_result(folder: Path) -> Measurement | None:
    """The measurement of an attempt whose runner is gone; None where it still runs, or never was.

    An attempt without ``exit.json`` whose supervisor is gone was *lost*: killed, or the machine
    restarted. Raises InputError for a folder that is not readable.
    """
    kept = read_object(folder / "measurement.json")
    if kept:
        return from_json(Measurement, kept)
    if not (folder / "order.json").exists() or is_running(folder):
        return None
    return measure(folder)


def is_running(folder: Path, clock: Callable[[], float] = time.monotonic) -> bool:
    """Whether the attempt's supervisor lives; also true while it is being started.

    ``clock`` counts seconds since the machine was started.
    """
    if (folder / "exit.json").exists():
        return False
    supervisor = read_object(folder / "supervisor.json")
    if supervisor:
        return (
            supervisor.get("boot") == boot_id()
            and start_ticks(int(supervisor["pid"])) == supervisor["ticks"]
        )
    order = read_object(folder / "order.json")
    # Not by the file's time: somebody may have set the clock, by hours.
    waited_s = clock() - float(order.get("ordered_monotonic_s", -inf))
    return order.get("boot") == boot_id() and 0 <= waited_s < START_PATIENCE_S


def measured_phase(folder: Path, story: Story, kind: Kind) -> tuple[float, float]:
    """From when to when the work of an attempt that is over took, in seconds since the Unix epoch.

    From *loaded* to the result, or to the end where there is none; of a command all of it. An
    attempt that ended while it was loading has no such phase: it begins and ends at infinity. Nor
    has one during which somebody set the clock.
    """
    story.read_on()
    exited = read_object(folder / "exit.json")
    if abs(exited.get("clock_step_s", 0.0)) > CLOCK_STEP_S:
        return inf, inf
    start_s, end_s = exited.get("started_s"), inf
    if start_s is not None and exited.get("time_s") is not None:
        end_s = start_s + exited["time_s"]
    if kind == "command":
        return (-inf if start_s is None else start_s), end_s
    if story.loaded is None:
        return inf, inf
    return story.loaded.get("t", -inf), (story.result or {}).get("t", end_s)


def measure(
    folder: Path,
    story: Story | None = None,
    seen: Summary = NOTHING_SEEN,
    secrets: Collection[str] = (),
) -> Measurement:
    """Make the measurement of an attempt that is over, and keep it in ``measurement.json``.

    ``time_s`` is the supervisor's, from its start until nothing was left of the workload;
    ``load_s``, ``warmup_s`` and ``work_s`` are the child's; of a run that was cut short they are as
    of its last progress event, so that it still tells its rate. ``amount`` is what was done in
    ``work_s``, or where that is not known, at all.

    ``peak_memory_mib``: see :func:`_peak_memory_mib`. ``secrets`` are values that must not be in
    its words; where they are needed and not known, the workload's words are left out.
    """
    order = read_object(folder / "order.json")
    attempt: Attempt = from_json(Attempt, order["attempt"])
    if story is None:
        story = Story(folder / "events.jsonl")
    story.read_on()
    exited = read_object(folder / "exit.json")
    counters = read_counters(order["cap"]["kind"], exited.get("counters", {}))
    facts = _facts(folder, order, exited, story, attempt, seen)
    ending = _without(secrets, classify(replace(facts, counters=counters)), order)
    result = story.result if ending.outcome == "done" and story.result else {}
    loaded, progress = story.loaded or {}, story.progress or {}
    time_s = exited.get("time_s") or _last_sign(story, order)
    is_command = attempt.job.workload.kind == "command"
    amount = result.get("amount", progress.get("done", 0.0))
    if not result and progress.get("worked") and progress.get("work_s"):
        result = {key: progress.get(key) for key in ("work_s", "warmup_s")}
        amount = progress["worked"]
    if is_command:
        amount = attempt.job.amount if ending.outcome == "done" else 0.0
    resident = [result.get("peak_memory_mib"), exited.get("maxrss_mib"), seen.peak_memory_mib]
    capped = order["cap"]["kind"].startswith("cgroup")
    cpu_s = exited.get("cpu_s")
    device_class, evidence = attempt.device.device_class, ending.evidence
    if (story.started or {}).get("device") == "cpu" and is_gpu_board(device_class):
        # Its rates must never pass for those of the GPU.
        device_class = replace(device_class, model="cpu")
        evidence = (*evidence, f"torch ran on the CPU: this is no profile of {attempt.device.id}")
    mode, then = device_class.power_mode, str(seen.record.get("power_mode") or "")
    if then and mode and then != mode and not device_class.emulated:
        device_class = replace(device_class, power_mode=f"{mode}>{then}")  # speaks for neither
        evidence = (*evidence, f"the power mode was changed from {mode} to {then} while it ran")
    measurement = Measurement(
        workload=attempt.job.workload,
        device_class=device_class,
        outcome=ending.outcome,
        amount=float(amount or 0.0),
        time_s=time_s,
        load_s=result.get("load_s", loaded.get("load_s", 0.0 if is_command else None)),
        warmup_s=result.get("warmup_s"),
        work_s=time_s if is_command and ending.outcome == "done" else result.get("work_s"),
        tokens_per_s=result.get("tokens_per_s"),
        peak_memory_mib=_peak_memory_mib(
            resident,
            counters if capped else MemoryCounters(),
            (seen.gpu_memory_mib or 0.0) if seen.unified else 0.0,
        ),
        live_memory_mib=result.get("live_memory_mib"),
        swap_delta_mib=seen.swap_delta_mib,
        gpu_util_pct=seen.gpu_util_pct,
        cpu_util_pct=100 * cpu_s / time_s if cpu_s and time_s else seen.cpu_util_pct,
        power_w=seen.power_w,
        energy_j=seen.energy_j,
        temperature_c=seen.temperature_c,
        loss_first=result.get("loss_first", story.loss_first),
        loss_last=result.get("loss_last", progress.get("loss")),
        phases_s=result.get("phases_s") or {},
        evidence=evidence,
        text=ending.text,
        random_weights=bool(loaded.get("random_weights", False)),
        identity=_identity(attempt, order, exited, story, seen),
        device=attempt.device.id,
        job_id=attempt.job.id,
        at=_iso(exited.get("started_s") or order["ordered_s"]),
        emulated=device_class.emulated,
    )
    try:
        write_atomically(folder / "measurement.json", json_bytes(to_json(measurement)))
    except OSError as error:  # a full disk; it is told all the same, and made again where need be
        log.warning("%s: the measurement is not kept: %s", folder, error)
    return measurement


def _peak_memory_mib(
    resident: list[float | None], counters: MemoryCounters, gpu_share_mib: float
) -> float | None:
    """The most memory that a workload held, as far as it counts against what the board has.

    The largest of the child's own VmHWM (with what CUDA reserved), the kernel's ``ru_maxrss``,
    which is exact also for a process that was killed, and the sampled sum over all its processes.
    All are resident memory, mapped files in use included: a board must find room for them.

    Under a cgroup's cap it is at most what the cgroup ever held: libraries that another process
    read first do not count there, and a run that ended well cannot have needed more than its cap.
    Where the kernel killed, page cache was dropped before, so what was held is what was needed.
    What the GPU's side took of unified memory is charged to no cgroup, and comes on top.
    """
    peak = max((mib for mib in resident if mib), default=None)
    held = counters.max_usage_mib
    if held is None:
        return peak
    held += gpu_share_mib
    return held if counters.oom_kills or peak is None else min(peak, held)


def is_gpu_board(device_class: DeviceClass) -> bool:
    """Whether work on this class is meant to run on a GPU."""
    return device_class.model != "cpu" and not device_class.emulated


def _without(secrets: Collection[str], ending: Ending, order: Mapping[str, Any]) -> Ending:
    """The same, with stars for the values of secrets in what the workload said."""
    if secrets:
        text = starred(ending.text, secrets)
        return replace(
            ending, text=text, evidence=tuple(starred(e, secrets) for e in ending.evidence)
        )
    if not order.get("secrets"):
        return ending
    # Whoever knew the values is gone, and cannot tell what they are in.
    evidence = tuple(word for word in ending.evidence if not word.startswith(("log: ", "child: ")))
    text = ending.text if ending.outcome != "failed" else "it failed; its log says how"
    return replace(ending, text=text, evidence=evidence)


def _facts(
    folder: Path,
    order: Mapping[str, Any],
    exited: Mapping[str, Any],
    story: Story,
    attempt: Attempt,
    seen: Summary,
) -> Seen:
    stop = exited.get("stop") or {}
    return Seen(
        exit_code=exited.get("exit_code"),
        signal=exited.get("signal"),
        stop_outcome=stop.get("outcome"),
        stop_why=stop.get("why", ""),
        stop_text=stop.get("text", ""),
        result=story.result,
        failed=story.failed,
        log_tail=tail(folder / "log.txt"),
        cap=order["cap"]["kind"],
        cap_mib=order["cap"]["memory_mib"],
        system_oom_kills=exited.get("system_oom_kills", 0),
        time_limit_s=attempt.limits.time_s,
        kind=attempt.job.workload.kind,
        supervisor_lost=not exited,
        supervisor_error=exited.get("error", ""),
        rebooted=not exited and order["boot"] != boot_id(),
        # On a shared machine, where boards are emulated, others take and give memory all the time.
        available_before_mib=(
            None if attempt.device.device_class.emulated else exited.get("available_before_mib")
        ),
        available_after_mib=exited.get("available_after_mib"),
        gpu_memory_left_mib=seen.gpu_memory_left_mib,
        disk_least_mib=exited.get("disk_least_mib", free_mib(str(folder))),
    )


def _identity(
    attempt: Attempt,
    order: Mapping[str, Any],
    exited: Mapping[str, Any],
    story: Story,
    seen: Summary,
) -> dict[str, Any]:
    """The board's identity; under ``run`` and ``telemetry`` what held for this run."""
    started = story.started or {}
    run = {
        "cap": order["cap"]["kind"],
        "cap_mib": order["cap"]["memory_mib"],
        "slowdown": attempt.limits.slowdown,
        "cpus": list(attempt.limits.cpus),
        "nice": exited.get("nice"),
        "workload_hash": attempt.job.workload.key,
        "memory_available_before_mib": exited.get("available_before_mib"),
        **{key: value for key, value in started.items() if key not in ("event", "t", "pid")},
    }
    known = {key: value for key, value in run.items() if value is not None}
    telemetry = {"telemetry": dict(seen.record)} if seen.record else {}
    return {**attempt.identity, "run": known, **telemetry}


def _last_sign(story: Story, order: Mapping[str, Any]) -> float | None:
    """Without an exit.json: how long it had lived when its child last said something."""
    events = (story.started, story.loaded, story.progress, story.checkpoint, story.failed)
    times = [float(event["t"]) for event in events if event and "t" in event]
    lived_s = max(times) - float(order["ordered_s"]) if times else -1.0
    return lived_s if lived_s >= 0 else None  # below zero: somebody set the clock


def starred(text: str, secrets: Collection[str]) -> str:
    """A text with stars for each of these values, and for what a cut has left of one at its end."""
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) < SHORTEST_REDACTED:
            continue
        text = text.replace(value, "*" * len(value))
        for size in range(min(len(value), len(text)) - 1, SHORTEST_REDACTED - 1, -1):
            if text.endswith(value[:size]):
                text = text[:-size] + "*" * size
                break
    return text


def tail(path: Path, limit: int = LOG_TAIL_BYTES) -> str:
    """The end of a log; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - limit))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file that is written atomically; empty where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object")
    return value


def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, timezone.utc).isoformat(timespec="seconds")
