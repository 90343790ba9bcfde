"""The free and the busy devices of a kind, cheap to change and sorted only when somebody looks."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from sortedcontainers import SortedList


class FreeDevices:
    """Device ids, of which the first in the order of ids is found at once."""

    __slots__ = ("_heap", "_ids", "_sorted")

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._heap: list[str] = []  # every id of the set, and some that have gone since
        self._sorted: list[str] | None = None

    def add(self, device_id: str) -> None:
        self._ids.add(device_id)
        heappush(self._heap, device_id)
        self._sorted = None

    def remove(self, device_id: str) -> None:
        self._ids.remove(device_id)
        self._sorted = None
        heap = self._heap
        if heap[0] == device_id:
            heappop(heap)
        elif len(heap) > 2 * len(self._ids) + 16:
            self._heap = list(self._ids)
            heapify(self._heap)

    def clear(self) -> None:
        self._ids.clear()
        self._heap.clear()
        self._sorted = None

    def first(self) -> str | None:
        """The first id; None if there is none."""
        heap, ids = self._heap, self._ids
        while heap and heap[0] not in ids:
            heappop(heap)
        return heap[0] if heap else None

    def in_order(self) -> list[str]:
        """All ids, sorted. Not to be changed."""
        if self._sorted is None:
            self._sorted = sorted(self._ids)
        return self._sorted

    def __contains__(self, device_id: str) -> bool:
        return device_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.in_order())


class BusyDevices:
    """(estimated finish, device id) pairs. Changes are kept back until somebody looks."""

    __slots__ = ("_added", "_removed", "_sorted")

    def __init__(self) -> None:
        self._sorted: SortedList[tuple[float, str]] = SortedList()
        self._added: set[tuple[float, str]] = set()
        self._removed: set[tuple[float, str]] = set()

    def add(self, finish_s: float, device_id: str) -> None:
        pair = (finish_s, device_id)
        if pair in self._removed:
            self._removed.remove(pair)
        else:
            self._added.add(pair)

    def remove(self, finish_s: float, device_id: str) -> None:
        pair = (finish_s, device_id)
        if pair in self._added:
            self._added.remove(pair)
        else:
            self._removed.add(pair)

    def in_order(self) -> SortedList[tuple[float, str]]:
        """All pairs, sorted. Not to be changed."""
        changes = len(self._added) + len(self._removed)
        if not changes:
            return self._sorted
        if changes > 8 + len(self._sorted) // 8:
            kept = [pair for pair in self._sorted if pair not in self._removed]
            self._sorted = SortedList(kept)
            self._sorted.update(self._added)
        else:
            for pair in self._removed:
                self._sorted.remove(pair)
            for pair in self._added:
                self._sorted.add(pair)
        self._added.clear()
        self._removed.clear()
        return self._sorted

    def __len__(self) -> int:
        return len(self._sorted) + len(self._added) - len(self._removed)

    def __iter__(self) -> Iterator[tuple[float, str]]:
        return iter(self.in_order())
