"""What would make a job fit a board that it does not fit, or only just: for `plan` and `submit`."""

from __future__ import annotations

from collections.abc import Iterable

from jetsched.profiler.advice import estimate_hint, least_memory
from jetsched.profiler.costs import CostModel
from jetsched.records import Device, Job
from jetsched.scheduler.view import Costs


def suggestions(costs: Costs, job: Job, devices: Iterable[Device]) -> dict[str, list[str]]:
    """Changes to the ``work`` section by device id, in words; only where some change helps.

    One device stands for all of its kind. Other cost models than ours have nothing to say.
    """
    if not isinstance(costs, CostModel):
        return {}
    first = {device.device_class: device for device in reversed(list(devices))}
    found = {
        device.id: [change.words for change in estimate_hint(costs, job, kind)]
        for kind, device in first.items()
        if device.satisfies(job.needs)
    }
    return {device_id: words for device_id, words in sorted(found.items()) if words}


def in_one_line(found: dict[str, list[str]]) -> str:
    """``to make it fit nx-1: batch_size 4 (5.1 GiB e) or method lora (3.2 GiB e)``."""
    lines = [f"to make it fit {device}: {' or '.join(words)}" for device, words in found.items()]
    return "; ".join(lines)


def least_in_words(costs: Costs, job: Job, devices: Iterable[Device]) -> str:
    """How far from fitting it stays whatever is changed; "" where that cannot be said."""
    if not isinstance(costs, CostModel):
        return ""
    kinds = dict.fromkeys(d.device_class for d in devices if d.satisfies(job.needs))
    found = [change for kind in kinds if (change := least_memory(costs, job, kind))]
    if not found:
        return ""
    least = min(found, key=lambda change: change.admitted_mib)
    return f"no change of its work section makes it fit here; the least it can need: {least.words}"
