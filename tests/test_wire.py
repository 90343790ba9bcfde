"""Calls for files that hang are made again."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from jetsched.cluster.wire import Wire


class Stuck:
    """A link to nodes whose first answer never comes."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, tuple[Any, ...]]] = []

    def nodes(self) -> Future[dict[str, str]]:
        raise NotImplementedError

    def call(self, device_id: str, method: str, *args: Any) -> Future[Any]:
        self.calls.append((device_id, method, args))
        answer: Future[Any] = Future()
        if len(self.calls) > 1:
            answer.set_result("read")
        return answer

    def renew(self, device_id: str) -> None:
        raise NotImplementedError


def test_a_call_that_hangs_is_made_again_and_blocks_nobody() -> None:
    """A disk that is stuck on a board must not keep a job in STARTING for ever."""
    link = Stuck()
    wire = Wire(link, answer_s=0.05)
    assert asyncio.run(wire.call("nx-1", "read", "a", 0)) == "read"
    assert link.calls == [("nx-1", "files", ("read", "a", 0))] * 2
