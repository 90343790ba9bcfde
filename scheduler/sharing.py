"""Boards that run more than one job at a time, where the scheduler was told that they may.

Off by default: one job per board is the safe rule. A board with any job is *busy* for all that know
nothing of this; only who asks for room beside others gets it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from sortedcontainers import SortedList

from jetsched.records import Estimate


class Occupant(NamedTuple):
    """What a running job was expected to take of its board."""

    job_id: str
    finish_s: float
    admitted_mib: float
    gpu_pct: float | None


def occupant_of(job_id: str, estimate: Estimate, finish_s: float) -> Occupant:
    return Occupant(job_id, finish_s, estimate.admitted_mib, estimate.gpu_util_pct)


def has_room(there: Collection[Occupant], limit: int) -> bool:
    """Whether a board with these jobs has room for one more, as far as they are known."""
    if not 0 < len(there) < limit:
        return False
    return all(o.gpu_pct is not None and o.admitted_mib > 0 for o in there)


class Sharing:
    """Who is on which board, and which boards have room for one more.

    ``limit`` is how many jobs a board takes at most. Room is only where the memory and the GPU
    share of all that run there are known: what is not known cannot be packed.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.boards: dict[str, dict[str, Occupant]] = {}
        self._room: dict[int, SortedList[tuple[float, str]]] = {}  # by the index of the kind

    def on(self, device_id: str) -> Mapping[str, Occupant]:
        """The jobs on the board by id, in the order in which they came."""
        return self.boards.get(device_id, {})

    def room(self, kind_index: int) -> Iterator[tuple[float, str]]:
        """(GPU share that is used in per cent, device id) of boards with room, the idlest first."""
        return iter(self._room.get(kind_index, ()))

    def enter(self, device_id: str, kind_index: int, occupant: Occupant) -> None:
        self._discard(device_id, kind_index)
        self.boards.setdefault(device_id, {})[occupant.job_id] = occupant
        self._offer(device_id, kind_index)

    def leave(self, device_id: str, kind_index: int, job_id: str) -> None:
        self._discard(device_id, kind_index)
        board = self.boards[device_id]
        del board[job_id]
        if board:
            self._offer(device_id, kind_index)
        else:
            del self.boards[device_id]

    def lift(self, device_id: str, kind_index: int) -> list[Occupant]:
        """Take all off the board, because it is gone or becomes another one."""
        self._discard(device_id, kind_index)
        return list(self.boards.pop(device_id, {}).values())

    def _offer(self, device_id: str, kind_index: int) -> None:
        used_pct = self._used_pct(device_id)
        if used_pct is not None:
            self._room.setdefault(kind_index, SortedList()).add((used_pct, device_id))

    def _discard(self, device_id: str, kind_index: int) -> None:
        used_pct = self._used_pct(device_id)
        if used_pct is not None:
            self._room[kind_index].remove((used_pct, device_id))

    def _used_pct(self, device_id: str) -> float | None:
        """The GPU share in use on a board with room; None if it has none."""
        there = self.boards.get(device_id, {}).values()
        if not has_room(there, self.limit):
            return None
        return sum(occupant.gpu_pct or 0.0 for occupant in there)
