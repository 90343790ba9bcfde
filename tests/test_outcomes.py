"""How an attempt ended: a test for every face that JETSON.md's table knows, and the rest."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from jetsched.profiler.limits import MemoryCounters
from jetsched.profiler.outcomes import Seen, classify

RESULT = {"event": "result", "outcome": "done"}

#: As logs of boards and of torch really say it.
LOGS = {
    "CUDA out of memory": (
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 148.00 MiB. GPU 0 has a"
        " total capacity of 7.44 GiB of which 103.02 MiB is free."
    ),
    "NVML assertion in the CUDA allocator": (
        "RuntimeError: NVML_SUCCESS == r INTERNAL ASSERT FAILED at"
        ' "/opt/pytorch/c10/cuda/CUDACachingAllocator.cpp":1131, please report a bug to PyTorch.'
    ),
    "NvMap allocation refused": "NvMapMemAllocInternalTagged: 1075072515 error 12",
    "cuBLAS could not allocate": (
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    ),
    "CUDA error: out of memory": "RuntimeError: CUDA error: out of memory",
    "MemoryError": "MemoryError",
    "CPU allocator": (
        "RuntimeError: [enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't "
        "allocate memory: you tried to allocate 617558016 bytes. Error code 12 (Cannot allocate "
        "memory)"
    ),
    "LLVM out of memory": "LLVM ERROR: out of memory",
    "ENOMEM": "OSError: [Errno 12] Cannot allocate memory",
    "std::bad_alloc": "terminate called after throwing an instance of 'std::bad_alloc'",
}


@pytest.mark.parametrize("face", LOGS)
def test_every_face_in_a_log_is_a_memory_kill_with_the_line_as_evidence(face: str) -> None:
    log = f"Traceback (most recent call last):\n  File ...\n{LOGS[face]}\nbye\n"
    ending = classify(Seen(exit_code=1, log_tail=log))
    assert ending.outcome == "killed_memory"
    assert face in ending.text
    assert f"log: {LOGS[face]}"[:300] in ending.evidence


def test_the_kernels_kill_counted_by_the_cgroup() -> None:
    counters = MemoryCounters(oom_kills=1, refusals=3, max_usage_mib=200.0)
    seen = Seen(signal=signal.SIGKILL, counters=counters, cap="cgroup-v1", cap_mib=200.0)
    ending = classify(seen)
    assert ending.outcome == "killed_memory"
    assert ending.evidence == (
        "signal 9 (SIGKILL)",
        "oom_kill +1 in its cgroup",
        "3 allocations at the limit",
        "its cgroup held 200 MiB at most",
    )
    assert ending.text == "the kernel killed it for memory at its cap of 200 MiB"


@pytest.mark.parametrize("how", [{"signal": signal.SIGKILL}, {"exit_code": 137}])
def test_the_kernels_kill_without_a_cgroup_is_told_by_vmstat(how: dict[str, int]) -> None:
    ending = classify(Seen(system_oom_kills=1, **how))  # type: ignore[arg-type]
    assert ending.outcome == "killed_memory"
    assert "oom_kill +1 in /proc/vmstat" in ending.evidence


def test_a_kill_elsewhere_on_the_machine_is_not_ones_own() -> None:
    """Its own cgroup counted none: somebody killed it by hand."""
    counters = MemoryCounters(oom_kills=0)
    ending = classify(Seen(signal=signal.SIGKILL, counters=counters, system_oom_kills=1))
    assert ending.outcome == "failed"
    assert "no counter says that it was memory" in ending.text


def test_a_restarted_machine_means_lost_and_possibly_memory() -> None:
    ending = classify(Seen(rebooted=True, supervisor_lost=True))
    assert ending.outcome == "lost"
    assert ending.evidence == ("boot id changed",)
    assert "memory" in ending.text


def test_a_vanished_supervisor_means_lost() -> None:
    assert classify(Seen(supervisor_lost=True)).outcome == "lost"
    assert "KeyError" in classify(Seen(supervisor_error="KeyError: 'x'")).text


def test_the_time_limit_is_killed_time() -> None:
    seen = Seen(exit_code=143, stop_outcome="killed_time", stop_why="time", time_limit_s=60)
    ending = classify(seen)
    assert ending.outcome == "killed_time"
    assert "60 s" in ending.text


@pytest.mark.parametrize("outcome", ["preempted", "cancelled", "lost", "killed_heat"])
def test_who_stops_an_attempt_names_its_outcome(outcome: str) -> None:
    seen = Seen(exit_code=143, stop_outcome=outcome, stop_why="asked")  # type: ignore[arg-type]
    assert classify(seen).outcome == outcome


def test_a_stop_goes_before_memory() -> None:
    """A workload that runs out of memory while it is being stopped was stopped; both are kept."""
    seen = Seen(
        signal=signal.SIGKILL,
        stop_outcome="cancelled",
        stop_why="asked",
        counters=MemoryCounters(oom_kills=1),
    )
    ending = classify(seen)
    assert ending.outcome == "cancelled"
    assert "oom_kill +1 in its cgroup" in ending.evidence


def test_work_that_was_finished_is_done_whatever_came_after() -> None:
    assert classify(Seen(exit_code=0, result=RESULT)).outcome == "done"
    late = Seen(exit_code=143, result=RESULT, stop_outcome="preempted", stop_why="asked")
    assert classify(late).outcome == "done"
    crashed = classify(Seen(signal=signal.SIGSEGV, result=RESULT))
    assert crashed.outcome == "done"
    assert "signal 11 (SIGSEGV)" in crashed.evidence


def test_a_command_is_done_by_its_exit_code() -> None:
    assert classify(Seen(kind="command", exit_code=0)).outcome == "done"
    assert classify(Seen(kind="command", exit_code=1)).outcome == "failed"
    stopped = Seen(kind="command", exit_code=0, stop_outcome="preempted", stop_why="asked")
    assert classify(stopped).outcome == "preempted"


def test_a_child_that_ends_without_a_result_failed() -> None:
    ending = classify(Seen(kind="train", exit_code=0))
    assert ending.outcome == "failed"
    assert ending.text == "it ended without a result"


def test_the_childs_own_word_goes_before_the_log() -> None:
    """The log may show an error that the child got over."""
    log = "CUDA out of memory, trying a smaller batch\nValueError: no such column\n"
    failed = {"error": "ValueError", "text": "no such column", "memory": False}
    ending = classify(Seen(exit_code=1, failed=failed, log_tail=log))
    assert ending.outcome == "failed"
    assert ending.text == "ValueError: no such column"
    memory = {"error": "RuntimeError", "text": "the allocator gave up", "memory": True}
    assert classify(Seen(exit_code=1, failed=memory)).outcome == "killed_memory"


def test_a_word_about_memory_is_not_an_error_about_memory() -> None:
    log = "reading docs/MemoryError.md\nno such file\n"
    assert classify(Seen(exit_code=2, log_tail=log)).outcome == "failed"


def test_memory_that_does_not_come_back_is_evidence() -> None:
    seen = Seen(
        exit_code=1,
        log_tail="CUDA out of memory",
        available_before_mib=6000.0,
        available_after_mib=3500.0,
    )
    assert "MemAvailable is 2500 MiB lower than before it ran" in classify(seen).evidence
    back = replace(seen, available_after_mib=5900.0)
    assert not any("MemAvailable" in line for line in classify(back).evidence)
