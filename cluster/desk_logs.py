"""Logs at the desk: what jobs have written, as far as it is on the head."""

from __future__ import annotations

from os import SEEK_END
from typing import Any, BinaryIO

from jetsched.cluster.desk_base import DeskBase
from jetsched.errors import InputError
from jetsched.records import FINAL_STATES

#: The most that one answer carries of a log.
LOG_CHUNK_BYTES = 256 * 1024


class LogDesk(DeskBase):
    """Answers about logs. Methods may be called from any thread."""

    def log(
        self,
        job_id: str,
        attempt: int | None = None,
        offset: int = 0,
        last_bytes: int | None = None,
    ) -> dict[str, Any]:
        """The next part of the log of an attempt, the last one if none is named.

        ``offset`` counts bytes; the answer has the next one. With ``last_bytes`` a log that is
        longer begins so far from its end, with a whole line. ``ended``: there will be no more of
        this attempt; ``final``: nor is there, or will there be, a later attempt.
        """

        def answer(now_s: float) -> tuple[int, bool, bool]:
            record = self._record(job_id)
            attempts, final = record.attempts, record.state in FINAL_STATES
            number = len(attempts) if attempt is None else attempt
            if attempt is not None and not 1 <= attempt <= len(attempts):
                raise InputError(f"job {job_id} has no attempt {attempt}, it has {len(attempts)}")
            ended = attempts[number - 1].outcome is not None if attempts else final
            return number, ended, final and number == len(attempts)

        number, ended, final = self._cluster.ask(answer)
        data = b""
        path = self._cluster.log_path((job_id, number))
        if path.exists():
            with path.open("rb") as file:
                if last_bytes is not None:
                    offset = max(offset, _line_near_end(file, last_bytes))
                file.seek(offset)
                data = file.read(LOG_CHUNK_BYTES)
        text, used = decode(data, whole=ended and len(data) < LOG_CHUNK_BYTES)
        return {
            "job_id": job_id,
            "attempt": number,
            "text": text,
            "offset": offset + used,
            "ended": ended and not data,
            "final": final and not data,
        }

    def log_size(self, job_id: str, attempt: int) -> int:
        """How many bytes of a log are on the head; without asking the loop."""
        try:
            return self._cluster.log_path((job_id, attempt)).stat().st_size
        except FileNotFoundError:
            return 0


def _line_near_end(file: BinaryIO, last_bytes: int) -> int:
    """Where the first whole line begins of the last so many bytes, if one does; else they do."""
    start = file.seek(0, SEEK_END) - last_bytes
    if start <= 0:
        return 0
    file.seek(start - 1)
    cut = file.readline(last_bytes)
    return start - 1 + len(cut) if cut.endswith(b"\n") else start


def decode(data: bytes, *, whole: bool) -> tuple[str, int]:
    """Text, and how many bytes it is; a character that is cut off at the end is left for later."""
    if not whole:
        for cut in range(1, min(4, len(data)) + 1):
            byte = data[-cut]
            if byte >= 0xC0:  # begins a character of several bytes
                width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                if width > cut:
                    data = data[:-cut]
                break
            if byte < 0x80:
                break
    return data.decode("utf-8", "replace"), len(data)
