"""The log of a job on a page: its end at once, what comes next by the browser, all as a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi.responses import StreamingResponse

from jetsched.cluster.desk import Desk
from jetsched.records import FINAL_STATES

Json = Mapping[str, Any]

#: So much of its end is in the page; the rest can be had as a file.
SHOWN_BYTES = 64 * 1024

#: Colours and movements of a terminal's cursor; then what else is no text.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]+[0-~]|[@-Z\\-_])"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """A log without what only a terminal understands: of a line written over, what stands last."""
    text = _CONTROLS.sub("", _ESCAPES.sub("", text).replace("\r\n", "\n"))
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join(lines)


def shown_log(desk: Desk, job: Json, attempt: int | None) -> dict[str, Any]:
    """The end of a log of a job, and where whatever comes next begins.

    ``place`` is that for the stream: attempt and offset. ``cut``: there is more before it;
    ``over``: nothing will come behind it. Raises :class:`InputError` for an attempt that is not.
    """
    part = desk.log(job["id"], attempt, 0, SHOWN_BYTES)
    number, text = int(part["attempt"]), str(part["text"])
    ended = number and job["attempts"][number - 1]["outcome"] is not None
    last = number == len(job["attempts"]) and job["state"] in FINAL_STATES
    return {
        "attempt": number,
        "only": attempt is not None,
        "text": plain(text),
        "place": f"{number}-{part['offset']}" if number else "",
        "cut": int(part["offset"]) > len(text.encode()),
        "over": bool(last if attempt is None else ended),
    }


def whole_log(desk: Desk, job_id: str, attempt: int | None) -> StreamingResponse:
    """All that is on the head of a log, as a file to keep. Raises what is wrong at once."""
    first = desk.log(job_id, attempt, 0)
    number = int(first["attempt"])

    def parts() -> Iterator[bytes]:
        part = first
        while part["text"]:
            yield part["text"].encode()
            part = desk.log(job_id, number or None, part["offset"])

    headers = {
        "Content-Disposition": f'attachment; filename="attempt-{number}.log"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return StreamingResponse(parts(), media_type="text/plain; charset=utf-8", headers=headers)
