"""The smallest changes to a job that make it fit a device: said by `estimate`, `plan`, `submit`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from jetsched.errors import InputError
from jetsched.profiler.costs import CostModel
from jetsched.profiler.memory import DEFAULT_LORA_RANK, work_kind
from jetsched.profiler.models import positions
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
    batch, or several. Only if none of it suffices, shorter texts as well, which is another task.
    Empty where the job fits as it is, where nothing helps, and for commands, whose settings are not
    ours to change.
    """
    workload = job.workload
    if workload.kind == "command":
        return ()
    now = costs.verdict(job, device_class)
    if not _wants_change(now):
        return ()
    most = _positions(workload.model)
    for ways in _stages(workload, now):
        allowed = [[step for step in way if _can_be(step[1], workload, most)] for way in ways]
        found = [change for way in allowed if (change := _first(costs, job, device_class, way))]
        if found:
            return tuple(found)
    return ()


def least_memory(costs: CostModel, job: Job, device_class: DeviceClass) -> Change | None:
    """The change after which the job needs least there, whether that fits or not.

    None for commands, and where nothing is counted or no change makes it need less.
    """
    workload, now = job.workload, costs.verdict(job, device_class)
    if workload.kind == "command" or now.admitted_mib is None or not _wants_change(now):
        return None
    most, least = _positions(workload.model), None
    for ways in _stages(workload, now):
        for way in ways:
            steps = [step for step in way if _can_be(step[1], workload, most)]
            verdict = (
                costs.verdict(replace(job, workload=steps[-1][1]), device_class) if steps else now
            )
            needs_mib, live_mib = verdict.admitted_mib, verdict.peak_memory_mib
            if needs_mib is None or live_mib is None:
                continue
            if needs_mib < (least.admitted_mib if least else now.admitted_mib):
                text, changed = steps[-1]
                least = Change(text, changed, live_mib, needs_mib, verdict.source or "estimated")
    return least


def _wants_change(verdict: Estimate | Never) -> bool:
    if isinstance(verdict, Never):
        return verdict.code in ("NeverFits", "EnvMissing")
    return verdict.fit == "tight"


def _stages(workload: Workload, now: Estimate | Never) -> Iterator[list[_Way]]:
    """Ways that are offered beside each other; the next stage only if none of them helps."""
    others = [_precision(workload, name) for name in _PRECISIONS]
    if isinstance(now, Never) and now.code == "EnvMissing":
        yield from ([way] for way in others)
        starts = others
    else:
        starts = [[("", workload)]]
        if work_kind(workload) == "train" and workload.precision == "fp32":
            starts += others  # mixed precision keeps weights twice: only where all else fails
    starts = [start for start in starts if start]
    for start in starts:
        yield from _whole_texts(start)
    for size in range(_SETTINGS + 1):
        for start in starts:
            least = [_both(way, _smallest_batch) for way in _settings(start, size)]
            yield [_both(way, shorter) for way in least for shorter in _SHORTER]


def _whole_texts(start: _Way) -> Iterator[list[_Way]]:
    """Changes that leave the texts as long as they are, from the fewest settings on."""
    yield [_both(start, _smaller_batch), *_settings(start, 1)]
    yield [_both(way, _smaller_batch) for way in _settings(start, 1)]
    for size in range(2, _SETTINGS + 1):
        yield _settings(start, size)
        yield [_both(way, _smaller_batch) for way in _settings(start, size)]


def _settings(start: _Way, size: int) -> list[_Way]:
    """So many settings other than the batch on top of a change, in each combination."""
    found = []
    words, workload = start[0]
    for chosen in combinations(_single(workload, same_precision=bool(words)), size):
        way = start
        for setting in chosen:
            way = _both(way, setting)
        found.append(way)
    return found


def _single(workload: Workload, *, same_precision: bool) -> list[Callable[[Workload], _Way]]:
    """Settings other than the batch that may need less, where they are not so already."""
    train = work_kind(workload) == "train"
    settings = [_checkpointing, _lora] if train else []
    if not same_precision and (workload.precision != "fp32") == train:
        settings.append(_in_fp32 if train else _in_fp16)
    return [setting for setting in settings if setting(workload)]


def _first(costs: CostModel, job: Job, where: DeviceClass, way: _Way) -> Change | None:
    """The first step that fits. If the last one does not, none does: each needs less memory."""
    if not way or not _fits(costs, job, where, way[-1][1]):
        return None
    for text, workload in way:
        verdict = _fits(costs, job, where, workload)
        if verdict:
            # Memory is counted, not assumed, also where the time comes from a data sheet.
            source: Source = "measured" if verdict.source == "measured" else "estimated"
            return Change(text, workload, verdict.peak_memory_mib, verdict.admitted_mib, source)
    return None


def _fits(costs: CostModel, job: Job, where: DeviceClass, workload: Workload) -> Estimate | None:
    verdict = costs.verdict(replace(job, workload=workload), where)
    return verdict if isinstance(verdict, Estimate) and verdict.fit == "fits" else None


def _positions(model: str) -> int | None:
    try:
        return positions(model)
    except InputError:  # that is said where the job is taken
        return None


def _can_be(changed: Workload, workload: Workload, most: int | None) -> bool:
    """Whether texts that were cut are short enough for the model to look at."""
    tokens = _tokens(changed)
    return most is None or tokens <= most or tokens == _tokens(workload)


def _tokens(workload: Workload) -> int:
    if work_kind(workload) == "train":
        return workload.seq_len
    return workload.prompt_tokens + workload.max_new_tokens


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


def _in_fp16(workload: Workload) -> _Way:
    return _precision(workload, "fp16")


def _in_fp32(workload: Workload) -> _Way:
    return _precision(workload, "fp32")


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


#: The most settings that one change has, beside the batch and the length of texts.
_SETTINGS = 3
_PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16", "fp32")
_SHORTER = (_fewer_tokens, _fewer_new_tokens, _fewer_prompt_tokens)
