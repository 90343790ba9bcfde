"""The smallest changes to a job that make it fit a device: said by `estimate`, `plan`, `submit`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from jetsched.profiler.costs import CostModel
from jetsched.profiler.memory import DEFAULT_LORA_RANK, work_kind
from jetsched.records import DeviceClass, Estimate, Job, Never, Precision, Source, Workload
from jetsched.units import format_size

#: Texts are not cut shorter than this many tokens.
SHORTEST = 16

#: Steps of a change, from the smallest on: each is its words, and the workload then.
_Way = Sequence[tuple[str, Workload]]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the ``work`` section, and the memory that the job would need then."""

    text: str  # e.g. "batch_size 4"
    workload: Workload
    peak_memory_mib: float
    admitted_mib: float
    source: Source

    @property
    def words(self) -> str:
        """For a person: ``batch_size 4 (5.1 GiB e)``, the size being what is admitted."""
        return f"{self.text} ({format_size(self.admitted_mib)} {self.source[0]})"


def estimate_hint(costs: CostModel, job: Job, device_class: DeviceClass) -> tuple[Change, ...]:
    """Ways to make the job fit surely (not *tight*), each as small as it can be.

    First what leaves the result nearly as it was: one setting at a time, or that and a smaller
    batch. Only if none of it suffices, shorter texts as well, which is another task. Empty where
    the job fits as it is, where nothing helps, and for commands, whose settings are not ours to
    change.
    """
    workload = job.workload
    if workload.kind == "command":
        return ()
    for ways in _stages(workload, costs.verdict(job, device_class)):
        found = [change for way in ways if (change := _first(costs, job, device_class, way))]
        if found:
            return tuple(found)
    return ()


def _stages(workload: Workload, now: Estimate | Never) -> Iterator[list[_Way]]:
    """Ways that are offered beside each other; the next stage only if none of them helps."""
    if isinstance(now, Never) and now.code == "EnvMissing":
        others = [_precision(workload, name) for name in _PRECISIONS]
        yield from ([way] for way in others)
        yield from ([_both(way, _smaller_batch)] for way in others)
    elif _wants_memory(now):
        single, least = _single(workload), _smallest_batch(workload)
        yield [_smaller_batch(workload), *single]
        yield [_both(way, _smaller_batch) for way in single]
        yield [_both(least, shorter) for shorter in _SHORTER]
        yield [_both(_both(way, _smallest_batch), cut) for way in single for cut in _SHORTER]


def _wants_memory(verdict: Estimate | Never) -> bool:
    if isinstance(verdict, Never):
        return verdict.code == "NeverFits"
    return verdict.fit == "tight"


def _first(costs: CostModel, job: Job, where: DeviceClass, way: _Way) -> Change | None:
    for text, workload in way:
        verdict = costs.verdict(replace(job, workload=workload), where)
        if isinstance(verdict, Estimate) and verdict.fit == "fits":
            # Memory is counted, not assumed, also where the time comes from a data sheet.
            source: Source = "measured" if verdict.source == "measured" else "estimated"
            return Change(text, workload, verdict.peak_memory_mib, verdict.admitted_mib, source)
    return None


def _single(workload: Workload) -> list[_Way]:
    """Settings other than the batch."""
    if work_kind(workload) == "train":
        return [_checkpointing(workload), _lora(workload)]
    return [_precision(workload, "fp16")] if workload.precision == "fp32" else []


def _both(way: _Way, then: Callable[[Workload], _Way]) -> _Way:
    """The second change on top of each step of the first."""
    return [
        (", ".join(words for words in (text, more) if words), both)
        for text, changed in way
        for more, both in then(changed)
    ]


def _smaller_batch(workload: Workload) -> _Way:
    sizes = _halves(workload.batch_size, 1)
    return [(f"batch_size {size}", replace(workload, batch_size=size)) for size in sizes]


def _smallest_batch(workload: Workload) -> _Way:
    return _smaller_batch(workload)[-1:] or [("", workload)]


def _checkpointing(workload: Workload) -> _Way:
    if workload.gradient_checkpointing:
        return []
    return [("gradient_checkpointing", replace(workload, gradient_checkpointing=True))]


def _lora(workload: Workload) -> _Way:
    if workload.method == "lora":
        return []
    return [("method lora", replace(workload, method="lora", lora_rank=DEFAULT_LORA_RANK))]


def _precision(workload: Workload, name: Precision) -> _Way:
    if workload.precision == name:
        return []
    return [(f"precision {name}", replace(workload, precision=name))]


def _fewer_tokens(workload: Workload) -> _Way:
    sizes = _halves(workload.seq_len, SHORTEST)
    return [(f"seq_len {size}", replace(workload, seq_len=size)) for size in sizes]


def _fewer_new_tokens(workload: Workload) -> _Way:
    sizes = _halves(workload.max_new_tokens, SHORTEST)
    return [(f"max_new_tokens {size}", replace(workload, max_new_tokens=size)) for size in sizes]


def _fewer_prompt_tokens(workload: Workload) -> _Way:
    sizes = _halves(workload.prompt_tokens, SHORTEST)
    return [(f"prompt_tokens {size}", replace(workload, prompt_tokens=size)) for size in sizes]


def _halves(size: int, least: int) -> list[int]:
    found = []
    while (size := size // 2) >= least:
        found.append(size)
    return found


_PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16", "fp32")
_SHORTER = (_fewer_tokens, _fewer_new_tokens, _fewer_prompt_tokens)
