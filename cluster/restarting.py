"""A process that is started again whenever it ends, after a pause that grows."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from jetsched.cluster.processes import OwnProcess, end, mates, programs

#: A raylet with a detached actor takes ten seconds to go by itself, and has nothing to save.
RAY_PATIENCE_S = 1.0

#: What the scheduler ends with when Ray is gone: whoever keeps it alive looks after Ray first.
RAY_GONE_CODE = 75

#: The programs that `ray start` starts, and cannot do without.
RAY_PROGRAMS = frozenset({"gcs_server", "raylet"})
#: `ray start` looks after them only when all of them run; until then it waits for a dead one, up to
#: a minute. So for so long we look ourselves, so often.
LAUNCH_S, LAUNCH_LOOK_S = 60.0, 1.0

Starter = Callable[[], subprocess.Popen[bytes]]


@dataclass
class Pauses:
    """How long to wait before the next start: longer each time that the last one lived briefly.

    By a clock that never goes back (``time.monotonic``).
    """

    first_s: float = 0.2
    most_s: float = 30.0
    calm_s: float = 30.0  # who has lived for so long begins anew
    _pause_s: float = 0.0
    _started: float = 0.0
    _due: float = 0.0

    def started(self, now: float) -> None:
        self._started = now

    def ended(self, now: float) -> None:
        """It ended, or could not be started."""
        brief = now - self._started < self.calm_s and self._pause_s > 0
        self._pause_s = min(self.most_s, 2 * self._pause_s) if brief else self.first_s
        self._due = now + self._pause_s

    def is_over(self, now: float) -> bool:
        return now >= self._due


class Launch:
    """Whether a process that has just been started has lost one of the programs it starts."""

    def __init__(self, process: OwnProcess, vital: frozenset[str]) -> None:
        self._process, self._vital = process, vital
        self._seen: set[str] = set()
        self._due = time.monotonic()
        self._over = self._due + LAUNCH_S

    def has_failed(self) -> bool:
        now = time.monotonic()
        if not self._vital or not self._due <= now < self._over:
            return False
        self._due = now + LAUNCH_LOOK_S
        # By name, not one by one: what a program forks has its name too, for a moment. One that
        # died before it was seen is still there as a zombie: `ray start` does not look yet.
        alive, dead = (names & self._vital for names in programs(self._process))
        self._seen |= alive | dead
        return self._seen != alive


class Kept:
    """One process of a role, with its session. Who uses it calls :meth:`has_ended` now and then.

    ``process`` is one that lives already: it is kept on, whoever started it. ``vital`` are the
    names of programs that it starts: it is ended when one of them dies while it is being started.
    """

    def __init__(
        self,
        role: str,
        process: OwnProcess | None = None,
        *,
        device: str = "",
        vital: frozenset[str] = frozenset(),
    ) -> None:
        self.role, self.device = role, device
        self._vital = vital
        self._launch: Launch | None = None
        self.process = process
        self.code: int | None = None  # how the last one ended, where it was our child
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.device or self.role

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive

    def start(self, starter: Starter) -> None:
        """Start it, once nothing of its predecessor's session is left."""
        self.clear()
        self._child = starter()
        self.process = OwnProcess.of(self._child.pid, self.role, self.device)
        if self.process is not None:
            self._launch = Launch(self.process, self._vital)

    def has_ended(self) -> bool:
        """Whether it was there and is not any more; told once, and what it left is ended."""
        if self._launch is not None and self.alive and self._launch.has_failed():
            self.end(RAY_PATIENCE_S)
            return True
        if self.process is None or self.process.alive:
            return False
        self.clear()
        return True

    def end(self, grace_s: float) -> None:
        """End it with its session; returns when it is gone."""
        if self.process is not None:
            end([self.process, *mates(self.process)], grace_s)
            self.clear()

    def clear(self) -> None:
        """End what is left of its session, and forget it. No supervisor of an attempt is hurt."""
        if self.process is not None:
            end(mates(self.process), RAY_PATIENCE_S)
        if self._child is not None:
            self.code = self._child.wait() if not self.alive else None
        self.process = self._child = self._launch = None
