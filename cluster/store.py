"""The durable truth: every event and action, in order, in one SQLite file.

The table is append-only. Jobs, attempts, decisions and what was learnt are all rebuilt from it by
:meth:`jetsched.scheduler.core.Scheduler.replay`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.exc import DatabaseError

from jetsched.errors import InputError
from jetsched.files import from_json, json_bytes, make_folder, to_json
from jetsched.scheduler.events import Entry

#: Grows when the tables or the entries change; kept in the file as ``PRAGMA user_version``.
VERSION = 4

#: The name of the journal in the data home.
JOURNAL = "journal.db"

#: An entry as it is written.
Row = Mapping[str, Any]

ENTRIES = Table(
    "entries",
    MetaData(),
    Column("seq", Integer, primary_key=True),
    Column("at_s", Float, nullable=False),  # on the cluster's clock: since the Unix epoch
    Column("type", String, nullable=False),  # the class's name, e.g. "Submitted"
    Column("data", Text, nullable=False),  # the entry as JSON
)


class Store:
    """A journal on disk. For one thread; two services must not share a file.

    Raises :class:`InputError` for a file that is no journal, or one of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        engine = create_engine(f"sqlite:///{path}")
        event.listen(engine, "connect", _prepare)
        try:
            self._connection = engine.connect()
            _migrate(self._connection)
        except DatabaseError as error:
            raise InputError(f"{path} is no journal of jetsched: {error.orig}") from None

    def append(self, *entries: Entry) -> None:
        """Keep the entries: all on the disk when this returns, also if the power fails then, or
        none when it raises."""
        self.write([row_of(entry) for entry in entries])

    def write(self, rows: Sequence[Row]) -> None:
        """Keep entries that are rows already, as :meth:`append` does."""
        if rows:
            with self._connection.begin():
                self._connection.execute(ENTRIES.insert(), list(rows))

    def entries(self) -> Iterator[Entry]:
        """All entries, oldest first. Raises :class:`InputError` for one that is not readable."""
        with self._connection.begin():
            yield from _read(self._connection, self.path)

    def __len__(self) -> int:
        with self._connection.begin():
            return self._connection.execute(select(func.count()).select_from(ENTRIES)).scalar_one()

    def close(self) -> None:
        self._connection.close()
        self._connection.engine.dispose()


def row_of(entry: Entry) -> Row:
    """An entry as a row of the table. Raises ValueError where it holds what no JSON can."""
    return {
        "at_s": entry.at_s,
        "type": type(entry).__name__,
        "data": json_bytes(to_json(entry, tag=True)).decode(),
    }


def journal_entries(
    path: Path, *, naming: str | None = None, without: Collection[str] = ()
) -> Iterator[Entry]:
    """The entries of a journal, which another process may be writing: nothing is written to it.

    ``naming`` leaves out most of those that do not hold this word, such as a job's id: much faster
    than reading them. Those of lost and removed devices stay. ``without`` names types that nobody
    wants: of ten thousand jobs that came together one is not worth reading all. Raises
    :class:`InputError` for a file that is no journal, or one of a newer version.
    """
    engine = create_engine(f"sqlite:///file:{quote(str(path.absolute()))}?mode=rw&uri=true")
    try:
        with engine.connect() as connection:
            _check_version(connection)
            yield from _read(connection, path, naming, without)
    except DatabaseError as error:
        raise InputError(f"{path} is no journal of jetsched: {error.orig}") from None
    finally:
        engine.dispose()


def journal_lines(path: Path) -> Iterator[bytes]:
    """The entries of a journal as JSON lines, many at a time, as they stand: nothing is read twice.

    Between two parts nobody is kept from writing, however slowly they are taken. Raises as
    :func:`journal_entries` does.
    """
    engine = create_engine(f"sqlite:///file:{quote(str(path.absolute()))}?mode=rw&uri=true")
    try:
        with engine.connect() as connection:
            _check_version(connection)
            last = -1
            while True:
                wanted = select(ENTRIES.c.seq, ENTRIES.c.data).order_by(ENTRIES.c.seq)
                rows = connection.execute(wanted.where(ENTRIES.c.seq > last).limit(500)).all()
                if not rows:
                    return
                last = rows[-1].seq
                yield "".join(f"{_line_of_today(data)}\n" for _, data in rows).encode()
    except DatabaseError as error:
        raise InputError(f"{path} is no journal of jetsched: {error.orig}") from None
    finally:
        engine.dispose()


def _line_of_today(data: str) -> str:
    if not data.startswith(('{"type":"Learned"', '{"type":"Calibrated"')):
        return data
    return json_bytes(_of_today(json.loads(data))).decode()


def _read(
    connection: Connection,
    path: Path,
    naming: str | None = None,
    without: Collection[str] = (),
) -> Iterator[Entry]:
    wanted = select(ENTRIES.c.seq, ENTRIES.c.data).order_by(ENTRIES.c.seq)
    if naming is not None:
        word = json_bytes(naming).decode()
        gone = ENTRIES.c.type.in_(("DeviceLost", "DeviceRemoved"))
        wanted = wanted.where(or_(gone, func.instr(ENTRIES.c.data, word) > 0))
    if without:
        wanted = wanted.where(ENTRIES.c.type.not_in(without))
    rows = connection.execution_options(yield_per=500).execute(wanted)
    for seq, data in rows:
        try:
            yield from_json(Entry, _of_today(json.loads(data)))
        except (InputError, ValueError) as error:
            raise InputError(f"{path}: entry {seq}: {error}") from None


def _of_today(data: Any) -> Any:
    """An entry as it is written today: version 1 had one for each thing that was learnt.

    Those of versions 2 and 3 are the same, but they knew fewer of them, and fields that came since
    have defaults: 2 no ``Remarked`` and no ``PolicyChanged``; 3 nothing of closed devices, holds,
    retries, pauses, ticks, disks and files, and no ``Reattached``, ``DeviceRemoved`` and
    ``ServiceStarted``.
    """
    match data:
        case {"type": "Learned", "measurement": measurement}:
            return {**data, "measurements": [measurement]}
        case {"type": "Calibrated", "device_class": device_class}:
            return {**data, "type": "Learned", "calibrated": [device_class]}
    return data


def _prepare(connection: Any, _record: Any) -> None:
    """WAL, so that readers never wait; FULL, so that a commit is on the disk when it returns."""
    for setting in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {setting}")


def _migrate(connection: Connection) -> None:
    with connection.begin():
        # Older entries stay as they are, and are understood.
        if _check_version(connection) < VERSION:
            ENTRIES.metadata.create_all(connection)
            connection.execute(text(f"PRAGMA user_version={VERSION}"))


def _check_version(connection: Connection) -> int:
    """The version of a journal, 0 for a new one. Raises :class:`InputError` if it is too new."""
    version: int = connection.execute(text("PRAGMA user_version")).scalar_one()
    if version > VERSION:
        raise InputError(
            f"the journal is of version {version}, this jetsched knows {VERSION}",
            hint="upgrade jetsched, or name another folder with JETSCHED_HOME",
        )
    return version
