"""The last minutes of a board: a ring of what its node has said, small enough for hundreds."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Literal

#: So many samples are kept of a board: six minutes of a node that is looked at every three seconds.
KEPT = 120
#: What is kept of a reading. None stands where nobody knows it.
Quantity = Literal["gpu_util_pct", "memory_mib", "power_w", "temperature_c"]
QUANTITIES: tuple[Quantity, ...] = ("gpu_util_pct", "memory_mib", "power_w", "temperature_c")

#: By quantity, and the moments as ``at_s``: lists of one length, oldest first.
Told = dict[str, list[float | None]]


class Recent:
    """The last samples of one board.

    ``at_s`` are seconds on the cluster's clock; the rest are floats of 32 bits, which is more than
    any sensor tells. One thread adds and copies; a copy is for whoever has it.
    """

    __slots__ = ("_at", "_columns", "_count", "_next")

    def __init__(self, kept: int = KEPT) -> None:
        self._at = array("d", bytes(8 * kept))
        self._columns = [array("f", bytes(4 * kept)) for _ in QUANTITIES]
        self._next = self._count = 0

    def add(self, at_s: float, values: Sequence[float | None]) -> None:
        """A sample, in the order of :data:`QUANTITIES`. One that is not newer is left out."""
        at_s = round(at_s, 3)  # as it is told, so that who asks for newer ones gets none twice
        if self._count and at_s <= self._at[self._next - 1]:
            return  # a clock that was set back must not cross the lines of a picture
        self._at[self._next] = at_s
        for column, value in zip(self._columns, values, strict=True):
            column[self._next] = nan if value is None else value
        self._next = (self._next + 1) % len(self._at)
        self._count = min(self._count + 1, len(self._at))

    def copy(self) -> Recent:
        """The same samples, once more; cheap, for the thread that has no time to tell them."""
        made = Recent.__new__(Recent)
        made._at, made._columns = self._at[:], [column[:] for column in self._columns]
        made._next, made._count = self._next, self._count
        return made

    @property
    def last_s(self) -> float | None:
        """When the newest sample was taken."""
        return self._at[self._next - 1] if self._count else None

    def newest(self, name: str, most: int) -> Sequence[float]:
        """The newest ``most`` samples of one of :data:`QUANTITIES` as they are kept, oldest first:
        not a number where nobody knows."""
        column, most = self._columns[QUANTITIES.index(name)], min(most, self._count)
        start = self._next - most
        return column[start : self._next] if start >= 0 else column[start:] + column[: self._next]

    def told(self, after_s: float | None = None, most: int = KEPT) -> Told:
        """The newest ``most`` samples, or those of them that are newer than ``after_s``."""
        size = len(self._at)
        places = [(self._next - n) % size for n in range(min(self._count, max(most, 0)), 0, -1)]
        if after_s is not None:
            places = [place for place in places if self._at[place] > after_s]
        found: Told = {"at_s": [self._at[place] for place in places]}
        for name, column in zip(QUANTITIES, self._columns, strict=True):
            found[name] = [_rounded(column[place]) for place in places]
        return found


def _rounded(value: float) -> float | None:
    return None if isnan(value) else round(value, 2)


def told_of(
    boards: Mapping[str, Recent], after_s: float | None = None, most: int = KEPT
) -> dict[str, Told]:
    """:meth:`Recent.told` of each board that has something to tell."""
    found = {device_id: recent.told(after_s, most) for device_id, recent in boards.items()}
    return {device_id: told for device_id, told in found.items() if told["at_s"]}
