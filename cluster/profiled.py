"""Which boards were profiled, when, and whether that still speaks of them as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jetsched.profiler.staleness import COMPARED, changes
from jetsched.records import Device, DeviceClass, Measurement

HOW = "jetsched profile --quick, on the board"


@dataclass(frozen=True)
class Profile:
    """What is to be said of a board's profile. ``measured_at``: its last row's, as ISO 8601."""

    verdict: Literal["fresh", "stale", "none"]
    text: str
    measured_at: str | None = None
    #: What has changed since, e.g. ``torch 2.1.0 > 2.3.0``.
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Profiled:
    at: str
    device: str
    identity: Mapping[str, Any]


class Profiles:
    """What `jetsched profile` has measured, as far as it tells which board and how that was.

    An emulated board has no software of its own that could change, and another name each time: a
    profile of its class is its own.
    """

    def __init__(self) -> None:
        self._of_device: dict[str, _Profiled] = {}
        self._of_class: dict[DeviceClass, _Profiled] = {}

    def note(self, measurement: Measurement) -> None:
        """Take in a row of a profile; what tells nothing of the board is passed over."""
        identity = measurement.identity
        if measurement.source != "measured" or not identity.get("title"):
            return
        was = {key: identity[key] for key in COMPARED if key in identity}
        found = _Profiled(measurement.at, measurement.device, was)
        if measurement.emulated:
            self._of_class[measurement.device_class] = found
        elif measurement.device:
            self._of_device[measurement.device] = found

    def of(self, device: Device, identity: Mapping[str, Any] | None) -> Profile:
        """What to say of a board. ``identity``: how it is now, None where that is not known."""
        if device.device_class.emulated:
            found = self._of_class.get(device.device_class)
            if found is None:
                return Profile("none", "never profiled as an emulated board")
            return Profile("fresh", f"profiled as {found.device}, emulated", found.at)
        found = self._of_device.get(device.id)
        if found is None:
            return Profile("none", f"never profiled: {HOW}")
        changed = tuple(changes(found.identity, identity)) if identity else ()
        if changed:
            text = f"its profile is stale ({', '.join(changed)}): jetsched profile there"
            return Profile("stale", text, found.at, changed)
        return Profile("fresh", "profiled, and nothing has changed since", found.at)
