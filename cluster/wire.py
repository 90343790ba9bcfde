"""File calls to the nodes: again and again while a link is cut, and how fast they are."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from jetsched.cluster.link import AgentGone, Link

#: Pauses between two tries, in seconds: the first, and the longest.
PAUSE_S = (0.1, 5.0)
#: A call that has no answer for so long is made again: the longest one adds up a file of gigabytes.
ANSWER_S = 180.0
#: A rate is learnt from transfers of at least so much; a new one counts by this share.
LEAST_BYTES = 256 * 1024
NEWEST = 0.3
_MIB = 1 << 20


@dataclass(frozen=True)
class Transfer:
    """Files on their way to a node. ``rate_bytes_s`` is None as long as it is not known."""

    done_bytes: int
    bytes: int
    rate_bytes_s: float | None = None
    text: str = ""

    @property
    def words(self) -> str:
        """``412 of 2,000 MiB of gpt2, 31 MiB/s``."""
        done, total = self.done_bytes / _MIB, self.bytes / _MIB
        rate = f", {self.rate_bytes_s / _MIB:,.0f} MiB/s" if self.rate_bytes_s else ""
        return f"{done:,.0f} of {total:,.0f} MiB of {self.text}{rate}"

    @property
    def left_s(self) -> float | None:
        """How long it will take, if it goes on as fast."""
        left = self.bytes - self.done_bytes
        return left / self.rate_bytes_s if self.rate_bytes_s else None


class Wire:
    """Calls :class:`~jetsched.cluster.nodefiles.NodeFiles` of the nodes. For one event loop."""

    def __init__(self, link: Link, *, answer_s: float = ANSWER_S) -> None:
        self._link = link
        self._answer_s = answer_s
        self.rates: dict[str, float] = {}  # bytes per second by device, measured
        self.removed: set[str] = set()  # devices that will not come back

    async def call(
        self, device_id: str, name: str, *args: Any, patience_s: float | None = None
    ) -> Any:
        """What the node answers; tried again while its agent is gone, for ``patience_s``.

        None: as long as the device is not removed. Raises :class:`AgentGone`, or what the node did.
        """
        pause_s, began = PAUSE_S[0], time.monotonic()
        while True:
            try:
                return await self._answered(device_id, name, *args)
            except AgentGone:
                waited_s = time.monotonic() - began
                if device_id in self.removed:
                    raise
                if patience_s is not None and waited_s > patience_s:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_S[1])

    async def _answered(self, device_id: str, name: str, *args: Any) -> Any:
        """Of one call; AgentGone where it hangs (a stuck disk). Made twice it does no harm."""
        answer = asyncio.wrap_future(self._link.call(device_id, "files", name, *args))
        done, _ = await asyncio.wait({answer}, timeout=self._answer_s)
        if not done:  # an answer that comes late is nobody's
            answer.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise AgentGone(f"no answer to {name} in {self._answer_s:.0f} s")
        return answer.result()

    def learn_rate(self, device_id: str, count: int, took_s: float) -> None:
        """So many bytes took so long."""
        if count < LEAST_BYTES or took_s <= 0:
            return
        rate, old = count / took_s, self.rates.get(device_id)
        self.rates[device_id] = rate if old is None else old + NEWEST * (rate - old)
