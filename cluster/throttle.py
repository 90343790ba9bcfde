"""Who has shown too many wrong tokens is told to wait; who has a right one never is."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

#: So many wrong tokens within a minute are taken for mistakes.
ALLOWED = 10
WINDOW_S = 60.0
#: Of how many addresses it is known what they did; the oldest are forgotten.
MOST_ADDRESSES = 4096


class Throttle:
    """Counts wrong tokens by address. For several threads; ``clock`` gives seconds, monotonic.

    It judges wrong tokens only: somebody who guesses must not lock out those who know. Tokens are
    of 256 random bits, so what is slowed down is the noise, not a search that could succeed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def wrong(self, address: str) -> int:
        """A token that opens nothing came from there; for how many seconds it shall wait.

        0: it is within its share. What comes while it waits does not make it wait longer.
        """
        place = _network(address)
        with self._lock:
            now = self._clock()
            times = self._failed.setdefault(place, deque())
            self._failed.move_to_end(place)
            while times and times[0] <= now - WINDOW_S:
                times.popleft()
            if len(times) >= ALLOWED:
                return max(1, math.ceil(times[0] + WINDOW_S - now))
            times.append(now)
            while len(self._failed) > MOST_ADDRESSES:
                self._failed.popitem(last=False)
            return 0


def _network(address: str) -> str:
    """What one client has to itself: an IPv4 address, or 64 bits of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return str(found)
