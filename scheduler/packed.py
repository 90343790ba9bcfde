"""Decisions as they are kept: for 200 boards 50 kB as objects, less than a tenth of that packed."""

from __future__ import annotations

import zlib
from dataclasses import fields, replace
from operator import attrgetter

from msgspec import msgpack

from jetsched.records import Decision, Row

_VALUES = attrgetter(*(field.name for field in fields(Row)))
#: More of it takes several times as long, and leaves hardly less.
_LEVEL = 1


class PackedDecision:
    """A decision that is read seldom, and that a job has for as long as it is known."""

    __slots__ = ("_head", "_rows")

    def __init__(self, decision: Decision) -> None:
        values = [_VALUES(row) for row in decision.rows]
        # The hook is for what a policy has scored with: numpy's numbers.
        self._rows = zlib.compress(msgpack.encode(values, enc_hook=float), _LEVEL)
        self._head = replace(decision, rows=())

    def unpacked(self) -> Decision:
        """The decision, equal to what was packed."""
        values = msgpack.decode(zlib.decompress(self._rows))
        return replace(self._head, rows=tuple(Row(*each) for each in values))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PackedDecision):
            return NotImplemented
        return self._head == other._head and self._rows == other._rows

    def __hash__(self) -> int:
        return hash((self._head, self._rows))
