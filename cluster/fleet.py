"""Fleets for simulations: from a file, or the paper's two boards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import Field

from jetsched.checks import Size, Strict, validate
from jetsched.problems import FileProblems, did_you_mean, quoted
from jetsched.profiler.bundled import paper_class
from jetsched.profiler.devices import DEVICE_MODELS, power_mode_of
from jetsched.profiler.emulation import SHORT_NAMES
from jetsched.profiler.paper import NX, ORIN
from jetsched.records import Device, DeviceClass
from jetsched.yamlfile import Document, Node, read_document

MOST_DEVICES = 100_000


def default_fleet() -> list[Device]:
    """The paper's fleet: one Xavier NX and one Orin Nano, as the bundled profile assumes them."""
    return numbered([(paper_class(model), 1, ()) for model in (NX, ORIN)])


def numbered(classes: Sequence[tuple[DeviceClass, int, tuple[str, ...]]]) -> list[Device]:
    """Devices from (class, how many, labels), with ids that count per model: nx-1, nx-2, orin-1."""
    devices: list[Device] = []
    made: Counter[str] = Counter()
    for kind, count, labels in classes:
        for _ in range(count):
            name = SHORT_NAMES.get(kind.model, kind.model)
            made[name] += 1
            devices.append(Device(f"{name}-{made[name]}", kind, labels))
    return devices


class _Entry(Strict):
    """Devices that are alike."""

    model: str = Field(min_length=1, max_length=100, examples=["orin-nano"])
    power_mode: str = Field("", max_length=100, examples=["25W"])
    count: int = Field(1, ge=1, le=MOST_DEVICES, examples=[4])
    memory: Size | None = Field(None, examples=["6GiB"])
    labels: list[str] = Field([], max_length=100, examples=[["lab"]])


class _FleetFile(Strict):
    """A fleet."""

    devices: list[_Entry] = Field(
        min_length=1, max_length=10_000, examples=["[{model: orin-nano, count: 4}]"]
    )


def load_fleet(path: Path, *, timed_models: Collection[str] = ()) -> list[Device]:
    """Read a fleet file: ``devices: [{model, power_mode, count, memory, labels}]``.

    ``timed_models`` are device models that the trace carries run times of; they need no data sheet.
    Raises :class:`FileProblems` with everything that is wrong, each with its place.
    """
    document = read_document(path)
    model = validate(document, _FleetFile)
    entries = document.root.child("devices")
    if entries is not None and isinstance(entries.children, list):
        for index, node in enumerate(entries.children):
            _check_entry(document, index, node, timed_models)
    if model is not None and sum(entry.count for entry in model.devices) > MOST_DEVICES:
        document.report(document.root, "devices", f"more than {MOST_DEVICES:,} devices")
    if model is None or document.problems:
        raise FileProblems(document.problems)
    return numbered([(_class_of(e), e.count, tuple(e.labels)) for e in model.devices])


def _class_of(entry: _Entry) -> DeviceClass:
    kind = DeviceClass(entry.model, entry.power_mode, memory_mib=entry.memory or 0.0)
    row = DEVICE_MODELS.get(entry.model)
    if row is None:
        return kind
    return DeviceClass(entry.model, power_mode_of(kind), "", entry.memory or row.usable_mib)


def _check_entry(document: Document, index: int, node: Node, timed_models: Collection[str]) -> None:
    """What the form alone cannot tell: whether there is such a board. Takes any tree."""

    def report(field: str, message: str, hint: str) -> None:
        document.report(node.child(field) or node, f"devices[{index}].{field}", message, hint)

    given = node.value if isinstance(node.value, dict) else {}
    name, mode = given.get("model"), given.get("power_mode", "")
    if not isinstance(name, str) or not isinstance(mode, str) or not name:
        return  # reported with the form
    row = DEVICE_MODELS.get(name)
    if row is None:
        if name not in timed_models:
            known = [*DEVICE_MODELS, *timed_models]
            hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
            report("model", f"there is no data sheet of {quoted(name)}", hint)
        return
    modes = row.power_modes
    if modes and power_mode_of(DeviceClass(name, mode)) not in modes:
        hint = did_you_mean(mode, modes) or f"it has {', '.join(modes)}"
        report("power_mode", f"{name} has no power mode {quoted(mode)}", hint)
