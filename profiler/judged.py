"""Which of our own measurements are believed: each is judged alone, by the sheet of its device.

Never by its peers, and never by a calibration: what is believed does then not depend on the order
in which things are learnt. Everything here is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from jetsched.errors import InputError
from jetsched.profiler.evidence import rate_of
from jetsched.profiler.flaws import MOST_MIB, Flaw, flaws_of
from jetsched.profiler.quality import SLIP, UNCOUNTED_S, Timed, odd_efficiency, times
from jetsched.profiler.roofline import phases_of, rates_of
from jetsched.profiler.store import MeasurementStore
from jetsched.profiler.subjects import Card, Place, Subjects
from jetsched.records import DeviceClass, Measurement, Workload

#: So many times faster than is assumed, launches and all, nothing runs: what is assumed of a device
#: is a share of its sheet, and on the small side.
TOO_FAST = 30.0
#: A job may have one core of the machine that the sheet of a CPU is of: more of them are no proof.
CORES = 16
#: A process may hold a little more than a board says it has: mapped files, and a cap that is soft.
PEAK_OVER = 1.5
#: Utilisation in per cent, rounding included.
MOST_PCT = 100.5
#: Lines of a store that are named before the rest is counted.
MOST_SAID = 20


def warnings(measurement: Measurement, row: int = 0) -> tuple[Flaw, ...]:
    """Everything that is odd about a measurement: what makes it useless, and what only warns."""
    flaws = tuple(useless(measurement, row))
    flaws += tuple(flaw for _, flaw in _ignored(measurement, row))
    timed = None if flaws else timed_of(measurement, row)
    odd = odd_efficiency(timed) if timed else None
    return flaws if odd is None else (*flaws, odd)


def useless(measurement: Measurement, row: int = 0) -> Iterator[Flaw]:
    """Why estimates leave a measurement out: numbers that cannot be, or a time in another unit.

    One that was only assumed is not judged by the sheet: a simulation may have what rates it likes.
    Nor is a command, which need not do what it is like.
    """
    flaws = tuple(flaws_of(measurement, row))
    yield from flaws
    if flaws or measurement.source != "measured" or measurement.workload.kind == "command":
        return
    rate_s = rate_of(measurement)
    told = _by_the_sheet(measurement.workload, measurement.device_class)
    if rate_s is None or not told.assumed_s:
        return
    waits_s = UNCOUNTED_S / max(measurement.workload.batch_size, 1)
    over, under = rate_s / told.assumed_s, told.assumed_s / rate_s
    if rate_s <= told.slow * (told.assumed_s + waits_s) and under <= TOO_FAST:
        return
    factor, how = (over, "longer") if over > 1 else (under, "shorter")
    text = (
        f"a unit of its work took {rate_s:.3g} s, {times(factor)} {how} than the data sheet says"
        f" ({told.assumed_s:.3g} s, launches included): a slip of units"
    )
    if 300 < factor < 3000:
        text += (
            "; milliseconds taken for seconds?" if over > 1 else "; seconds taken for milliseconds?"
        )
    yield Flaw("UnitSlip", row, text)


def believed(measurement: Measurement) -> Measurement | None:
    """What estimates may take from a measurement; None: nothing.

    Numbers that cannot be are not known. A kill by memory counts whatever its sensors said.
    """
    flaws = None if measurement.outcome == "killed_memory" else next(useless(measurement), None)
    if flaws is not None:
        return None
    ignored: dict[str, None] = {name: None for name, _ in _ignored(measurement)}
    return replace(measurement, **ignored) if ignored else measurement  # type: ignore[arg-type]


def named(numbered: Iterable[tuple[int, Measurement]]) -> Iterator[str]:
    """For a person: what is left out of estimates, by its line in the store, and why."""
    for line, m in numbered:
        what = f"line {line}, {m.workload.label}" + (f" of {m.at}" if m.at else "")
        verb = "" if believed(m) else "left out: "
        for flaw in useless(m):
            yield f"{verb}{what}: {flaw}"
        for _, flaw in _ignored(m):
            yield f"{what}: {flaw}"


def read_and_say(store: MeasurementStore, say: Callable[[str], object]) -> list[Measurement]:
    """All measurements of a store; what is wrong with some of its lines is said."""
    numbered = store.numbered()
    wrong = [*map(str, store.bad), *named(numbered)]
    for text in wrong[:MOST_SAID]:
        say(f"✗ {text}")
    if len(wrong) > MOST_SAID:
        say(f"✗ and {len(wrong) - MOST_SAID:,} more: jetsched costs evaluate {store.path}")
    return [measurement for _, measurement in numbered]


def _ignored(m: Measurement, row: int = 0) -> Iterator[tuple[str, Flaw]]:
    """Numbers beside the time that cannot be, by their fields; the measurement stays."""
    has_mib = _has_mib(m)
    most_mib = PEAK_OVER * has_mib + max(m.swap_delta_mib or 0.0, 0.0) if has_mib else MOST_MIB
    for name in ("peak_memory_mib", "live_memory_mib"):
        value = getattr(m, name)
        if value is not None and value > min(most_mib, MOST_MIB):
            has = f"; the device has {has_mib:,.0f}" if has_mib else ", more than any device has"
            text = f"{name} is {_mib(value)}{has}: a slip of units? It is ignored"
            yield name, Flaw("IgnoredNumber", row, text)
    if m.gpu_util_pct is not None and m.gpu_util_pct > MOST_PCT:
        text = f"gpu_util_pct is {m.gpu_util_pct:.4g}, more than 100: it is ignored"
        yield "gpu_util_pct", Flaw("IgnoredNumber", row, text)


def _mib(value: float) -> str:
    return f"{value:,.0f} MiB" if value < 1e9 else f"{value:.3g} MiB"


def _has_mib(m: Measurement) -> float:
    """The device's memory; 0 where nobody knows."""
    total = m.identity.get("memory_total_mib")
    total_mib = float(total) if isinstance(total, (int, float)) else 0.0
    known_mib = max(m.device_class.memory_mib, total_mib)
    return known_mib or _by_the_sheet(m.workload, m.device_class).usable_mib


class _Told(NamedTuple):
    """What the sheet says of a unit of work; seconds, 0 where nothing is known."""

    floor_s: float = 0.0
    overhead_s: float | None = None
    assumed_s: float = 0.0  # with the usual shares of the sheet, launches included
    slow: float = SLIP  # so many times as long is no slowness
    usable_mib: float = 0.0  # of a real board


def timed_of(measurement: Measurement, row: int = 0) -> Timed | None:
    """A unit of a measurement's work beside the sheet of its device; None where it has no rate.

    Nor has a command, of which no sheet tells. The sheet is that of the power mode, or of the
    machine at hand for an emulated board.
    """
    rate_s = measurement.rate_s
    if not rate_s or rate_s < 0 or measurement.workload.kind == "command":
        return None
    key = (measurement.workload, measurement.device_class)
    told = _by_the_sheet(*key)
    return Timed(row, rate_s, told.floor_s, told.overhead_s, key)


@lru_cache(maxsize=4096)
def _by_the_sheet(workload: Workload, device_class: DeviceClass) -> _Told:
    subjects = Subjects()
    card, place = subjects.card(workload), subjects.place(device_class)
    sheet = place.sheet
    if sheet is None:
        return _Told()
    real = place.stack is not None and place.stack.cuda
    told = _Told(
        slow=SLIP if real else SLIP * max(1.0, sheet.cpu_cores / CORES),
        usable_mib=sheet.usable_mib if real else 0.0,
    )
    try:
        counted, assumed = _counted(card, place), card.sheeted(place, calibrated=False)
    except InputError:
        return told
    if counted is None or assumed is None:
        return told
    return told._replace(floor_s=counted[0], overhead_s=counted[1], assumed_s=assumed.rate_s)


def _counted(card: Card, place: Place) -> tuple[float, float] | None:
    """Seconds that a unit of work takes at least, and what is counted beside that."""
    if card.shape is None or place.stack is None or place.sheet is None:
        return None
    sheet, precision = place.sheet, card.workload.precision
    phases = phases_of(card.shape, card.workload, place.stack)
    peak = sheet.peak_gflops.get(precision, sheet.peak_gflops["fp32"]) * 1e9
    bandwidth = sheet.bandwidth_gb_s * 1e9
    compute_s = sum(phase.flops for phase in phases) / peak
    # Only long reads are sure to go to memory; the rest may stay in caches.
    streamed_s = sum(phase.bytes for phase in phases if phase.streams) / bandwidth
    moved_s = sum(phase.bytes for phase in phases if not phase.streams) / bandwidth
    launches_s = sum(phase.launches for phase in phases) * rates_of(sheet)[precision].launch_s
    return max(compute_s, streamed_s), moved_s + launches_s
