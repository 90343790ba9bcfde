"""Where events and actions are written down before anything is done about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from jetsched.scheduler.events import Entry


class Journal(Protocol):
    """An append-only list of entries, in the order in which they changed the state."""

    def append(self, entry: Entry) -> None:
        """Keep the entry. When this returns, it must survive a crash of the process."""
        ...


class MemoryJournal:
    """Keeps the entries in a list: for simulations and tests, which need not survive."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)


class NoJournal:
    """Keeps nothing: for simulations of a million jobs."""

    def append(self, entry: Entry) -> None:
        pass
