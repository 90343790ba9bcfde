"""When boards were there, from a journal entry by entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from jetsched.records import DeviceClass
from jetsched.scheduler.events import DeviceJoined, DeviceLost, DeviceRemoved, Entry


@dataclass(frozen=True)
class BoardPast:
    """A board in a span of time: how long it was there, and from when to when it was away.

    ``device_class`` is what it was last.
    """

    id: str
    device_class: DeviceClass
    there_s: float
    away: Sequence[tuple[float, float]]


@dataclass
class _Seen:
    device_class: DeviceClass
    #: (from when on, whether it was there)
    changes: list[tuple[float, bool]] = field(default_factory=list)


class Presences:
    """Gathers when boards came and went."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def take(self, entry: Entry) -> None:
        """Take in the next entry."""
        if isinstance(entry, DeviceJoined):
            seen = self._seen.setdefault(entry.device.id, _Seen(entry.device.device_class))
            seen.device_class = entry.device.device_class
            _note(seen, entry.at_s, there=True)
        elif isinstance(entry, DeviceLost | DeviceRemoved) and entry.device_id in self._seen:
            _note(self._seen[entry.device_id], entry.at_s, there=False)

    def boards(self, from_s: float, until_s: float) -> list[BoardPast]:
        """The boards that were there in a part of that time, at least."""
        found = []
        for id, seen in sorted(self._seen.items()):
            away = _away(seen.changes, from_s, until_s)
            there_s = until_s - from_s - sum(end_s - start_s for start_s, end_s in away)
            if there_s > 0:
                found.append(BoardPast(id, seen.device_class, there_s, away))
        return found


def _note(seen: _Seen, at_s: float, *, there: bool) -> None:
    if not seen.changes or seen.changes[-1][1] != there:
        seen.changes.append((at_s, there))


def _away(
    changes: Sequence[tuple[float, bool]], from_s: float, until_s: float
) -> list[tuple[float, float]]:
    """When it was not there, within that time; before it came first it was not, either."""
    spans = [(-inf, False), *changes, (inf, True)]
    found = []
    for (start_s, there), (end_s, _) in pairwise(spans):
        start_s, end_s = max(start_s, from_s), min(end_s, until_s)
        if not there and start_s < end_s:
            found.append((start_s, end_s))
    return found
