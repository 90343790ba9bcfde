"""Whether measured times can be true: against the data sheet, against each other.

Everything here is pure. What cannot be true is left out of fits by whoever reads the rows; an odd
efficiency only warns, and the row is kept.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import median

from jetsched.profiler.flaws import Flaw

#: Efficiencies that are believed: less is an interpreter that waits, more than the sheet cannot be.
LEAST, MOST = 0.02, 1.05
#: So many times off the sheet and the other rows is no spread but another unit: 1000 less what
#: efficiencies differ by.
SLIP = 150.0
#: Faster than the sheet by so much needs no other row to be wrong.
IMPOSSIBLE = 100.0
#: Nor is a row right that beats the sheet by the first, where the device's other rows, so many at
#: least, stay below the second.
FAST, USUAL_FAST, FEWEST = 3.0, 1.5, 2
#: What a run may wait for besides its work where launches were not counted.
UNCOUNTED_S = 5e-3
#: The host's part of a launch in compiled loops, where the device's own is not known.
LAUNCH_S = 5e-6
#: Repeats that differ by more contradict each other.
CONTRADICTS = 2.0


@dataclass(frozen=True, slots=True)
class Timed:
    """A measured time and what the data sheet says of it.

    ``floor_s``: no program is faster (0: not known). ``overhead_s``: launches, and what the sheet
    says less surely; None where nothing was counted. ``key``: what was run, and where.
    """

    row: int
    time_s: float
    floor_s: float
    overhead_s: float | None
    key: Hashable = None

    @property
    def efficiency(self) -> float:
        """Share of the sheet that was reached; above :data:`MOST` by the floor alone."""
        low = (self.floor_s + (self.overhead_s or 0.0)) / self.time_s
        return max(self.floor_s / self.time_s, min(low, 1.0))

    @property
    def believed(self) -> bool:
        return LEAST <= self.efficiency <= MOST


def odd_efficiency(timed: Timed) -> Flaw | None:
    """A warning for an implied efficiency outside 0.02-1.05 of the data sheet."""
    if not timed.floor_s or timed.believed:
        return None
    found = timed.efficiency
    why = "faster than the device can be" if found > MOST else "something else took the time"
    text = f"an efficiency of {found:.3g} of the data sheet ({LEAST} to {MOST} is plausible): {why}"
    return Flaw("Efficiency", timed.row, text)


def unit_slips(timed: Sequence[Timed]) -> list[Flaw]:
    """Times that look like another unit: off by about 1000 from the sheet as the others reach it.

    The sheet decides who is right: a row with a plausible efficiency never is a slip.
    """
    rows = [each for each in timed if each.floor_s]
    if not rows:
        return []
    trusted = [each for each in rows if each.believed] or rows
    usual = exp(median(log(_slowness(each)) for each in trusted))
    usual_fast = exp(median(log(each.time_s / each.floor_s) for each in trusted))
    found = []
    for each in rows:
        if each.believed:
            continue
        over = _slowness(each) / usual
        under = usual_fast * each.floor_s / each.time_s
        if over > SLIP:
            found.append(_slip(each, over, "large"))
        elif under > SLIP or each.floor_s / each.time_s > IMPOSSIBLE:
            found.append(_slip(each, under, "small"))
    return found


def _slowness(timed: Timed) -> float:
    """Times as long as the sheet says. Short runs may wait for what nobody counted."""
    waits_s = UNCOUNTED_S if timed.overhead_s is None else timed.overhead_s
    return timed.time_s / (timed.floor_s + waits_s)


def _slip(timed: Timed, factor: float, how: str) -> Flaw:
    unit = "; in milliseconds, not seconds?" if how == "large" and 300 < factor < 3000 else ""
    text = (
        f"{timed.time_s:g} s is {times(factor)} too {how} by the data sheet and the other"
        f" rows: a slip of units{unit}"
    )
    return Flaw("UnitSlip", timed.row, text)


def times(factor: float) -> str:
    """A factor in words; a number of a hundred digits tells nobody anything."""
    return f"about {factor:,.0f} times" if factor < 1e6 else "more than a million times"


def too_fast(timed: Sequence[Timed]) -> list[Flaw]:
    """Rows of *one device* far above its sheet where most of its other rows stay below it.

    Where they do not, the sheet may be wrong: nobody can say, and an odd efficiency only warns.
    """
    reached = sorted((each.floor_s / each.time_s, each.row) for each in timed if each.floor_s)
    if len(reached) <= FEWEST:
        return []
    found = []
    for place, (share, row) in enumerate(reached):
        if share <= FAST:
            continue
        usual = _median_without(reached, place)
        if usual >= USUAL_FAST:
            continue
        text = (
            f"an efficiency of {share:.3g} of the data sheet, and the device's other rows reach"
            f" {usual:.2g}: faster than it can be"
        )
        found.append(Flaw("Impossible", row, text))
    return found


def _median_without(ordered: Sequence[tuple[float, int]], place: int) -> float:
    """The median of all values but one, in no time: a table may have many that are too fast."""
    last = len(ordered) - 2
    low, high = (
        ordered[index if index < place else index + 1][0] for index in (last // 2, (last + 1) // 2)
    )
    return (low + high) / 2


def duplicates(keys: Iterable[tuple[int, Hashable]]) -> list[Flaw]:
    """Rows that repeat an earlier one to the last digit: (row, everything that is in it)."""
    first: dict[Hashable, int] = {}
    found = []
    for row, key in keys:
        if key in first:
            found.append(Flaw("Duplicate", row, f"the same as row {first[key]}, to the last digit"))
        else:
            first[key] = row
    return found


def contradictions(timed: Sequence[Timed]) -> list[Flaw]:
    """Rows of one key whose times differ by more than a factor of two.

    Where most of them agree, the others are wrong; else nothing tells who is right: all are.
    """
    groups: dict[Hashable, list[Timed]] = {}
    for each in timed:
        groups.setdefault(each.key, []).append(each)
    found = []
    for group in groups.values():
        times = [each.time_s for each in group]
        if max(times) <= CONTRADICTS * min(times):
            continue
        middle = exp(median(map(log, times)))
        near = middle * CONTRADICTS**0.5
        agree = [each for each in group if middle**2 / near <= each.time_s <= near]
        if 2 * len(agree) <= len(group):
            agree = []
        right = {each.row for each in agree}
        found += [_contradiction(each, agree or group) for each in group if each.row not in right]
    return sorted(found, key=lambda flaw: flaw.row)


def _contradiction(timed: Timed, others: Sequence[Timed]) -> Flaw:
    rest = [each for each in others if each.row != timed.row]
    far = max(rest, key=lambda each: abs(log(each.time_s / timed.time_s)))
    rows = ", ".join(str(each.row) for each in rest[:5]) + (", ..." if len(rest) > 5 else "")
    factor = max(far.time_s / timed.time_s, timed.time_s / far.time_s)
    text = (
        f"contradicts row{'s' if len(rest) > 1 else ''} {rows}: the same work on the same device"
        f" took {timed.time_s:.4g} s here and {far.time_s:.4g} s there, {_factor(factor)}"
    )
    return Flaw("Contradiction", timed.row, text)


def _factor(factor: float) -> str:
    return f"a factor of {factor:,.1f}" if factor < 1e6 else "a factor of more than a million"
