"""Fleets for simulations: from a file, from a few words, or the paper's two boards."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from jetsched.checks import Duration, Size, Strict, mistake, validate
from jetsched.cluster.simulated import Outage
from jetsched.errors import InputError
from jetsched.problems import FileProblems, did_you_mean, listed, quoted
from jetsched.profiler.bundled import paper_class
from jetsched.profiler.devices import DEVICE_MODELS, power_mode_of
from jetsched.profiler.emulation import SHORT_NAMES
from jetsched.profiler.paper import NX, ORIN
from jetsched.records import Device, DeviceClass
from jetsched.scheduler.events import DeviceJoined
from jetsched.units import parse_duration_s
from jetsched.yamlfile import Document, Node, read_document

MOST_DEVICES = 100_000

#: An entry of the short form: model, power mode, how many.
_SHORT = re.compile(r"([^@:\s]+)(?:@([^:\s]+))?(?::(\d{1,7}))?", re.ASCII)
_SHORT_HINT = "a fleet file, or e.g. orin-nano:4,xavier-nx@10W_4CORE:4"


@dataclass(frozen=True)
class FleetPlan:
    """The boards of a fleet, when some of them are gone, and what a board of a model costs.

    ``also`` are boards that change their power mode: they join as what they are then.
    """

    devices: Sequence[Device]
    outages: Sequence[Outage] = ()
    also: Sequence[DeviceJoined] = ()
    prices: Mapping[str, float] = field(default_factory=dict)  # by device model


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


def class_of(model: str, power_mode: str = "", memory_mib: float | None = None) -> DeviceClass:
    """The class of a board as its data sheet has it; without a sheet, what is given and no more.

    The power mode defaults to the board's own, the memory to what is assumed left for jobs.
    """
    kind = DeviceClass(model, power_mode, memory_mib=memory_mib or 0.0)
    row = DEVICE_MODELS.get(model)
    if row is None:
        return kind
    return DeviceClass(model, power_mode_of(kind), "", memory_mib or row.usable_mib)


def read_fleet(
    spec: str | None, *, timed_models: Collection[str] = (), counts: Sequence[int] = ()
) -> FleetPlan:
    """The fleet of a file, of words such as ``orin-nano:4,xavier-nx@10W_4CORE:2``, or the paper's.

    ``timed_models`` are device models that the trace carries run times of; they need no data sheet.
    ``counts`` replace how many boards each entry has, in their order. Raises :class:`InputError`.
    """
    if spec is None:
        entries = [_Entry.model_validate({"model": model}) for model in (NX, ORIN)]
        return _plan(entries, counts, "the paper's fleet")
    path = Path(spec)
    if path.exists() or path.suffix in (".yaml", ".yml", ".json") or "/" in spec:
        return load_plan(path, timed_models=timed_models, counts=counts)
    return _plan(_short(spec, timed_models), counts, spec)


# -------------------------------------------------------------------------------------- fleet files


def _moment(value: Any) -> Any:
    """A point in time, from the start of the simulation; 0 needs no unit."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    if not isinstance(value, str):
        mistake("needs a time with a unit", "write e.g. 2h30m, from the start")
    try:
        return parse_duration_s(value)
    except InputError as error:
        mistake(str(error), error.hint)


class _Entry(Strict):
    """Devices that are alike."""

    model: str = Field(min_length=1, max_length=100, examples=["orin-nano"])
    power_mode: str = Field("", max_length=100, examples=["25W"])
    count: int = Field(1, ge=1, le=MOST_DEVICES, examples=[4])
    memory: Size | None = Field(None, examples=["6GiB"])
    labels: list[str] = Field([], max_length=100, examples=[["lab"]])
    price: float | None = Field(None, ge=0, examples=[249])


class _Outage(Strict):
    """A board that is gone for a while, or for good."""

    device: str = Field(min_length=1, max_length=100, examples=["orin-1"])
    from_: Annotated[float, BeforeValidator(_moment)] = Field(alias="from", examples=["2h"])
    until: Duration | None = Field(None, examples=["3h"])


class _Switch(Strict):
    """A board that changes its power mode."""

    device: str = Field(min_length=1, max_length=100, examples=["orin-1"])
    at: Annotated[float, BeforeValidator(_moment)] = Field(examples=["2h"])
    power_mode: str = Field(min_length=1, max_length=100, examples=["15W"])


class _FleetFile(Strict):
    """A fleet."""

    devices: list[_Entry] = Field(
        min_length=1, max_length=10_000, examples=["[{model: orin-nano, count: 4}]"]
    )
    outages: list[_Outage] = Field(
        [], max_length=10_000, examples=["[{device: orin-1, from: 2h, until: 3h}]"]
    )
    power_modes: list[_Switch] = Field(
        [], max_length=10_000, examples=["[{device: orin-1, at: 2h, power_mode: 15W}]"]
    )


def load_fleet(path: Path, *, timed_models: Collection[str] = ()) -> list[Device]:
    """The boards of a fleet file; see :func:`load_plan`."""
    return list(load_plan(path, timed_models=timed_models).devices)


def load_plan(
    path: Path, *, timed_models: Collection[str] = (), counts: Sequence[int] = ()
) -> FleetPlan:
    """Read ``devices: [{model, power_mode, count, memory, labels, price}]`` and what changes.

    That is ``outages: [{device, from, until}]`` and ``power_modes: [{device, at, power_mode}]``,
    with times from the start of the simulation. Raises :class:`FileProblems` with everything that
    is wrong, each with its place.
    """
    document = read_document(path)
    model = validate(document, _FleetFile)
    for index, node in enumerate(_list(document, "devices")):
        _check_entry(document, index, node, timed_models)
    if model is not None and sum(entry.count for entry in model.devices) > MOST_DEVICES:
        document.report(document.root, "devices", f"more than {MOST_DEVICES:,} devices")
    if model is not None and not document.problems:
        _check_prices(document, model)
        plan = _plan(model.devices, counts, str(path), model.outages, model.power_modes)
        if not counts:  # else what is said of boards that are not there this time means nothing
            _check_changes(document, model, plan)
    if model is None or document.problems:
        raise FileProblems(document.problems)
    return plan


def _plan(
    entries: Sequence[_Entry],
    counts: Sequence[int],
    name: str,
    outages: Sequence[_Outage] = (),
    switches: Sequence[_Switch] = (),
) -> FleetPlan:
    if counts and len(counts) != len(entries):
        raise InputError(
            f"{len(counts)} numbers of boards for the {len(entries)} entries of {name}",
            hint=f"one for each of {listed(entry.model for entry in entries)}",
        )
    numbers = list(counts) or [entry.count for entry in entries]
    if min(numbers) < 0 or not 1 <= sum(numbers) <= MOST_DEVICES:
        raise InputError(f"a fleet of {sum(numbers):,} boards", hint=f"1 to {MOST_DEVICES:,}")
    devices = numbered(
        [
            (class_of(entry.model, entry.power_mode, entry.memory), number, tuple(entry.labels))
            for entry, number in zip(entries, numbers, strict=True)
        ]
    )
    there = {device.id: device for device in devices}
    return FleetPlan(
        devices,
        [
            Outage(o.device, o.from_, inf if o.until is None else o.until)
            for o in outages
            if o.device in there
        ],
        [_switched(there[s.device], s) for s in switches if s.device in there],
        {entry.model: entry.price for entry in entries if entry.price is not None},
    )


def _switched(device: Device, switch: _Switch) -> DeviceJoined:
    old = device.device_class
    kind = class_of(old.model, switch.power_mode, old.memory_mib or None)
    return DeviceJoined(switch.at, replace(device, device_class=kind))


def _list(document: Document, name: str) -> Sequence[Node]:
    node = document.root.child(name)
    return node.children if node is not None and isinstance(node.children, list) else ()


def _check_entry(document: Document, index: int, node: Node, timed_models: Collection[str]) -> None:
    """What the form alone cannot tell: whether there is such a board. Takes any tree."""
    given = node.value if isinstance(node.value, dict) else {}
    name, mode = given.get("model"), given.get("power_mode", "")
    if not isinstance(name, str) or not isinstance(mode, str) or not name:
        return  # reported with the form
    for field_name, message, hint in _unknown(name, mode, timed_models):
        place = node.child(field_name) or node
        document.report(place, f"devices[{index}].{field_name}", message, hint)


def _unknown(name: str, mode: str, timed_models: Collection[str]) -> list[tuple[str, str, str]]:
    """(field, message, hint) where there is no such board, or it has no such power mode."""
    row = DEVICE_MODELS.get(name)
    if row is None:
        if name in timed_models:
            return []
        known = [*DEVICE_MODELS, *timed_models]
        hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
        return [("model", f"there is no data sheet of {quoted(name)}", hint)]
    modes = row.power_modes
    if modes and power_mode_of(DeviceClass(name, mode)) not in modes:
        hint = did_you_mean(mode, modes) or f"it has {', '.join(modes)}"
        return [("power_mode", f"{name} has no power mode {quoted(mode)}", hint)]
    return []


def _check_prices(document: Document, model: _FleetFile) -> None:
    """A price belongs to a model: two of them would contradict each other."""
    seen: dict[str, float] = {}
    for node, entry in zip(_list(document, "devices"), model.devices, strict=True):
        price = entry.price
        if price is not None and seen.setdefault(entry.model, price) != price:
            message = f"{entry.model} costs {seen[entry.model]:g} further up"
            document.report(node.child("price") or node, "devices.price", message)


def _check_changes(document: Document, model: _FleetFile, plan: FleetPlan) -> None:
    """What is said of single boards: are there such, and can they do that."""
    models = {device.id: device.model for device in plan.devices}

    def check_device(name: str, index: int, node: Node, device: str) -> None:
        if device not in models:
            ids = list(models)
            hint = did_you_mean(device, ids[:1000]) or f"there are {listed(ids)}"
            place, message = node.child("device") or node, f"there is no board {quoted(device)}"
            document.report(place, f"{name}[{index}].device", message, hint)

    for index, (node, outage) in enumerate(
        zip(_list(document, "outages"), model.outages, strict=True)
    ):
        check_device("outages", index, node, outage.device)
        if outage.until is not None and outage.until <= outage.from_:
            message = "is not after `from`; both count from the start"
            document.report(node.child("until") or node, f"outages[{index}].until", message)
    for index, (node, switch) in enumerate(
        zip(_list(document, "power_modes"), model.power_modes, strict=True)
    ):
        check_device("power_modes", index, node, switch.device)
        board = models.get(switch.device)
        wrong = [] if board is None else _unknown(board, switch.power_mode, (board,))
        for field_name, message, hint in wrong:
            place = node.child(field_name) or node
            document.report(place, f"power_modes[{index}].{field_name}", message, hint)


# --------------------------------------------------------------------------------------- short form


def _short(text: str, timed_models: Collection[str]) -> list[_Entry]:
    """The entries of ``orin-nano:4,xavier-nx@10W_4CORE:2``."""
    entries = []
    for word in text.split(","):
        match = _SHORT.fullmatch(word.strip())
        if match is None:
            raise InputError(f"--fleet: {quoted(word)} is no file and no board", hint=_SHORT_HINT)
        model, mode, number = match[1], match[2] or "", int(match[3] or 1)
        for _, message, hint in _unknown(model, mode, timed_models):
            raise InputError(f"--fleet {text}: {message}", hint=hint)
        if not 1 <= number <= MOST_DEVICES:
            raise InputError(f"--fleet {text}: {number} boards", hint=_SHORT_HINT)
        entries.append(_Entry.model_validate({"model": model, "power_mode": mode, "count": number}))
    return entries
