"""A journal that is written in groups, and what happens while it cannot be written.

Entries take effect in memory as they come, and are on the disk after :meth:`GroupJournal.commit`.
Nobody may be told of anything, and no agent be asked for anything, that is not committed.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from jetsched.cluster.store import Row, Store, row_of
from jetsched.errors import UnreachableError
from jetsched.scheduler.events import Entry


class JournalError(UnreachableError):
    """The journal cannot be written: nothing new is taken, and what runs goes on."""


class GroupJournal:
    """A :class:`~jetsched.scheduler.journal.Journal` over a store, for the loop's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: list[Row] = []

    def append(self, entry: Entry) -> None:
        """Keep the entry for the next commit. Raises ValueError for one that cannot be written."""
        self._rows.append(row_of(entry))

    def commit(self) -> None:
        """Write down what was appended: all of it is on the disk when this returns.

        Raises :class:`JournalError` where the disk is full or fails; nothing is lost then, and the
        next commit tries again.
        """
        try:
            self._store.write(self._rows)
        except (OSError, DBAPIError) as error:
            cause = getattr(error, "orig", error)
            raise JournalError(
                f"the journal {self._store.path} cannot be written: {cause}",
                hint="make room on its disk; the scheduler goes on by itself then, and what was"
                " asked for meanwhile must be asked for again",
            ) from error
        self._rows.clear()
