"""Reads the head's journal as it grows, beside the scheduler that writes it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chaos_ledger import Ledger
from loopback_cluster import Here
from multihost_net import Elsewhere

EVERY_S = 0.05


@dataclass(frozen=True)
class Seen:
    """An entry, and when it was seen here (monotonic): wall clocks are stepped in a chaos run."""

    at: float
    seq: int
    type: str
    data: dict[str, Any]

    @property
    def device(self) -> str:
        return str(self.data.get("device_id", ""))

    @property
    def key(self) -> tuple[str, int]:
        """The attempt that it is about; ("", 0) for none."""
        if self.type == "Start":
            return str(self.data["placement"]["job"]["id"]), int(self.data["attempt"])
        return str(self.data.get("job_id", "")), int(self.data.get("attempt", 0))


class JournalWatch:
    """A thread that follows a journal and keeps a ledger of it. Under :attr:`news` all is one."""

    def __init__(self, path: Path, there: Elsewhere | Here) -> None:
        self._path = path
        self.entries: list[Seen] = []
        self.ledger = Ledger()
        self.news = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: there.do(self._follow), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def wait_for(self, fact: Callable[[], Any], timeout_s: float) -> Any:
        """Wait until something is true, which is looked at after each news; its last value."""
        end = time.monotonic() + timeout_s
        with self.news:
            while not (value := fact()) and (left := end - time.monotonic()) > 0:
                self.news.wait(min(left, 0.2))
            return value

    def first_after(self, at: float, fact: Callable[[Seen], bool]) -> Seen | None:
        """The first entry of which something is true, since a moment."""
        with self.news:
            return next((e for e in self.entries if e.at >= at and fact(e)), None)

    def _follow(self) -> None:
        address, last = f"file:{quote(str(self._path))}?mode=rw", 0
        connection: sqlite3.Connection | None = None
        while not self._stop.is_set():
            rows: list[tuple[int, str, str]] = []
            with contextlib.suppress(sqlite3.Error):  # it is being made, or recovered
                if connection is None:
                    connection = sqlite3.connect(address, uri=True, check_same_thread=False)
                sql = "select seq, type, data from entries where seq > ? order by seq"
                rows = connection.execute(sql, (last,)).fetchall()
            if rows:
                last = rows[-1][0]
                self._take(rows)
            self._stop.wait(EVERY_S)
        if connection is not None:
            connection.close()

    def _take(self, rows: list[tuple[int, str, str]]) -> None:
        now = time.monotonic()
        with self.news:
            for seq, kind, text in rows:
                seen = Seen(now, seq, kind, json.loads(text))
                self.entries.append(seen)
                self.ledger.take(kind, seen.data, now)
            self.news.notify_all()
