"""The last minutes of every board, as `jetsched top` draws them: one value for each few seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jetsched.cluster.recent import QUANTITIES, Quantity

Json = Mapping[str, Any]

#: Of each so many seconds one value is kept, the last.
CELL_S = 5.0
#: Six minutes.
KEPT = 72

_Cell = tuple[int, tuple[float | None, ...]]


class Trails:
    """What boards have read lately. Times are those of the head's clock, in seconds.

    For one thread: another one is given a :meth:`copy`.
    """

    def __init__(self) -> None:
        #: Of each board its cells, oldest first: (number of the cell, values by quantity).
        self._cells: dict[str, deque[_Cell]] = {}
        self._newest = 0

    def add(self, devices: Iterable[Json], at_s: float) -> None:
        """The rows of all boards at a moment; those that are gone are forgotten."""
        number = self._newest = max(int(at_s / CELL_S), self._newest)
        kept: dict[str, deque[_Cell]] = {}
        for device in devices:
            cells = self._cells.get(device["id"]) or deque[_Cell](maxlen=KEPT)
            kept[device["id"]] = cells
            cell = (number, tuple([device.get(name) for name in QUANTITIES]))
            if cells and cells[-1][0] == number:
                cells[-1] = cell
            else:
                cells.append(cell)
        self._cells = kept

    def seed(self, recent: Mapping[str, Json]) -> None:
        """What the head has of the minutes before, by board: a list for each quantity, and *at_s*.

        What is there of the same moments stays.
        """
        for device_id, told in recent.items():
            merged: dict[int, tuple[float | None, ...]] = {}
            columns = [told[name] for name in QUANTITIES]
            for at_s, *values in zip(told["at_s"], *columns, strict=True):
                merged[int(at_s / CELL_S)] = tuple(values)
            merged.update(self._cells.get(device_id, ()))
            self._cells[device_id] = deque(sorted(merged.items()), maxlen=KEPT)
            if merged:
                self._newest = max(self._newest, max(merged))

    def copy(self) -> Trails:
        """The same values, which stay as they are whatever is added here."""
        found = Trails()
        found._cells = {device_id: cells.copy() for device_id, cells in self._cells.items()}
        found._newest = self._newest
        return found

    def of(self, device_id: str, quantity: Quantity, count: int) -> Sequence[float | None]:
        """The last ``count`` values of a board, oldest first; None where nothing is known."""
        place = QUANTITIES.index(quantity)
        first = self._newest - count + 1
        found: list[float | None] = [None] * count
        for number, values in reversed(self._cells.get(device_id, ())):
            if number < first:
                break
            found[number - first] = values[place]
        return found
