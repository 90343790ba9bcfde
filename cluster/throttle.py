"""Who has shown too many wrong tokens has to wait; everybody else goes on."""

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

    An address beyond its share is not listened to until its oldest mistake is a minute old, but
    for tokens that have been right there before: somebody who guesses on a machine does not lock
    out the others on it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._proven: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait_s(self, address: str, digest: str) -> int:
        """For how many seconds this token is not even looked at from there; 0: it is."""
        place = _network(address)
        with self._lock:
            if (place, digest) in self._proven:
                return 0
            times = self._failed.get(place)
            if times is None:
                return 0
            now = self._clock()
            while times and times[0] <= now - WINDOW_S:
                times.popleft()
            if len(times) < ALLOWED:
                return 0
            return max(1, math.ceil(times[0] + WINDOW_S - now))

    def wrong(self, address: str, digest: str) -> None:
        """A token that opens nothing came from there."""
        place = _network(address)
        with self._lock:
            self._proven.pop((place, digest), None)  # it was revoked
            times = self._failed.setdefault(place, deque(maxlen=ALLOWED))
            times.append(self._clock())
            self._failed.move_to_end(place)
            while len(self._failed) > MOST_ADDRESSES:
                self._failed.popitem(last=False)

    def right(self, address: str, digest: str) -> None:
        """A token that opens something came from there."""
        key = (_network(address), digest)
        with self._lock:
            self._proven[key] = None
            self._proven.move_to_end(key)
            while len(self._proven) > MOST_ADDRESSES:
                self._proven.popitem(last=False)


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
