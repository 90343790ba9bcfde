"""The free and the busy devices of a kind, cheap to change and sorted only when somebody looks."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from sortedcontainers import SortedList


class FreeDevices(set[str]):
    """Device ids, of which the first in the order of ids is found at once."""

    __slots__ = ("_heap", "_sorted")

    def __init__(self) -> None:
        self._heap: list[str] = []  # every id of the set, and some that have gone since
        self._sorted: list[str] | None = None

    def add(self, device_id: str) -> None:
        set.add(self, device_id)
        heappush(self._heap, device_id)
        self._sorted = None

    def remove(self, device_id: str) -> None:
        set.remove(self, device_id)
        self._sorted = None
        heap = self._heap
        if heap[0] == device_id:
            heappop(heap)
        elif len(heap) > 2 * len(self) + 16:
            self._heap = list(set.__iter__(self))
            heapify(self._heap)

    def clear(self) -> None:
        set.clear(self)
        self._heap.clear()
        self._sorted = None

    def first(self) -> str | None:
        """The first id; None if there is none."""
        heap = self._heap
        while heap and heap[0] not in self:
            heappop(heap)
        return heap[0] if heap else None

    def in_order(self) -> list[str]:
        """All ids, sorted. Not to be changed."""
        if self._sorted is None:
            self._sorted = sorted(set.__iter__(self))
        return self._sorted

    def __iter__(self) -> Iterator[str]:
        return iter(self.in_order())


class BusyDevices(dict[str, float]):
    """Device id -> estimated finish; in the order of finish for those who ask for it.

    While nobody asks, nothing is sorted: a policy that looks at free devices only never pays.
    """

    __slots__ = ("_changed", "_known", "_sorted")

    def __init__(self) -> None:
        self._sorted: SortedList[tuple[float, str]] = SortedList()
        self._known: dict[str, float] = {}  # what stands in it
        self._changed: set[str] | None = None  # since somebody asked; None: too many to say

    def add(self, device_id: str, finish_s: float) -> None:
        self[device_id] = finish_s
        if self._changed is not None:
            self._changed.add(device_id)

    def remove(self, device_id: str) -> None:
        del self[device_id]
        if self._changed is not None:
            self._changed.add(device_id)

    def in_order(self) -> SortedList[tuple[float, str]]:
        """(finish, device id) pairs, sorted. Not to be changed."""
        changed, known = self._changed, self._known
        if changed is None or len(changed) > 8 + len(self) // 8:
            self._sorted = SortedList((at_s, device_id) for device_id, at_s in self.items())
            self._known = dict(self)
            self._changed = set()
            return self._sorted
        for device_id in changed:
            if (before_s := known.pop(device_id, None)) is not None:
                self._sorted.remove((before_s, device_id))
            if (finish_s := self.get(device_id)) is not None:
                self._sorted.add((finish_s, device_id))
                known[device_id] = finish_s
        changed.clear()
        return self._sorted
