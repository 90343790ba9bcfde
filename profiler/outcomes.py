"""How an attempt ended, told from everything that was seen. One pure function, evidence kept.

Running out of memory has many faces on a Jetson, from the kernel's SIGKILL to an assertion about
NVML; :data:`FACES` lists what they look like in a log.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jetsched.profiler.limits import CapKind, MemoryCounters
from jetsched.records import Outcome


@dataclass(frozen=True)
class Face:
    """One way in which a log says that memory ran out."""

    name: str
    pattern: re.Pattern[str]
    remark: str = ""


def _face(name: str, pattern: str, remark: str = "") -> Face:
    return Face(name, re.compile(pattern, re.IGNORECASE | re.MULTILINE), remark)


#: Most telling first: the first that matches is quoted.
FACES: tuple[Face, ...] = (
    _face(
        "NVML assertion in the CUDA allocator",
        r"NVML_SUCCESS == r.{0,40}INTERNAL ASSERT FAILED",
        "out of memory reported through NVML, which Tegra lacks (pytorch#185240)",
    ),
    _face(
        "NvMap allocation refused",
        r"NvMapMemAlloc\w*:?.{0,80}error 12\b",
        "memory or contiguous memory ran out, or the regression of L4T 36.4.7",
    ),
    _face("CUDA out of memory", r"CUDA out of memory|torch\.(cuda\.)?OutOfMemoryError"),
    _face("CUDA error: out of memory", r"CUDA error: out of memory|cudaErrorMemoryAllocation"),
    _face("cuBLAS could not allocate", r"CUBLAS_STATUS_ALLOC_FAILED"),
    _face("CPU allocator", r"DefaultCPUAllocator: (can't|not enough|cannot) (allocate )?memory"),
    _face("LLVM out of memory", r"LLVM ERROR: out of memory"),
    _face("std::bad_alloc", r"std::bad_alloc"),
    _face("MemoryError", r"^(\w+\.)*\w*MemoryError\b"),
    _face("ENOMEM", r"\[Errno 12\]|Cannot allocate memory|failed to map segment"),
)


@dataclass(frozen=True)
class Seen:
    """Everything that is known about an attempt that is over."""

    exit_code: int | None = None
    signal: int | None = None  # the one that ended it
    stop_outcome: Outcome | None = None  # what the one who stopped it called it
    stop_why: str = ""  # asked | time | heat | stall | lifeline | sigterm
    stop_text: str = ""  # what the supervisor saw that made it stop the workload
    result: Mapping[str, Any] | None = None  # the child's last event of that name
    failed: Mapping[str, Any] | None = None  # likewise
    log_tail: str = ""
    cap: CapKind = "none"
    cap_mib: float | None = None
    counters: MemoryCounters = field(default_factory=MemoryCounters)
    system_oom_kills: int = 0  # on the whole machine, while it ran
    time_limit_s: float | None = None
    kind: str = ""  # of the workload; a command has no result event
    supervisor_lost: bool = False  # it left no exit.json
    supervisor_error: str = ""
    rebooted: bool = False  # the machine's boot id is another one
    available_before_mib: float | None = None  # /proc/meminfo MemAvailable
    available_after_mib: float | None = None
    gpu_memory_left_mib: float | None = None  # on the GPU's side, more than before it ran
    disk_least_mib: float | None = None  # the least room there was for its folder


@dataclass(frozen=True)
class Ending:
    """The outcome, what was seen, and a sentence for a person."""

    outcome: Outcome
    evidence: tuple[str, ...] = ()
    text: str = ""


#: How a log says that there was no room on the disk; "os error" is Rust's, of safetensors.
DISK_FACE = re.compile(
    r"No space left on device|Disk quota exceeded|\[Errno (28|122)\]|os error (28|122)\b"
)
#: With less than this a disk is full.
FULL_MIB = 1.0
#: MemAvailable that may differ between two idle moments without meaning anything.
SLACK_MIB = 512.0


def classify(seen: Seen) -> Ending:
    """Tell how an attempt ended.

    In this order: the work was done; the machine or the supervisor went; somebody stopped it; a
    counter or a log says memory; the disk was full; else it failed. A stop goes before memory: when
    somebody stopped a workload and it then ran out of memory while ending, the stop is why it
    ended. A full disk is the board's trouble, not the job's: it is *lost*, and tried elsewhere.
    """
    status = _status(seen)
    if _is_done(seen):
        if seen.exit_code == 0:
            return Ending("done")
        return Ending("done", (status, "the result was there before"), "done; it crashed at exit")
    if seen.rebooted:
        text = "the machine restarted while it ran; running out of memory is one possible reason"
        return Ending("lost", ("boot id changed",), text)
    if seen.supervisor_lost or seen.supervisor_error:
        what = seen.supervisor_error or "the supervisor left no exit.json"
        full = ["the disk is full"] if _is_full(seen) else []
        return Ending("lost", (what, *full), f"its supervisor died: {'; '.join([what, *full])}")
    if seen.stop_outcome is not None:
        return _stopped(seen, seen.stop_outcome, status)
    memory = _out_of_memory(seen, status)
    return memory or _disk_full(seen, status) or _failed(seen, status)


def find_face(log: str) -> tuple[Face, str] | None:
    """The first face of memory running out that a log shows, with the line that shows it."""
    for face in FACES:
        match = face.pattern.search(log)
        if match:
            start = log.rfind("\n", 0, match.start()) + 1
            end = log.find("\n", match.end())
            return face, log[start : end if end >= 0 else None].strip()[:300]
    return None


def _is_done(seen: Seen) -> bool:
    if seen.kind == "command":
        return seen.exit_code == 0 and seen.stop_outcome is None
    return seen.result is not None and seen.result.get("outcome", "done") == "done"


def _stopped(seen: Seen, outcome: Outcome, status: str) -> Ending:
    text = {
        "time": f"it ran into its time limit of {seen.time_limit_s or 0:.0f} s",
        "heat": f"the board became too hot: {seen.stop_text}",
        "stall": f"it hung: {seen.stop_text}",
        "lifeline": "what had started it died",
        "sigterm": "its supervisor was told to end",
    }.get(seen.stop_why, f"stopped: {outcome}")
    evidence = [f"stopped ({seen.stop_why})", status, *([seen.stop_text] if seen.stop_text else [])]
    if seen.counters.oom_kills:
        evidence.append(f"oom_kill +{seen.counters.oom_kills} in its cgroup")
    return Ending(outcome, tuple(evidence), text)


def _out_of_memory(seen: Seen, status: str) -> Ending | None:
    """Counters first: they are the kernel's own word. Then the log, then a bare SIGKILL."""
    held = f" at its cap of {seen.cap_mib:.0f} MiB" if seen.cap_mib and seen.cap != "none" else ""
    kills = seen.counters.oom_kills
    if kills:
        evidence = [status, f"oom_kill +{kills} in its cgroup"]
        if seen.counters.refusals:
            evidence.append(f"{seen.counters.refusals} allocations at the limit")
        if seen.counters.max_usage_mib is not None:
            evidence.append(f"its cgroup held {seen.counters.max_usage_mib:.0f} MiB at most")
        return _memory(seen, evidence, f"the kernel killed it for memory{held}")
    killed = seen.signal == signal.SIGKILL or seen.exit_code == 128 + signal.SIGKILL
    if killed and kills is None and seen.system_oom_kills:
        evidence = [status, f"oom_kill +{seen.system_oom_kills} in /proc/vmstat"]
        return _memory(seen, evidence, "the kernel killed it for memory")
    # The child's own word goes before the log, where an error may stand that it got over.
    said = f"{seen.failed.get('error')}: {seen.failed.get('text')}" if seen.failed else ""
    shown = find_face(said or seen.log_tail)
    if shown is not None:
        face, line = shown
        evidence = [
            status,
            f"{'child' if said else 'log'}: {line}",
            *([face.remark] if face.remark else []),
        ]
        return _memory(seen, evidence, f"it ran out of memory{held} ({face.name})")
    if seen.failed is not None and seen.failed.get("memory"):
        evidence = [status, f"child: {said}"[:300]]
        return _memory(seen, evidence, f"it ran out of memory{held}")
    return None


def _is_full(seen: Seen) -> bool:
    return seen.disk_least_mib is not None and seen.disk_least_mib < FULL_MIB


def _disk_full(seen: Seen, status: str) -> Ending | None:
    """The child's own word, the log's, or how little room there was: then nobody could write."""
    said = f"{seen.failed.get('error')}: {seen.failed.get('text')}" if seen.failed else ""
    lines = (said or seen.log_tail).splitlines()
    line = next((line.strip()[:300] for line in lines if DISK_FACE.search(line)), "")
    if not line and (said or not _is_full(seen)):
        return None
    evidence = [status, *([f"{'child' if said else 'log'}: {line}"] if line else [])]
    if seen.disk_least_mib is not None:
        evidence.append(f"the disk had {seen.disk_least_mib:.0f} MiB left at the least")
    return Ending("lost", tuple(evidence), "the board's disk was full while it ran")


def _memory(seen: Seen, evidence: list[str], text: str) -> Ending:
    return Ending("killed_memory", (*evidence, *_not_given_back(seen)), text)


def _not_given_back(seen: Seen) -> list[str]:
    """Memory that did not come back after a crash: the board is *degraded*."""
    found = []
    if seen.available_before_mib is not None and seen.available_after_mib is not None:
        fell = seen.available_before_mib - seen.available_after_mib
        if fell > SLACK_MIB:
            found.append(f"MemAvailable is {fell:.0f} MiB lower than before it ran")
    if (seen.gpu_memory_left_mib or 0.0) > SLACK_MIB:
        found.append(f"GPU memory in use is {seen.gpu_memory_left_mib:.0f} MiB more than before")
    return found


def _failed(seen: Seen, status: str) -> Ending:
    evidence = [status]
    if seen.failed is not None:
        text = f"{seen.failed.get('error')}: {seen.failed.get('text')}"
    elif seen.signal == signal.SIGKILL:
        text = "something else than jetsched killed it; no counter says that it was memory"
    elif seen.signal is not None:
        text = f"it was ended by {_name(seen.signal)}"
    elif seen.exit_code == 0:
        text = "it ended without a result"
    else:
        text = _last_line(seen.log_tail) or f"it ended with exit code {seen.exit_code}"
    last = _last_line(seen.log_tail)
    if last:
        evidence.append(f"log: {last}")
    return Ending("failed", (*evidence, *_not_given_back(seen)), text[:500])


def _status(seen: Seen) -> str:
    if seen.signal is not None:
        return f"signal {seen.signal} ({_name(seen.signal)})"
    return f"exit code {seen.exit_code}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
