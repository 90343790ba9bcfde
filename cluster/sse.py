"""Server-sent events as text: written by the API, read by the client."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from jetsched.files import json_bytes


@dataclass(frozen=True)
class ServerEvent:
    """One event. ``id`` is where to go on from when the line was cut."""

    name: str
    data: Any
    id: str = ""

    def encode(self) -> bytes:
        """As it is sent: JSON has no line breaks, so one line of data is enough."""
        head = f"event: {self.name}\n" + (f"id: {self.id}\n" if self.id else "")
        return head.encode() + b"data: " + json_bytes(self.data) + b"\n\n"


#: Nothing new, but the line is not dead.
BEAT = b": still here\n\n"


def decode(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """The events of a stream, line by line; comments and what is not JSON are passed over."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                try:
                    data = json.loads(fields["data"])
                except ValueError:
                    fields = {}
                    continue
                yield ServerEvent(fields.get("event", "message"), data, fields.get("id", ""))
            fields = {}
            continue
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
