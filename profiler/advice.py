"""The smallest changes to a job that make it fit a device: what `plan` and `submit` suggest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from jetsched.profiler.costs import CostModel
from jetsched.profiler.memory import DEFAULT_LORA_RANK, work_kind
from jetsched.records import DeviceClass, Estimate, Job, Never, Source, Workload


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the ``work`` section, and what the job would need then."""

    text: str  # e.g. "batch_size 4"
    workload: Workload
    peak_memory_mib: float
    admitted_mib: float
    source: Source


def estimate_hint(costs: CostModel, job: Job, device_class: DeviceClass) -> tuple[Change, ...]:
    """Ways to make the job fit surely (not *tight*), each as small as it can be.

    One setting at a time; two together only if no single one suffices. Empty where the job fits as
    it is, where nothing helps, and for commands, whose settings are not ours to change.
    """
    now = costs.verdict(job, device_class)
    if job.workload.kind == "command" or not _wants_memory(now):
        return ()
    for ways in (_single(job.workload), _double(job.workload)):
        found = [change for way in ways if (change := _first(costs, job, device_class, way))]
        if found:
            return tuple(found)
    return ()


def _wants_memory(verdict: Estimate | Never) -> bool:
    if isinstance(verdict, Never):
        return verdict.code == "NeverFits"
    return verdict.fit == "tight"


def _first(
    costs: CostModel, job: Job, where: DeviceClass, way: Iterator[tuple[str, Workload]]
) -> Change | None:
    for text, workload in way:
        verdict = costs.verdict(replace(job, workload=workload), where)
        if isinstance(verdict, Estimate) and verdict.fit == "fits":
            return Change(
                text, workload, verdict.peak_memory_mib, verdict.admitted_mib, verdict.source
            )
    return None


def _single(workload: Workload) -> list[Iterator[tuple[str, Workload]]]:
    """Settings to change, each from the smallest change on."""
    ways = [_smaller_batch(workload)]
    if work_kind(workload) == "train":
        ways += [_checkpointing(workload), _lora(workload)]
    elif workload.precision == "fp32":
        ways.append(iter([("precision fp16", replace(workload, precision="fp16"))]))
    return ways


def _double(workload: Workload) -> list[Iterator[tuple[str, Workload]]]:
    """The same with the batch made smaller as well."""
    return [
        (
            (f"{text}, {more}", both)
            for text, changed in way
            for more, both in _smaller_batch(changed)
        )
        for way in _single(workload)[1:]
    ]


def _smaller_batch(workload: Workload) -> Iterator[tuple[str, Workload]]:
    size = workload.batch_size // 2
    while size >= 1:
        yield f"batch_size {size}", replace(workload, batch_size=size)
        size //= 2


def _checkpointing(workload: Workload) -> Iterator[tuple[str, Workload]]:
    if not workload.gradient_checkpointing:
        yield "gradient_checkpointing", replace(workload, gradient_checkpointing=True)


def _lora(workload: Workload) -> Iterator[tuple[str, Workload]]:
    if workload.method == "full":
        yield "method lora", replace(workload, method="lora", lora_rank=DEFAULT_LORA_RANK)
