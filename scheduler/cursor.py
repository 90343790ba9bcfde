"""Which device of a kind is free first, given what one decision has given away already."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush

from sortedcontainers import SortedList

from jetsched.scheduler.state import ClassState

#: A busy device whose job is overdue is expected at least this long from now.
OVERDUE_S = 1.0

#: Sorts after every device id.
LAST_ID = chr(0x10FFFF)


def expected_s(finish_s: float, now_s: float) -> float:
    """When a busy device should be free. What is overdue by x is expected to take x more."""
    return finish_s if finish_s > now_s else now_s + max(OVERDUE_S, now_s - finish_s)


def first_clocks(kind: ClassState, most: int, now_s: float) -> list[float]:
    """When the first so many devices of a kind are free, sorted, where nothing is given away.

    The busy ones come from both sides of now: of those that are overdue, the least is first.
    """
    free_s = [now_s] * min(most, len(kind.free))
    more = most - len(free_s)
    if not more:
        return free_s
    busy = kind.busy.in_order()
    due = busy.bisect_right((now_s, LAST_ID))
    late = (expected_s(at_s, now_s) for at_s, _ in busy.islice(max(0, due - more), due))
    soon = (at_s for at_s, _ in busy.islice(due, due + more))
    return free_s + sorted([*late, *soon])[:more]


class Cursor:
    """Finds the earliest device of a kind: free ones by id, then busy ones by expected finish.

    Two marks run over the busy ones, which are sorted by estimated finish: one up from now on, one
    down through those that are overdue (the least overdue is expected first).
    """

    __slots__ = ("_busy", "_due_at", "_free_at", "_kind", "_late_at", "_planned")

    def __init__(self, kind: ClassState) -> None:
        self._kind = kind
        self._free_at = 0
        self._busy: SortedList[tuple[float, str]] | None = None  # until it is looked at
        self._due_at = 0
        self._late_at = -1
        self._planned: list[tuple[float, str]] = []

    def earliest(self, now_s: float, taken_s: Mapping[str, float]) -> tuple[float, str]:
        """(start, device id); the kind has at least one device."""
        free = self._kind.free.in_order()
        while self._free_at < len(free):
            if free[self._free_at] not in taken_s:
                return now_s, free[self._free_at]
            self._free_at += 1
        busy, planned = self._busy, self._planned
        if busy is None:
            busy = self._busy = self._kind.busy.in_order()
            self._due_at = busy.bisect_right((now_s, LAST_ID))
            self._late_at = self._due_at - 1
        while self._due_at < len(busy) and busy[self._due_at][1] in taken_s:
            self._due_at += 1
        while self._late_at >= 0 and busy[self._late_at][1] in taken_s:
            self._late_at -= 1
        while planned and taken_s[planned[0][1]] != planned[0][0]:
            heappop(planned)  # the device was given away again, until later
        found = planned[:1]
        if self._due_at < len(busy):
            found.append(busy[self._due_at])
        if self._late_at >= 0:
            finish_s, device_id = busy[self._late_at]
            found.append((expected_s(finish_s, now_s), device_id))
        return min(found)

    def plan(self, finish_s: float, device_id: str) -> None:
        heappush(self._planned, (finish_s, device_id))
