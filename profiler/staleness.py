"""Whether a measurement still speaks of the board as it is now.

Compared is what changes the cost of work and stays the same from one hour to the next. Free memory,
temperatures and clocks of the moment are no part of it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from typing import Any

from jetsched.profiler.identity import identify
from jetsched.records import Measurement

#: As :meth:`jetsched.profiler.identity.Identity.to_dict` gives it, or as it was stored.
Stored = Mapping[str, Any]

#: Key of the identity -> how it is called on a screen.
PARTS: Mapping[str, str] = {
    "power_mode": "power mode",
    "jetpack": "JetPack",
    "l4t": "L4T",
    "driver": "driver",
    "cpus_online": "CPUs",
    "storage": "storage of the models",
}
#: The same for what is so or not.
SWITCHES: Mapping[str, str] = {"clocks_locked": "clocks locked", "headless": "headless"}
#: The same below ``software``.
SOFTWARE: Mapping[str, str] = {
    "python": "Python",
    "torch": "torch",
    "transformers": "transformers",
}
#: The keys of an identity that :func:`changes` looks at.
COMPARED = (*PARTS, *SWITCHES, "memory_total_mib", "software")
#: A kernel update moves MemTotal by a few MB.
SAME_TOTAL = 1.02


def changes(old: Stored, new: Stored) -> list[str]:
    """What of a board's identity is another now, e.g. ``torch 2.1.0 > 2.3.0``; empty for nothing.

    What one of the two does not know proves nothing.
    """
    found = _differences(PARTS, old, new)
    for key, title in SWITCHES.items():
        was, now = old.get(key), new.get(key)
        if was is not None and now is not None and was != now:
            found.append(f"{title}: {_yes(was)} > {_yes(now)}")
    was, now = old.get("memory_total_mib"), new.get("memory_total_mib")
    if was and now and max(was, now) > SAME_TOTAL * min(was, now):
        found.append(f"memory {was:.0f} > {now:.0f} MiB")
    before, after = old.get("software") or {}, new.get("software") or {}
    found += _differences(SOFTWARE, before, after)
    if before.get("torch") and after.get("torch"):
        was, now = _computes_with(before), _computes_with(after)
        if was != now:
            found.append(f"{was} > {now}")
    return found


def _differences(parts: Mapping[str, str], old: Stored, new: Stored) -> list[str]:
    return [
        f"{title} {old[key]} > {new[key]}"
        for key, title in parts.items()
        if old.get(key) and new.get(key) and old[key] != new[key]
    ]


def _yes(value: Any) -> str:
    return "yes" if value else "no"


def _computes_with(software: Stored) -> str:
    """A torch that was built without CUDA has an empty version of it."""
    return f"CUDA {software['cuda']}" if software.get("cuda") else "CPU-only"


class Here:
    """This machine as it is now, seen through the interpreter that a measurement was made with.

    ``identify`` gives the present identity for an interpreter; it is asked once for each.
    """

    def __init__(self, identify: Callable[[str], Stored] | None = None) -> None:
        self._identify = identify or _identify
        self._known: dict[str, Stored] = {}

    def changes(self, measurement: Measurement) -> list[str]:
        """What has changed since; empty for other machines' measurements, and where it is unknown.

        A row of an emulated board is compared with the machine that emulates it, not by its scale.
        """
        old = measurement.identity
        if measurement.source != "measured" or not old.get("title"):
            return []
        python = str(old.get("workload_python") or "")
        if python and shutil.which(python) is None:
            gone = self._now(sys.executable)
            same = _same_machine(old, gone)
            return [f"{python} is gone", *changes(_hardware(old), gone)] if same else []
        now = self._now(python or sys.executable)
        if not _same_machine(old, now):
            return []
        return changes(old if python else _hardware(old), now)

    def _now(self, python: str) -> Stored:
        if python not in self._known:
            self._known[python] = self._identify(python)
        return self._known[python]


def _identify(python: str) -> Stored:
    return identify(python=python).to_dict()


def _same_machine(old: Stored, new: Stored) -> bool:
    """As far as it can be told without serial numbers: the same board or processor, by name."""
    return all(old.get(key) == new.get(key) for key in ("kind", "model", "title"))


def _hardware(identity: Stored) -> Stored:
    """Without the software: it is not known which interpreter to compare that with."""
    return {key: value for key, value in identity.items() if key != "software"}
