"""Names for a table or picture: short, and different for what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from jetsched.records import DeviceClass, Workload


def workload_labels(workloads: Sequence[Workload]) -> dict[Workload, str]:
    """A label for each; those that would share one say what they differ in."""
    groups: dict[str, list[Workload]] = {}
    for workload in workloads:
        groups.setdefault(_label(workload), []).append(workload)
    labels = {
        workload: label if len(group) == 1 else f"{label} {_rest(workload, group)}".rstrip()
        for label, group in groups.items()
        for workload in group
    }
    shared = Counter(labels.values())
    return {w: label if shared[label] == 1 else f"{label} {w.key}" for w, label in labels.items()}


def _label(workload: Workload) -> str:
    """That of a command is what it runs; what it is like comes after that, if at all."""
    return f"command {workload.command}" if workload.command else workload.label


def _rest(workload: Workload, group: Iterable[Workload]) -> str:
    """The fields that a label leaves out, where one of the group has another value."""
    words: dict[str, object] = {
        "head": workload.head,
        "gradient_checkpointing": "checkpointing" if workload.gradient_checkpointing else "",
        "accumulation_steps": f"x{workload.accumulation_steps}",
        "lora_rank": f"r{workload.lora_rank}",
        "like": f"like {workload.like}" if workload.like else "",
        "precision": workload.precision if workload.command else "",
        "model": workload.model,
        "dataset": workload.dataset,
    }
    differing = [
        str(word)
        for name, word in words.items()
        if word and len({getattr(other, name) for other in group}) > 1
    ]
    return " ".join(differing)


def device_labels(devices: Sequence[DeviceClass]) -> dict[DeviceClass, str]:
    """A label for each, with what of its software sets it apart from others of that label."""
    software = software_of(devices)
    return {d: f"{d.label} {more}".rstrip() for d, more in zip(devices, software, strict=True)}


def software_of(devices: Sequence[DeviceClass]) -> list[str]:
    """What of their software tells devices apart that have the same label."""
    shown = []
    for device in devices:
        alike = [set(d.software.split()) for d in devices if d.label == device.label]
        common = set.intersection(*alike)
        words = [word for word in device.software.split() if word not in common]
        # The rest of a version, as in torch-2.3.0+cpu, says least.
        shown.append(" ".join(word.split("+")[0] for word in words))
    return shown
