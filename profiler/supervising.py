"""What a supervisor does while its workload runs: make it slower, and notice when it is to end.

Part of the supervisor: standard library only, Python >= 3.8.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any

from jetsched.profiler import procfs

#: Length of one run-and-rest cycle of a slowed-down workload.
PERIOD_S = 0.1
#: How often heat, silence and the disk are looked at.
LOOK_S = 1.0
#: One reading above the limit may be a sensor's mistake; so many in a row are heat.
HOT_LOOKS = 3
#: Signs of life: what the workload writes.
SIGNS = ("events.jsonl", "log.txt")


class Watch:
    """Notices when a workload is to end that nobody has asked to end, and how full its disk gets.

    All by the monotonic clock: somebody may set the other one. The order has ``time_limit_s``,
    ``stall_s`` (how long it may show no sign of life) and ``heat``: files in thousandths of a
    degree, each with its name and its limit in degrees.
    """

    def __init__(self, order: dict[str, Any], start: float) -> None:
        limit = order.get("time_limit_s")
        self.limit_at = start + limit if limit else float("inf")
        self.stall_s: float = order.get("stall_s") or float("inf")
        self.heat: list[list[Any]] = order.get("heat") or []
        self.folder: str = order["folder"]
        self.every_s = min(LOOK_S, self.stall_s / 4)
        self.looked = self.heard = start
        self.next_look = start
        self.written = -1  # bytes, of all signs of life
        self.hot = 0  # looks in a row
        self.disk_least_mib = procfs.free_mib(self.folder)

    @property
    def next_at(self) -> float:
        """When it wants to look again."""
        return min(self.limit_at, self.next_look)

    def look(self, now: float) -> tuple[str, str, str] | None:
        """An outcome, what it is for, and a sentence; None while all is well."""
        if now >= self.limit_at:
            return "killed_time", "time", ""
        if now < self.next_look:
            return None
        asleep = now - self.looked - self.every_s
        if asleep > 2 * LOOK_S:  # we were stopped ourselves: that is no silence of the workload's
            self.heard += asleep
        self.looked, self.next_look = now, now + self.every_s
        self.see_disk()
        return self._heat() or self._silence(now)

    def see_disk(self) -> None:
        """To be called at the end too, before anything is removed."""
        free = procfs.free_mib(self.folder)
        if free is not None:
            least = self.disk_least_mib
            self.disk_least_mib = free if least is None else min(free, least)

    def _heat(self) -> tuple[str, str, str] | None:
        hottest = ""
        for name, path, limit_c in self.heat:
            text = procfs.read(path).strip()
            if text.lstrip("-").isdigit() and int(text) / 1000 >= limit_c:
                hottest = f"{name} reached {int(text) / 1000:.1f} C, its limit is {limit_c:.1f} C"
        self.hot = self.hot + 1 if hottest else 0
        return ("killed_heat", "heat", hottest) if self.hot >= HOT_LOOKS else None

    def _silence(self, now: float) -> tuple[str, str, str] | None:
        written = sum(procfs.size_of(os.path.join(self.folder, name)) for name in SIGNS)
        if written != self.written:
            self.written, self.heard = written, now
        silent_s = now - self.heard
        if silent_s < self.stall_s:
            return None
        return "lost", "stall", f"it showed no sign of life for {silent_s:.0f} s"


class Duty:
    """Makes a workload slower by a factor: after each run it rests (factor - 1) times as long.

    The rest follows what the run really took, so late wake-ups do not add up. It stops the
    workload's process group; what has left the group is not slowed down.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.group = 0
        self.resting = False
        self.since = 0.0
        self.owed_s = 0.0  # rest that is still due
        self.rested_s = 0.0
        self.next_at = float("inf")

    def begin(self, group: int) -> None:
        self.group = group
        self.since = time.monotonic()
        if self.factor > 1.0:
            self.next_at = self.since + PERIOD_S / self.factor

    def turn(self, now: float) -> float:
        """Stop or continue the group if it is time; returns when it wants to be called again."""
        if now < self.next_at:
            return self.next_at
        lasted, self.since = now - self.since, now
        if self.resting:
            self.rested_s += lasted
            self.owed_s -= lasted  # below zero when it overslept: the next rest is shorter
            self.next_at = now + PERIOD_S / self.factor
            send(self.group, signal.SIGCONT)
        else:
            self.owed_s += lasted * (self.factor - 1.0)
            self.next_at = now + max(self.owed_s, 0.001)
            send(self.group, signal.SIGSTOP)
        self.resting = not self.resting
        return self.next_at

    def end(self) -> None:
        """Never leave it stopped: a stopped process does not see SIGTERM."""
        self.next_at = float("inf")
        if self.resting:
            self.rested_s += time.monotonic() - self.since
            self.resting = False
        if self.group:
            send(self.group, signal.SIGCONT)


def send(group: int, number: int) -> None:
    """Signal a process group that may be gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
