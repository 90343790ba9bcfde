"""What the measurements of a board that got slower carry beside the time, and what to do about it.

Throttling, heat, clocks, another power mode: whatever was different in the runs that were off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from jetsched.profiler.samples import CLOCK_DROP
from jetsched.profiler.staleness import COMPARED, changes
from jetsched.records import Measurement

#: So much hotter than before is worth a word, and so hot in any case (a Jetson slows down above).
HOTTER_C, HOT_C = 10.0, 85.0
#: The most reasons that are told of the hardware's own words about holding itself back.
MOST_WORDS = 2


@dataclass(frozen=True, slots=True)
class Facts:
    """What one run shows of its board. None: nobody saw it."""

    board: Mapping[str, Any] = field(default_factory=dict)  # its identity, what staleness compares
    emulated: bool = False
    temperature_c: float | None = None  # the highest
    busy_mhz: float | None = None  # the GPU's lowest clock under load, else its highest
    throttling: tuple[str, ...] = ()  # in the hardware's own words


NO_FACTS = Facts()


def facts_of(measurement: Measurement) -> Facts:
    """The facts of a run; the power mode is the one that telemetry saw, where it saw one."""
    identity = measurement.identity
    telemetry = identity.get("telemetry") or {}
    board = {key: identity[key] for key in COMPARED if identity.get(key) is not None}
    if telemetry.get("power_mode"):
        board["power_mode"] = telemetry["power_mode"]
    return Facts(
        board,
        measurement.emulated,
        measurement.temperature_c,
        telemetry.get("gpu_busy_mhz") or telemetry.get("gpu_mhz"),
        tuple(map(str, telemetry.get("throttling") or ())),
    )


def causes(
    before: Sequence[Facts], after: Sequence[Facts], *, slower: bool
) -> tuple[tuple[str, ...], str]:
    """What was different in the runs after a change (one at least), and what to do, in words."""
    now = after[-1]
    changed = changes(before[-1].board, now.board) if before else []
    held = list(dict.fromkeys(word for facts in after for word in facts.throttling))[:MOST_WORDS]
    hot = _heat(
        _middle(before, lambda f: f.temperature_c), _middle(after, lambda f: f.temperature_c)
    )
    clock = _clock(_middle(before, lambda f: f.busy_mhz), _middle(after, lambda f: f.busy_mhz))
    seen = (*changed, *held, *hot, *clock) if slower else (*changed, *clock)
    if changed:
        return seen, "set it back, or run jetsched profile there"
    if slower and (held or hot):
        return seen, "see to its cooling and power supply"
    if slower and now.emulated:
        return seen, "other work on this machine? else run jetsched profile"
    if slower:
        return seen, "run jetsched doctor there, then jetsched profile"
    return seen, "run jetsched profile there"


def _middle(runs: Sequence[Facts], value: Callable[[Facts], float | None]) -> float | None:
    known = [found for facts in runs if (found := value(facts)) is not None]
    return median(known) if known else None


def _heat(was: float | None, now: float | None) -> list[str]:
    if now is None or not (now >= HOT_C or (was is not None and now >= was + HOTTER_C)):
        return []
    return [f"{now:.0f} °C" + (f" ({was:.0f} before)" if was is not None else "")]


def _clock(was: float | None, now: float | None) -> list[str]:
    if not was or not now or abs(now / was - 1) < CLOCK_DROP:
        return []
    return [f"GPU at {now:.0f} MHz ({was:.0f} before)"]
