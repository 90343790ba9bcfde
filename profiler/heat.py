"""How hot a board may become before a workload is ended: each zone's own limit.

The kernel of a board holds it back from a zone's *passive* trip point on, and switches the board
off at the *critical* one. Between the two the board is still safe, but nothing that is measured
there says anything, and the next degrees end everything that runs on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jetsched.profiler.sensors_sysfs import number_in, text_in
from jetsched.profiler.tegrastats import plausible

#: Below the critical point, where the kernel knows no passive one.
MARGIN_C = 5.0
#: A board that was too hot takes new work when every zone is this far below its limit.
COOLED_C = 10.0


@dataclass(frozen=True)
class Zone:
    """One thermal zone with its limit; ``file`` holds thousandths of a degree."""

    name: str
    file: Path
    limit_c: float

    def temperature_c(self) -> float | None:
        """What it says now; None where it is off, or what it says is nonsense."""
        value = number_in(self.file)
        found = {} if value is None else plausible({self.name: value / 1000})
        return found.get(self.name)


def zones_of(root: Path, limit_c: float | None = None) -> tuple[Zone, ...]:
    """The zones of a board that have a limit, below a root folder.

    ``limit_c`` is one for all; without it each has the middle between where the kernel begins to
    hold the board back and where it switches it off, as its trip points say. 0: no limits.
    """
    if limit_c == 0:
        return ()
    found = []
    for folder in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name = text_in(folder / "type") or folder.name
        limit = _own_limit(folder) if limit_c is None else limit_c
        if limit is not None and not name.upper().startswith("PMIC"):
            found.append(Zone(name, folder / "temp", limit))
    return tuple(found)


def _own_limit(folder: Path) -> float | None:
    trips: dict[str, list[float]] = {}
    for kind in folder.glob("trip_point_*_type"):
        value = number_in(folder / kind.name.replace("_type", "_temp"))
        if value is not None and value > 0:
            trips.setdefault(text_in(kind), []).append(value / 1000)
    if "critical" not in trips:
        return None
    off = min(trips["critical"])
    held_back = [trip for trip in trips.get("passive", ()) if trip < off]
    return (max(held_back) + off) / 2 if held_back else off - MARGIN_C
